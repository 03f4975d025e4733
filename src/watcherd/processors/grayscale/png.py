"""PNG and APNG: lossless, and as fast as the picture allows.

Pillow's writer of several frames holds all of them and joins neighbours that are equal (two colours of one brightness
become one frame); here each frame is encoded by itself, cut to what changed, and its chunks are set into one file.
"""

from __future__ import annotations

import io
import itertools
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, cast

from PIL import Image, PngImagePlugin
from PIL.PngImagePlugin import Blend, Disposal, putchunk

from watcherd.model import Failure, FileFault
from watcherd.processors.grayscale.container import SIGNATURE, require_sound_chunks
from watcherd.processors.grayscale.frames import DOT, Box, changed, frames
from watcherd.processors.grayscale.grey import DEEP, PALETTE, described, grey
from watcherd.processors.grayscale.source import Written, decoding, save

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from PIL import ImageFile

    from watcherd.processors.grayscale.reader import Reader

AFTER_IHDR = len(SIGNATURE) + 25
HUFFMAN = {"compress_type": 2, "compress_level": 1}
RLE = {"compress_type": 3, "compress_level": 1}
DEFLATE = {"compress_type": 0, "compress_level": 6}
SAMPLE, BAND = 64, 8  # rows
WORTH = 1.05  # how much larger a file may be for being written several times as fast
LONG_TEXT = 1024  # characters from which compressing pays
LARGEST = 0xFFFF
SHORT = {"L;2": 0xFF // 0b11, "L;4": 0xFF // 0b1111}  # how Pillow calls levels of less than 8 bits, and spreads them


def write_png(image: ImageFile.ImageFile, reader: Reader) -> Written:
    """Write losslessly, with the texts, the tone curve and the frames of the source."""
    with decoding(reader), reader.ahead():
        require_sound_chunks(reader)
    _fit_key(image)
    if getattr(image, "n_frames", 1) > 1:
        return _write_frames(image, reader)
    with decoding(reader):
        picture = grey(image)
        if reader.starved:  # Pillow does not miss the chunks after the pixels
            raise FileFault(Failure.TRUNCATED, "ends before its last chunk does")
        options = _options(image)
    mode = picture.mode  # which encoding may change
    return Written(_shaped(image, _encode(picture, options)), mode)


def _fit_key(image: ImageFile.ImageFile) -> None:
    """Convert the transparent level or colour to 8 bits, as pixels are read: Pillow leaves it as it is stored."""
    key, stored_as = image.info.get("transparency"), str(image.tile[0].args) if image.tile else ""
    if stored_as in SHORT and isinstance(key, int):
        image.info["transparency"] = key * SHORT[stored_as] & 0xFF
    elif stored_as == "RGB;16B" and isinstance(key, tuple):
        image.info["transparency"] = tuple(level >> 8 for level in key)


def _options(image: Image.Image) -> dict[str, object]:
    options = described(image) | {"pnginfo": _chunks(image)}
    options.pop("xmp", None)  # it is one of the texts
    key = image.info.get("transparency")
    if image.mode == "I;16" and isinstance(key, int):
        options["transparency"] = key  # with 16 bits there is no LA
    return options


def _chunks(image: Image.Image) -> PngImagePlugin.PngInfo:
    """Return the chunks that Pillow does not write by itself: texts, and how grey values become light.

    Of an animation, the texts before its second frame: we do not wait for those after the last one.
    """
    kept = PngImagePlugin.PngInfo()
    for key, text in cast("PngImagePlugin.PngImageFile", image).text.items():
        kept.add_text(key, text, zip=len(text) > LONG_TEXT)
    if isinstance(gamma := image.info.get("gamma"), float):
        kept.add(b"gAMA", struct.pack(">I", round(gamma * 100_000)))
    if isinstance(intent := image.info.get("srgb"), int):
        kept.add(b"sRGB", bytes([intent]))
    return kept


def _encode(picture: Image.Image, options: Mapping[str, object]) -> memoryview:
    """Encode in the fastest way that a sample shows to cost little."""
    if picture.mode == "L":
        thorough = len(save(_sample(picture), "PNG", **DEFLATE))
        if len(_unfiltered(_sample(picture), {})) <= WORTH * thorough:
            return _unfiltered(picture, options)
    return save(picture, "PNG", **options, **deflation(picture))


def deflation(picture: Image.Image) -> dict[str, int]:
    """Choose run lengths over the search for repetitions where a sample shows that searching finds nothing.

    For the fine noise of cameras that is several times as fast, and no larger.
    """
    sample = _sample(picture)
    fast, thorough = (len(save(sample, "PNG", **options)) for options in (RLE, DEFLATE))
    return RLE if fast <= thorough * WORTH else DEFLATE


def _sample(picture: Image.Image) -> Image.Image:
    """Return rows from all over the picture, set one below the other."""
    if picture.height <= SAMPLE:
        return picture.copy()
    sample = Image.new(picture.mode, (picture.width, SAMPLE))
    for row in range(0, SAMPLE, BAND):
        top = row * (picture.height - BAND) // (SAMPLE - BAND)
        sample.paste(picture.crop((0, top, picture.width, top + BAND)), (0, row))
    return sample


def _unfiltered(picture: Image.Image, options: Mapping[str, object]) -> memoryview:
    """Encode a picture of mode L, which becomes one with a palette, without Pillow's choice of a filter for each row.

    That choice takes longer than all the rest, and gains nothing where noise is coarse. Pillow only omits it for
    palettes, whose pixels are the same bytes: we put them after a header that calls them grey.
    """
    described_dot = save(picture.crop(DOT), "PNG", **options)
    picture.putpalette(PALETTE)
    indexed = save(picture, "PNG", **HUFFMAN)
    target = io.BytesIO()
    target.write(SIGNATURE)
    putchunk(target, b"IHDR", struct.pack(">IIBBBBB", *picture.size, 8, 0, 0, 0, 0))
    target.write(described_dot[AFTER_IHDR : _head(described_dot)])
    target.write(indexed[_head(indexed) :])
    return memoryview(target.getvalue())


def _write_frames(image: ImageFile.ImageFile, reader: Reader) -> Written:
    """Write an animation, each frame cut to what changed since the one before."""
    hidden = bool(getattr(image, "default_image", False))
    film, mode = _Apng(hidden=hidden), "L"
    options: Mapping[str, int] = {}
    before: Image.Image | None = None
    for picture, shown in frames(image, reader, _Stage().show):
        options = options or deflation(picture)
        description = {} if film.count else _options(image)
        box = changed(None if hidden and film.count == 1 else before, picture)
        film.add(save(picture.crop(box), "PNG", **options, **description), box, shown)
        before, mode = picture, picture.mode
    loops = image.info.get("loop")
    return Written(_shaped(image, film.whole(loops if isinstance(loops, int) else 0)), mode, film.count)


class _Apng:
    """An APNG as it is put together: https://www.w3.org/TR/png-3/#apng-frame-based-animation.

    If `hidden`, the first frame is a picture for viewers that show no animations, and others do not show it.
    """

    def __init__(self, *, hidden: bool) -> None:
        self.count = 0
        self._hidden = hidden
        self._file = io.BytesIO()
        self._sequence = itertools.count()
        self._counted_at = 0

    def add(self, encoded: memoryview, box: Box, duration: float) -> None:
        """Add a frame, encoded as a PNG, of which the first describes the whole."""
        pixels = b"".join(data for name, _, data in _chunks_of(encoded) if name == b"IDAT")
        if not self.count:
            self._counted_at = self._file.write(encoded[: _head(encoded)])
            putchunk(self._file, b"acTL", bytes(8))
        if self.count or not self._hidden:
            putchunk(self._file, b"fcTL", _control(next(self._sequence), box, duration))
        name, number = (b"fdAT", struct.pack(">I", next(self._sequence))) if self.count else (b"IDAT", b"")
        putchunk(self._file, name, number, pixels)
        self.count += 1

    def whole(self, loops: int) -> memoryview:
        """Return the file. Raises FileFault where it shows nothing."""
        shown = self.count - self._hidden
        if not shown:
            raise FileFault(Failure.CORRUPT, "claims to be animated, and has no frames")
        putchunk(self._file, b"IEND")
        self._file.seek(self._counted_at)
        putchunk(self._file, b"acTL", struct.pack(">II", shown, loops))
        return memoryview(self._file.getvalue())


class _Stage:
    """Where frames are laid over each other: https://www.w3.org/TR/png-3/#fcTL-chunk.

    Pillow makes both transparent where something half transparent covers something opaque, takes the mean of two
    numbers of a palette, forgets what is to come back after an opaque frame, and cannot lay 16 bits over anything.
    It tells its decoder for each frame anew that the picture is interlaced, which fails at the second; and that
    decoder puts the rows into the upper left corner, wherever the frame belongs.
    """

    def __init__(self) -> None:
        self._ground: Image.Image | None = None
        self._hole: Box | None = None

    def show(self, image: ImageFile.ImageFile) -> Image.Image:
        """Return in grey what is seen with a frame, and prepare the ground for the next as it asks."""
        stream, box = cast("PngImagePlugin.PngImageFile", image), image.info.get("bbox")
        stream.decoderconfig = ()
        stream.dispose_op, stream._prev_im = Disposal.OP_NONE, None  # noqa: SLF001 (or Pillow lays it over others, too)
        if box is None:  # the picture for viewers that show no animations
            return grey(image)
        _refuse_holes_of_sixteen_bits(image)
        left, top, right, bottom = box
        frame = grey(image.crop((0, 0, right - left, bottom - top) if image.info.get("interlace") else box))
        shown = self._ground.copy() if self._ground else Image.new(frame.mode, image.size)
        if self._hole:
            shown.paste(0, self._hole)
        if image.info["blend"] == Blend.OP_OVER and frame.mode == "LA":
            shown.alpha_composite(frame, (left, top))
        else:
            shown.paste(frame, box)
        if image.info["disposal"] != Disposal.OP_PREVIOUS:
            self._ground, self._hole = shown, box if image.info["disposal"] == Disposal.OP_BACKGROUND else None
        return shown


def _refuse_holes_of_sixteen_bits(image: ImageFile.ImageFile) -> None:
    """Refuse to lay over others, or to clear away, what has a transparent level: there is no LA of 16 bits."""
    is_plain = (image.info["blend"], image.info["disposal"]) == (Blend.OP_SOURCE, Disposal.OP_NONE)
    if image.mode in DEEP and image.has_transparency_data and not is_plain:
        why = "has frames of 16 bits with a transparent level, laid over each other: save it with 8 bits"
        raise FileFault(Failure.UNSUPPORTED, why)


def _shaped(image: Image.Image, encoded: memoryview) -> memoryview:
    """Return the file with the shape of pixels that are not square, which Pillow does not write."""
    aspect = image.info.get("aspect")
    if not isinstance(aspect, tuple) or aspect[0] == aspect[1] or "dpi" in image.info:
        return encoded
    target = io.BytesIO()
    target.write(encoded[:AFTER_IHDR])
    putchunk(target, b"pHYs", struct.pack(">IIB", *aspect, 0))
    target.write(encoded[AFTER_IHDR:])
    return memoryview(target.getvalue())


def _head(encoded: memoryview) -> int:
    """Return where the pixels of a PNG begin."""
    return next(at for name, at, _ in _chunks_of(encoded) if name == b"IDAT")


def _chunks_of(encoded: memoryview) -> Iterator[tuple[bytes, int, memoryview]]:
    """Yield the name of each chunk of a PNG, where it begins, and its data."""
    at = len(SIGNATURE)
    while at < len(encoded):
        length, name = struct.unpack_from(">I4s", encoded, at)
        yield name, at, encoded[at + 8 : at + 8 + length]
        at += 12 + length


def _control(sequence: int, box: Box, duration: float) -> bytes:
    """Return a frame's place and time; it replaces what was there, and stays."""
    left, top, right, bottom = box
    seconds = Fraction(min(duration / 1000, LARGEST)).limit_denominator(LARGEST)
    while seconds.numerator > LARGEST:
        seconds = seconds.limit_denominator(max(1, seconds.denominator // 2))
    times = seconds.numerator, seconds.denominator
    return struct.pack(">IIIIIHHBB", sequence, right - left, bottom - top, left, top, *times, 0, 0)
