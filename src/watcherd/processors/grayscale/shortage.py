"""Whether a library failed for want of memory: many of them word that as they word damage, or a bug of their own.

What is left of it is the C library's `errno`: a failed malloc sets it, and neither freeing what was had till then nor
Pillow's way back to us writes over it. But it is a thread's own, and so says nothing of a codec with threads of its
own. Where those can no longer mean damage, as nothing is decoded any more, a trial tells: whether what the picture
takes could still be had.
"""

from __future__ import annotations

import ctypes
import errno
import mmap

_location = ctypes.CDLL(None)["__errno_location"]  # glibc's and musl's name of it
_location.restype = ctypes.c_void_p


def forget() -> None:
    """Begin anew, before a library is called."""
    _errno().value = 0


def seen() -> bool:
    """Whether this thread was refused memory since; to be asked before any other call that may fail."""
    return _errno().value == errno.ENOMEM


def would_recur(size: int) -> bool:
    """Whether `size` bytes cannot be had now."""
    try:
        mmap.mmap(-1, max(1, size)).close()
    except OSError:
        return True
    return False


def _errno() -> ctypes.c_int:
    return ctypes.c_int.from_address(_location())
