"""Forgetting old rows of all inboxes now and then, in a thread: it looks at folders, and one of them may hang.

A drain does so at its end: where it is run by the clock, and no daemon is, the ledger would grow for ever.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

from watcherd import lifeline
from watcherd.model import SystemFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from watcherd.assembly import Line

#: Seconds between two looks at all old rows, which may be forgotten; and before the first, and between parts of one.
EVERY, MORE = 600.0, 1.0

#: A look at all old rows is followed by this many times its own processor time without one: kept files may be many.
#: What was forgotten does not count, as it comes once: at hundreds of files a second, each pause would leave more to
#: forget than the one before, and the ledger would grow for ever.
SHARE = 200

#: Seconds that the thread has to end.
LEAVE = 2.0


class Pruner:
    """Forgets rows of the files of these lines that are gone, once they are older than `history` says, in seconds."""

    def __init__(self, lines: Sequence[Line], history: Callable[[], float]) -> None:
        self._lines = lines
        self._history = history
        self._left: Sequence[Line] = ()  # whose rows the look that is under way has not all seen
        self._spent = 0.0  # processor seconds of that look, for what lasts

    @contextmanager
    def running(self, on_death: Callable[[BaseException], None]) -> Iterator[None]:
        """Prune in a thread of its own while the block runs."""
        ending = Event()

        def run() -> None:
            quiet = MORE
            while not ending.wait(quiet):
                quiet = self.prune()

        thread = lifeline.thread(run, name="pruning", on_death=on_death)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join(LEAVE)

    def prune_at_once(self, on_death: Callable[[BaseException], None], seconds: float) -> None:
        """Look at old rows, one part after the other, for at most so many seconds. Raises SystemFault.

        It begins anywhere, then at the start: no row stays for ever behind more lasting ones than there is time for.
        """
        ends = time.monotonic() + seconds
        for line in self._lines:
            line.pruning.begin_at(random.random())  # noqa: S311 (hides nothing)

        def run() -> None:
            for _ in range(2):
                while time.monotonic() < ends and self.prune() == MORE:
                    pass

        thread = lifeline.thread(run, name="pruning", on_death=on_death)
        thread.start()
        thread.join(seconds)

    def prune(self) -> float:
        """Forget some of the old rows, and return when to come again, in seconds."""
        before = time.time() - self._history()
        # In a pause no folder is looked at but by its publisher, which knows when they are ready.
        lines = [line for line in self._left or self._lines if not line.publisher.paused]
        self._left = [line for line in lines if self._prune(line, before)]
        if self._left:
            return MORE
        spent, self._spent = self._spent, 0.0
        return max(EVERY, SHARE * spent)

    def _prune(self, line: Line, before: float) -> bool:
        began = time.thread_time()
        try:
            look = line.pruning.prune(before)
        except SystemFault as fault:
            line.publisher.put(fault)
            return False
        self._spent += look.in_vain * (time.thread_time() - began)
        return look.more
