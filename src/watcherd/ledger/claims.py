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

    `wake` is called, outside the lock, whenever a path comes free.
    """

    def __init__(self, limit: int, wake: Callable[[], None] = lambda: None) -> None:
        self.limit = limit
        self.wake = wake
        self._lock = Lock()
        self._held: dict[str, bool] = {}  # path → whether somebody asked for it meanwhile
        self._returned: dict[str, bool] = {}  # path → whether it changed under us

    def __len__(self) -> int:
        """Return how many files are in flight."""
        return len(self._held)

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight, and nothing that was waits to be looked at again."""
        with self._lock:
            return not self._held and not self._returned

    def claim(self, path: str) -> bool:
        """Claim `path`; False where it is in flight already (it comes back through `returned`) or all is full."""
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
            if again or changed or asked:
                self._returned[path] = changed
        self.wake()

    def returned(self) -> dict[str, bool]:
        """Take the paths to look at again, each with whether it changed under us."""
        with self._lock:
            taken, self._returned = self._returned, {}
        return taken
