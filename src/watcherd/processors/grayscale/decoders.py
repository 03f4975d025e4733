"""Pillow's decoders of the formats that are images here, mended where they differ from what viewers show."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, cast

from PIL import (  # noqa: F401 (a plugin registers itself; otherwise Pillow imports all that it has)
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImagePalette,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from watcherd.processors.grayscale.exif import orientation_alone
from watcherd.processors.grayscale.grey import PALETTE

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import ImageFile

KEEP, CLEAR = 1, 2  # what becomes of a frame of a GIF when the next is shown

BIG_FROM_HIGH = b"MM\0+"
SEPARATE = 2  # a plane for each colour
FROM_LOW = 2  # the lowest bit of a byte comes first


def decoder(name: str) -> Callable[..., ImageFile.ImageFile] | None:
    """Return what opens a picture of the format `name`; None where this build of Pillow cannot read and write it.

    To be called with the file, and an empty name for it. `Image.open` would not tell why one failed.
    """
    return Image.OPEN[name][0] if name in Image.OPEN and name in Image.SAVE else None


class _Gif(GifImagePlugin.GifImageFile):
    """A GIF whose palettes, disposals and transparency are read as viewers read them.

    Pillow drops a palette that is the greys in order, and then fails where another frame has colours. It also fails
    where one frame has a palette and another has none at all; the numbers of that one are taken for greys here.

    A frame that does not say what becomes of it stays; Pillow treats it like the one before. Where a frame of a
    picture with transparency was cleared away there is nothing; Pillow puts a colour there, unless that frame has
    transparency, too.
    """

    global_palette = ImagePalette.raw("RGB", PALETTE)

    def _seek(self, frame: int, update_image: bool = True) -> None:  # noqa: FBT001, FBT002 (Pillow's own)
        self.disposal_method = 0
        super()._seek(frame, update_image)
        if self.disposal_method == CLEAR and self.dispose and self.mode == "RGBA":
            self.dispose = Image.new("RGBA", self.dispose.size).im

    def _is_palette_needed(self, p: bytes) -> bool:
        return bool(p)


class _Tiff(TiffImagePlugin.TiffImageFile):
    """A TIFF whose planes and bits are read as what they are, and whose compression is named where it is unknown.

    Pillow names such a compression by its number alone, like a tag that is missing. Where a tag is beyond the end of
    the file, it goes on without later ones, and without the link to the next page. It reads a BigTIFF with the high
    byte first as a classic one, which then ends nowhere. Where each colour has a plane, uncompressed, it takes every
    byte for a level, even if a level has two; and it does not know all numbers of bits with the lowest first. Here
    libtiff reads both. But what it reads plane by plane, Pillow always takes for red, green, blue and alpha.
    """

    def _open(self) -> None:
        file = cast("BinaryIO", self.fp)
        if file.read(len(BIG_FROM_HIGH)) == BIG_FROM_HIGH:
            raise SyntaxError("unsupported order of bytes in a BigTIFF: save it with the low byte first")
        file.seek(0)
        super()._open()

    def _seek(self, frame: int) -> None:
        self.tag_v2.next = None
        super()._seek(frame)

    def _setup(self) -> None:
        if self.tag_v2.next is None:  # its tags were not read to their end
            raise SyntaxError("a tag, or the link to the next page, lies beyond the end of the file")
        number = self.tag_v2.get(TiffImagePlugin.COMPRESSION, 1)
        if number not in TiffImagePlugin.COMPRESSION_INFO:
            raise SyntaxError(f"unsupported compression, number {number}: save it with another")
        before = TiffImagePlugin.READ_LIBTIFF
        is_separate = self.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION) == SEPARATE
        is_reversed = self.tag_v2.get(TiffImagePlugin.FILLORDER) == FROM_LOW
        TiffImagePlugin.READ_LIBTIFF = before or is_separate or is_reversed
        try:
            super()._setup()
        finally:
            TiffImagePlugin.READ_LIBTIFF = before
        self._is_separate = is_separate

    def load_end(self) -> None:
        """Have each plane mean what it is."""
        if self._is_separate and self.mode in {"LA", "La", "PA", "LAB"}:
            self.im = Image.merge(self.mode, self._planes()).im
        super().load_end()

    def _planes(self) -> tuple[Image.Image, ...]:
        stored = Image.new("RGBX", self.im.size)
        stored.im.paste(self.im, (0, 0, *self.im.size))
        first, *others = stored.split()[: len(self.getbands())]
        if self.mode == "LAB":  # whose colours have a sign in the file
            others = [plane.point(lambda value: value ^ 0x80) for plane in others]
        return first, *others


class _Avif(AvifImagePlugin.AvifImageFile):
    """An AVIF that opens whatever its EXIF holds.

    Pillow writes EXIF anew where its orientation is not the picture's, which fails for a value of an odd type.
    """

    def _open(self) -> None:
        try:
            super()._open()
        except Exception:
            if not self.mode:  # nor was there a picture
                raise
            self.info["exif"] = orientation_alone(self._decoder.get_info()[5])
            self.seek(0)


# Pillow's default is a thread for each core of the machine, and so many are our workers. Each thread takes a heap of
# its own: on 32 cores, 1 GiB held no picture of 12 megapixels.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

Image.register_open("GIF", _Gif, Image.OPEN["GIF"][1])
Image.register_open("TIFF", _Tiff, Image.OPEN["TIFF"][1])
Image.register_open("AVIF", _Avif, Image.OPEN["AVIF"][1])
