"""The plain values that an intake is given: its inbox, and what it may ask and tell."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from watcherd.intake.rules import Ignored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from watcherd.decide import RetryPolicy
    from watcherd.intake.probe import Mount
    from watcherd.intake.rules import Rules
    from watcherd.intake.settle import Pace
    from watcherd.model import After, Ended, Failed, Job, Kind, Record, SystemFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """A watched folder. `settle` and `rescan` are seconds, None leaves them to the mount.

    `once`: it is scanned once and not watched, so that what comes later is left. `named` is its path as people gave
    it, where that is not `root`.
    """

    name: str
    root: str
    after: After
    recursive: bool
    rules: Rules
    settle: float | None
    rescan: float | None
    policy: RetryPolicy
    once: bool = False
    named: str = ""

    def kind(self, path: str) -> Kind | Ignored:
        """Return the kind of the file at `path`, or why it is not taken."""
        if "/" in path and not self.recursive:
            return Ignored("lies in a folder of the inbox, which is not recursive")
        return self.rules.kind(path)

    def enters(self, folder: str) -> bool:
        """Whether a folder in it is looked into. Its parents are not considered."""
        return self.recursive and self.rules.enters(folder)


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
    """What an intake asks and tells, all from its own thread. Paths are relative to its inbox.

    What asks the ledger, or puts something on record, may raise `SystemFault`.
    """

    lookup: Callable[[Sequence[str]], Mapping[str, Record]]  # the latest records of up to 1,000 paths
    ended: Callable[[Sequence[str]], Mapping[str, Ended]]  # of up to 1,000 paths those whose latest version ended
    suspects: Callable[[], Sequence[str]]  # what was being worked on when the daemon died uncleanly
    earliest_due: Callable[[], float | None]  # when the next retry is due, Unix seconds
    due: Callable[[float, float, int], Sequence[str]]  # so many retries, due by a time or after another, Unix seconds
    drop: Callable[[str], None]  # the file of a retry or a suspect is gone, or is not wanted any more
    doubted: Callable[[], bool]  # whether the inbox may be a bare mount point, where no file is, and none is gone
    offer: Callable[[Sequence[Job]], int]  # to the lane of their kind; how many it has room for, the first ones
    condemn: Callable[[Failed], None]  # to be set aside without work
    came_back: Callable[[Record], None]  # the file that this record says is quarantined is admitted again
    next_id: Callable[[], int]
    paused: Callable[[], bool]  # while true nothing is admitted
    on_found: Callable[[bool], None]  # the inbox is there, and was it lost? SystemFault where it cannot be ours
    on_fault: Callable[[SystemFault], None]  # the ledger cannot be asked, or nothing opened; it is tried again
    on_death: Callable[[BaseException], None]  # the intake's thread ended by a bug
