"""When is a file complete? Never by the age of its mtime: a copy keeps that of its original.

Complete is: no process has it open for writing, *and* it has been quiet for `settle` seconds on our own clock.
Quiet means that size, mtime, ctime and inode stood still from one look to the next. Where the kernel says that
nobody writes, two cases skip the quiet time: a file renamed into place, which is how careful programs deliver,
and one whose ctime is older than `settle` at first sight, because no copying program can set a ctime.

Pure: (sighting, what was known, now) → when to look again and why, unless it is complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, unique
from typing import TYPE_CHECKING, NamedTuple

from watcherd.sameness import stood_still

if TYPE_CHECKING:
    from watcherd.model import Version

#: The most seconds for which a file that keeps changing under us is left alone.
LONGEST_SETTLE = 60.0
#: Seconds that a close is waited for: a file made by link or mknod was never open.
LONGEST_OPEN = 600.0
#: Seconds between two looks at a file that is being written, at least: where events work, its close is told.
BETWEEN_LOOKS = 0.25
#: One that has stood still is looked at again after one part in so many of that time: thousands may stay open for
#: months, and yet each has to be looked at, as the end of a mapping makes no event.
STILL_SHARE = 8
#: Seconds within which two writes may share a timestamp, where the kernel's clock for files is a coarse one.
COARSE_TICK = 0.01
#: The same where file systems hold whole seconds (ext2 and ext3), or every second one (FAT).
COARSER_TICKS = (2, 1)


@unique
class Writer(Enum):
    """What the kernel says about processes that have a file open for writing."""

    WRITTEN = "written"  # there is one
    FREE = "free"  # there is none
    UNKNOWN = "unknown"  # it cannot be asked here, or not by us


@unique
class How(Enum):
    """How a path came to our notice."""

    SEEN = "seen"  # a scan met it, its metadata changed, or it is looked at again
    RENAMED = "renamed"  # it was renamed into place under our watch
    CREATED = "created"  # it was created under our watch, and may be open
    CLOSED = "closed"  # a writer closed it
    DUE = "due"  # the ledger has it on record: a retry, or a suspect of an unclean end
    CHANGED = "changed"  # it came back because it changed while it was worked on


@unique
class Reason(StrEnum):
    """Why a file waits."""

    WRITTEN = "being written"
    OPEN = "not closed yet"
    CHANGING = "changing"
    SETTLING = "settling"
    PERMISSION = "permission"


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient to be. Seconds.

    `settle` where the kernel can be asked for writers, `unasked` where not; `coarse`: timestamps have a tick.
    """

    settle: float
    unasked: float
    coarse: bool = False


class Sighting(NamedTuple):
    """A regular file as it was seen just now.

    `changed_ago` and `written_ago` are the ages of ctime and mtime in seconds by the wall clock, `linked` says that
    it has another name, and `restless` is the quiet time asked of a file that changed while it was worked on.
    """

    path: str
    version: Version
    how: How
    changed_ago: float
    written_ago: float
    linked: bool = False
    restless: float = 0.0


@dataclass(frozen=True, slots=True)
class Settling:
    """What is known of a file that is not complete: since when (monotonic seconds) it shows this version.

    `open`: it was created under our watch, and its close was not seen. `changed`: we have seen it change.
    """

    version: Version
    since: float
    open: bool = False
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """A file is to be looked at again at `until`, in monotonic seconds; `settling` is then what was known.

    `reason` is a `Reason`, or the kernel's word where it cannot be looked at, and nothing is known of it.
    """

    until: float
    reason: str
    settling: Settling | None


def wait_of(sighting: Sighting, previous: Settling | None, now: float, pace: Pace, writer: Writer) -> Wait | None:
    """Return how long to wait for a file, and why; None where it is complete. All times are monotonic seconds."""
    if writer is Writer.FREE and _skips(sighting, previous, pace):
        return _past_tick(sighting, now - pace.settle, now, pace)  # as settled, also once the tick is over
    settling = _settling(sighting, previous, now)
    quiet = max(pace.settle if writer is Writer.FREE else pace.unasked, sighting.restless)
    if writer is Writer.WRITTEN:
        still = min((now - settling.since) / STILL_SHARE, LONGEST_SETTLE)
        return Wait(now + max(pace.settle, BETWEEN_LOOKS, still), Reason.WRITTEN, settling)
    if writer is Writer.UNKNOWN and settling.open and now - settling.since < LONGEST_OPEN:
        return Wait(now + max(quiet, BETWEEN_LOOKS), Reason.OPEN, settling)
    if now < settling.since + quiet:
        keeps_changing = settling.changed or sighting.restless >= LONGEST_SETTLE
        return Wait(settling.since + quiet, Reason.CHANGING if keeps_changing else Reason.SETTLING, settling)
    return _past_tick(sighting, settling.since, now, pace)


def stretched(settle: float, pace: Pace) -> float:
    """Return the quiet time to ask of a file that changed under us after `settle` seconds of quiet (0: the usual)."""
    return min(2 * max(settle, pace.settle, 0.5), LONGEST_SETTLE)


def _skips(sighting: Sighting, previous: Settling | None, pace: Pace) -> bool:
    if sighting.restless:
        return False
    return sighting.how is How.RENAMED or (previous is None and sighting.changed_ago >= pace.settle)


def _settling(sighting: Sighting, previous: Settling | None, now: float) -> Settling:
    """Return what is known of a file by now: its clock begins anew where it did not stand still."""
    is_open = _is_open(sighting, previous)
    if previous is None or not stood_still(sighting.version, previous.version, linked=sighting.linked):
        return Settling(sighting.version, now, is_open, previous is not None)
    return Settling(sighting.version, previous.since, is_open, previous.changed)


def _is_open(sighting: Sighting, previous: Settling | None) -> bool:
    if sighting.how is How.CREATED:
        return not sighting.linked
    if sighting.how in {How.CLOSED, How.RENAMED}:
        return False
    return previous is not None and previous.open


def _past_tick(sighting: Sighting, since: float, now: float, pace: Pace) -> Wait | None:
    # A second write within the tick would leave the same timestamps, and could not be told from none.
    tick = _tick(sighting.version, pace)
    if abs(sighting.written_ago) < tick:
        until = now + tick - max(sighting.written_ago, 0.0)
        return Wait(until, Reason.SETTLING, Settling(sighting.version, since))
    return None


def _tick(version: Version, pace: Pace) -> float:
    """Return the seconds within which a second write may leave the timestamps of this version."""
    for seconds in COARSER_TICKS:
        if version.mtime_ns % (seconds * 10**9) == 0:
            return seconds + COARSE_TICK  # the kernel's clock for files is behind by a tick of its own
    return COARSE_TICK if pace.coarse else 0.0
