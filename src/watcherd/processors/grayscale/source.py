"""Between a stranger's file and Pillow: which format it is, and whose fault an error was.

Pillow says `OSError` to a damaged picture and to a disk that cannot be read. Reading through a `Reader` tells the two
apart, and also whether a decoder asked for more than there was: that is what makes a file truncated, not corrupt.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from contextlib import contextmanager
from operator import index
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from PIL import (  # noqa: F401 (a plugin registers itself; otherwise Pillow imports all that it has)
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from watcherd.model import Failure, FileFault, Limits
from watcherd.processors.grayscale import container, shortage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: How each format begins. TGA has no mark of its own: Pillow's checks of its header have to do, and it comes last.
MARKS = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("WEBP", re.compile(rb"RIFF....WEBPVP8[ LX]", re.DOTALL)),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]")),
    ("BMP", re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    ("JPEG2000", re.compile(rb"\xffO\xffQ|\0\0\0\x0cjP  \r\n\x87\n")),
    ("AVIF", re.compile(rb"....ftyp(avi[fs]|(mif1|msf1)....(....)*avi[fs])", re.DOTALL)),
    ("PPM", re.compile(rb"P[1-6f](\s+\d|\s*#)")),
    ("TGA", re.compile(rb".[\0\1][\1\2\3\x09\x0a\x0b]", re.DOTALL)),
)

DEFAULTS = Limits()

PREFIX = 64  # bytes that hold every mark
BLOCK = ImageFile.MAXBLOCK  # what decoders read at once, whether or not there is as much

#: All that Pillow has been seen to raise on damaged content.
DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

#: How Pillow words that a file is sound, and of a variety that it cannot read.
_UNSUPPORTED = re.compile(
    r"unsupported|not (yet )?support|cannot handle|unknown pixel mode|unknown data organi[sz]ation|cannot write mode"
    r"|unable to determine J2K image mode|cannot find loader|no codec available",
    re.IGNORECASE,
)
_MEMORY = re.compile(
    r"out of memory|(decoder|encoder) error -9\b|WebPEncodingError: 1\.|^encoding error 1$", re.IGNORECASE
)
#: How libavif words whatever befell an encoder, which has threads of its own.
_PERHAPS_MEMORY = re.compile(r"Encoding of (color|alpha) planes? failed")
_TRUNCATED = re.compile(r"truncated", re.IGNORECASE)
_NUMBER_ONLY = re.compile(r"(decoder|encoder) error -?\d+", re.IGNORECASE)
_TOO_LARGE = re.compile(r"too large for PngImagePlugin|decompressed data too large|too much memory", re.IGNORECASE)


class _Gif(GifImagePlugin.GifImageFile):
    """Pillow takes greys in their order for no palette, and fails where one frame has that and another colours.

    A frame that does not say what becomes of it stays, as in viewers; Pillow does with it as with the one before.
    """

    def _seek(self, frame: int, update_image: bool = True) -> None:  # noqa: FBT001, FBT002 (Pillow's own)
        self.disposal_method = 0
        super()._seek(frame, update_image)

    def _is_palette_needed(self, p: bytes) -> bool:
        return bool(p)


Image.register_open("GIF", _Gif, Image.OPEN["GIF"][1])


class Reader:
    """A file as Pillow reads it: without a name or a descriptor, so that nothing maps it or reads around us.

    `starved` turns true when a decoder asked for more than there is. `outside` holds the errors that are the file
    system's or the caller's, and not the picture's: they pass unchanged, whatever Pillow makes of them. `needed` is
    the most bytes that the headers seen so far ask for, within `limits`.
    """

    def __init__(self, source: BinaryIO, checkpoint: Callable[[], None], limits: Limits = DEFAULTS) -> None:
        self._buffer = io.BufferedReader(cast("io.RawIOBase", source), BLOCK)
        self._checkpoint = checkpoint
        self._whole: bytes | None = None
        self.starved = False
        self.outside: list[Exception] = []
        self.limits, self.needed = limits, 0
        self.size = self._buffer.seek(0, io.SEEK_END)
        self._buffer.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, or to the end. A GIF of a few megabytes is read 10,000 times: so no context here."""
        try:
            data = self._buffer.read(size)
        except Exception as error:
            self.outside.append(error)
            raise
        if len(data) < size and (not data or size < BLOCK):
            self.starved = True
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset`; an error where a damaged file leads to what no file can hold, or names no number."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self.size}[whence]
        place = start + index(offset)
        if not 0 <= place < 1 << 62:
            raise ValueError("an offset leads out of the file")
        with self._noted():
            return self._buffer.seek(place)

    def read_at(self, offset: int, size: int) -> bytes:
        """Read `size` bytes from `offset` on."""
        self.seek(offset)
        return self.read(size)

    def tell(self) -> int:
        """Return the position."""
        return self._buffer.tell()

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Look elsewhere herein, and go on from here as if nobody had; an error stays where it was met."""
        place, starved = self.tell(), self.starved
        yield
        self.seek(place)
        self.starved = starved

    def getvalue(self) -> bytes:
        """Return the whole file, read once: libtiff asks for it anew at each page."""
        if self._whole is None:
            # With its size, as a buffer then takes it in place; "all" would be put together once more.
            self._whole = self.read_at(0, self.size)
        return self._whole

    def checkpoint(self) -> None:
        """Let the caller end the work here."""
        with self._noted():
            self._checkpoint()

    def pass_outside(self) -> None:
        """Raise the error that came from outside, if there was one, in place of what was made of it."""
        if self.outside:
            raise self.outside[0] from None

    def release(self) -> None:
        """Let the caller's file go without closing it."""
        self._buffer.detach()

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.outside.append(error)
            raise


def recognise(reader: Reader) -> str:
    """Return Pillow's name of the format that the content begins as, whatever the file is called."""
    with reader.ahead():
        prefix = reader.read(PREFIX)
    for name, mark in MARKS:
        if mark.match(prefix):
            return name
    raise FileFault(Failure.NOT_IMAGE, _no_image(reader))


@contextmanager
def opened(reader: Reader) -> Iterator[ImageFile.ImageFile]:
    """Open the picture with the one decoder that its content asks for; pixels are not decoded yet."""
    name = recognise(reader)
    if name not in Image.OPEN or name not in Image.SAVE:
        raise FileFault(Failure.UNSUPPORTED, f"{name} cannot be read and written by this build of Pillow")
    with decoding(reader):
        container.require_whole(reader, name)
    with decoding(reader), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(cast("BinaryIO", reader), formats=(name,))
        except UnidentifiedImageError as error:
            raise _unopened(reader, name, _reason(name, said)) from error
    with image:
        yield image


@contextmanager
def decoding(reader: Reader) -> Iterator[None]:
    """Turn what Pillow raises on damaged content into a `FileFault`; errors from outside the picture pass."""
    shortage.forget()
    try:
        yield
    except FileFault:
        reader.pass_outside()
        raise
    except MemoryError as error:
        raise _memory() from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many(str(error)) from error
    except DAMAGE as error:
        is_short = _is_short(str(error))
        reader.pass_outside()
        if is_short:
            raise _memory() from error
        raise FileFault(_class_of(reader, str(error)), f"cannot be decoded: {_explained(_line(error))}") from error
    reader.pass_outside()  # Pillow may have taken it for the end of the picture


@contextmanager
def encoding(reader: Reader, name: str, picture: Image.Image) -> Iterator[None]:
    """Turn what an encoder refuses into a `FileFault`: a sound picture that its own format cannot hold when grey."""
    shortage.forget()
    try:
        yield
    except FileFault:
        reader.pass_outside()
        raise
    except MemoryError as error:
        raise _memory() from error
    except (OSError, RuntimeError, ValueError, struct.error) as error:
        is_short = _is_short(str(error)) or _is_thread_short(reader, str(error))
        reader.pass_outside()
        if is_short:
            raise _memory() from error
        what = f"its grey picture ({picture.mode}, {picture.width} x {picture.height}) cannot be written as {name}"
        raise FileFault(Failure.UNSUPPORTED, f"{what}: {_line(error)}") from error


def save(reader: Reader, picture: Image.Image, name: str, **options: Any) -> memoryview:  # noqa: ANN401 (Pillow's own)
    """Encode to memory: what can go wrong on a disk is for our own code to meet, not for an encoder's."""
    target = io.BytesIO()
    with encoding(reader, name, picture):
        picture.save(target, name, **options)
    return memoryview(target.getvalue())


def _is_short(reason: str) -> bool:
    return shortage.seen() or bool(_MEMORY.search(reason))


def _is_thread_short(reader: Reader, reason: str) -> bool:
    return bool(_PERHAPS_MEMORY.search(reason)) and shortage.would_recur(reader.needed)


def _memory() -> FileFault:
    return FileFault(Failure.MEMORY, "needs more memory than a worker has: raise `memory` under [image]")


def _too_many(said: str) -> FileFault:
    """Tell how many pixels there are: the first number in what Pillow says."""
    pixels = re.search(r"\d+", said)
    claimed = f"{int(pixels[0]):,} pixels" if pixels else "more pixels"
    allowed = f"{Image.MAX_IMAGE_PIXELS:,}"
    return FileFault(
        Failure.TOO_LARGE, f"has {claimed} where {allowed} are allowed: raise `max_pixels` under [image]"
    )


def _unopened(reader: Reader, name: str, reason: str) -> FileFault:
    if _is_short(reason):
        return _memory()
    if name == "TGA":  # nearly anything begins like one
        return FileFault(Failure.NOT_IMAGE, _no_image(reader))
    return FileFault(
        _class_of(reader, reason), f"begins as {name} and cannot be opened: {reason or 'damaged header'}"
    )


def _reason(name: str, said: Iterable[warnings.WarningMessage]) -> str:
    mark = f"{name} opening failed. "
    messages = (str(warning.message) for warning in said)
    return " ".join(message.removeprefix(mark) for message in messages if message.startswith(mark))


def _class_of(reader: Reader, reason: str) -> Failure:
    if _TOO_LARGE.search(reason):
        return Failure.TOO_LARGE
    if reader.starved or _TRUNCATED.search(reason):
        return Failure.TRUNCATED
    if _UNSUPPORTED.search(reason):
        return Failure.UNSUPPORTED
    return Failure.CORRUPT


def _no_image(reader: Reader) -> str:
    return "is not an image of any supported format" if reader.size else "is empty, and not an image"


def _explained(reason: str) -> str:
    """Say what somebody can do about reasons that are a library's own."""
    if _TOO_LARGE.search(reason):
        return f"{reason}: a text or profile in it unpacks beyond measure; save it without"
    if _NUMBER_ONLY.search(reason):
        return f"{reason}: its pixels are damaged, or of a rare variety; open it elsewhere and save it anew"
    return reason


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
