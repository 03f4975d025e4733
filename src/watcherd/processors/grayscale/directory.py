"""TIFF: what is put into the file once its pages are written, as libtiff cannot write it through Pillow.

That is what hangs on the first page, EXIF and GPS, each a directory of its own; and the number of each page, which is
two numbers, where Pillow gives libtiff an address. A page is written with entries for them that hold nothing yet.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, cast

from PIL import TiffTags

from watcherd.processors.grayscale.source import DAMAGE
from watcherd.processors.grayscale.tags import PAGE_NUMBER, Tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from PIL import TiffImagePlugin

    Directory = Mapping[int, Any]

DIRECTORIES = (34665, 34853)  # EXIF, GPS
NESTED = frozenset({40965})  # interoperability
FIRST_LINK = 4  # where the link to the first page is


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


def attach(target: io.BytesIO, directories: Mapping[int, Directory]) -> None:
    """Append the directories, and point the first page's entries at them."""
    with target.getbuffer() as content:
        entries = next(_entries_of_pages(content))
    for tag, values in directories.items():
        if tag in entries:
            offset = target.seek(0, io.SEEK_END)
            target.write(_block(values, offset))
            target.seek(entries[tag] + 8)
            target.write(struct.pack("<L", offset))


def number(target: io.BytesIO, numbers: Iterable[object]) -> None:
    """Write the number of each page that has one, and of how many it is."""
    with target.getbuffer() as content:
        for pair, entries in zip(numbers, _entries_of_pages(content), strict=True):
            if PAGE_NUMBER in entries:
                values = cast("tuple[int, int]", pair)
                struct.pack_into("<HHLHH", content, entries[PAGE_NUMBER], PAGE_NUMBER, TiffTags.SHORT, 2, *values)


def _entries_of_pages(content: memoryview) -> Iterator[dict[int, int]]:
    """Yield for each page where the entry of each tag is: 12 bytes each, and behind all the link to the next page."""
    link = FIRST_LINK
    while page := struct.unpack_from("<L", content, link)[0]:
        (count,) = struct.unpack_from("<H", content, page)
        link = page + 2 + 12 * count
        yield {struct.unpack_from("<H", content, entry)[0]: entry for entry in range(page + 2, link, 12)}
