"""What wakes an intake: a ring from another thread, or something to hear from the kernel."""

from __future__ import annotations

import os
import select
from threading import Lock


class Bell:
    """Rings, which count as one until they are heard."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = Lock()
        self.rung = False

    def ring(self) -> None:
        """Wake whoever waits; from any thread, also after `close`."""
        with self._lock:
            if not self.rung:
                self.rung = True
                os.eventfd_write(self._descriptor, 1)

    def hush(self) -> None:
        """Hear the rings so far."""
        with self._lock:
            if self.rung:
                self.rung = False
                os.eventfd_read(self._descriptor)

    def wait(self, other: int | None, timeout: float) -> bool:
        """Wait for a ring or until the descriptor `other` is readable, `timeout` seconds at most.

        Returns whether `other` is readable.
        """
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if other is not None:
            poll.register(other, select.POLLIN)
        return any(ready == other for ready, _ in poll.poll(max(0.0, timeout) * 1000))

    def close(self) -> None:
        """Close the descriptor; later rings go unheard."""
        with self._lock:
            self.rung = True
            os.close(self._descriptor)
