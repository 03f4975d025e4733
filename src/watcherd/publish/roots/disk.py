"""When what was written goes to disk: by two calls that Python does not offer, and by whichever is cheaper."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from watcherd import beneath

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Up to this many files are synced one by one: a sync of the file system also writes what strangers left unwritten.
_FEW = 16

#: Errors of a call that the kernel does not know, or a container forbids.
_NOT_OFFERED = {errno.ENOSYS, errno.EPERM}

_WRITE = 2  # SYNC_FILE_RANGE_WRITE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def begin(descriptor: int) -> None:
    """Have the kernel begin to write a file (`sync_file_range(2)`). Whatever fails shows when it is synced."""
    _libc.sync_file_range(descriptor, 0, 0, _WRITE)


def sync_all(descriptor: int) -> bool:
    """Write the whole file system of `descriptor` (`syncfs(2)`); False where that is not offered. Raises OSError."""
    if not _libc.syncfs(descriptor):
        return True
    number = ctypes.get_errno()
    if number in _NOT_OFFERED:
        return False
    raise OSError(number, os.strerror(number))


class Syncs:
    """The syncs of the files in one folder: one by one, or with their whole file system, by what both cost lately."""

    def __init__(self) -> None:
        self._each = 0.001  # seconds a file
        self._whole = 0.0  # seconds a call: untried, so it is tried

    def sync(self, folder: int, names: Sequence[str]) -> None:
        """Write files, and their names, to disk. Raises OSError."""
        whole = len(names) > _FEW and self._whole < self._each * len(names)
        since = time.monotonic()
        if not whole:
            _sync_each(folder, names)
        elif not sync_all(folder):  # as the call is not known, or forbidden
            self._whole = inf
            _sync_each(folder, names)
        self._learn(time.monotonic() - since, len(names), whole=whole)

    def _learn(self, seconds: float, files: int, *, whole: bool) -> None:
        if whole:
            self._whole = (self._whole + seconds) / 2
        else:
            self._each = (self._each + seconds / files) / 2
            self._whole *= 0.9  # what was slow once is tried again after a while


def _sync_each(folder: int, names: Sequence[str]) -> None:
    for name in names:
        with suppress(FileNotFoundError):  # somebody removed it, which is found out before it is missed
            _sync_one(folder, name)
    beneath.sync_names(folder)


def _sync_one(folder: int, name: str) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
