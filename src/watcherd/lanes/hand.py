"""The jobs that one thread of a lane has in hand, and whether anything is heard of it."""

from __future__ import annotations

from collections import deque
from math import inf
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread

    from watcherd.model import Job

#: Seconds of silence after which a thread counts as stuck: longer than opening a file takes, or reading a block.
SILENCE = 5.0


class Hand:
    """What a thread shares with whoever may replace it or give it up; `now` is the clock of both, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.thread: Thread | None = None
        self._waiting: deque[Job] = deque()
        self.current: Job | None = None
        self.replaced = False
        self._given_up = False
        self._overdue = inf  # when the current job is, in seconds of `now`
        self._silent = inf  # when its thread counts as stuck, unless it is heard of before
        self._lock = Lock()

    def take(self, jobs: list[Job]) -> None:
        """Put jobs into the hand, which is empty."""
        self._waiting.extend(jobs)

    def next(self, patience: float) -> Job | None:
        """Begin with the next job, which is overdue in `patience` seconds."""
        with self._lock:
            self.current = self._waiting.popleft() if self._waiting else None
            self._overdue = self.sign() + patience
            return self.current

    def sign(self, patience: float | None = None) -> float:
        """Say that the thread lives, and for how many seconds it may be silent; return the time."""
        now = self.now()
        self._silent = now + (SILENCE if patience is None else patience)
        return now

    def put_down(self) -> bool:
        """Say that the current job is done; False where it was taken away meanwhile."""
        with self._lock:
            self.current = None
            return not self._given_up

    def replace(self, now: float) -> list[Job]:
        """If the thread is silent, return its job, which it keeps, and those that waited behind it."""
        with self._lock:
            if self.current is None or self.replaced or now < min(self._silent, self._overdue):
                return []
            self.replaced = True
            return self._emptied(self.current)

    def give_up(self, now: float = inf) -> list[Job]:
        """If the current job is overdue at `now`, take it away, and those that wait behind it."""
        with self._lock:
            if self.current is None or self._given_up or now < self._overdue:
                return []
            self._given_up = True
            return self._emptied(self.current)

    def _emptied(self, current: Job) -> list[Job]:
        jobs = [current, *self._waiting]
        self._waiting.clear()
        return jobs
