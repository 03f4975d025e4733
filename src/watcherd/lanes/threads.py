"""The text lane's slots: the work is done in the thread that asks for it.

Reading blocks and NumPy lets go of the interpreter's lock, so threads are enough; a text cannot end the process as an
image can, and a process for each would cost more than the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcherd.lanes.slot import Cut, overdue, work

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.lanes.slot import Sign, Slot
    from watcherd.model import Job, Limits, Result
    from watcherd.processors import Process


class Threads:
    """Slots that run `process` in the threads that own them. `cut` says whether work is cut short."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.cut = False

    def slot(self, sign: Sign, now: Callable[[], float]) -> Slot:
        """Return a slot for one thread."""
        return _InThread(self._process, self, sign, now)

    def look(self) -> None:
        """Do nothing: its threads are the lane's."""

    def kill_busy(self) -> None:
        """Let every job that comes to its next checkpoint raise Cut."""
        self.cut = True

    def close(self) -> None:
        """Do nothing: a thread's slot holds nothing."""


class _InThread:
    """It cannot end what does not come to its checkpoint; the lane puts another thread in its place."""

    def __init__(self, process: Process, threads: Threads, sign: Sign, now: Callable[[], float]) -> None:
        self._process = process
        self._threads = threads
        self._sign = sign
        self._now = now

    def prepare(self) -> None:
        """Do nothing: a thread is ready."""

    def run(self, job: Job, source: int, draft: int, limits: Limits) -> Result:
        """See `Slot.run`."""
        ends = self._now() + limits.timeout

        def checkpoint() -> None:
            self._sign()
            if self._threads.cut:
                raise Cut("the daemon stops")
            if self._now() > ends:
                raise overdue(limits)

        return work(self._process, job.file.path, source, draft, limits, checkpoint)

    def close(self) -> None:
        """Do nothing."""
