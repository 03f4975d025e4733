"""JPEG: the luma plane at its own quantisation, as it is stored or decoded."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, cast

from PIL import Image

from watcherd.processors.grayscale import turbo
from watcherd.processors.grayscale.exif import orientation, orientation_alone
from watcherd.processors.grayscale.grey import described, grey
from watcherd.processors.grayscale.source import Written, decoding, save

if TYPE_CHECKING:
    from PIL import ImageFile
    from PIL.JpegImagePlugin import JpegImageFile

    from watcherd.processors.grayscale.reader import Reader

#: Bytes that one segment can hold of each.
ROOM = {"comment": 65_533, "exif": 65_533, "xmp": 65_533 - len(b"http://ns.adobe.com/xap/1.0/\0")}

DENSITY = 13  # where the JFIF header, which Pillow writes first, has the resolution: its unit, across, down

#: The segment of Photoshop's resources, and the number of captions, keywords and the like among them.
PHOTOSHOP, IPTC = b"Photoshop 3.0\0", 0x0404
ROOM_OF_CAPTIONS = 65_533 - len(PHOTOSHOP) - 13

_DESCRIBING = {*range(0xE0, 0xF0), 0xFE}


def write_jpeg(image: ImageFile.ImageFile, reader: Reader) -> Written:
    """Write the luma plane at its own quantisation: as it is stored where that can be done, else decoded.

    An MPO is a JPEG with more JPEGs after it (previews, the other eye): the first one is the picture.
    """
    opened = cast("JpegImageFile", image)
    with decoding(reader):
        options = _description(opened)
        image.draft("L", image.size)
    if (stored := _stored(opened, reader, options)) is not None:
        return Written(stored, "L")
    return _decoded(opened, reader, options)


def _description(image: JpegImageFile) -> dict[str, Any]:
    options = described(image) | {"progressive": "progressive" in image.info, "extra": _captions(image)}
    options["comment"] = image.info.get("comment")
    # What needs several segments is left out: the picture is worth more.
    too_long = {key: options.pop(key) for key, room in ROOM.items() if len(options.get(key) or b"") > room}
    if "exif" in too_long:
        options["exif"] = orientation_alone(orientation(too_long["exif"]))
    return options


def _captions(image: JpegImageFile) -> bytes:
    """Return a segment with the IPTC captions alone: others of Photoshop's resources may have colours."""
    said = image.info.get("photoshop", {}).get(IPTC)
    if not isinstance(said, bytes) or len(said) > ROOM_OF_CAPTIONS:
        return b""
    resource = struct.pack(">4sHHL", b"8BIM", IPTC, 0, len(said)) + said + bytes(len(said) % 2)
    return struct.pack(">2sH", b"\xff\xed", 2 + len(PHOTOSHOP) + len(resource)) + PHOTOSHOP + resource


def _stored(image: JpegImageFile, reader: Reader, options: dict[str, Any]) -> memoryview | None:
    """Return the luma plane as it is stored; None where that cannot be done. Pillow writes what describes it."""
    if turbo.library() is None or not _has_whole_luma(image):
        return None
    with decoding(reader):
        luma = turbo.luma(reader.getvalue(), progressive=options["progressive"])
    if luma is None:
        return None
    header = _saved(image, Image.new("L", (1, 1)), options)
    stored = memoryview(luma)[_end_of_description(luma) :]
    return memoryview(b"".join((header[: _end_of_description(header)], stored)))


def _has_whole_luma(image: JpegImageFile) -> bool:
    """Whether its first component is a plane of the picture's own size."""
    sizes = [(across, down) for _, across, down, _ in image.layer]
    return image.mode == "L" and all(sizes[0][0] >= across and sizes[0][1] >= down for across, down in sizes)


def _end_of_description(jpeg: bytes | memoryview) -> int:
    """Return where the segments end that describe a picture: APPn and COM, ISO/IEC 10918-1, B.2.4."""
    end = 2
    while jpeg[end + 1] in _DESCRIBING:
        end += 2 + int.from_bytes(jpeg[end + 2 : end + 4])
    return end


def _decoded(image: JpegImageFile, reader: Reader, options: dict[str, Any]) -> Written:
    """Decode the luma plane alone, and encode it at its own quantisation.

    RGB, CMYK and YCCK pictures have no luma plane of their own, or one that black has to be mixed into: they are
    converted, and keep the quantisation of their first component.
    """
    with decoding(reader):
        image.load()
        picture = image if image.mode == "L" else grey(image)
        tables = [image.quantization[image.layer[0][3]]]
    return Written(_saved(image, picture, options | {"qtables": tables}), picture.mode)


def _saved(image: JpegImageFile, picture: Image.Image, options: dict[str, Any]) -> memoryview:
    """Encode, with the resolution as in JFIF: Pillow writes none by the centimetre, nor one without a unit."""
    encoded = save(picture, "JPEG", **options)
    if "jfif_density" not in image.info:
        return encoded
    density = struct.pack(">BHH", image.info["jfif_unit"], *image.info["jfif_density"])
    return memoryview(b"".join((encoded[:DENSITY], density, encoded[DENSITY + len(density) :])))
