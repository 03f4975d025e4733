"""Grey images: a picture of any allowed format in, its grey picture of the same format out.

Along the way of a picture, with a writer for each family of formats:

    reader     a file as Pillow reads it
    decoders   who decodes it: Pillow, mended
    source     which format it is, how it is opened, and whose fault an error was
    container  what containers say and decoders do not ask: ends, checksums
    bounds     what a picture would take, from its header
    grey       pixels to grey, and which description still holds
    exif       what EXIF is kept
    frames     frames, one in memory at a time
    jpeg       JPEG: the luma plane at its own quantisation
    png        PNG, APNG
    gif        GIF
    tiff       TIFF, page by page
    tags       which tags of a page of a TIFF are kept, and how they come into the file
    turbo      TurboJPEG: the luma plane without decoding it, and grey of plain rows
    modern     WebP, AVIF
    single     BMP, PPM, TGA, JPEG 2000

Pillow is asked for allowed formats by name only, so nothing here starts another program.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

from watcherd.model import Limits, Picture
from watcherd.processors.grayscale import bounds
from watcherd.processors.grayscale.gif import write_gif
from watcherd.processors.grayscale.jpeg import write_jpeg
from watcherd.processors.grayscale.modern import write_avif, write_webp
from watcherd.processors.grayscale.png import write_png
from watcherd.processors.grayscale.reader import Reader
from watcherd.processors.grayscale.single import write_bmp, write_jpeg2000, write_ppm, write_tga
from watcherd.processors.grayscale.source import opened, recognise
from watcherd.processors.grayscale.tiff import write_tiff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEFAULTS = Limits()

WRITERS = {
    "AVIF": write_avif,
    "BMP": write_bmp,
    "GIF": write_gif,
    "JPEG": write_jpeg,
    "JPEG2000": write_jpeg2000,
    "PNG": write_png,
    "PPM": write_ppm,
    "TGA": write_tga,
    "TIFF": write_tiff,
    "WEBP": write_webp,
}


def process(
    source: BinaryIO, *, name: str, limits: Limits, checkpoint: Callable[[], None]
) -> tuple[memoryview, Picture]:
    """Return the grey picture of `source`. See `Process`, `convert`."""
    del name, checkpoint  # what is isolated needs neither
    return convert(source, limits=limits)


def convert(source: BinaryIO, *, limits: Limits = DEFAULTS) -> tuple[memoryview, Picture]:
    """Return the grey picture of `source`, encoded in its own format, and what it is.

    Raises FileFault where the picture is at fault; that may also be what Pillow made of an error of `source`.
    """
    reader = Reader(source, limits)
    try:
        name = recognise(reader)
        with _pillow(limits), opened(reader, name) as image:
            bounds.check(image, reader)
            size, made = image.size, WRITERS[name](image, reader)
            width, height = made.size or size
            return made.encoded, Picture(format=name, mode=made.mode, width=width, height=height, frames=made.frames)
    finally:
        reader.release()


@contextmanager
def _pillow(limits: Limits) -> Iterator[None]:
    """Have Pillow refuse sizes beyond `limits`, and warn nobody.

    Its switch and the filter of warnings belong to the process, which a worker has to itself.
    """
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limits.max_pixels
    try:
        with warnings.catch_warnings(action="ignore"):
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
