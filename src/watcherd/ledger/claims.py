"""The ledger's half in memory: what of one inbox is queued, being worked on, or not yet published.

It is what keeps one file from being admitted twice, and its bound is the bound on everything downstream of intake.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Claims:
    """The paths of one inbox that are in flight; at most `limit` of them.

    `wake` is called, outside the lock, when a path comes back to be looked at again, and when there is room again
    after there was none: for a quarter of the limit at once, as whoever looks takes many at a time.
    """

    def __init__(self, limit: int, wake: Callable[[], None] = lambda: None) -> None:
        self.limit = limit
        self.wake = wake
        self._lock = Lock()
        self._held: dict[str, bool] = {}  # path → whether somebody asked for it meanwhile
        self._returned: dict[str, bool] = {}  # path → whether it changed under us
        self._full = False  # whether somebody found no room, and was not woken since

    def __len__(self) -> int:
        """Return how many files are in flight."""
        return len(self._held)

    def room(self) -> int:
        """Return how many more may be claimed; after a 0, `wake` is called once there is room for many."""
        with self._lock:
            self._full = self._full or len(self._held) >= self.limit
            return self.limit - len(self._held)

    def idle(self) -> bool:
        """Whether nothing is in flight, and nothing waits to be looked at again."""
        with self._lock:
            return not self._returned and not self._held

    def claim(self, path: str) -> bool:
        """Claim `path`; False where it is in flight (it comes back through `returned`), or where there is no room."""
        with self._lock:
            if path in self._held:
                self._held[path] = True
                return False
            if len(self._held) >= self.limit:
                return False
            self._held[path] = False
            return True

    def holds(self, path: str) -> bool:
        """Whether `path` is in flight. Asking counts: the path comes back through `returned` once it is free."""
        with self._lock:
            if path not in self._held:
                return False
            self._held[path] = True
            return True

    def release(self, path: str, *, again: bool = False, changed: bool = False) -> None:
        """Let `path` go. With `again` it is to be looked at once more; `changed` says that it changed under us."""
        with self._lock:
            asked = self._held.pop(path, False)
            if back := again or changed or asked:
                self._returned[path] = changed
            roomy = self._full and len(self._held) <= self.limit * 3 // 4
            self._full = self._full and not roomy
        if back or roomy:
            self.wake()

    def ask(self, path: str) -> None:
        """Have `path` looked at once more: now, or once it is free where it is held."""
        if not self.holds(path):
            with self._lock:
                self._returned.setdefault(path, False)
            self.wake()

    def returned(self) -> dict[str, bool]:
        """Take the paths to look at again, each with whether it changed under us."""
        with self._lock:
            taken, self._returned = self._returned, {}
        return taken
