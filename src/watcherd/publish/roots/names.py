"""The names of results, archives and reasons (pure).

Every name is derived from the source's own, so that two inputs never share a result; where the plain one is taken, a
number stands before the source's extension.
"""

from __future__ import annotations

from hashlib import sha256
from os import fsdecode, fsencode

#: The kernel's limit on one name, in bytes.
LONGEST = 255

#: What follows the last dot counts as an extension up to this many bytes.
_LONGEST_EXTENSION = 32

#: The most bytes of one character.
_WIDEST = 4


def derived(source: str, number: int = 0, *, prefix: str = "", suffix: str = "") -> str:
    """Return `prefix`, the name `source` with `number` before its extension (0: none), and `suffix`.

    A name over 255 bytes becomes its longest fitting beginning, ``~``, 8 hex digits of the SHA-256 of `source`, and
    its ending: the number and `suffix`, or the source's extension where there is no suffix.
    """
    stem, extension = _split(source)
    name = f"{prefix}{stem}{_dotted(number)}{extension}{suffix}"
    if _fits(name, LONGEST):
        return name
    ending = f"~{sha256(fsencode(source)).hexdigest()[:8]}{_dotted(number)}{suffix or extension}"
    return _beginning(f"{prefix}{source}", LONGEST - len(fsencode(ending))) + ending


def _split(source: str) -> tuple[str, str]:
    stem, dot, extension = source.rpartition(".")
    if not stem or not _fits(extension, _LONGEST_EXTENSION):
        return source, ""
    return stem, dot + extension


def _dotted(number: int) -> str:
    return f".{number}" if number else ""


def _fits(name: str, size: int) -> bool:
    return _WIDEST * len(name) <= size or len(fsencode(name)) <= size


def _beginning(name: str, size: int) -> str:
    """Return the longest beginning of at most `size` bytes that cuts no character in half."""
    while not _fits(name, size):
        excess = len(fsencode(name)) - size
        name = name[: -max(excess // _WIDEST, 1)]  # never more than is needed
    return fsdecode(fsencode(name))
