"""Logs for systemd's journal: an event's fields stay fields, so that it can be asked for by them.

The native protocol is one datagram an event, a field a line; a value that holds a newline is led by its length. What
is too large for a datagram goes in a sealed file in memory (systemd.io/JOURNAL_NATIVE_PROTOCOL).
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

from watcherd.paths import exact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ADDRESS = "/run/systemd/journal/socket"

#: Seconds that the journal, or another reader, may take to make room before events are dropped.
PATIENCE = 1.0

#: What syslog(3) calls our levels.
PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_TOO_LARGE = {errno.EMSGSIZE, errno.ENOBUFS}
_ANEW = {errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOTCONN}  # the journal was started anew


def reads(descriptor: int) -> bool:
    """Whether `descriptor` leads to the journal, whose device and inode $JOURNAL_STREAM tells."""
    stream = os.environ.get("JOURNAL_STREAM")
    if not stream:
        return False
    status = os.fstat(descriptor)
    return stream == f"{status.st_dev}:{status.st_ino}"


def as_fields(event: Mapping[str, object], message: str) -> bytes:
    """Render an event as journal fields: WATCHERD_EVENT, and WATCHERD_… for each of its own."""
    said = {"MESSAGE": message, "PRIORITY": PRIORITY.get(str(event["level"]), 6), "SYSLOG_IDENTIFIER": "watcherd"}
    own = ((_name(key), value) for key, value in event.items() if key != "level")
    return b"".join(_field(name, value) for name, value in (*said.items(), *own))


@lru_cache(maxsize=256)
def _name(key: str) -> str:
    # The journal takes capitals, digits and underscores, and 64 of them at most.
    return f"WATCHERD_{re.sub('[^A-Z0-9_]', '_', key.upper())}"[:64]


def _field(name: str, value: object) -> bytes:
    content = exact(str(value))  # a name's own bytes: the journal keeps what is no text as it is
    if b"\n" not in content:
        return b"%s=%s\n" % (name.encode(), content)
    return b"%s\n%s%s\n" % (name.encode(), len(content).to_bytes(8, "little"), content)


class Journal:
    """The end of all loggers: the journal's socket. What it cannot take in time is counted and dropped.

    `notice` renders how many that were, which is said first once it takes events again. Raises OSError where there is
    no journal.
    """

    def __init__(self, notice: Callable[[int], bytes]) -> None:
        self.dropped = 0
        self._notice = notice
        self._lock = Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.connect(ADDRESS)
        except OSError:
            self._socket.close()
            raise

    def write(self, message: bytes) -> None:
        """Send one event. Never raises, and never waits longer than `PATIENCE`."""
        with self._lock:
            try:
                self._socket.settimeout(0.0 if self.dropped else PATIENCE)
                if self.dropped:
                    self._send(self._notice(self.dropped))
                    self.dropped = 0
                self._send(message)
            except OSError:  # nobody listens, or too slowly: there is nobody to tell
                self.dropped += 1

    def _send(self, message: bytes) -> None:
        try:
            self._socket.send(message)
        except OSError as error:
            if error.errno in _TOO_LARGE:
                self._send_file(message)
            elif error.errno in _ANEW:
                self._socket.connect(ADDRESS)
                self._socket.send(message)
            else:
                raise

    def _send_file(self, message: bytes) -> None:
        file = os.memfd_create("event", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(file, message)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            socket.send_fds(self._socket, [], [file])
        finally:
            os.close(file)
