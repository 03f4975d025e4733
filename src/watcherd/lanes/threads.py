"""The text lane's slots: the work is done in the thread that asks for it.

Reading blocks and NumPy lets go of the interpreter's lock, so threads are enough; a text cannot end the process as an
image can, and a process for each would cost more than the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcherd.lanes.slot import Cut, Pool, Slot, overdue
from watcherd.lanes.work import work

if TYPE_CHECKING:
    from watcherd.lanes.hand import Hand
    from watcherd.model import Job, Limits, Result
    from watcherd.processors import Process


class Threads(Pool):
    """Slots that run `process` in the threads that own them. `cut` says whether work is cut short."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.cut = False

    def slot(self, hand: Hand) -> Slot:
        """Return a slot for one thread, which needs no looking after and holds nothing."""
        return _InThread(self, hand)

    def cut_short(self) -> None:
        """Let every job that comes to its next checkpoint raise Cut."""
        self.cut = True


class _InThread(Slot):
    """It cannot end a job that reaches no checkpoint; the lane puts another thread in its place."""

    def __init__(self, threads: Threads, hand: Hand) -> None:
        self._threads = threads
        self._hand = hand

    def run(self, job: Job, source: int, draft: int, limits: Limits) -> Result:
        """See `Slot.run`."""
        ends = self._hand.now() + limits.timeout

        def checkpoint() -> None:
            now = self._hand.sign()
            if self._threads.cut:
                raise Cut("the daemon stops")
            if now > ends:
                raise overdue(limits)

        return work(self._threads.process, job.file.path, source, draft, limits, checkpoint)
