"""Threads whose death is heard of: one that dies leaves its work undone, and nothing else would notice."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from watcherd.model import SystemFault

if TYPE_CHECKING:
    from collections.abc import Callable


class Thread(threading.Thread):
    """A thread: that it cannot be started is a fault of the system, and `join` waits for none that never was."""

    def start(self) -> None:
        """Begin. Raises SystemFault."""
        try:
            super().start()
        except RuntimeError as error:
            message = "cannot start a thread: raise this process's limits (TasksMax, ulimit -u, memory)"
            raise SystemFault(message, root="") from error

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end, if it began."""
        if self.ident is not None:
            super().join(timeout)


def thread(act: Callable[[], None], *, name: str, on_death: Callable[[BaseException], None]) -> Thread:
    """Return a thread that does `act` once it is started, and tells `on_death`, itself, whatever ended that early."""

    def live() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 (whatever it is, it must be heard of)
            on_death(error)

    return Thread(target=live, name=name, daemon=True)
