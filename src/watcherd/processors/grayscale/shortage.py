"""Whether a library failed for want of memory: many report that as damage, or as a bug of their own.

The trace of it is the C library's `errno`: a failed malloc sets it, and neither freeing what there was before nor
Pillow's way back to us overwrites it. Each thread has its own, so codecs must have no threads of theirs.
"""

from __future__ import annotations

import ctypes
import errno

_location = ctypes.CDLL(None)["__errno_location"]  # glibc's and musl's name of it
_location.restype = ctypes.c_void_p


def forget() -> None:
    """Begin anew, before a library is called."""
    _errno().value = 0


def seen() -> bool:
    """Whether this thread was refused memory since; to be asked before any other call that may fail."""
    return _errno().value == errno.ENOMEM


def _errno() -> ctypes.c_int:
    return ctypes.c_int.from_address(_location())
