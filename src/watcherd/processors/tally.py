"""Counting and validating UTF-8 with NumPy: a few passes over a block of bytes, no string, no loop in Python.

A block holds whole characters. White space is what `str.isspace` says: ten bytes of ASCII, and six patterns of two or
three bytes. A word begins where a byte that is no white space follows one that is, so the last byte is all that one
block hands to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Mask = NDArray[np.bool_]

#: As signed bytes, continuation bytes (80 to BF) are those below this.
_LEAST_LEAD = -64


def _among(*values: int) -> Mask:
    table = np.zeros(256, np.bool_)
    table[list(values)] = True
    return table


#: White space beyond ASCII: the first bytes, and which bytes may end it.
_WIDE_SPACES = (
    (b"\xc2", _among(0x85, 0xA0)),
    (b"\xe1\x9a", _among(0x80)),
    (b"\xe2\x80", _among(*range(0x80, 0x8B), 0xA8, 0xA9, 0xAF)),
    (b"\xe2\x81", _among(0x9F)),
    (b"\xe3\x80", _among(0x80)),
)

_NOWHERE = np.empty(0, np.intp)

#: Second bytes that a lead byte forbids, from and below: overlong forms, surrogates, what is past U+10FFFF.
_FORBIDDEN = (
    (0xC0, 0x80, 0xC0),
    (0xC1, 0x80, 0xC0),
    (0xE0, 0x80, 0xA0),
    (0xED, 0xA0, 0xC0),
    (0xF0, 0x80, 0x90),
    (0xF4, 0x90, 0xC0),
)
_LAST_LEAD = 0xF4


class Scratch:
    """Memory for blocks of up to `size` bytes, used again for each: one for every thread that counts."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.buffer = memoryview(bytearray(size))
        self._bytes = np.empty(size, np.uint8)
        self._mask = np.empty(size, np.bool_)
        self._spaces = np.empty(size, np.bool_)

    def cut(self, size: int) -> tuple[Bytes, Mask, Mask]:
        """Return three arrays of `size`, to be written over."""
        return self._bytes[:size], self._mask[:size], self._spaces[:size]


class Tally:
    """The counts so far, and whether the last byte was white space."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self.words = self.lines = self.characters = 0
        self._after_space = True

    def add(self, block: Bytes) -> None:
        """Add a block of valid UTF-8, not empty and no longer than the scratch."""
        shifted, mask, spaces = self.scratch.cut(len(block))
        _ascii_spaces(block, shifted, mask, spaces)
        self.characters += len(block)
        if block.max() >= 0x80:  # noqa: PLR2004 (the end of ASCII)
            self.characters -= int(np.count_nonzero(np.less(block.view(np.int8), _LEAST_LEAD, out=mask)))
            _wide_spaces(block, shifted, mask, spaces)
        self.lines += int(np.count_nonzero(np.equal(block, 0x0A, out=mask)))
        self.words += _word_starts(spaces, mask) + (self._after_space and not spaces[0])
        self._after_space = bool(spaces[-1])

    def add_text(self, text: str) -> None:
        """Add a string of any length, lone surrogates included."""
        step = self.scratch.size // 4  # a character has at most four bytes
        for start in range(0, len(text), step):
            data = text[start : start + step].encode("utf-8", "surrogatepass")
            self.add(np.frombuffer(data, np.uint8))


def _ascii_spaces(block: Bytes, shifted: Bytes, mask: Mask, spaces: Mask) -> None:
    """Mark U+0009 to 000D and 001C to 0020: two runs of five; what lies below a run wraps around to above it."""
    np.less(np.subtract(block, 0x09, out=shifted), 5, out=spaces)
    np.less(np.subtract(block, 0x1C, out=shifted), 5, out=mask)
    np.logical_or(spaces, mask, out=spaces)


def _wide_spaces(block: Bytes, other: Bytes, mask: Mask, spaces: Mask) -> None:
    """Mark every byte of the white space beyond ASCII."""
    for first, last in _WIDE_SPACES:
        at = _find(block, first, other.view(np.bool_), mask)
        at = at[last[block[at + len(first)]]]
        for offset in range(len(first) + 1):
            spaces[at + offset] = True


def _find(block: Bytes, first: bytes, other: Mask, mask: Mask) -> NDArray[np.intp]:
    """Return where `first`, one or two bytes, begins in `block` with at least one more byte behind it."""
    size = max(len(block) - len(first), 0)
    found = np.equal(block[:size], first[0], out=mask[:size])
    if not found.any():  # most leads are in few texts
        return _NOWHERE
    for second in first[1:]:
        found &= np.equal(block[1 : size + 1], second, out=other[:size])
    return np.flatnonzero(found)


def _word_starts(spaces: Mask, mask: Mask) -> int:
    """Count where white space is followed by something else."""
    return int(np.count_nonzero(np.greater(spaces[:-1], spaces[1:], out=mask[1:])))


def valid(block: Bytes, scratch: Scratch) -> bool:
    """Whether a block, not empty, is UTF-8 as Python's strict decoder has it."""
    peak = int(block.max())
    if peak < 0x80:  # noqa: PLR2004 (the end of ASCII)
        return True
    shifted, mask, other = scratch.cut(len(block))
    return (
        peak <= _LAST_LEAD
        and unfinished(block.data) == 0
        and _well_formed(block, mask, other)
        and not any(_forbidden(block, rule, shifted, mask, other) for rule in _FORBIDDEN if rule[0] <= peak)
    )


def unfinished(block: memoryview) -> int:
    """Return how many bytes at the end belong to a character that needs more."""
    for held, lead in ((1, 0xC0), (2, 0xE0), (3, 0xF0)):
        if len(block) >= held and block[-held] >= lead:
            return held
    return 0


def _well_formed(block: Bytes, mask: Mask, due: Mask) -> bool:
    """Whether continuation bytes are exactly where lead bytes ask for them: one after C0, two after E0, three."""
    due[0] = False
    np.greater_equal(block[:-1], 0xC0, out=due[1:])
    for distance, lead in ((2, 0xE0), (3, 0xF0)):
        asked = np.greater_equal(block[:-distance], lead, out=mask[distance:])
        np.logical_or(due[distance:], asked, out=due[distance:])
    np.less(block.view(np.int8), _LEAST_LEAD, out=mask)
    return not np.not_equal(mask, due, out=mask).any()


def _forbidden(block: Bytes, rule: tuple[int, int, int], shifted: Bytes, mask: Mask, other: Mask) -> bool:
    """Whether a lead byte is followed by a byte that its rule forbids."""
    lead, start, stop = rule
    leads = np.equal(block[:-1], lead, out=mask[1:])
    if not leads.any():
        return False
    seconds = np.less(np.subtract(block[1:], start, out=shifted[1:]), stop - start, out=other[1:])
    return bool(np.logical_and(leads, seconds, out=leads).any())
