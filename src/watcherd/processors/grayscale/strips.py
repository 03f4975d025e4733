"""Grey of uncompressed pixels, some rows at a time, so that the picture in colour is never in memory as a whole.

That would take four times the memory of the grey one, and one more pass of writing and reading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from PIL import Image

from watcherd.processors.grayscale import turbo

if TYPE_CHECKING:
    from PIL import ImageFile

    from watcherd.processors.grayscale.frames import Box
    from watcherd.processors.grayscale.reader import Reader

BAND = 1 << 18  # bytes: a core's cache holds them, and their pixels
PLAIN = ("RGB", 0, 1)  # as Pillow has it: three bytes in this order, no padding, the first row first


def grey_of_strips(image: ImageFile.ImageFile, reader: Reader) -> Image.Image | None:
    """Return what `convert("L")` does, where pixels are three plain bytes each; else None.

    Raises ValueError where they end too early.
    """
    is_plain = all(_is_plain(tile, image.width) for tile in image.tile)
    if image.mode != "RGB" or image.has_transparency_data or not is_plain:
        return None
    levels = bytearray(image.width * image.height)
    for tile in image.tile:
        _fill(levels, image.width, tile, reader)
    return Image.frombuffer("L", image.size, levels, "raw", "L", 0, 1)


def _is_plain(tile: ImageFile._Tile, width: int) -> bool:
    codec, extents, _, arguments = tile
    if extents is None or (codec, arguments) != ("raw", PLAIN):
        return False
    left, top, right, bottom = extents
    return (left, right) == (0, width) and top < bottom  # without rows: Pillow tells what is wrong


def _fill(levels: bytearray, width: int, strip: ImageFile._Tile, reader: Reader) -> None:
    _, top, _, bottom = cast("Box", strip.extents)
    row = width * turbo.PIXEL
    step = max(1, BAND // row)
    reader.seek(strip.offset)
    for start in range(top, bottom, step):
        end = min(start + step, bottom)
        pixels = reader.read((end - start) * row)
        if len(pixels) < (end - start) * row:
            raise ValueError("not enough image data")
        if not turbo.grey(pixels, width, levels, start * width):
            levels[start * width : end * width] = grey_by_pillow(pixels, width)


def grey_by_pillow(pixels: bytes, width: int) -> bytes:
    """Return the grey of rows of plain pixels."""
    return Image.frombytes("RGB", (width, len(pixels) // (width * turbo.PIXEL)), pixels).convert("L").tobytes()
