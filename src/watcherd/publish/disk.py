"""When what was written goes to disk: the two calls for that which Python does not offer."""

from __future__ import annotations

import ctypes
import os

_WRITE = 2  # SYNC_FILE_RANGE_WRITE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def begin(descriptor: int) -> None:
    """Have the kernel begin to write a file (`sync_file_range(2)`). Whatever fails shows when it is synced."""
    _libc.sync_file_range(descriptor, 0, 0, _WRITE)


def sync_all(descriptor: int) -> None:
    """Write the whole file system of `descriptor` (`syncfs(2)`). Raises OSError."""
    if _libc.syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
