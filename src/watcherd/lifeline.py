"""Threads whose death is reported: one that dies leaves its work undone, and nothing else would notice."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from watcherd.model import SystemFault

if TYPE_CHECKING:
    from collections.abc import Callable

#: What lets a process start more threads, and processes.
MORE = "raise this process's limits (TasksMax, ulimit -u, memory)"


class Thread(threading.Thread):
    """A thread: a start that fails is a fault of the system, and `join` returns at once if it was not started."""

    def start(self) -> None:
        """Begin. Raises SystemFault."""
        try:
            super().start()
        except RuntimeError as error:
            # An old container's runtime forbids clone3(2), by which newer C libraries start threads.
            raise SystemFault(f"cannot start a thread: {MORE}, or update its container's runtime", root="") from error

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, if it was started."""
        if self.ident is not None:
            super().join(timeout)


def thread(act: Callable[[], None], *, name: str, on_death: Callable[[BaseException], None]) -> Thread:
    """Return a thread that runs `act`, and calls `on_death` itself with whatever exception ends that."""

    def live() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 (whatever it is, it must be heard of)
            on_death(error)

    return Thread(target=live, name=name, daemon=True)
