"""The end of a pause, on trial (pure).

Whether a disk has room again for *these* results, only they can tell: a probe of a few bytes passes on a disk that is
full for a picture. So work goes on as soon as a probe passes, but the pause is only said to be over when the fault
has not come back for a while; and while it comes back, it is said once, and tried less often.
"""

from __future__ import annotations

from math import inf

#: Seconds without the fault after which a pause is over.
PROOF = 3.0

#: Faults that are remembered as told: some say something else each time.
MOST = 16

#: Seconds between two trials: rarer where the fault came back, and work goes on soon once it was mended.
SHORTEST, LONGEST = 1.0, 2.0


class Trial:
    """What is known of the faults that the last pause was for. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._reason = ""
        self._told: set[str] = set()
        self._proved_at = inf

    @property
    def runs(self) -> bool:
        """Whether work goes on on trial."""
        return self._proved_at < inf

    def is_news(self, reason: str) -> bool:
        """Whether this fault was not told yet since all was well: several may come by turns."""
        return reason not in self._told

    def tell(self, reason: str) -> None:
        """Take note that a fault was told."""
        if len(self._told) >= MOST:
            self._told.clear()
        self._told.add(reason)

    def hold(self, reason: str) -> float:
        """Return how long to wait until the next trial, now that a fault came, or came back."""
        came_back = self.runs and not self.is_news(reason)
        self._proved_at = inf
        return LONGEST if came_back else SHORTEST

    def begin(self, reason: str, now: float) -> None:
        """Go on with work on trial, after a pause for `reason`."""
        self.tell(reason)
        self._reason = reason
        self._proved_at = now + PROOF

    def passed(self, now: float) -> str:
        """Return the reason of a pause that is over now, once; empty where there is none."""
        if now < self._proved_at:
            return ""
        reason, self._reason = self._reason, ""
        self._told.clear()
        self._proved_at = inf
        return reason
