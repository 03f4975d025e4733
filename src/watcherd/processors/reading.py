"""A text as it is read: chunk by chunk into one buffer, in whole characters, and never more than is allowed."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from watcherd.model import Failure, FileFault
from watcherd.processors.tally import unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import RawIOBase

    from watcherd.processors.tally import Bytes

_HEAD = 64 << 10  # bytes at the start that show a binary file
_SAMPLE = 64 << 10  # bytes around the first bad one that decide what a text is

#: Bytes that no encoding uses as a part of a longer character.
_SPACE = re.compile(rb"[\t\n\r ]")


class TextReader:
    """Reads `source` chunk by chunk into `view`, within `max_bytes`. `total` is what was read, marks included."""

    def __init__(self, source: BinaryIO, view: memoryview, max_bytes: int, checkpoint: Callable[[], None]) -> None:
        self.total = 0
        self._source = cast("RawIOBase", source)  # for `readinto`, which `BinaryIO` does not promise
        self._view = view
        self._max_bytes = max_bytes
        self._checkpoint = checkpoint

    def head(self) -> bytes:
        """Read the first bytes. Raises FileFault where the file is already too large."""
        self._source.seek(0)
        head = self._view[:_HEAD] if len(self._view) >= _HEAD else memoryview(bytearray(_HEAD))
        size = self._fill(head)
        if size == _HEAD:
            self._refuse_large(self._source.seek(0, os.SEEK_END))
        return bytes(head[:size])

    def blocks(self, start: int) -> Iterator[memoryview]:
        """Read from the byte `start` on."""
        self._seek(start)
        while size := self._fill(self._view):
            yield self._view[:size]

    def characters(self, start: int, room: Callable[[], int]) -> Iterator[Bytes]:
        """Read from the byte `start` on, in whole UTF-8 characters; only the last block may end within one.

        Before each block `room` is asked how many bytes it may have, 4 or more; the view may have fewer.
        """
        self._seek(start)
        buffer = np.frombuffer(self._view, np.uint8)
        held = 0
        while size := self._fill(self._view[held : room()]):
            end = held + size
            held = unfinished(self._view[:end])
            if end > held:
                yield buffer[: end - held]
            if held:
                self._view[:held] = self._view[end - held : end]
        if held:
            yield buffer[:held]

    def around(self, position: int) -> bytes:
        """Read a sample around `position`, cut where no character of any encoding is cut."""
        start = max(position - _SAMPLE // 2, 0)
        self._seek(start)
        sample = bytearray(_SAMPLE)
        size = self._fill(memoryview(sample))
        return _between_spaces(bytes(sample[:size]), head=start == 0, tail=size < _SAMPLE)

    def _seek(self, start: int) -> None:
        self._source.seek(start)
        self.total = start

    def _fill(self, view: memoryview) -> int:
        """Fill `view` as far as the file goes; return the bytes read."""
        self._checkpoint()
        size = 0
        while size < len(view) and (got := self._source.readinto(view[size:])):
            size += got
        self.total += size
        self._refuse_large(self.total)
        return size

    def _refuse_large(self, size: int) -> None:
        if size > self._max_bytes:
            limit = f"{self._max_bytes:,}"
            raise FileFault(Failure.TOO_LARGE, f"has more than {limit} bytes: raise `max_bytes` under [text]")


def _between_spaces(sample: bytes, *, head: bool, tail: bool) -> bytes:
    """Cut a sample next to ASCII white space, unless it has the text's own `head` or `tail` there."""
    edge = len(sample) // 4
    first = None if head else _SPACE.search(sample, 0, edge)
    last = None if tail else _SPACE.search(sample[::-1], 0, edge)
    return sample[first.end() if first else 0 : len(sample) - (last.start() if last else 0)]
