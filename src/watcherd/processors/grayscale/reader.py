"""A file as Pillow reads it. Where a decoder asks for more than there is, the file is truncated, not corrupt."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from PIL import ImageFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcherd.model import Limits

BLOCK = ImageFile.MAXBLOCK  # what decoders read at once, whether or not there is as much


class Reader:
    """A file without a name or a descriptor, so that nothing maps it or bypasses us.

    `starved` turns true when a decoder asks for more than there is.
    """

    def __init__(self, source: BinaryIO, limits: Limits) -> None:
        self._buffer = io.BufferedReader(cast("io.RawIOBase", source), BLOCK)
        self._whole: bytes | None = None
        self.starved = False
        self.limits = limits
        self.size = self._buffer.seek(0, io.SEEK_END)
        self._buffer.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, or to the end."""
        data = self._buffer.read(size)
        if len(data) < size and (not data or size < BLOCK):  # a whole block is asked for near the end, too
            self.starved = True
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset`. Damaged files ask for what no disk can hold, or no number: ValueError, TypeError."""
        try:
            return self._buffer.seek(offset, whence)
        except OSError:
            raise ValueError("an offset leads out of the file") from None

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

    def release(self) -> None:
        """Let the caller's file go without closing it."""
        self._buffer.detach()
