"""The luma plane of a JPEG as it is stored: its coefficients pass from one file into another, and none is decoded.

TurboJPEG, the library of libjpeg-turbo, does that where the machine has it: exactly, and faster than decoding. It is
called by the interface that it has kept since version 1.2 (turbojpeg.h: tjInitTransform, tjTransform, tjFree,
tjDestroy). What it does not know, is short of memory for, or as much as warns of, it leaves to be decoded plainly.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_ulong, c_void_p
from functools import cache

LIBRARY = "libturbojpeg.so.0"

_GRAY, _PROGRESSIVE, _COPYNONE = 8, 32, 64  # TJXOPT_… in turbojpeg.h


class _Transform(Structure):
    """`tjtransform`: the crop region, the geometry (none of both here), options, and a filter (none)."""

    _fields_ = (
        ("region", c_int * 4),
        ("operation", c_int),
        ("options", c_int),
        ("data", c_void_p),
        ("filter", c_void_p),
    )


@cache
def library() -> ctypes.CDLL | None:
    """Return TurboJPEG with the types of what is called of it; None where it is not installed."""
    try:
        turbo = ctypes.CDLL(LIBRARY)
        turbo.tjInitTransform.restype = c_void_p
        turbo.tjTransform.argtypes = (
            c_void_p,
            c_char_p,
            c_ulong,
            c_int,
            POINTER(c_void_p),
            POINTER(c_ulong),
            POINTER(_Transform),
            c_int,
        )
        turbo.tjFree.argtypes = turbo.tjDestroy.argtypes = (c_void_p,)
    except (OSError, AttributeError):
        return None
    return turbo


def luma(turbo: ctypes.CDLL, jpeg: bytes, *, progressive: bool) -> bytes | None:
    """Return the luma plane of a YCbCr or grey `jpeg` as a JPEG without any description.

    None where it has none, or `turbo` says anything but success.
    """
    handle = turbo.tjInitTransform()
    if not handle:
        return None
    made, size = c_void_p(), c_ulong()
    options = _GRAY | _COPYNONE | (_PROGRESSIVE if progressive else 0)
    try:
        failed = turbo.tjTransform(
            handle, jpeg, len(jpeg), 1, byref(made), byref(size), _Transform(options=options), 0
        )
        return None if failed or not made.value else ctypes.string_at(made.value, size.value)
    finally:
        turbo.tjFree(made)
        turbo.tjDestroy(handle)
