"""TurboJPEG, the library of libjpeg-turbo, where the machine has it.

It is called by the interface that it has kept since version 1.4 (turbojpeg.h: tjInitTransform, tjTransform, tjFree,
tjInitCompress, tjEncodeYUVPlanes, tjDestroy, tjGetErrorStr). Bindings on PyPI want its version 3.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_int, c_ulong, c_void_p
from functools import cache

LIBRARY = "libturbojpeg.so.0"


class Transform(Structure):
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
    """Return TurboJPEG, with the types of the functions that we call; None where it is not installed."""
    try:
        turbo = ctypes.CDLL(LIBRARY)
        turbo.tjInitTransform.restype = turbo.tjInitCompress.restype = c_void_p
        turbo.tjTransform.argtypes = (
            c_void_p,
            c_char_p,
            c_ulong,
            c_int,
            POINTER(c_void_p),
            POINTER(c_ulong),
            POINTER(Transform),
            c_int,
        )
        turbo.tjEncodeYUVPlanes.argtypes = (
            c_void_p,
            c_char_p,
            *(c_int,) * 4,
            POINTER(c_void_p),
            POINTER(c_int),
            *(c_int,) * 2,
        )
        turbo.tjGetErrorStr.restype = c_char_p
        turbo.tjFree.argtypes = turbo.tjDestroy.argtypes = (c_void_p,)
    except (OSError, AttributeError):
        return None
    return turbo
