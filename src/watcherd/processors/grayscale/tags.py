"""TIFF: which tags of a page still describe it once it is grey and upright, and how they come into the file.

libtiff fails, or even ends the process, where a tag has another type or a value than it expects; and Pillow hands on
whatever it has read. So a page gets those alone whose type is right, and with which a page of one pixel can be saved.

What libtiff cannot write through Pillow is put into the file once its pages are written: what hangs on the first
page, EXIF and GPS, each a directory of its own; and the number of each page, which is two numbers, where Pillow gives
libtiff an address. A page is written with entries for them that hold nothing yet.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, cast

from PIL import Image, TiffImagePlugin, TiffTags

from watcherd.processors.grayscale.exif import LYING, ORIENTATION, XMP_ORIENTATION, upright_xmp
from watcherd.processors.grayscale.source import DAMAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Directory = Mapping[int, Any]

Tags = TiffImagePlugin.ImageFileDirectory_v2

XMP, IPTC = 700, 33723
PAGE_NUMBER, LARGEST = 297, 0xFFFF
RESOLUTIONS = {282: 283, 283: 282}
DIRECTORIES = (34665, 34853)  # EXIF, GPS
NESTED = frozenset({40965})  # interoperability
FIRST_LINK = 4  # where the link to the first page is

#: Tags that describe the picture to people or say where it is from, and hold in grey, too; with the types of values
#: that libtiff takes for each.
KEPT = (
    # names of document, picture, make, model and page, the program, the date, the artist, the host, the copyright
    dict.fromkeys((269, 270, 271, 272, 285, 305, 306, 315, 316, 33432), (TiffTags.ASCII,))
    # what kind of page it is, the unit of its resolution, its number
    | dict.fromkeys((254, 296, PAGE_NUMBER), (TiffTags.SHORT, TiffTags.LONG))
    # its resolution, across and down
    | dict.fromkeys(RESOLUTIONS, (TiffTags.RATIONAL, TiffTags.FLOAT, TiffTags.DOUBLE, TiffTags.SHORT, TiffTags.LONG))
    | dict.fromkeys((XMP, IPTC), (TiffTags.BYTE, TiffTags.UNDEFINED))
)


def orientation_of(tags: Tags) -> object:
    """Return the orientation by which Pillow turns the page: from its tag, else from its XMP."""
    xmp = tags.get(XMP)
    said = XMP_ORIENTATION.search(xmp) if isinstance(xmp, bytes) else None
    return tags.get(ORIENTATION, int(said[2]) if said else 1)


def describing(tags: Tags, orientation: object, name: str) -> Tags:
    """Return the tags that describe the page, once upright, and can be written with compression `name`."""
    kept = Tags()
    turned = RESOLUTIONS if orientation in LYING else {}
    for tag, types in KEPT.items():
        if tag in tags and tags.tagtype[tag] in types:
            _put(kept, turned.get(tag, tag), tags[tag], tags.tagtype[tag])
    if not _is_pair(kept.get(PAGE_NUMBER)):
        kept.pop(PAGE_NUMBER, None)
    if tags.tagtype.get(IPTC) == TiffTags.LONG:  # as Photoshop writes these bytes; Pillow's own reader does this, too
        _put(kept, IPTC, tags._tagdata[IPTC], TiffTags.UNDEFINED)  # noqa: SLF001
    if isinstance(xmp := kept.get(XMP), bytes):
        kept[XMP] = upright_xmp(xmp)
    if kept and not _writable(kept, name):
        _drop_unwritable(kept, name)
    return kept


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and list(map(type, value)) == [int, int] and max(value) <= LARGEST


def _put(tags: Tags, tag: int, value: object, kind: int) -> None:
    tags[tag] = value
    tags.tagtype[tag] = kind


def _drop_unwritable(tags: Tags, name: str) -> None:
    """Drop each tag that cannot be written, such as an unknown unit of resolution, or a negative resolution."""
    for tag, value in list(tags.items()):
        alone = Tags()
        _put(alone, tag, value, tags.tagtype[tag])
        if not _writable(alone, name):
            del tags[tag]


def _writable(tags: Tags, name: str) -> bool:
    compression = "raw" if name == "raw" else "tiff_adobe_deflate"  # Pillow itself writes it, or libtiff
    try:
        Image.new("L", (1, 1)).save(io.BytesIO(), "TIFF", tiffinfo=tags, compression=compression)
    except DAMAGE:
        return False
    return True


def hanging_on(image: TiffImagePlugin.TiffImageFile) -> dict[int, Directory]:
    """Return the directories that hang on the first page, EXIF and GPS, without those inside them."""
    try:
        found = {tag: image.getexif().get_ifd(tag) for tag in DIRECTORIES if tag in image.tag_v2}
        plain = {tag: {key: value for key, value in found[tag].items() if key not in NESTED} for tag in found}
        return {tag: values for tag, values in plain.items() if values and _block(values, 0)}
    except DAMAGE:
        return {}


def _block(values: Directory, offset: int) -> bytes:
    directory = Tags(group=DIRECTORIES[0])
    for tag, value in values.items():
        directory[tag] = value
    return directory.tobytes(offset)


def complete(target: io.BytesIO, directories: Mapping[int, Directory], numbers: Iterable[object]) -> None:
    """Write the number of each page that has one, append the directories, and point the first page at them."""
    with target.getbuffer() as content:
        first = next(_entries_of_pages(content))
        for number, entries in zip(numbers, _entries_of_pages(content), strict=True):
            if PAGE_NUMBER in entries:  # and of how many it is
                pair = cast("tuple[int, int]", number)
                struct.pack_into("<HHLHH", content, entries[PAGE_NUMBER], PAGE_NUMBER, TiffTags.SHORT, 2, *pair)
    for tag, values in directories.items():
        if tag in first:
            offset = target.seek(0, io.SEEK_END)
            target.write(_block(values, offset))
            target.seek(first[tag] + 8)
            target.write(struct.pack("<L", offset))


def _entries_of_pages(content: memoryview) -> Iterator[dict[int, int]]:
    """Yield for each page where the entry of each tag is: 12 bytes each, and after them the link to the next page."""
    link = FIRST_LINK
    while page := struct.unpack_from("<L", content, link)[0]:
        (count,) = struct.unpack_from("<H", content, page)
        link = page + 2 + 12 * count
        yield {struct.unpack_from("<H", content, entry)[0]: entry for entry in range(page + 2, link, 12)}
