"""Forgetting old rows of all inboxes now and then, in a thread: it looks at folders, and one of them may hang."""

from __future__ import annotations

import time
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

from watcherd import lifeline
from watcherd.assembly import Died
from watcherd.model import SystemFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from watcherd.assembly import Line

#: Seconds between two looks at all old rows, which may be forgotten; and before the first, and between parts of one.
EVERY, MORE = 600.0, 1.0

#: A look at all old rows is followed by this many times its own processor time without one: kept files may be many.
SHARE = 200

#: Seconds that the thread has to end.
LEAVE = 2.0


class Pruner:
    """Forgets rows of the files of these lines that are gone, once they are older than `history` says, in seconds."""

    def __init__(self, lines: Sequence[Line], history: Callable[[], float]) -> None:
        self._lines = lines
        self._history = history
        self._spent = 0.0  # processor seconds of the look that is under way

    @contextmanager
    def running(self, on_death: Callable[[Died], None]) -> Iterator[None]:
        """Prune in a thread of its own while the block runs."""
        ending = Event()

        def run() -> None:
            quiet = MORE
            while not ending.wait(quiet):
                quiet = self.prune()

        thread = lifeline.thread(run, name="pruning", on_death=lambda error: on_death(Died("pruning", error)))
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join(LEAVE)

    def prune(self) -> float:
        """Forget some of the old rows, and return when to come again, in seconds."""
        before, began = time.time() - self._history(), time.thread_time()
        # In a pause no folder is looked at but by its publisher, which knows when they are ready.
        more = [_pruned(line, before) for line in self._lines if not line.publisher.paused]
        self._spent += time.thread_time() - began
        if any(more):
            return MORE
        spent, self._spent = self._spent, 0.0
        return max(EVERY, SHARE * spent)


def _pruned(line: Line, before: float) -> bool:
    try:
        return line.pruning.prune(before)
    except SystemFault as fault:
        line.publisher.put(fault)
        return False
