"""The paths that are to be looked at, for one kind of one inbox: now, or when their time has come.

What finds no room here is met again by a scan. Pure: the time is handed in.
"""

from __future__ import annotations

import heapq
from math import inf
from typing import TYPE_CHECKING

from watcherd.intake.settle import How, Reason

if TYPE_CHECKING:
    from watcherd.intake.settle import Settling, Wait

#: Paths that may be hinted at, and paths that may wait.
MOST_HINTS = 4_096
MOST_WAITING = 4_096
#: One place in so many is for what has settled, and one for what a scan found: neither would have a turn while more
#: is hinted at than a lane takes.
SHARE = 4


class Pending:
    """Hints, and files that wait. Times are monotonic seconds. Used by one thread; any may ask what is `waiting`."""

    def __init__(self) -> None:
        self._hints: dict[str, How] = {}
        self._waiting: dict[str, Wait] = {}
        self._alarms: list[tuple[float, str]] = []  # a heap; entries that `_waiting` contradicts are skipped
        self._overdue = inf  # when a scan must look for what found no room in `_waiting`

    def __len__(self) -> int:
        """Return how many files wait."""
        return len(self._waiting)

    # What is going on ----------------------------------------------------------------------------------------------

    @property
    def hinted(self) -> bool:
        """Whether there are paths to look at now."""
        return bool(self._hints)

    @property
    def settling(self) -> bool:
        """Whether any file needs only quiet to be complete."""
        return self._overdue < inf or any(known.reason == Reason.SETTLING for known in self._waiting.values())

    @property
    def alarm(self) -> float:
        """When the next file is to be looked at again."""
        return min(self._alarms[0][0] if self._alarms else inf, self._overdue)

    def take_overdue(self, now: float) -> bool:
        """Return, once, whether a scan must look for what there was no room to remember."""
        if now < self._overdue:
            return False
        self._overdue = inf
        return True

    def waits(self, path: str) -> bool:
        """Whether this path is not complete, or cannot be read."""
        return path in self._waiting

    def known(self, path: str) -> Settling | None:
        """Return what is known of a file that is not complete."""
        wait = self._waiting.get(path)
        return None if wait is None else wait.settling

    def waiting(self) -> list[tuple[str, str]]:
        """Return the paths that are not complete, or cannot be read, each with its reason."""
        return [(path, known.reason) for path, known in self._waiting.copy().items()]

    # What comes in -------------------------------------------------------------------------------------------------

    def hint(self, path: str, how: How) -> bool:
        """Remember to look at `path`; False where there is no room, so that a scan must find it."""
        known = self._hints.get(path)
        if known is None and len(self._hints) >= MOST_HINTS:
            return False
        if known is None or (known is not How.CHANGED and how is not How.SEEN):
            self._hints[path] = how
        return True

    def wait(self, path: str, waiting: Wait) -> bool:
        """Remember to look at `path` again when it is time; return whether the reason is another than before."""
        known = self._waiting.get(path)
        if known is None and not self._has_place_for(waiting):
            if waiting.settling:  # else its event, or a scan by the clock, brings it back
                self._overdue = min(self._overdue, waiting.until)
            return False
        self._waiting[path] = waiting
        heapq.heappush(self._alarms, (waiting.until, path))
        if len(self._alarms) > 4 * MOST_WAITING:
            self.wind()
        return known is None or known.reason != waiting.reason

    def _has_place_for(self, waiting: Wait) -> bool:
        """Whether one more may be remembered. What cannot be read may wait for ever, and has half of the places."""
        return len(self._waiting) < (MOST_WAITING if waiting.settling else MOST_WAITING // 2)

    def wind(self) -> None:
        """Set the alarm of every file that waits, also of those that were taken but not led through."""
        self._alarms = sorted((known.until, path) for path, known in self._waiting.items())

    # What goes out -------------------------------------------------------------------------------------------------

    def take(self, now: float, most: int) -> dict[str, How]:
        """Take up to `most` of the paths to look at: those hinted at, then a share of those whose time has come.

        The latter go on waiting until they are dropped, or told to wait anew.
        """
        hinted = most - most // SHARE if self._alarms and self._alarms[0][0] <= now else most
        taken = {path: self._hints.pop(path) for path in list(self._hints)[:hinted]}
        while self._alarms and self._alarms[0][0] <= now and len(taken) < most:
            until, path = heapq.heappop(self._alarms)
            known = self._waiting.get(path)
            if known is not None and known.until == until:
                taken.setdefault(path, How.SEEN)
        return taken

    def drop(self, path: str) -> None:
        """Stop waiting for a file: it is admitted, in flight, done or gone."""
        self._waiting.pop(path, None)

    def forget(self) -> None:
        """Forget everything: the inbox is gone, or has new rules."""
        self._hints.clear()
        self._waiting.clear()
        self._alarms.clear()
        self._overdue = inf
