"""The frames of a picture, one in memory at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image, ImageChops

from watcherd.model import Failure, FileFault
from watcherd.processors.grayscale.grey import grey
from watcherd.processors.grayscale.reader import BLOCK
from watcherd.processors.grayscale.source import decoding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL import ImageFile

    from watcherd.processors.grayscale.reader import Reader

    Show = Callable[[ImageFile.ImageFile], Image.Image]  # a frame that was reached, as it is seen in grey

Box = tuple[int, int, int, int]
DOT = (0, 0, 1, 1)
TRAILER = b";"  # the last byte of a GIF


def frames(image: ImageFile.ImageFile, reader: Reader, show: Show = grey) -> Iterator[tuple[Image.Image, float]]:
    """Yield the frames of `image` in order, as `show` returns them, and how long each shows, in milliseconds.

    `grey` returns a frame as Pillow composes it. For a GIF that is what viewers show, with one exception: where the
    first frame has no transparency and something is cleared away, they show nothing, and Pillow a colour or what was
    there.
    """
    number = 0
    while reach(image, reader, number):
        with decoding(reader):
            is_only = number == 0 and _is_only_frame(image, reader)
            picture, shown = show(image), duration(image)
        yield picture, shown
        number += 1
        if is_only:
            _complete(image, reader)
            return


def _is_only_frame(image: ImageFile.ImageFile, reader: Reader) -> bool:
    """Whether a GIF ends after the pixels that are to be decoded: GIF89a, 15 and 27.

    Pillow would find it out block by block of 255 bytes, in two reads each: 14,000 for 2.5 megapixels.
    """
    if image.format != "GIF" or not image.tile:
        return False
    with reader.ahead():
        return _after_blocks(reader, image.tile[0].offset) == TRAILER


def _after_blocks(reader: Reader, start: int) -> bytes:
    """Return the byte after blocks that each begin with their length, the last being 0; none where the file ends."""
    while block := reader.read_at(start, BLOCK):
        at = 0
        while at < len(block):
            if not block[at]:
                return reader.read_at(start + at + 1, 1)
            at += block[at] + 1
        start += at
    return b""


def reach(image: ImageFile.ImageFile, reader: Reader, number: int) -> bool:
    """Go to a frame, from the one before it; False where there is none."""
    if number == image.tell():
        return True
    with decoding(reader):
        try:
            image.seek(number)
        except EOFError:
            _complete(image, reader)
            return False
    return True


def _complete(image: ImageFile.ImageFile, reader: Reader) -> None:
    # Pillow takes the end of the file for the end of the frames.
    if reader.starved and image.format in {"GIF", "PNG"}:
        raise FileFault(Failure.TRUNCATED, "ends before its last frame does")


def duration(image: Image.Image) -> float:
    """Return how long the frame shows, in milliseconds; 0 where the file does not say."""
    shown = image.info.get("duration", 0)
    return float(shown) if isinstance(shown, (int, float)) and 0 < shown < math.inf else 0.0


def changed(before: Image.Image | None, after: Image.Image) -> Box:
    """Return the smallest box outside of which `after` is `before`; never an empty one."""
    whole = (0, 0, *after.size)
    if before is None or (before.size, before.mode) != (after.size, after.mode) or after.mode not in {"L", "LA"}:
        return whole
    return ImageChops.difference(before, after).getbbox(alpha_only=False) or DOT
