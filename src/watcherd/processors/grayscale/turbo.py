"""TurboJPEG, the library of libjpeg-turbo, where the machine has it: what we have it do.

It is called by the interface that it has kept since version 1.4 (turbojpeg.h: tjInitTransform, tjTransform, tjFree,
tjInitCompress, tjEncodeYUVPlanes, tjDestroy, tjGetErrorStr). Bindings on PyPI want its version 3.

The luma plane of a JPEG passes from one file into another as it is stored, and no coefficient is decoded: exactly,
and faster than decoding. What TurboJPEG does not know, or is short of memory for, is left to be decoded plainly. It
fails alike for an error and for a warning, and tells the error, or the first warning. Damage is a fault of the file;
mere oddities, as cameras make them, are not.

It turns rows into grey as JPEGs need it, which is as Pillow does for each of the 16,777,216 colours. It needs no
fourth byte for a pixel, and uses the processor's vectors: it takes a third of the time.
"""

from __future__ import annotations

import ctypes
import re
from ctypes import Structure, addressof, byref, c_char, c_char_p, c_int, c_ulong, c_void_p
from functools import cache

from watcherd.model import Failure, FileFault

LIBRARY = "libturbojpeg.so.0"
PIXEL = 3  # bytes

_TRANSFORM_GRAY, _PROGRESSIVE, _COPYNONE = 8, 32, 64  # TJXOPT_… in turbojpeg.h
_RGB, _GRAY = 0, 3  # TJPF_RGB, TJSAMP_GRAY

#: How libjpeg words its warnings (jerror.h) of entropy codes that do not fit.
_DAMAGE = re.compile(r"Corrupt JPEG data|Inconsistent progression sequence")
_EXTRA = re.compile(r"(\d+) extraneous bytes before marker 0x(..)")
#: What begins a segment with a length: FFs before it fill up, and some markers stand alone (ISO/IEC 10918-1, B.1).
_MARKER = re.compile(rb"\xff([\x02-\xcf\xda-\xfe])")
_START_OF_SCAN = b"\xda"


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
    """Return TurboJPEG, with the types of the functions that we call; None where it is not installed."""
    try:
        turbo = ctypes.CDLL(LIBRARY)
        turbo.tjInitTransform.restype = turbo.tjInitCompress.restype = c_void_p
        turbo.tjTransform.argtypes = (c_void_p, c_char_p, c_ulong, c_int, c_void_p, c_void_p, c_void_p, c_int)
        turbo.tjEncodeYUVPlanes.argtypes = (c_void_p, c_char_p, *(c_int,) * 4, c_void_p, c_void_p, c_int, c_int)
        turbo.tjGetErrorStr.restype = c_char_p
        turbo.tjFree.argtypes = turbo.tjDestroy.argtypes = (c_void_p,)
    except (OSError, AttributeError):
        return None
    return turbo


def luma(jpeg: bytes, *, progressive: bool) -> bytes | None:
    """Return the luma plane of a YCbCr or grey `jpeg` as a JPEG without any description.

    None where it has none, or TurboJPEG cannot say that it has. Raise `FileFault` where it finds damage.
    """
    turbo = library()
    if turbo is None or not (handle := turbo.tjInitTransform()):
        return None
    made, size = c_void_p(), c_ulong()
    how = _Transform(options=_TRANSFORM_GRAY | _COPYNONE | (_PROGRESSIVE if progressive else 0))
    try:
        failed = turbo.tjTransform(handle, jpeg, len(jpeg), 1, byref(made), byref(size), byref(how), 0)
        if failed:
            _refuse_damage(turbo.tjGetErrorStr().decode("ascii", "replace"), jpeg)
        return None if failed or not made.value else ctypes.string_at(made.value, size.value)
    finally:
        turbo.tjFree(made)
        turbo.tjDestroy(handle)


def _refuse_damage(said: str, jpeg: bytes) -> None:
    if _DAMAGE.match(said) and not _is_padding(said, jpeg):
        raise FileFault(Failure.CORRUPT, f"is damaged: {said}")


def _is_padding(said: str, jpeg: bytes) -> bool:
    """Whether the extra bytes do no harm: zeros, as some cameras write after a scan, or bytes between headers."""
    extra = _EXTRA.search(said)
    if extra is None:
        return False
    count, marker = int(extra[1]), bytes.fromhex(f"FF{extra[2]}")
    at = jpeg.find(marker, _after_headers(jpeg))
    return at < 0 or not jpeg[at - count : at].strip(b"\0")


def _after_headers(jpeg: bytes) -> int:
    """Return where the first scan begins: a thumbnail in one of the segments before it has scans of its own."""
    at = 2
    while found := _MARKER.search(jpeg, at):
        at = found.end() + int.from_bytes(jpeg[found.end() : found.end() + 2])
        if found[1] == _START_OF_SCAN:
            break
    return at


def grey(pixels: bytes, width: int, levels: bytearray, at: int) -> bool:
    """Write the grey of rows of plain pixels to `levels` from `at` on; False where that cannot be done.

    TurboJPEG may not be there, and knows no row beyond 65,500 pixels. Raises ValueError where `levels` is too short.
    """
    turbo = library()
    if turbo is None or not (handle := turbo.tjInitCompress()):
        return False
    rows = len(pixels) // (width * PIXEL)
    try:
        plane = (c_char * (width * rows)).from_buffer(levels, at)  # checks that nothing is written beyond `levels`
        return not turbo.tjEncodeYUVPlanes(
            handle, pixels, width, 0, rows, _RGB, byref(c_void_p(addressof(plane))), None, _GRAY, 0
        )
    finally:
        turbo.tjDestroy(handle)
