"""GIF: each frame is encoded by Pillow, and set into a container of our own.

Pillow's writer of several frames holds all of them, joins neighbours that are equal (two colours of one brightness
become one frame), drops alpha, and chooses palettes; here every frame stays, and one palette of 256 greys serves all.

The layout is that of the GIF89a specification: screen, palette, extensions, and then the frames, which Pillow writes:
a control block, a descriptor with the place on the screen, and the compressed pixels.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

from PIL import ImageChops
from PIL.GifImagePlugin import getdata

from watcherd.model import Failure, FileFault
from watcherd.processors.grayscale.decoders import CLEAR, KEEP
from watcherd.processors.grayscale.frames import DOT, changed, frames
from watcherd.processors.grayscale.grey import PALETTE
from watcherd.processors.grayscale.source import Written, encoding

if TYPE_CHECKING:
    from PIL import Image, ImageFile

    from watcherd.processors.grayscale.reader import Reader

LARGEST = 0xFFFF


def write_gif(image: ImageFile.ImageFile, reader: Reader) -> Written:
    """Write all frames with their durations, the loop count and the comment.

    The screen has the first frame's size. Viewers do not show what a later frame has beyond it.
    """
    size, target = image.size, io.BytesIO()
    if max(size) > LARGEST:
        raise FileFault(Failure.UNSUPPORTED, f"is larger than a GIF can be: {image.width} x {image.height}")
    target.write(struct.pack("<6sHHBBB", b"GIF89a", *size, 0xF7, 0, 0) + PALETTE)
    target.write(_loop(image.info.get("loop")) + _comment(image.info.get("comment")))
    before: Image.Image | None = None
    count, mode = 0, "L"
    for composed, shown in frames(image, reader):
        picture = composed if composed.size == size else composed.crop((0, 0, *size))
        target.write(_frame(before, picture, shown))
        before, mode, count = picture, picture.mode, count + 1
    target.write(b";")
    return Written(memoryview(target.getvalue()), mode, count)


def _frame(before: Image.Image | None, picture: Image.Image, duration: float) -> bytes:
    """Return one frame: where it is opaque, cut to what changed; else whole, and cleared before the next."""
    if picture.mode == "L":
        levels, hole = picture, None
        box, disposal = changed(before, picture), KEEP
    else:
        levels, hole = _with_hole(picture)
        box, disposal = picture.getchannel("A").getbbox() or DOT, CLEAR
    hundredths = min(round(duration / 10), LARGEST)
    control = {"disposal": disposal, "duration": 10 * hundredths, "transparency": hole}
    shown = levels.crop(box)
    with encoding("GIF", shown):
        return b"".join(getdata(shown, box[:2], **control))


def _with_hole(picture: Image.Image) -> tuple[Image.Image, int]:
    """Return the grey levels with one of them standing for transparent, and which.

    No opaque pixel has that level. Where all 256 are in use, the rarest gives way to its neighbour.
    """
    levels, alpha = picture.split()  # a GIF has no alphas but 0 and 255
    counts = levels.histogram(alpha)
    hole = min(range(256), key=counts.__getitem__)
    if counts[hole]:
        levels = levels.point([*range(hole), hole - 1 if hole else 1, *range(hole + 1, 256)])
    levels.paste(hole, mask=ImageChops.invert(alpha))
    return levels, hole


def _loop(count: object) -> bytes:
    if not isinstance(count, int):
        return b""
    return b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", min(count, LARGEST), 0)


def _comment(comment: object) -> bytes:
    if not isinstance(comment, bytes) or not comment:
        return b""
    blocks = (comment[start : start + 255] for start in range(0, len(comment), 255))
    return b"\x21\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
