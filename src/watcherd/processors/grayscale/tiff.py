"""TIFF: page by page, each with its own compression, resolution and description."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, cast

from PIL import Image, ImagePalette, TiffImagePlugin

from watcherd.model import Failure, FileFault
from watcherd.processors.grayscale import bounds, turbo
from watcherd.processors.grayscale.frames import reach
from watcherd.processors.grayscale.grey import DEEP, grey, grey_profile
from watcherd.processors.grayscale.source import Written, decoding, encoding
from watcherd.processors.grayscale.tags import PAGE_NUMBER, complete, describing, hanging_on, orientation_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from PIL import ImageFile

    from watcherd.processors.grayscale.frames import Box
    from watcherd.processors.grayscale.reader import Reader
    from watcherd.processors.grayscale.tags import Tags

#: Compressions that hold any grey picture unchanged; JPEG holds mode L. The rest (fax, log-luminance, WebP) becomes
#: Deflate, which loses nothing.
LOSSLESS = frozenset({"raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "lzma", "zstd"})
PREDICTED = frozenset({"tiff_lzw", "tiff_adobe_deflate", "tiff_deflate"})
JPEG_QUALITY = 90

PREDICTOR = 317
HORIZONTAL = 2
PROFILE = 34675
PHOTOMETRIC, WHITE_IS_ZERO, YCBCR = 262, 0, 6
SUBSAMPLING, ONE, FOUR = 530, (1, 1), (2, 2)  # how many pixels share a colour; four by default
BITS, TWELVE = 258, (12,)
SAMPLES, UNSIGNED, SIGNED = 339, (1,), (2,)  # what kind of numbers the levels are
COLOURS = 320
DATA = (273, 279), (324, 325)  # offsets and lengths, of strips or of tiles

BAND = 1 << 18  # bytes: a core's cache holds them, and their pixels
PLAIN = ("RGB", 0, 1)  # as Pillow has it: three bytes in this order, no padding, the first row first

#: What libtiff returns in the machine's order of bytes, and Pillow takes for the file's, high byte first.
NATIVE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}


class _Pages(TiffImagePlugin.AppendingTiffWriter):
    """Pages one after the other. `newFrame` finishes each, so there is nothing left to do at the end.

    Pillow's own `close` looks for one more page, and the interpreter calls it again when the writer is gone. Pillow
    also goes through all pages after each, which takes most of the time from a few hundred on.
    """

    _last = 4  # where the link is that leads to no page yet: at first in the header

    def skipIFDs(self) -> None:  # noqa: N802 (Pillow's name)
        """Go to the last link."""
        self.f.seek(self._last)
        super().skipIFDs()
        self._last = self.f.tell() - 4

    def close(self) -> None:
        """Do nothing."""


def write_tiff(image: ImageFile.ImageFile, reader: Reader) -> Written:
    """Write all pages.

    A BigTIFF becomes a classic one: what fits into a worker's memory needs no long offsets, and libtiff does not
    write them through Pillow.

    Pillow turns pages upright as it reads them, so no page needs its orientation tag any more.
    """
    opened, target = cast("TiffImagePlugin.TiffImageFile", image), io.BytesIO()
    mode, numbers = "L", list[object]()
    with decoding(reader):
        hanging = hanging_on(opened)
    with _Pages(target) as pages:
        while reach(image, reader, len(numbers)):
            mode, number = _append(pages, opened, reader, () if numbers else hanging)
            numbers.append(number)
    complete(target, hanging, numbers)
    return Written(memoryview(target.getvalue()), mode, len(numbers))


def _append(
    pages: _Pages, image: TiffImagePlugin.TiffImageFile, reader: Reader, hanging: Iterable[int]
) -> tuple[str, object]:
    """Write the page that `image` is at, with room for what is to hang on it; return its mode and number."""
    bounds.check(image, reader)  # one page says nothing of the next
    with decoding(reader):
        tags, name = image.tag_v2, image.info.get("compression", "raw")
        _expect(tags, reader)
        _refuse_shared_colours(tags, name)
        orientation = orientation_of(tags)  # Pillow forgets it as it turns the page
        description = describing(tags, orientation, name)
        description.update(dict.fromkeys(hanging, 0))
        picture = _picture(image, orientation, reader)
        _keep_meaning(picture, tags, description)
        options = _compression(picture, tags, name, description)
        profile = grey_profile(tags.get(PROFILE))
    with encoding("TIFF", picture):
        picture.save(pages, "TIFF", icc_profile=profile, tiffinfo=description, **options)
        pages.newFrame()
    return picture.mode, description.get(PAGE_NUMBER)


def _picture(image: TiffImagePlugin.TiffImageFile, orientation: object, reader: Reader) -> Image.Image:
    """Decode the page, in grey. Pillow itself turns it upright."""
    if orientation == 1 and (picture := grey_of_strips(image, reader)):
        return picture
    _keep_small_colours(image)
    image.tile = [_in_own_order(tile) for tile in image.tile]
    picture = grey(image)
    _refuse_highest_levels(picture, image.tag_v2)
    return _of_sixteen_bits(picture) if image.tag_v2.get(BITS) == TWELVE else picture


def grey_of_strips(image: ImageFile.ImageFile, reader: Reader) -> Image.Image | None:
    """Return what `convert("L")` does, some rows at a time, where pixels are three plain bytes each; else None.

    So the picture in colour is never in memory as a whole: that would take four times the memory of the grey one, and
    one more pass of writing and reading. Raises ValueError where pixels end too early.
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


