"""What waits for a worker: short, bounded by kind, shared fairly between inboxes.

The inbox is the durable queue, so this one only has to bridge the time that a worker needs to take the next job.
Each inbox has its own share of the capacity: a flood in one neither fills the place of another nor delays it by more
than its turn.
"""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from watcherd.model import Job

#: How much work is handed over at once: enough that the hand-over costs less than the work, and so little that the
#: next file waits for some milliseconds only.
HAND_BYTES = 256 << 10
HAND_FILES = 64
#: An inbox in which so many workers are stuck gets no more: one file that hangs when it is read holds up no other,
#: and a mount that hangs does not take one worker after the other.
MOST_STUCK = 2


class Order:
    """The jobs of one kind that wait, at most `capacity`, in equal shares for `inboxes`.

    At most `at_once` are handed over together: one, where a file's size says nothing about how long it takes.

    `on_room` is called with an inbox's name when its share was full and is half empty again.
    """

    def __init__(
        self,
        inboxes: Iterable[str],
        *,
        capacity: int,
        workers: int,
        on_room: Callable[[str], None],
        at_once: int = HAND_FILES,
    ) -> None:
        self._waiting: dict[str, deque[Job]] = {name: deque() for name in inboxes}
        self._share = max(1, capacity // max(1, len(self._waiting)))
        self._workers = workers
        self._at_once = at_once
        self._on_room = on_room
        self._turns: deque[str] = deque()  # the inboxes that have jobs waiting, next first
        self._refused: set[str] = set()
        self._stuck = dict.fromkeys(self._waiting, 0)
        self._changed = Condition()
        self._closed = False

    def __len__(self) -> int:
        """Return how many jobs wait."""
        return sum(map(len, self._waiting.values()))

    def offer(self, *jobs: Job) -> int:
        """Queue `jobs`, all of one inbox; return how many were taken, from the first on.

        The others found its share full, or the queue closed.
        """
        inbox = jobs[0].file.inbox
        with self._changed:
            room = 0 if self._closed else max(0, self._share - len(self._waiting[inbox]))
            if room < len(jobs):
                self._refused.add(inbox)
            taken = jobs[:room]
            self._waiting[inbox].extend(taken)
            self._queue(inbox)
            self._changed.notify(len(taken))
        return len(taken)

    def take_back(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Queue jobs again that a worker could not begin, also beyond their share.

        Return those that were not taken: all, once the queue is closed.
        """
        with self._changed:
            if self._closed:
                return jobs
            for job in jobs:
                self._waiting[job.file.inbox].append(job)
                self._queue(job.file.inbox)
            self._changed.notify_all()
            return ()

    def take(self) -> list[Job]:
        """Wait for work and return a worker's hand full of it; nothing once the queue is closed."""
        with self._changed:
            while not self._turns and not self._closed:
                self._changed.wait()
            hand = [] if self._closed else self._hand()
            roomy = self._roomy()
        for inbox in roomy:
            self._on_room(inbox)
        return hand

    def stuck(self, inbox: str) -> None:
        """Take note that a worker is stuck in `inbox`; with `MOST_STUCK` of them, nothing of it is handed out."""
        self._count(inbox, 1)

    def unstuck(self, inbox: str) -> None:
        """Take note that one has come back, even if `stuck` is yet to be said."""
        self._count(inbox, -1)

    def close(self) -> None:
        """Take and give nothing from now on: what waits is still in its inbox."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _count(self, inbox: str, change: int) -> None:
        with self._changed:
            self._stuck[inbox] += change
            self._queue(inbox)
            self._changed.notify_all()

    def _queue(self, inbox: str) -> None:
        """Let an inbox have its turn, if it has jobs that may be handed out."""
        wanted = bool(self._waiting[inbox]) and self._stuck[inbox] < MOST_STUCK
        if wanted and inbox not in self._turns:
            self._turns.append(inbox)
        elif not wanted and inbox in self._turns:
            self._turns.remove(inbox)

    def _hand(self) -> list[Job]:
        most = min(self._at_once, -(-len(self) // self._workers))
        hand = [self._next()]
        size = hand[0].file.version.size
        while self._turns and len(hand) < most and not hand[0].alone:
            following = self._waiting[self._turns[0]][0]
            size += following.file.version.size
            if size > HAND_BYTES or following.alone:
                break
            hand.append(self._next())
        return hand

    def _next(self) -> Job:
        inbox = self._turns.popleft()
        job = self._waiting[inbox].popleft()
        self._queue(inbox)
        return job

    def _roomy(self) -> list[str]:
        roomy = [inbox for inbox in self._refused if len(self._waiting[inbox]) <= self._share // 2]
        self._refused.difference_update(roomy)
        return roomy
