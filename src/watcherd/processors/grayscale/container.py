"""What containers say about their content and decoders do not check: where it ends, and its checksums."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from watcherd.model import Failure, FileFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcherd.processors.grayscale.reader import Reader

CODESTREAM, END_OF_CODESTREAM = b"\xff\x4f", b"\xff\xd9"
TAIL = 1 << 16
SIGNATURE = b"\x89PNG\r\n\x1a\n"  # of a PNG
SUMMED = 1 << 20  # bytes of a chunk whose checksum is taken at once


def require_whole(reader: Reader, name: str) -> None:
    """Raise `FileFault` where a file ends before its container says: a library would only say that it cannot read."""
    with reader.ahead():
        promised = _ENDS[name](reader) if name in _ENDS else 0
    if promised > reader.size:
        message = f"ends after {reader.size:,} bytes, and says that it has at least {promised:,}"
        raise FileFault(Failure.TRUNCATED, message)


def _riff_end(reader: Reader) -> int:
    return 8 + int.from_bytes(reader.read(8)[4:], "little")


def _boxes_end(reader: Reader) -> int:
    """Walk the boxes of the top level up to the last with a part of the picture.

    What follows is ignored, as in other formats. A bare JPEG 2000 codestream ends with a marker that pixels never
    contain.
    """
    if reader.read(2) == CODESTREAM:
        return reader.size + (END_OF_CODESTREAM not in reader.read_at(max(0, reader.size - TAIL), TAIL))
    end, seen = 0, set[bytes]()
    for name, _, end in _boxes(reader):  # noqa: B007 (it is the last one's)
        seen.add(name)
        if b"jp2c" in seen or {b"meta", b"mdat"} <= seen:
            break
    return end


def _boxes(reader: Reader) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes of the top level, ISO/IEC 14496-12, 4.2: name, where the content begins, and the end."""
    start = 0
    while start < reader.size:
        length, name, long = struct.unpack(">I4sQ", reader.read_at(start, 16).ljust(16, b"\0"))
        content = start + (16 if length == 1 else 8)
        length = {0: reader.size - start, 1: long}.get(length, length)
        start += max(length, 8)
        yield name, content, start


def codestream(reader: Reader) -> int:
    """Return where the codestream of a JPEG 2000 begins: after what describes it, or at once where it is bare."""
    return next((content for name, content, _ in _boxes(reader) if name == b"jp2c"), 0)


_ENDS = {"WEBP": _riff_end, "AVIF": _boxes_end, "JPEG2000": _boxes_end}


def require_sound_chunks(reader: Reader) -> None:
    """Raise `FileFault` where a chunk of a PNG fails its checksum; Pillow checks only those before the pixels.

    That a file ends too early is left to its decoder to say.
    """
    reader.seek(len(SIGNATURE))
    name = b""
    while name != b"IEND" and len(head := reader.read(8)) == 8:  # noqa: PLR2004 (length and name)
        length, name = struct.unpack(">I4s", head)
        if not _holds(reader, name, length):
            told = name.decode("ascii", "replace")
            raise FileFault(Failure.CORRUPT, f"has a checksum in {told} that does not fit what it holds")


def _holds(reader: Reader, name: bytes, length: int) -> bool:
    checksum = zlib.crc32(name)
    while length and (block := reader.read(min(length, SUMMED))):
        checksum = zlib.crc32(block, checksum)
        length -= len(block)
    told = reader.read(4)
    return bool(length) or len(told) < 4 or told == struct.pack(">I", checksum)  # noqa: PLR2004 (a checksum's size)
