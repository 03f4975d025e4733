"""Which EXIF is kept: all of it, or only the orientation where it cannot be written."""

from __future__ import annotations

import re
import struct

from PIL import Image

ORIENTATION = 274  # as in TIFF
LYING = frozenset({5, 6, 7, 8})  # orientations whose rows are columns

#: Where Pillow looks for an orientation in XMP.
XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:="|>))([0-9])')


def without_thumbnail(block: object) -> bytes | None:
    """Return an EXIF block without its thumbnail, which is in colour; None where there is none, or it is damaged.

    The bytes stay where they are, as maker notes point at each other by offset: only the link from the first
    directory to the second, the thumbnail's, is cut.
    """
    if not isinstance(block, bytes):
        return None
    body = block.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(body[:4])
    if order is None or not _readable(body):
        return None
    (start,) = struct.unpack_from(order + "L", body, 4)
    (count,) = struct.unpack_from(order + "H", body, start)
    link = start + 2 + 12 * count
    return b"Exif\0\0" + body[:link] + bytes(len(body[link : link + 4])) + body[link + 4 :]


def _readable(body: bytes) -> bool:
    try:
        return len(_loaded(body)) > 0
    except Exception:  # noqa: BLE001 (whatever a reader would trip over: the picture is worth more than its EXIF)
        return False


def _loaded(block: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(block)
    return exif


def rewritable(block: bytes) -> bool:
    """Whether Pillow can put an EXIF block together anew: not where a value has another type than its tag."""
    exif = _loaded(block)
    try:
        exif.tobytes()
    except Exception:  # noqa: BLE001 (it checks nothing itself)
        return False
    return True


def orientation(block: bytes) -> object:
    """Return how an EXIF block says that the picture is turned."""
    return _loaded(block).get(ORIENTATION)


def upright(block: bytes) -> bytes:
    """Return an EXIF block without its orientation; empty where that was all, or it cannot be rewritten."""
    if not rewritable(block):
        return b""
    exif = _loaded(block)
    del exif[ORIENTATION]
    return exif.tobytes() if exif else b""


def upright_xmp(xmp: bytes) -> bytes:
    """Return XMP that calls the picture upright, if it says how it is turned."""
    return XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def orientation_alone(told: object) -> bytes:
    """Return an EXIF block with the orientation `told`, if it is a valid one, and nothing else."""
    alone = Image.Exif()
    if isinstance(told, int) and told in range(1, 9):
        alone[ORIENTATION] = told
    return alone.tobytes()
