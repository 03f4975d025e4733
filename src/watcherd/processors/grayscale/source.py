"""Between a stranger's file and Pillow: which format it is, how it is opened, and whose fault an error was.

Many libraries report want of memory as damage, or as a bug of their own. The trace of it is the C library's `errno`:
a failed malloc sets it, and neither freeing what there was before nor Pillow's way back to us overwrites it. Each
thread has its own, so codecs must have no threads of theirs.
"""

from __future__ import annotations

import ctypes
import errno
import io
import re
import struct
import zlib
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from PIL import Image

from watcherd.model import Failure, FileFault
from watcherd.processors.grayscale import container
from watcherd.processors.grayscale.decoders import decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from PIL import ImageFile

    from watcherd.processors.grayscale.reader import Reader

#: How each format begins. TGA has no mark, so it comes last, and Pillow's checks of its header have to do.
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

PREFIX = 64  # bytes that hold every mark

#: What Pillow has been seen to raise on damaged content.
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
#: What it raises where there are more pixels than allowed, and where they are more than twice as many.
BOMBS = (Image.DecompressionBombWarning, Image.DecompressionBombError)
#: What its decoders raise (Python the second, where OpenJPEG's went on after the first), and what its encoders do.
ERRORS = (MemoryError, SystemError, *DAMAGE, *BOMBS)
REFUSALS = (MemoryError, OSError, RuntimeError, ValueError, struct.error)

#: How Pillow words that a file is sound, and of a variety that it cannot read.
_UNSUPPORTED = re.compile(
    r"unsupported|not (yet )?support|cannot handle|unknown pixel mode|unknown data organi[sz]ation|cannot write mode"
    r"|samples per pixel|unable to determine J2K image mode|cannot find loader|no codec available",
    re.IGNORECASE,
)
_MEMORY = re.compile(
    r"out of memory|(decoder|encoder) error -9\b|WebPEncodingError: 1\.|^encoding error 1$", re.IGNORECASE
)
_TRUNCATED = re.compile(r"truncated", re.IGNORECASE)
_NUMBER_ONLY = re.compile(r"(decoder|encoder) error -?\d+", re.IGNORECASE)
_TOO_LARGE = re.compile(r"too large for PngImagePlugin|decompressed data too large|too much memory", re.IGNORECASE)

_errno = ctypes.CDLL(None)["__errno_location"]  # glibc's and musl's name of where this thread's is
_errno.restype = ctypes.POINTER(ctypes.c_int)


class Written(NamedTuple):
    """What a writer returns: the grey picture, encoded, its mode, how many frames it has, and its size if turned."""

    encoded: memoryview
    mode: str
    frames: int = 1
    size: tuple[int, int] | None = None


def recognise(reader: Reader) -> str:
    """Return Pillow's name of the format that the content begins with, whatever the file is called."""
    with reader.ahead():
        prefix = reader.read(PREFIX)
    for name, mark in MARKS:
        if mark.match(prefix):
            return name
    raise _no_image(reader)


def _no_image(reader: Reader) -> FileFault:
    what = "is not an image of any supported format" if reader.size else "is empty, and not an image"
    return FileFault(Failure.NOT_IMAGE, what)


@contextmanager
def opened(reader: Reader, name: str) -> Iterator[ImageFile.ImageFile]:
    """Open the picture with the decoder of the format `name` alone; pixels are not decoded yet."""
    if (decode := decoder(name)) is None:
        raise FileFault(Failure.UNSUPPORTED, f"{name} cannot be read and written by this build of Pillow")
    with _judged(ERRORS, partial(_unopened, reader, name)):
        container.require_whole(reader, name)
        image = decode(cast("BinaryIO", reader), "")
    with image:
        yield image


def decoding(reader: Reader) -> AbstractContextManager[None]:
    """Turn what Pillow raises on damaged content into a `FileFault`."""
    return _judged(ERRORS, partial(_undecoded, reader))


def encoding(name: str, picture: Image.Image) -> AbstractContextManager[None]:
    """Turn an encoder's refusal into a `FileFault`: the picture is sound, and its format cannot hold it in grey."""
    return _judged(REFUSALS, partial(_unwritten, name, picture))


@contextmanager
def _judged(kinds: tuple[type[Exception], ...], judge: Callable[[Exception], FileFault]) -> Iterator[None]:
    """Raise what is behind a library's error: want of memory, or what `judge` makes of it."""
    _errno().contents.value = 0
    try:
        yield
    except kinds as error:
        # To be asked before any other call that may fail.
        if _errno().contents.value == errno.ENOMEM or isinstance(error, MemoryError) or _MEMORY.search(str(error)):
            why = "needs more memory than a worker has: raise `memory` under [image]"
            raise FileFault(Failure.MEMORY, why) from error
        raise judge(error) from error


def _unopened(reader: Reader, name: str, error: Exception) -> FileFault:
    if not isinstance(error, SyntaxError):
        return _undecoded(reader, error)
    if name == "TGA":  # nearly anything begins like one
        return _no_image(reader)
    reason = str(error) or "damaged header"
    return FileFault(_class_of(reader, reason), f"begins as {name} and cannot be opened: {reason}")


def _undecoded(reader: Reader, error: Exception) -> FileFault:
    if isinstance(error, BOMBS):
        what = f"has more than {Image.MAX_IMAGE_PIXELS:,} pixels"
        return FileFault(Failure.TOO_LARGE, f"{what}: raise `max_pixels` under [image]")
    return FileFault(_class_of(reader, str(error)), f"cannot be decoded: {_explained(_line(error))}")


def _unwritten(name: str, picture: Image.Image, error: Exception) -> FileFault:
    what = f"its grey picture ({picture.mode}, {picture.width} x {picture.height}) cannot be written as {name}"
    return FileFault(Failure.UNSUPPORTED, f"{what}: {_line(error)}")


def save(picture: Image.Image, name: str, **options: Any) -> memoryview:  # noqa: ANN401 (Pillow's own)
    """Encode to memory, so that our code meets the errors of a disk, not an encoder's."""
    target = io.BytesIO()
    with encoding(name, picture):
        picture.save(target, name, **options)
    return memoryview(target.getvalue())


def _class_of(reader: Reader, reason: str) -> Failure:
    if _TOO_LARGE.search(reason):
        return Failure.TOO_LARGE
    if reader.starved or _TRUNCATED.search(reason):
        return Failure.TRUNCATED
    if _UNSUPPORTED.search(reason):
        return Failure.UNSUPPORTED
    return Failure.CORRUPT


def _explained(reason: str) -> str:
    """Say what somebody can do about reasons that are a library's own."""
    if _TOO_LARGE.search(reason):
        return f"{reason}: a text or profile in it unpacks beyond measure; save it without"
    if _NUMBER_ONLY.search(reason):
        return f"{reason}: its pixels are damaged, or of a rare variety; open it elsewhere and save it anew"
    return reason


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
