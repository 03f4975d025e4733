"""Paths where only text can be: in JSON, and on a shell's line. Those that are no text are exact there, too."""

from __future__ import annotations

import base64
import os
import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


#: Characters that JSON allows in a text, and a terminal obeys or a reader takes for the end of a line.
_UNRULY = re.compile("[\x7f-\x9f\u2028\u2029]")


def readable(text: str) -> str:
    """Return a text that may contain a path as JSON and SQLite can hold it: undecodable bytes are U+FFFD."""
    return exact(text).decode(errors="replace")


def exact(text: str) -> bytes:
    """Return the bytes of a text that may contain a path: those of a path are the kernel's."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte: somebody wrote it so in JSON
        return text.encode(errors="surrogatepass")


def as_fields(key: str, path: str | os.PathLike[str]) -> dict[str, str]:
    """Return a path as JSON holds it: readable, and where that differs, its exact bytes in a field ``…_b64``."""
    text = os.fspath(path)
    if (shown := readable(text)) == text:
        return {key: shown}
    return {key: shown, f"{key}_b64": base64.b64encode(exact(text)).decode()}


def from_fields(key: str, facts: Mapping[str, object]) -> str:
    """Return the exact path that `as_fields` put there; empty where there is none, or none that a file can have."""
    try:
        coded = facts.get(f"{key}_b64")
        name = base64.b64decode(coded) if isinstance(coded, str) else os.fsencode(str(facts.get(key, "")))
    except ValueError:  # also where JSON escapes what stands for no byte of a name
        return ""
    return "" if b"\0" in name else os.fsdecode(name)


def unbroken(written: str) -> str:
    """Escape in JSON what a terminal would obey, or a reader take for the end of a line; its meaning stays."""
    return _UNRULY.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def quoted(path: str) -> str:
    """Quote a path for a shell; bytes that are no text as bash, zsh and ksh write them."""
    return shlex.quote(path) if readable(path) == path else _escaped(path)


def typed(path: str) -> str:
    """Write a path on one line as a person may type it: if it is not plain text, as bash and zsh take it."""
    return path if path.isprintable() else _escaped(path)


def on_a_line(text: str) -> str:
    """Write a text, which may hold a stranger's file name, on one line: line ends and controls are escaped."""
    return text if text.isprintable() else repr(text)[1:-1]


def _escaped(path: str) -> str:
    return "$'" + "".join(map(_character, path)) + "'"


def _character(character: str) -> str:
    if character.isprintable() and character not in "'\\":
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
