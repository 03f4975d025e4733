"""Taking turns at the interpreter.

All threads share the interpreter's lock, and give it up at each system call. While another thread waits for it, each
call wakes that one, on the other core, only to find the lock taken again: with forty short calls a file that takes
twice the processor time. So a thread that is about to make many of them waits for its turn first.

A turn is a courtesy and guards nothing. Its holder may hang, as in a mount that does not answer: then it is taken
over, and nobody waits for it again.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds after which a turn is taken over: many times what one takes, which is some milliseconds.
PATIENCE = 0.5


class Turns:
    """One turn at a time."""

    def __init__(self) -> None:
        self._lock = Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and hold it: for many short system calls, and for none that waits, as a sync does."""
        lock = self._lock
        if not lock.acquire(timeout=PATIENCE):
            lock = Lock()
            lock.acquire()  # before somebody else does, who may hang as well
            self._lock = lock
        try:
            yield
        finally:
            lock.release()


#: The turns of this process, as its interpreter has one lock.
turn = Turns().turn
