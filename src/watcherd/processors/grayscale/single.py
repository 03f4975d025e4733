"""The formats of one picture and little description: BMP, PPM, TGA, JPEG 2000."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

from watcherd.model import Failure, FileFault
from watcherd.processors.grayscale import container
from watcherd.processors.grayscale.grey import grey, resolution
from watcherd.processors.grayscale.source import Written, decoding, save

if TYPE_CHECKING:
    from PIL import Image, ImageFile

    from watcherd.processors.grayscale.reader import Reader

METRE = 39.3701  # inches
HEADER = 14
V4, BITFIELDS, SRGB = 108, 3, b"BGRs"
COD = b"\xff\x52"  # JPEG 2000: the segment that names the wavelet
HEAD = 1 << 16
TRUE_COLOUR, ALPHA_BITS = 2, 0b1111  # of a TGA: what its pixels are, and how many bits of each are alpha
BANDS = 40  # where a codestream has the number of bands, followed by three bytes for each
BYTE = 8  # bits


def _load(image: ImageFile.ImageFile, reader: Reader) -> Image.Image:
    """Decode the one picture, in grey."""
    with decoding(reader):
        return grey(image)


def write_ppm(image: ImageFile.ImageFile, reader: Reader) -> Written:
    """Write a PGM, of 16 bits where the source has them; of floats, a PFM."""
    picture = _load(image, reader)
    return Written(save(picture, "PPM"), picture.mode)


def write_tga(image: ImageFile.ImageFile, reader: Reader) -> Written:
    """Write run lengths and the order of rows as the source has them."""
    info = image.info.copy()
    if image.mode != "P":
        image.palette = None  # of colours that its pixels do not use: Pillow would mix them in
    picture = _load(image, reader)
    if _has_unused_bit(reader):
        picture = picture.getchannel("L")
    options = {"rle": info.get("compression") == "tga_rle", "id_section": info.get("id_section", b"")}
    encoded = save(picture, "TGA", orientation=info.get("orientation", -1), **options)
    return Written(encoded, picture.mode)


def _has_unused_bit(reader: Reader) -> bool:
    """Whether the sixteenth bit of a colour is unused: Pillow takes it for transparency."""
    with decoding(reader), reader.ahead():
        header = reader.read_at(0, 18)
    kind, depth, flags = header[2], header[16], header[17]
    return kind & 7 == TRUE_COLOUR and depth == 2 * BYTE and not flags & ALPHA_BITS


def write_bmp(image: ImageFile.ImageFile, reader: Reader) -> Written:
    """Write 8 bits; where there is transparency, 32 bits with their masks, as BMP knows no grey with alpha."""
    _refuse_odd_runs(image)
    picture = _load(image, reader)
    dpi = resolution(image.info) or (0, 0)  # unknown; Pillow would make it 96
    if picture.mode == "LA":
        return Written(memoryview(_bmp_with_alpha(picture, dpi)), picture.mode)
    return Written(save(picture, "BMP", dpi=dpi), picture.mode)


def _refuse_odd_runs(image: ImageFile.ImageFile) -> None:
    """Refuse runs that begin at an odd byte: Pillow fills each up to an even place in the file."""
    if any(tile.codec_name == "bmp_rle" and tile.offset % 2 for tile in image.tile):
        raise FileFault(
            Failure.UNSUPPORTED, "has run lengths that begin at an odd byte: open it elsewhere and save it anew"
        )


def _bmp_with_alpha(picture: Image.Image, dpi: tuple[float, float]) -> bytes:
    pixels = picture.convert("RGBA").tobytes("raw", "BGRA", 0, -1)
    start = HEADER + V4
    file = struct.pack("<2sIII", b"BM", start + len(pixels), 0, start)
    metres = (round(value * METRE) for value in dpi)
    size = struct.pack("<IiiHHII", V4, *picture.size, 1, 32, BITFIELDS, len(pixels))
    masks = struct.pack("<IIII4s", 0xFF0000, 0xFF00, 0xFF, 0xFF000000, SRGB)
    return file + size + struct.pack("<iiII", *metres, 0, 0) + masks + bytes(48) + pixels


def write_jpeg2000(image: ImageFile.ImageFile, reader: Reader) -> Written:
    """Write losslessly where the source's wavelet is reversible; else into no more bytes than the source has."""
    comment, header = image.info.get("comment"), _header(reader)
    options: dict[str, object] = {"no_jp2": getattr(image, "codec", "jp2") == "j2k", "comment": comment}
    with decoding(reader):
        picture = grey(_of_eight_bits(image, header))
    _refuse_lost_white(image, header)
    if _irreversible(header):
        raw = picture.width * picture.height * (1 if picture.mode == "L" else 2)
        layers = [max(1.0, raw / reader.size)]
        options |= {"irreversible": True, "quality_mode": "rates", "quality_layers": layers}
    return Written(save(picture, "JPEG2000", **options), picture.mode)


def _header(reader: Reader) -> bytes:
    """Return the beginning of the codestream, which describes the picture: ISO/IEC 15444-1, A.3."""
    with decoding(reader), reader.ahead():
        return reader.read_at(container.codestream(reader), HEAD)


def _of_eight_bits(image: Image.Image, header: bytes) -> Image.Image:
    """Return bands of fewer bits as ones of 8: Pillow shifts them up, which makes white grey and changes colours."""
    depths = [min(depth, BYTE) for depth in _depths(header)]
    if min(depths) == BYTE:
        return image
    image.load()
    bands = zip(image.getbands(), depths, strict=False)
    return image.point([_spread(value, band, depth) for band, depth in bands for value in range(256)])


def _spread(shifted: int, band: str, depth: int) -> int:
    unused = BYTE - depth
    return shifted >> unused if band == "P" else min(round(shifted * 255 / (256 - (1 << unused))), 255)


def _refuse_lost_white(image: Image.Image, header: bytes) -> None:
    """Refuse levels of 0 that were reduced to 8 bits, but in grey: Pillow rounds white to 256, and stores it as 0."""
    is_rounded = len(image.getbands()) > 1 and max(_depths(header)) > BYTE
    if is_rounded and any(cast("tuple[int, int]", band.getextrema())[0] == 0 for band in image.split()):
        why = "has more than 8 bits, and levels that are nearly black or white, which cannot be told apart"
        raise FileFault(Failure.UNSUPPORTED, f"{why}: save it with 8 bits")


def _depths(header: bytes) -> list[int]:
    """Look up how many bits each band has: A.5.1."""
    (count,) = struct.unpack_from(">H", header, BANDS)
    depths = header[BANDS + 2 : BANDS + 2 + 3 * count : 3]
    return [(depth & 0x7F) + 1 for depth in depths]  # the highest bit tells whether there is a sign


def _irreversible(header: bytes) -> bool:
    """Look up the wavelet: A.6.1; the byte is the last of the fixed ten."""
    start = header.find(COD, len(container.CODESTREAM))
    return start >= 0 and header[start + 13 : start + 14] == b"\0"
