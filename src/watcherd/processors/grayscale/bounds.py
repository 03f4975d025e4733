"""What a picture would take, told from its header before anything is decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcherd import heap
from watcherd.model import Failure, FileFault

if TYPE_CHECKING:
    from PIL import ImageFile

    from watcherd.processors.grayscale.reader import Reader

#: Address space of a worker before its first picture: Python, Pillow and its libraries, in bytes.
BASE = 64 << 20

#: Bytes that Pillow stores for a pixel; every other mode takes 4. CMYK becomes grey by way of RGB.
STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "CMYK": 8}

#: Bytes for a pixel of the grey picture, stored, and encoded if nothing is saved. I;16B gets there by way of I.
GREY, GREY_WITH_ALPHA = 1 + 1, 4 + 2
GREY_DEEP = {"I;16": 2 + 2, "I;16B": 4 + 2 + 2, "I;16L": 4 + 2 + 2, "I": 4 + 4, "F": 4 + 4}

#: Bytes for a pixel of a picture with colours and no transparency, of a format that holds nothing beside it.
PLAIN = 4 + GREY

#: Bytes for a pixel that a format's libraries hold beside Pillow's pictures: canvases, planes, coefficients. The
#: second where there is transparency. Measured as the address space of one conversion, at 16 to 100 megapixels.
#: Refused memory, OpenJPEG's encoder neither ends nor says anything.
BESIDE = {"WEBP": (30, 30), "AVIF": (32, 32), "JPEG2000": (20, 32), "GIF": (12, 12), "APNG": (12, 12), "PNG": (1, 1)}
PROGRESSIVE_JPEG = 6


def check(image: ImageFile.ImageFile, reader: Reader) -> None:
    """Raise `FileFault` (too-large, memory) where a picture exceeds the reader's limits.

    One frame is held at a time, whatever their number; only the encoded result grows with it.
    """
    (width, height), limits = image.size, reader.limits
    if width * height > limits.max_pixels:
        what = f"has {width} x {height} = {width * height:,} pixels"
        allowed = f"{limits.max_pixels:,} are allowed"
        raise FileFault(Failure.TOO_LARGE, f"{what} where {allowed}: raise `max_pixels` under [image]")
    read_whole = reader.size * 5 // 4 if image.format in {"WEBP", "AVIF", "TIFF"} else 0
    needed = BASE + width * height * per_pixel(image) + read_whole
    if needed > limits.memory:
        what = f"needs about {needed >> 20:,} MiB of memory to decode {width} x {height} pixels"
        allowed = f"{limits.memory >> 20:,} are allowed"
        raise FileFault(Failure.MEMORY, f"{what} where {allowed}: raise `memory` under [image]")
    if needed > limits.memory // 2:
        heap.give_back()  # or what the pictures before left behind would count as well


def per_pixel(image: ImageFile.ImageFile) -> int:
    """Return the bytes for a pixel at the worst moment: the decoded picture, its grey one, and what lies beside."""
    grey = GREY_WITH_ALPHA if image.has_transparency_data else GREY_DEEP.get(image.mode, GREY)
    decoded = STORED.get(image.mode, 4)
    if image.format in {"JPEG", "MPO"}:
        decoded = 1 if image.mode == "RGB" else decoded  # of YCbCr only the luma is decoded
        return decoded + grey + (PROGRESSIVE_JPEG if "progressive" in image.info else 1)
    name = "APNG" if image.format == "PNG" and getattr(image, "n_frames", 1) > 1 else image.format or ""
    return decoded + grey + BESIDE.get(name, (0, 0))[image.has_transparency_data]


def at_worst(name: str) -> int:
    """Return the bytes for a pixel of a picture of that format, one of `BESIDE`, with colours and transparency."""
    return 4 + GREY_WITH_ALPHA + BESIDE[name][True]