def _keep_small_colours(image: TiffImagePlugin.TiffImageFile) -> None:
    """Read colours of 8 bits as such, as libtiff does: old programs wrote them in place of ones of 16."""
    levels = _numbers(image.tag_v2.get(COLOURS))
    if image.mode in {"P", "PA"} and levels and set(levels).issubset(range(256)):
        image.palette = ImagePalette.raw("RGB;L", bytes(levels))


def _of_sixteen_bits(picture: Image.Image) -> Image.Image:
    """Return 12 bits spread over 16: Pillow, which writes no 12, reads them unchanged, and white as nearly black."""
    return picture.point(lambda value: value * (0xFFFF / 0xFFF) + 0.5)


def _keep_meaning(picture: Image.Image, tags: Tags, description: Tags) -> None:
    """Keep the meaning of numbers that Pillow reads unchanged: deep ones down from white, bytes with a sign."""
    if picture.mode in DEEP and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        description[PHOTOMETRIC] = WHITE_IS_ZERO
    if picture.mode == "L" and tags.get(SAMPLES) == SIGNED:
        description[SAMPLES] = SIGNED


def _in_own_order(tile: ImageFile._Tile) -> ImageFile._Tile:
    if tile.codec_name != "libtiff" or not isinstance(tile.args, tuple):
        return tile
    raw, *others = tile.args
    return tile._replace(args=(NATIVE.get(raw, raw), *others))


def _expect(tags: Tags, reader: Reader) -> None:
    """Note where strips or tiles reach beyond the end: libtiff fails there, and does not say why."""
    for offsets, lengths in DATA:
        pairs = zip(_numbers(tags.get(offsets)), _numbers(tags.get(lengths)), strict=False)
        reader.starved |= any(offset + length > reader.size for offset, length in pairs)


def _refuse_shared_colours(tags: Tags, name: str) -> None:
    """Refuse plain pixels that share colours: Pillow takes each for a whole one, and reads on."""
    if name == "raw" and tags.get(PHOTOMETRIC) == YCBCR and tags.get(SUBSAMPLING, FOUR) != ONE:
        why = "is uncompressed, and has one colour for several pixels: save it compressed, or as RGB"
        raise FileFault(Failure.UNSUPPORTED, why)


def _refuse_highest_levels(picture: Image.Image, tags: Tags) -> None:
    """Refuse the upper half of 32 bits without a sign: Pillow reads a sign, and these would be below black."""
    is_unsigned = picture.mode == "I" and tags.get(SAMPLES, UNSIGNED) == UNSIGNED
    if is_unsigned and cast("int", picture.getextrema()[0]) < 0:
        raise FileFault(Failure.UNSUPPORTED, "has levels of 32 bits beyond 2,147,483,647: save it with 16 bits")


def _numbers(value: object) -> tuple[int, ...]:
    values = value if isinstance(value, tuple) else (value,)
    return tuple(number for number in values if isinstance(number, int))


def _compression(picture: Image.Image, tags: Tags, name: str, description: Tags) -> dict[str, Any]:
    if name == "jpeg" and picture.mode == "L":
        return {"compression": name, "quality": JPEG_QUALITY}
    if name not in LOSSLESS:
        name = "tiff_adobe_deflate"
    if name in PREDICTED and picture.mode != "F" and tags.get(PREDICTOR) == HORIZONTAL:
        description[PREDICTOR] = HORIZONTAL
    return {"compression": name}
