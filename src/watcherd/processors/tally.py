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
    Found = tuple[int, int, Mask]  # how many characters and lines a block has, and which of its bytes are white space

#: As signed bytes, continuation bytes (80 to BF) are those below this.
_LEAST_LEAD = -64
_LAST_OF_ASCII = 0x7F
_LONGEST = 4  # bytes of a character

#: What `_plain` compares with. As arrays: NumPy converts a number at each call, with the interpreter's lock held.
_SHIFT = np.array(0x0E, np.uint8)
_SHIFTED_TAB, _SHIFTED_FS, _SHIFTED_DEL = 0x09 - 0x0E, 0x1C - 0x0E, 0x7F - 0x0E
_SHIFTED_LETTER = np.array(0x21 - 0x0E, np.int8)
_SHIFTED_NEWLINE = np.array((0x0A - 0x0E) % 256, np.uint8)

_NOWHERE = np.empty(0, np.intp)

#: White space beyond ASCII: the first two bytes, and which third ones may follow; without any, two are all.
_WIDE_SPACES = (
    (b"\xc2\x85", ()),
    (b"\xc2\xa0", ()),
    (b"\xe1\x9a", (0x80,)),
    (b"\xe2\x80", (*range(0x80, 0x8B), 0xA8, 0xA9, 0xAF)),
    (b"\xe2\x81", (0x9F,)),
    (b"\xe3\x80", (0x80,)),
)
_DENSE = (b"\xe1\x9a", b"\xe3\x80")  # nearly all of Georgian, and of Japanese, begins with the first byte of these


def _tables() -> tuple[Bytes, Mask]:
    """Return which of `_WIDE_SPACES` two bytes begin, counted from 1, and for each which third bytes end it."""
    begins, ends = np.zeros(1 << 16, np.uint8), np.zeros((len(_WIDE_SPACES) + 1, 1 << 8), np.bool_)
    for number, (pair, thirds) in enumerate(_WIDE_SPACES, 1):
        begins[int.from_bytes(pair)] = number
        ends[number, list(thirds) if thirds else slice(None)] = True
    return begins, ends


_BEGINS, _ENDS = _tables()
_LAST_OF_TWO = sum(not thirds for _, thirds in _WIDE_SPACES)  # those of two bytes come first

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
        self._masks = tuple(np.empty(size, np.bool_) for _ in range(3))

    def cut(self, size: int) -> tuple[Mask, Mask, Mask]:
        """Return three masks of `size`, to be written over."""
        one, two, three = self._masks
        return one[:size], two[:size], three[:size]


