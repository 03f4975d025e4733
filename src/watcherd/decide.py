"""Decisions, apart from their execution: (facts, now) → what to do.

Pure: no clock, no files, no chance; the caller hands in the time and the dice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from watcherd.model import After, Failure
from watcherd.sameness import resembles
from watcherd.states import State

if TYPE_CHECKING:
    from watcherd.model import Failed, Record, Version

#: Kills from outside after which a file runs alone, to be told from its neighbours.
KILLS_BEFORE_ALONE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a failing file is tried, and how long between. Seconds."""

    attempts: int = 3
    backoff: float = 1.0
    max_backoff: float = 300.0


class Admit(NamedTuple):
    """Hand the file to its lane, with these charges."""

    attempts: int = 0
    kills: int = 0
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing is to be done with this version: `reason` says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """Look again when the record says that it is due."""


@dataclass(frozen=True, slots=True)
class Condemn:
    """Set the file aside without another attempt: it has used all it may have."""

    attempts: int
    failure: Failure
    message: str


Admission = Admit | Leave | Later | Condemn

#: How a file may have ended that is still in its inbox.
ENDS = frozenset({State.PUBLISHED, State.QUARANTINED})


def admission(record: Record | None, version: Version, after: After, policy: RetryPolicy, now: float) -> Admission:
    """Decide what a complete file's record lets happen to it. `now` is wall-clock seconds since the epoch."""
    if record is None:
        return Admit()
    is_under_way = record.state in {State.PUBLISHING, State.QUARANTINING}
    if is_under_way or is_done(record, version, after):
        return Leave(f"is {record.state} already")
    if record.file.version != version:
        return Admit()
    if record.state is State.RETRYING:
        return _when_due(record, policy, now)
    if record.state is State.WORKING:
        return _suspect(record, policy)
    return Admit()


def is_done(record: Record, version: Version, after: After) -> bool:
    """Whether a file is kept, and is the one that ended: it stays done where it was restored, or mounted anew."""
    return after is After.KEEP and record.state in ENDS and resembles(version, record.file.version)


def _when_due(record: Record, policy: RetryPolicy, now: float) -> Admission:
    # One that is due later than any retry is put off is due now: the clock has been set back.
    if now < record.due <= now + policy.max_backoff:
        return Later()
    return Admit(record.attempts, record.kills, record.alone)


def _suspect(record: Record, policy: RetryPolicy) -> Admission:
    """Judge a file that was being worked on when the daemon died: only a death while it ran alone charges it."""
    if not record.alone:
        return Admit(record.attempts, record.kills, alone=True)
    attempts = record.attempts + 1
    if attempts >= policy.attempts:
        return Condemn(attempts, Failure.CRASHED, "ended the daemon each time that it was worked on alone")
    return Admit(attempts, record.kills, alone=True)


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again `delay` seconds from now, with these charges."""

    attempts: int
    kills: int
    delay: float
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Quarantine, after `attempts` charged attempts."""

    attempts: int


def fate(failed: Failed, policy: RetryPolicy, dice: float) -> Retry | Quarantine:
    """Decide what a failed attempt costs. `dice` is in [0, 1)."""
    attempts, kills = failed.job.attempts, failed.job.kills
    if not failed.charged:
        kills += 1
        return Retry(attempts, kills, backoff(kills, policy, dice), alone=kills >= KILLS_BEFORE_ALONE)
    attempts += 1
    if not failed.failure.passing or attempts >= policy.attempts:
        return Quarantine(attempts)
    return Retry(attempts, kills, backoff(attempts, policy, dice))


def backoff(failures: int, policy: RetryPolicy, dice: float) -> float:
    """Return the seconds to wait after the n-th failure: doubled each time, less up to a quarter of jitter."""
    delay = min(policy.backoff * 2.0 ** min(failures - 1, 60), policy.max_backoff)
    return delay * (1 - dice / 4)
