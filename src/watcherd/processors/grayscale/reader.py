"""A file as Pillow reads it.

Pillow raises `OSError` for a damaged picture and for a disk that cannot be read. What is noted here tells the two
apart, and whether a decoder asked for more than there was, which makes a file truncated, not corrupt.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from operator import index
from typing import TYPE_CHECKING, BinaryIO, cast

from PIL import ImageFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcherd.model import Limits

BLOCK = ImageFile.MAXBLOCK  # what decoders read at once, whether or not there is as much


class Reader:
    """A file without a name or a descriptor, so that nothing maps it or bypasses us.

    `starved` turns true when a decoder asks for more than there is. `outside` holds the errors of the file system,
    which pass unchanged, whatever Pillow makes of them. `needed` is the most bytes that the headers seen so far ask
    for, within `limits`.
    """

    def __init__(self, source: BinaryIO, limits: Limits) -> None:
        self._buffer = io.BufferedReader(cast("io.RawIOBase", source), BLOCK)
        self._whole: bytes | None = None
        self.starved = False
        self.outside: list[Exception] = []
        self.limits, self.needed = limits, 0
        self.size = self._buffer.seek(0, io.SEEK_END)
        self._buffer.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, or to the end. For a GIF of a few megabytes 10,000 times: so no context manager here."""
        try:
            data = self._buffer.read(size)
        except Exception as error:
            self.outside.append(error)
            raise
        if len(data) < size and (not data or size < BLOCK):
            self.starved = True
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset`. Damaged files ask for what no file can hold, or no number: ValueError, TypeError."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self.size}[whence]
        place = start + index(offset)
        if not 0 <= place < 1 << 62:
            raise ValueError("an offset leads out of the file")
        with self._noted():
            return self._buffer.seek(place)

    def read_at(self, offset: int, size: int) -> bytes:
        """Read `size` bytes from `offset` on."""
        self.seek(offset)
        return self.read(size)

    def tell(self) -> int:
        """Return the position."""
        return self._buffer.tell()

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Let the body read elsewhere, and then go on as if it had not; not after an error."""
        place, starved = self.tell(), self.starved
        yield
        self.seek(place)
        self.starved = starved

    def getvalue(self) -> bytes:
        """Return the whole file, read once: libtiff asks for it anew at each page."""
        if self._whole is None:
            # With its size, as a buffer then takes it in place; "all" would be put together once more.
            self._whole = self.read_at(0, self.size)
        return self._whole

    def pass_outside(self) -> None:
        """Raise the error from outside, if there was one, in place of what was made of it."""
        if self.outside:
            raise self.outside[0] from None

    def release(self) -> None:
        """Let the caller's file go without closing it."""
        self._buffer.detach()

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.outside.append(error)
            raise
