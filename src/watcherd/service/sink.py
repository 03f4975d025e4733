"""Where lines of log go: to a stream that anybody may close or forget to read.

A reader that is gone, stuck or out of disk costs lines, never the daemon: `log.dropped` says how many, once it reads
again.
"""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, TextIO

from watcherd.service.journal import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable


class Sink:
    """The end of all loggers: whole lines to one stream. What it cannot take in time is counted and dropped.

    `notice` renders how many that were, which is said first once it takes lines again.
    """

    def __init__(self, notice: Callable[[int], bytes], stream: TextIO) -> None:
        self.dropped = 0
        self._cut = False
        self._notice = notice
        self._stream = stream
        self._descriptor = _unshared(stream.fileno())
        self._room = select.poll()
        self._room.register(self._descriptor, select.POLLOUT)
        self._lock = Lock()

    def write(self, line: bytes) -> None:
        """Write one line. Never raises, and never waits longer than `PATIENCE`."""
        with self._lock:
            try:
                # The number of a stream that is closed may be another file's by now.
                is_out = not self._stream.closed and self._put(memoryview(self._owed() + line))
            except OSError:  # EPIPE, ENOSPC, EIO of a closed terminal: there is nobody to tell
                is_out = False
            self.dropped = 0 if is_out else self.dropped + 1

    def _owed(self) -> bytes:
        """Return what is to be said first: the end of a line that was cut short, and how many were dropped."""
        notice = self._notice(self.dropped) if self.dropped else b""
        return b"\n" + notice if self._cut else notice

    def _put(self, rest: memoryview) -> bool:
        # A pipe that polls as writable takes PIPE_BUF bytes without waiting. Its O_NONBLOCK is not ours to set: the
        # open file is shared with the shell.
        ends = time.monotonic() + (0.0 if self.dropped else PATIENCE)
        while rest and self._room.poll(max(0.0, ends - time.monotonic()) * 1000):
            rest = rest[os.write(self._descriptor, rest[: select.PIPE_BUF]) :]
            self._cut = bool(rest)
        return not rest


def _unshared(descriptor: int) -> int:
    """Open a terminal anew, to set O_NONBLOCK for us alone: one that polls as writable may block after one byte."""
    with suppress(OSError):  # another user's, after `su`
        if os.isatty(descriptor):
            return os.open(f"/dev/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return descriptor