class Tally:
    """The counts so far, and whether the last byte was white space."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self.words = self.lines = self.characters = 0
        self._after_space = True
        self._plain = True  # whether the last block was

    def room(self) -> int:
        """Return how many bytes the next block may have, so that a cache holds them and the masks that they need."""
        return self.scratch.size if self._plain else max(self.scratch.size // 2, _LONGEST)

    def add(self, block: Bytes) -> bool:
        """Add a block, not empty and no longer than the scratch, if it is UTF-8 to Python's strict decoder.

        Return whether it is: if so the block has been overwritten, if not it is unchanged and nothing is counted.
        """
        masks = self.scratch.cut(len(block))
        found = (_plain(block, masks[0]) if self._plain else None) or self._look_closely(block, *masks)
        if found is None:
            return False
        characters, lines, spaces = found
        self.characters += characters
        self.lines += lines
        self.words += _word_starts(spaces, masks[0]) + (self._after_space and not spaces[0])
        self._after_space = bool(spaces[-1])
        return True

    def _look_closely(self, block: Bytes, mask: Mask, other: Mask, spaces: Mask) -> Found | None:
        """Look at a block that need not be plain; return None where it is not UTF-8."""
        peak = int(block.max())
        self._plain = peak <= _LAST_OF_ASCII  # the next one may be
        characters = _characters(block, peak, spaces, mask, other)
        if characters < 0:
            return None
        lines = int(np.count_nonzero(np.equal(block, 0x0A, out=mask)))
        _ascii_spaces(block, spaces, mask)
        if peak > _LAST_OF_ASCII:
            _wide_spaces(block, peak, mask, other, spaces)
        return characters, lines, spaces

    def add_text(self, text: str) -> None:
        """Add a string of any length; a lone surrogate counts as any other character."""
        step = self.scratch.size // _LONGEST
        for start in range(0, len(text), step):
            self.add(np.frombuffer(bytearray(text[start : start + step].encode("utf-8", "replace")), np.uint8))


def _plain(block: Bytes, mask: Mask) -> Found | None:
    """Look at a block that is ASCII without other control characters, in few passes and in its own place.

    Find what `_look_closely` does; return None for any other block, and leave it as it was. Less 14, and as bytes
    with a sign, white space is -5 to -1 and 14 to 18, a letter 19 to 113. What is between the two runs of white space
    is 0 to 13 then, and all else above the letters or below -5.
    """
    signed = block.view(np.int8)
    np.subtract(block, _SHIFT, block)
    if block.min() < _SHIFTED_FS or signed.min() < _SHIFTED_TAB or signed.max() > _SHIFTED_DEL:
        np.add(block, _SHIFT, block)
        return None
    lines = int(np.count_nonzero(np.equal(block, _SHIFTED_NEWLINE, mask)))
    return len(block), lines, np.less(signed, _SHIFTED_LETTER, block.view(np.bool_))


def _ascii_spaces(block: Bytes, spaces: Mask, mask: Mask) -> None:
    """Mark U+0009 to 000D and 001C to 0020: two runs of five; what lies below a run wraps around to above it."""
    for first, marked in ((0x09, spaces), (0x1C, mask)):
        shifted = marked.view(np.uint8)  # in its place: the fewer bytes are passed over, the more stay in the cache
        np.less(np.subtract(block, first, out=shifted), 5, out=marked)
    np.logical_or(spaces, mask, out=spaces)


def _wide_spaces(block: Bytes, peak: int, mask: Mask, other: Mask, spaces: Mask) -> None:
    """Mark every byte of the white space beyond ASCII: find the bytes that may begin one, and look there.

    Most texts have few of them. Where whole scripts have the same first byte, the second byte has to fit, too.
    """
    likely = np.equal(block, 0xC2, out=mask)
    likely |= np.equal(block, 0xE2, out=other)
    at = np.flatnonzero(likely)
    for pair in _DENSE:
        if pair[0] <= peak:
            at = np.concatenate((at, _places(block, pair, mask, other)))
    if not len(at):
        return
    number = _BEGINS[block[at].astype(np.uint16) << 8 | block[at + 1]]
    found = _ENDS[number, block.take(at + 2, mode="clip")]  # of two bytes at the very end there is no third
    at, number = at[found], number[found]
    spaces[at] = spaces[at + 1] = True
    spaces[at[number > _LAST_OF_TWO] + 2] = True


def _places(block: Bytes, pair: bytes, mask: Mask, other: Mask) -> NDArray[np.intp]:
    """Return where two bytes are."""
    found = np.equal(block[:-1], pair[0], out=mask[:-1])
    if not found.any():
        return _NOWHERE
    found &= np.equal(block[1:], pair[1], out=other[1:])
    return np.flatnonzero(found) if found.any() else _NOWHERE


def _word_starts(spaces: Mask, mask: Mask) -> int:
    """Count where white space is followed by something else."""
    return int(np.count_nonzero(np.greater(spaces[:-1], spaces[1:], mask[1:])))


def _characters(block: Bytes, peak: int, one: Mask, mask: Mask, other: Mask) -> int:
    """Return how many characters a block with the highest byte `peak` has; -1 where it is not UTF-8."""
    if peak <= _LAST_OF_ASCII:
        return len(block)
    shifted = one.view(np.uint8)
    if peak > _LAST_LEAD or unfinished(block.data):
        return -1
    continuing = _continuing(block, peak, mask, other)
    if continuing < 0 or any(_forbidden(block, rule, shifted, mask, other) for rule in _FORBIDDEN if rule[0] <= peak):
        return -1
    return len(block) - continuing


def unfinished(block: memoryview) -> int:
    """Return how many bytes at the end belong to a character that needs more."""
    if block[-1] <= _LAST_OF_ASCII:
        return 0
    for held, lead in ((1, 0xC0), (2, 0xE0), (3, 0xF0)):
        if len(block) >= held and block[-held] >= lead:
            return held
    return 0


def _continuing(block: Bytes, peak: int, mask: Mask, due: Mask) -> int:
    """Return how many continuation bytes there are; -1 unless they are exactly where lead bytes ask for them.

    One after C0, two after E0, three after F0.
    """
    due[0] = False
    np.greater_equal(block[:-1], 0xC0, out=due[1:])
    for distance, lead in ((2, 0xE0), (3, 0xF0)):
        if lead <= peak:
            asked = np.greater_equal(block[:-distance], lead, out=mask[distance:])
            np.logical_or(due[distance:], asked, out=due[distance:])
    np.less(block.view(np.int8), _LEAST_LEAD, out=mask)
    return -1 if np.not_equal(mask, due, out=due).any() else int(np.count_nonzero(mask))


def _forbidden(block: Bytes, rule: tuple[int, int, int], shifted: Bytes, mask: Mask, other: Mask) -> bool:
    """Whether a lead byte is followed by a byte that its rule forbids."""
    lead, start, stop = rule
    leads = np.equal(block[:-1], lead, out=mask[1:])
    if not leads.any():
        return False
    seconds = np.less(np.subtract(block[1:], start, out=shifted[1:]), stop - start, out=other[1:])
    return bool(np.logical_and(leads, seconds, out=leads).any())
