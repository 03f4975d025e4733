"""The plain values that an intake is given: its inbox, and what it may ask and tell."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from watcherd.decide import RetryPolicy
    from watcherd.intake.probe import Mount
    from watcherd.intake.rules import Rules
    from watcherd.intake.settle import Pace
    from watcherd.model import After, CameBack, Failed, Job, SystemFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """A watched folder. `settle` and `rescan` are seconds, None leaves them to the mount.

    `once`: it is scanned once and not watched, so that what comes later is left. `named` is its path as people gave
    it, where that is not `root`.
    """

    name: str
    root: str
    after: After
    rules: Rules
    settle: float | None
    rescan: float | None
    policy: RetryPolicy
    once: bool = False
    named: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms files are taken: the inbox, and what follows from where it is mounted. `rescan` is in seconds."""

    inbox: Inbox
    mount: Mount
    pace: Pace
    rescan: float

    @classmethod
    def of(cls, inbox: Inbox, mount: Mount) -> Terms:
        """Return the terms of `inbox` on `mount`."""
        return cls(inbox, mount, mount.pace(inbox.settle), inf if inbox.once else mount.rescan(inbox.rescan))


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Whom an intake asks and tells beside the ledger, all from its own thread."""

    offer: Callable[[Sequence[Job]], int]  # to the lane of their kind; how many it has room for, the first ones
    put: Callable[[Failed | CameBack | SystemFault], None]  # to the publisher, which pauses for a fault
    paused: Callable[[], bool]  # while true nothing is admitted
    doubted: Callable[[], bool]  # whether the inbox may be a bare mount point, where no file is, and none is gone
    on_found: Callable[[bool], None]  # the inbox is there, and was it lost? SystemFault where it cannot be ours
    on_death: Callable[[BaseException], None]  # the intake's thread ended by a bug
