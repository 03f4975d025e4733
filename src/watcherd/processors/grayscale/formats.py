"""The formats that are images here, and how each begins."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from watcherd.model import Failure, FileFault

if TYPE_CHECKING:
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


def recognise(reader: Reader) -> str:
    """Return Pillow's name of the format that the content begins with, whatever the file is called."""
    with reader.ahead():
        prefix = reader.read(PREFIX)
    for name, mark in MARKS:
        if mark.match(prefix):
            return name
    raise no_image(reader)


def no_image(reader: Reader) -> FileFault:
    """Return what is wrong with content of no supported format."""
    what = "is not an image of any supported format" if reader.size else "is empty, and not an image"
    return FileFault(Failure.NOT_IMAGE, what)
