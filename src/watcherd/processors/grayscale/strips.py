"""Grey of uncompressed pixels, some rows at a time, so that the picture in colour is never in memory as a whole.

That would take four times the memory of the grey one, and one more pass of writing and reading.

TurboJPEG turns rows into grey as JPEGs need it, which is as Pillow does for each of the 16,777,216 colours. It needs
no fourth byte for a pixel, and uses the processor's vectors: it takes a third of the time.
"""

from __future__ import annotations

from ctypes import addressof, byref, c_char, c_void_p
from typing import TYPE_CHECKING, cast

from PIL import Image

from watcherd.processors.grayscale import turbo

if TYPE_CHECKING:
    from PIL import ImageFile

    from watcherd.processors.grayscale.frames import Box
    from watcherd.processors.grayscale.reader import Reader

BAND = 1 << 18  # bytes: a core's cache holds them, and their pixels
PIXEL = 3  # bytes
PLAIN = ("RGB", 0, 1)  # as Pillow has it: three bytes in this order, no padding, the first row first

_RGB, _GRAY = 0, 3  # TJPF_RGB, TJSAMP_GRAY in turbojpeg.h


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
    step = max(1, BAND // (width * PIXEL))
    reader.seek(strip.offset)
    for start in range(top, bottom, step):
        end = min(start + step, bottom)
        pixels = reader.read((end - start) * width * PIXEL)
        if len(pixels) < (end - start) * width * PIXEL:
            raise ValueError("not enough image data")
        if not grey_by_turbojpeg(pixels, width, levels, start * width):
            levels[start * width : end * width] = grey_by_pillow(pixels, width)


def grey_by_turbojpeg(pixels: bytes, width: int, levels: bytearray, at: int) -> bool:
    """Write the grey of rows of plain pixels to `levels` from `at` on; False where that cannot be done.

    TurboJPEG may not be there, and knows no row beyond 65,500 pixels. Raises ValueError where `levels` is too short.
    """
    library = turbo.library()
    handle = library.tjInitCompress() if library else None
    if library is None or not handle:
        return False
    rows = len(pixels) // (width * PIXEL)
    try:
        plane = (c_char * (width * rows)).from_buffer(levels, at)  # checks that nothing is written beyond `levels`
        return not library.tjEncodeYUVPlanes(
            handle, pixels, width, 0, rows, _RGB, byref(c_void_p(addressof(plane))), None, _GRAY, 0
        )
    finally:
        library.tjDestroy(handle)


def grey_by_pillow(pixels: bytes, width: int) -> bytes:
    """Return the grey of rows of plain pixels."""
    return Image.frombytes("RGB", (width, len(pixels) // (width * PIXEL)), pixels).convert("L").tobytes()
