"""The luma plane of a JPEG as it is stored: its coefficients pass from one file into another, and none is decoded.

TurboJPEG does that where the machine has it: exactly, and faster than decoding. What it does not know, or is short of
memory for, is left to be decoded plainly.

It fails alike for an error and for a warning, and tells the error, or the first warning. Damage is a fault of the
file; mere oddities, as cameras make them, are not.
"""

from __future__ import annotations

import ctypes
import re
from ctypes import byref, c_ulong, c_void_p

from watcherd.model import Failure, FileFault
from watcherd.processors.grayscale.turbo import Transform

_GRAY, _PROGRESSIVE, _COPYNONE = 8, 32, 64  # TJXOPT_… in turbojpeg.h

#: How libjpeg words its warnings (jerror.h) of entropy codes that do not fit.
_DAMAGE = re.compile(r"Corrupt JPEG data|Inconsistent progression sequence")
_EXTRA = re.compile(r"(\d+) extraneous bytes before marker 0x(..)")
#: What begins a segment with a length: FFs before it fill up, and some markers stand alone (ISO/IEC 10918-1, B.1).
_MARKER = re.compile(rb"\xff([\x02-\xcf\xda-\xfe])")
_START_OF_SCAN = b"\xda"


def luma(turbo: ctypes.CDLL, jpeg: bytes, *, progressive: bool) -> bytes | None:
    """Return the luma plane of a YCbCr or grey `jpeg` as a JPEG without any description.

    None where it has none, or `turbo` cannot say that it has. Raise `FileFault` where it finds damage.
    """
    handle = turbo.tjInitTransform()
    if not handle:
        return None
    made, size = c_void_p(), c_ulong()
    options = _GRAY | _COPYNONE | (_PROGRESSIVE if progressive else 0)
    try:
        failed = turbo.tjTransform(
            handle, jpeg, len(jpeg), 1, byref(made), byref(size), Transform(options=options), 0
        )
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
    """Whether the extra bytes do no harm: zeros, as some cameras write behind a scan, or bytes between headers."""
    extra = _EXTRA.search(said)
    if extra is None:
        return False
    count, marker = int(extra[1]), bytes.fromhex(f"FF{extra[2]}")
    at = jpeg.find(marker, _behind_headers(jpeg))
    return at < 0 or not jpeg[at - count : at].strip(b"\0")


def _behind_headers(jpeg: bytes) -> int:
    """Return where the first scan begins: a thumbnail in one of the segments before it has scans of its own."""
    at = 2
    while found := _MARKER.search(jpeg, at):
        at = found.end() + int.from_bytes(jpeg[found.end() : found.end() + 2])
        if found[1] == _START_OF_SCAN:
            break
    return at
