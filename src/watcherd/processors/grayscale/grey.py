"""From a picture to its grey one, and what of its description still holds then."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

#: One channel that is wider than a byte: grey already, and `convert("L")` would clip it.
DEEP = frozenset({"I", "F", "I;16"})

#: The 256 greys in their order.
PALETTE = bytes(level for level in range(256) for _ in "rgb")

#: Dots per inch that every format can say.
LARGEST = 0xFFFF

ORIENTATION = 274  # in EXIF, and in TIFF


def grey(image: Image.Image) -> Image.Image:
    """Decode a frame and return its grey picture: mode L, LA where there is transparency, or its own deep mode.

    A deep picture (16 or 32 bits, or floats) has one channel and stays as it is. Pillow reads 16 bits with colour or
    with transparency as 8 bits, as it has no mode for them; of those the grey picture has 8, too.
    """
    image.load()
    _disarm(image)
    picture = _converted(image)
    picture.info.clear()  # or a writer would take from it what no longer holds
    return picture


def _converted(image: Image.Image) -> Image.Image:
    if image.mode in DEEP:
        return image.copy()
    if image.mode.startswith("I;16"):  # another order of bytes: Pillow's own way from one to the other has 8 bits
        return image.convert("I").convert("I;16")
    if image.mode == "LAB":
        image = image.convert("RGB")
    return image.convert("LA" if image.has_transparency_data else "L")


def described(image: Image.Image) -> dict[str, Any]:
    """Return what all writers understand: EXIF, grey ICC profile, resolution, XMP; only what there is."""
    info = image.info
    known = {
        "exif": _exif_block(info.get("exif")),
        "icc_profile": grey_profile(info.get("icc_profile")),
        "dpi": resolution(info),
        "xmp": info.get("xmp"),
    }
    return {key: value for key, value in known.items() if value}


def _disarm(image: Image.Image) -> None:
    # A PNG's texts land in `info` under their own keys: one called "transparency" is no transparency.
    key = image.info.get("transparency")
    sound = isinstance(key, (int, bytes)) or (isinstance(key, tuple) and all(isinstance(part, int) for part in key))
    if key is not None and not sound:
        del image.info["transparency"]


def grey_profile(profile: object) -> bytes | None:
    """Return an ICC profile where it describes grey: one for RGB or CMYK would make a grey picture invalid."""
    return profile if isinstance(profile, bytes) and profile[16:20] == b"GRAY" else None


def resolution(info: Mapping[Any, Any]) -> tuple[float, float] | None:
    """Return (horizontal, vertical) dots per inch, where the file gives any that make sense."""
    try:
        across, down = (float(value) for value in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    sound = all(math.isfinite(value) and 0 < value <= LARGEST for value in (across, down))
    return (across, down) if sound else None


def _exif_block(block: object) -> bytes | None:
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
    exif = Image.Exif()
    try:
        exif.load(body)
    except Exception:  # noqa: BLE001 (whatever a reader would trip over: the picture is worth more than its EXIF)
        return False
    return len(exif) > 0


def rewritable(block: bytes) -> bool:
    """Whether Pillow can put an EXIF block together anew: not where a value has another type than its tag."""
    exif = Image.Exif()
    exif.load(block)
    try:
        exif.tobytes()
    except Exception:  # noqa: BLE001 (it checks nothing itself)
        return False
    return True


def orientation_alone(block: bytes) -> bytes:
    """Return an EXIF block that has the orientation of another, and nothing else."""
    exif = Image.Exif()
    exif.load(block)
    return oriented(exif.get(ORIENTATION))


def oriented(orientation: object) -> bytes:
    """Return an EXIF block that has that orientation, where it is one, and nothing else."""
    alone = Image.Exif()
    if isinstance(orientation, int) and orientation in range(1, 9):
        alone[ORIENTATION] = orientation
    return alone.tobytes()
