"""What systemd hears from a service of Type=notify: that it is ready, what it is doing, and that it makes progress.

A datagram of lines to the socket in $NOTIFY_SOCKET (sd_notify(3)). The clients that are published are abandoned or
need a compiler, and this is all there is to it.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from watcherd.paths import on_a_line

if TYPE_CHECKING:
    from collections.abc import MutableMapping

#: Seconds between two lines of status.
STATUS_EVERY = 2.0


class Manager:
    """The service manager that started us, or nobody. What it does not hear is lost, and harms nothing.

    Its variables are taken out of `environment`: a worker that inherited them would be heard as the daemon.
    `patience` is how many seconds it waits for `alive` before it kills; infinite where it was not asked to watch.
    `period` is the seconds between two lines of status; infinite where nobody listens.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._address = environment.pop("NOTIFY_SOCKET", "")
        watched = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period = environment.pop("WATCHDOG_USEC", "")
        self.patience = int(period) / 1e6 if watched and period.isdigit() and int(period) else inf
        self.period = STATUS_EVERY if self._address else inf
        self._status = ""
        # It stays open: a daemon that is short of descriptors still works, and has to say so.
        self._socket: socket.socket | None = None
        with suppress(OSError):  # a sandbox may keep such sockets from us
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(1.0)

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()

    def ready(self) -> None:
        """Say that it is started, or reloaded."""
        self._notify("READY=1")

    def reloading(self) -> None:
        """Say that another configuration is being taken over; `ready` ends it."""
        self._notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Say that it is on the way to its end."""
        self._notify("STOPPING=1")

    def alive(self) -> None:
        """Say that it makes progress."""
        if self.patience < inf:
            self._notify("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Say what is going on, in a line that `systemctl status` shows as it is; a name in it may hold anything."""
        text = on_a_line(text)
        if text != self._status and self._notify(f"STATUS={text}"):
            self._status = text

    def _notify(self, *lines: str) -> bool:
        """Send lines in one message; return whether it was taken."""
        if not self._address or self._socket is None:
            return False
        # A name in the abstract is written with an @, which stands for a zero byte.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with suppress(OSError):
            self._socket.sendto("\n".join(lines).encode(errors="replace"), address)
            return True
        return False
