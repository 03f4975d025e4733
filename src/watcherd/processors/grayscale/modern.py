"""WebP and AVIF, still or moving: Pillow's writers take frames as they come, from what looks like one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from watcherd.processors.grayscale.exif import orientation, orientation_alone, rewritable, upright, upright_xmp
from watcherd.processors.grayscale.frames import duration, reach
from watcherd.processors.grayscale.grey import described, grey
from watcherd.processors.grayscale.source import Written, decoding, save

if TYPE_CHECKING:
    from PIL import ImageFile

    from watcherd.processors.grayscale.reader import Reader

#: For what was lossy before: above what people publish with, so that the second loss is not seen.
#: The default method, 4 of 6, would take twice as long and save 4 to 9 per cent of the bytes.
LOSSY_WEBP = {"quality": 90, "method": 2}
AVIF_QUALITY = 85
LOSSLESS_AVIF = 100
AVIF_SPEED = 8  # of 10; the default, 6, takes three times as long for a few per cent of size
SAMPLE = 128  # rows
SLACK = 1.1  # by how much a sample and a faster encoder may be off

#: What turns a picture upright, by its orientation.
TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def write_webp(image: ImageFile.ImageFile, reader: Reader) -> Written:
    """Write losslessly where the source is lossless, and with all frames.

    libwebp makes one frame of equal neighbours, which shows as long as both.
    """
    lossless = _lossless_webp(reader)
    film = Film(image, reader)
    options = described(image) | ({"lossless": True, "quality": 75} if lossless else LOSSY_WEBP)
    options["loop"] = image.info.get("loop", 0)
    if "exif" in options:
        options["exif"] = options["exif"].removeprefix(b"Exif\0\0")
    encoded = save(film, "WEBP", save_all=True, exact=lossless, duration=film.durations, **options)
    return Written(encoded, film.mode, film.n_frames)


def _lossless_webp(reader: Reader) -> bool:
    """Walk the chunks to the first with pixels: `VP8L` is lossless, `VP8 ` is not; those of a frame lie within it."""
    with decoding(reader):
        at = 12
        while head := reader.read_at(at, 8):
            name, length = head[:4], int.from_bytes(head[4:], "little")
            if name in {b"VP8L", b"VP8 "}:
                return name == b"VP8L"
            at += 8 + (16 if name == b"ANMF" else length + length % 2)
    return False


def write_avif(image: ImageFile.ImageFile, reader: Reader) -> Written:
    """Write losslessly where that takes about the bytes of the source, and with all frames.

    No header of an AVIF says that it is lossless; but a lossy one is never that large.
    """
    options = described(image) | {"quality": AVIF_QUALITY, "speed": AVIF_SPEED}
    film = Film(image, reader, _stand_up(options) if getattr(image, "is_animated", False) else None)
    if not rewritable(options.get("exif", b"")):  # Pillow moves the orientation elsewhere, and writes the rest anew
        options["exif"] = orientation_alone(orientation(options["exif"]))
    if _lossless_size(film) * film.n_frames <= reader.size * SLACK:
        options["quality"] = LOSSLESS_AVIF
    encoded = save(film, "AVIF", save_all=True, duration=film.durations, **options)
    return Written(encoded, film.mode, film.n_frames, film.size)


def _stand_up(options: dict[str, Any]) -> Image.Transpose | None:
    """Describe a film as upright, and return what turns it so: Pillow, told to turn one, ends the process."""
    block = options.get("exif", b"")
    turn = TURNS.get(orientation(block))
    if turn is not None:
        options["exif"] = upright(block)
        options["xmp"] = upright_xmp(options.get("xmp", b""))
    return turn


def _lossless_size(picture: Image.Image) -> int:
    """Estimate from the rows in the middle how many bytes the picture takes losslessly."""
    top = max(0, (picture.height - SAMPLE) // 2)
    sample = picture.crop((0, top, picture.width, min(top + SAMPLE, picture.height)))
    return len(save(sample, "AVIF", quality=LOSSLESS_AVIF, speed=AVIF_SPEED)) * picture.height // sample.height


class Film(Image.Image):
    """The grey frames as one picture of Pillow's that its writers seek in, holding one at a time.

    `turn` is done to each. `durations`, in milliseconds, fill as frames are read: the writers ask for one after they
    have had its frame.
    """

    def __init__(self, image: ImageFile.ImageFile, reader: Reader, turn: Image.Transpose | None = None) -> None:
        super().__init__()
        self._source, self._reader, self._turn = image, reader, turn
        self.n_frames = getattr(image, "n_frames", 1)
        self.is_animated = self.n_frames > 1
        self.durations = [0] * self.n_frames
        self._at = -1
        self.seek(0)

    def seek(self, frame: int) -> None:
        """Show a frame; EOFError beyond the last."""
        if frame == self._at:
            return
        if not reach(self._source, self._reader, frame):
            raise EOFError
        with decoding(self._reader):
            picture = grey(self._source)
        if self._turn is not None:
            picture = picture.transpose(self._turn)
        self.im, self._mode, self._size = picture.im, picture.mode, picture.size
        self.durations[frame] = round(duration(self._source))
        self._at = frame

    def tell(self) -> int:
        """Return the frame that is shown."""
        return self._at
