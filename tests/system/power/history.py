"""What reached the disks of a machine, in order; and what is on them where the power goes in between."""

import struct
from typing import NamedTuple

#: How an entry of a record begins: which disk, the offset, and the length of what follows.
ENTRY = struct.Struct("<BQI")

#: Bytes that a disk writes as a whole or not at all.
SECTOR = 4096


class Entry(NamedTuple):
    """A write; a flush where it has no data."""

    disk: int
    offset: int
    data: bytes


class History:
    """What was on the disks `before`, an image of each, and what reached them since."""

    def __init__(self, before):
        self.before = before
        self._entries = []

    def read(self, record):
        """Read a record, writes a sector at a time."""
        content, at = record.read_bytes(), 0
        while at < len(content):
            disk, offset, length = ENTRY.unpack_from(content, at)
            at += ENTRY.size
            for piece in range(at, at + max(length, 1), SECTOR):
                data = content[piece : min(piece + SECTOR, at + length)]
                self._entries.append(Entry(disk, offset + piece - at, data))
            at += length

    def cut(self, dice):
        """Return the writes that are on the disks where the power goes at some instant.

        What a disk was told to flush is there. What came after may be there or not: disks write in any order.
        """
        past = self._entries[: dice.randint(0, len(self._entries))]
        flushed = {entry.disk: number for number, entry in enumerate(past) if not entry.data}
        share = dice.choice([0, 0.5, 0.9, 1])
        return [
            entry
            for number, entry in enumerate(past)
            if entry.data and (number < flushed.get(entry.disk, 0) or dice.random() < share)
        ]
