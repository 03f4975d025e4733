"""Where one job at a time is worked on: what a lane asks of a slot, and of a pool of them; what ends a job there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcherd.model import Failure, FileFault, WatcherdError

if TYPE_CHECKING:
    from watcherd.lanes.hand import Hand
    from watcherd.model import Job, Limits, Result


class Cut(WatcherdError):
    """The work was cut short because the daemon stops; it costs the file nothing."""


class WorkerKilled(WatcherdError):
    """Somebody outside, or the kernel for want of memory, killed the worker; that proves nothing against the file."""


class DraftError(OSError):
    """The draft could not be written. A plain OSError out of a slot is the source's."""


class Slot:
    """Works on one job at a time, for the thread that owns it. This one is always ready, and holds nothing."""

    def prepare(self) -> None:
        """Get ready for a job, which may take seconds: no part of an attempt, so it comes before that is on record.

        Raises SystemFault, and Cut where the daemon stops.
        """

    def run(self, job: Job, source: int, draft: int, limits: Limits) -> Result:
        """Process the descriptor `source` into the descriptor `draft`, both at their start; the caller closes them.

        Raises FileFault, DraftError, OSError (the source's), SystemFault, MemoryError (ours), and what is uncharged:
        WorkerKilled, Cut.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what the slot holds; no job is running."""


class Pool:
    """Where slots come from. This one has nothing to look after."""

    def slot(self, hand: Hand) -> Slot:
        """Return a slot for the thread of `hand`, which is told that the thread lives, and times its jobs."""
        raise NotImplementedError

    def look(self) -> None:
        """Look after what nobody works with now; called every few seconds."""

    def cut_short(self) -> None:
        """End for good what is being worked on: it raises Cut, as does what would begin."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything, in bounded time."""


def overdue(limits: Limits) -> FileFault:
    """Return what a job's deadline raises."""
    return FileFault(Failure.TIMEOUT, f"took longer than {limits.timeout:g} s")
