"""From a picture to its grey one, and which part of its description still holds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from watcherd.processors.grayscale import exif

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image

#: One channel that is wider than a byte: grey already, and `convert("L")` would clip it.
DEEP = frozenset({"I", "F", "I;16"})

#: The 256 greys in their order.
PALETTE = bytes(level for level in range(256) for _ in "rgb")

#: The most dots per inch that every format can state.
LARGEST = 0xFFFF


def grey(image: Image.Image) -> Image.Image:
    """Decode a frame and return its grey picture: mode L, LA where there is transparency, or its own deep mode.

    A deep picture (16 or 32 bits, or floats) has one channel and stays as it is. Pillow has no mode for 16 bits with
    colour or transparency and reads them as 8 bits, so the grey picture has 8, too.
    """
    image.load()
    if isinstance(image.info.get("transparency"), str):  # a PNG's text of that key, and no transparency
        del image.info["transparency"]
    picture = _converted(image)
    picture.info.clear()  # or a writer would use what no longer holds
    return picture


def _converted(image: Image.Image) -> Image.Image:
    if image.mode in DEEP:
        return image.copy()
    if image.mode.startswith("I;16"):  # another order of bytes: directly, Pillow would go through 8 bits
        return image.convert("I").convert("I;16")
    if image.mode == "LAB":
        image = image.convert("RGB")
    return image.convert("LA" if image.has_transparency_data else "L")


def described(image: Image.Image) -> dict[str, Any]:
    """Return what all writers understand, as far as it is there: EXIF, grey ICC profile, resolution, XMP."""
    info = image.info
    known = {
        "exif": exif.without_thumbnail(info.get("exif")),
        "icc_profile": grey_profile(info.get("icc_profile")),
        "dpi": resolution(info),
        "xmp": info.get("xmp"),
    }
    return {key: value for key, value in known.items() if value}


def grey_profile(profile: object) -> bytes | None:
    """Return an ICC profile where it describes grey: one for RGB or CMYK would make a grey picture invalid."""
    return profile if isinstance(profile, bytes) and profile[16:20] == b"GRAY" else None


def resolution(info: Mapping[Any, Any]) -> tuple[float, float] | None:
    """Return (horizontal, vertical) dots per inch, where the file gives any that make sense."""
    dpi = info.get("dpi")
    if not isinstance(dpi, tuple):  # none, or a PNG's text of that name
        return None
    try:
        across, down = map(float, dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    sound = all(math.isfinite(value) and 0 < value <= LARGEST for value in (across, down))
    return (across, down) if sound else None
