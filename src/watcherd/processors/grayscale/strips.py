"""Grey of pixels that lie in a file as they are: some rows at a time, so that the picture in colour is never whole.

It would take four times the memory of the grey one, and be written and read once more on the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from PIL import ImageFile

    from watcherd.processors.grayscale.source import Reader

BAND = 1 << 18  # bytes: a core's cache holds them, and their pixels
PIXEL = 3  # bytes
PLAIN = ("RGB", 0, 1)  # as Pillow has it: three bytes in this order, no padding, the first row first


def grey_of_strips(image: ImageFile.ImageFile, reader: Reader) -> Image.Image | None:
    """Return what `convert("L")` gives, of pixels that are three plain bytes each; None where they are anything else.

    Raises ValueError where they end too early.
    """
    strips = [_strip(tile, image.width) for tile in image.tile]
    if image.mode != "RGB" or image.has_transparency_data or not all(strips):
        return None
    picture = Image.new("L", image.size)
    for strip in filter(None, strips):
        _fill(picture, *strip, reader)
    return picture


def _strip(tile: ImageFile._Tile, width: int) -> tuple[int, int, int] | None:
    """Return the first row of a strip of plain pixels, the one behind its last, and where it lies."""
    codec, extents, offset, arguments = tile
    whole = extents is not None and (extents[0], extents[2]) == (0, width)
    return (extents[1], extents[3], offset) if extents and whole and (codec, arguments) == ("raw", PLAIN) else None


def _fill(picture: Image.Image, top: int, bottom: int, offset: int, reader: Reader) -> None:
    row = picture.width * PIXEL
    step = max(1, BAND // row)
    band = Image.new("RGB", (picture.width, step))  # memory that is used again is in the cache already
    reader.seek(offset)
    for start in range(top, bottom, step):
        if bottom - start < band.height:
            band = Image.new("RGB", (picture.width, bottom - start))
        band.frombytes(reader.read(band.height * row), "raw", *PLAIN)
        picture.paste(band.convert("L"), (0, start))
