"""What waits aside: single files with something in their way for now, which only time, or their owner, can clear."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from watcherd.model import SystemFault

if TYPE_CHECKING:
    from watcherd.ledger.ledger import Intent

#: Inputs that wait aside, as they cannot be taken: more are a fault of the system. So many are tried again at a time.
MOST_STUCK, UNSTICK = 4096, 1024


class Aside:
    """What waits aside of the inbox at `root`, each for the stage from whose queue it came. One thread uses it."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._stuck: deque[tuple[deque[Intent], Intent]] = deque()
        self._told: dict[int, bool] = {}  # the jobs of which was said that they are stuck, and which are unclaimed

    @property
    def held(self) -> int:
        """How many of those that wait aside, or are tried again, still hold their claim."""
        return sum(not unclaimed for unclaimed in self._told.values())

    def put(self, queue: deque[Intent], intent: Intent, *, unclaimed: bool) -> bool:
        """Let an intent wait for its turn in `queue`; return whether it is new here.

        Raises SystemFault where too many wait already.
        """
        if len(self._stuck) >= MOST_STUCK:
            why = "`file.unretired` says why of each"  # the reason of one would be another one at each trial
            message = f"{MOST_STUCK:,} inputs cannot be taken out of {self._root}: {why}"
            raise SystemFault(message, root=self._root)
        self._stuck.append((queue, intent))
        if intent.job.id in self._told:
            return False
        self._told[intent.job.id] = unclaimed
        return True

    def release(self, most: int = UNSTICK) -> None:
        """Let what waits go back to where it came from, those first that wait longest."""
        for _ in range(min(most, len(self._stuck))):
            queue, intent = self._stuck.popleft()
            queue.append(intent)

    def leave(self, intent: Intent) -> bool:
        """Take note that a job came to its end; return whether its claim was given back while it waited here."""
        return self._told.pop(intent.job.id, False)
