"""Durations, sizes and shares as people write them, and back (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_WHOLE = r"\d+(?:_\d+)*"  # with underscores between digits, as in Python and TOML
_NUMBER = rf"({_WHOLE}(?:\.\d+)?)"
_DURATION_PART = re.compile(_NUMBER + r"\s*(ms|s|sec|m|min|h|d|w)(?![a-z])\s*")
_SIZE = re.compile(_NUMBER + r"\s*(?:([kmgtp])(i?b?)|b)?", re.IGNORECASE)
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")

#: The same for a JSON Schema, whose patterns know no flags.
DURATION = r"^\s*(\d+(_\d+)*(\.\d+)?\s*([mM]?[sS]|[sS][eE][cC]|[mM]|[mM][iI][nN]|[hHdDwW])\s*)+$"
SIZE = r"^\s*\d+(_\d+)*(\.\d+)?\s*([kKmMgGtTpP]([iI]?[bB]?)|[bB])?\s*$"
SHARE = r"^\s*0*\d{1,2}(\.\d+)?\s*%\s*$"
#: Put before one of these: some digit is not 0.
SOME = "^(?=.*[1-9])"

_SECONDS = {"w": 604_800.0, "d": 86_400.0, "h": 3600.0, "min": 60.0, "m": 60.0, "sec": 1.0, "s": 1.0, "ms": 0.001}
_WRITTEN_SECONDS = ("d", "h", "m", "s", "ms")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_BINARY = tuple((1024**power, f"{letter.upper()}iB") for letter, power in _POWERS.items())
_DECIMAL = tuple((1000**power, f"{letter.upper()}B") for letter, power in _POWERS.items())
_WRITTEN_SIZES = sorted((*_BINARY, *_DECIMAL), reverse=True)

#: More than this is a slip of the pen, and would overflow a field of the kernel's.
LONGEST = 100 * 365 * _SECONDS["d"]
LARGEST = (1 << 63) - 1


class Unreadable(ValueError):
    """A value that cannot be read: what is wrong with it, and in `mend` what to write instead."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.mend = mend


def duration(value: object) -> float:
    """Return the seconds of ``"250ms"``, ``"5s"``, ``"1.5h"``, ``"1h30m"`` or ``"90d"``; Unreadable for others."""
    if not isinstance(value, str):
        example = value if isinstance(value, (int, float)) and value > 0 and value is not True else 5
        raise Unreadable(f"{value!r} is no duration", f'write a number with its unit in quotes, as in "{example}s"')
    text = value.strip().lower()
    parts = _DURATION_PART.findall(text)
    if not parts or _DURATION_PART.sub("", text):
        raise Unreadable(f"{value!r} is no duration", 'write it as in "250ms", "5s", "2m", "1.5h" or "90d"')
    return _bounded(sum(float(number) * _SECONDS[unit] for number, unit in parts), LONGEST, value, "duration")


def size(value: object) -> int:
    """Return the bytes of ``"64MiB"``, ``"2GB"`` (decimal), ``"2G"`` (binary) or a bare number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise Unreadable(f"{value!r} is no size", 'write it as in "64MiB", "2GB" or "512KiB"')
    number, letter, ending = match.groups()
    base = 1000 if (ending or "").lower() == "b" else 1024
    factor = base ** _POWERS[letter.lower()] if letter else 1
    exact = float(number) * factor if "." in number else int(number) * factor
    return round(_bounded(exact, LARGEST, value, "size"))  # no sooner: one of too many digits is infinite


def count(value: object) -> int:
    """Return a whole number of at least 1, as a file has it or a variable spells it: ``"100_000_000"``."""
    if isinstance(value, str) and re.fullmatch(_WHOLE, value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unreadable(f"{value!r} is no whole number", "write one, as in 4")
    if value < 1:
        raise Unreadable("must be at least 1", "write 1 or more")
    return value


def _bounded(number: float, most: float, value: object, noun: str) -> float:
    if number > most:
        raise Unreadable(f"{value!r} is too large a {noun}", "write a smaller one")
    return number


def duration_text(seconds: float) -> str:
    """Write seconds with the largest unit that needs no fraction: 90.0 is ``"90s"``, 3600.0 is ``"1h"``."""
    for unit in _WRITTEN_SECONDS:
        count = seconds / _SECONDS[unit]
        if count >= 1 and abs(count - round(count)) < 1e-9 * count:
            return f"{round(count)}{unit}"
    return f"{_digits(seconds)}s"


def _digits(number: float) -> str:
    """Write a number as it is read: without an exponent, and with all digits that it can be told apart by."""
    return f"{Decimal(f'{number:.15g}'):f}"


def size_text(count: int) -> str:
    """Write bytes with the largest unit that needs no fraction: 1 << 30 is ``"1GiB"``, 10**9 is ``"1GB"``."""
    for factor, unit in _WRITTEN_SIZES:
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return f"{count}B"


def about(count: int) -> str:
    """Write bytes in whole MiB, where there are as many."""
    return size_text(count >> 20 << 20 or count)


@dataclass(frozen=True, slots=True)
class MinFree:
    """What must stay free on a file system: the larger of `share` of its size (0 to 1) and `bytes`."""

    share: float = 0.0
    bytes: int = 0

    def of(self, total: int) -> int:
        """Return the bytes that must stay free on a file system of `total` bytes."""
        return max(self.bytes, int(self.share * total))

    def __str__(self) -> str:
        return f"{_digits(self.share * 100)}%" if self.share else size_text(self.bytes)


def min_free(value: object) -> MinFree:
    """Return what ``"1%"`` or ``"2GiB"`` asks to be kept free; Unreadable for others and for 100 % or more."""
    match = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        try:
            return MinFree(bytes=size(value))
        except Unreadable:
            raise Unreadable(f"{value!r} is neither a share nor a size", 'write it as in "1%" or "2GiB"') from None
    share = float(match[1]) / 100
    if share >= 1:
        raise Unreadable(f"{value!r} leaves nothing to write in", 'write a small share, as in "1%"')
    return MinFree(share=share)
