"""What a value of a setting may be: how people write it, what the program makes of it, and how it is written again.

Each type here reads what stands in a file or a variable, says in our words what is wrong with it, and describes its
form for `watcherd config --schema`.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from watcherd import patterns as gitignore
from watcherd.settings import units
from watcherd.settings.layers import VARIABLE
from watcherd.settings.units import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

_Value = TypeVar("_Value")

#: Bytes of a text that are looked at together: fewer cost more calls than work, more do not fit into any cache.
LEAST_CHUNK, MOST_CHUNK = 64 << 10, 64 << 20


def _positive(value: float | None) -> float | None:
    if value is not None and value <= 0:
        raise Unreadable("must be more than zero", "write a larger value, or leave the key out for the default")
    return value


def _auto(read: Callable[[object], _Value]) -> Callable[[object], _Value | None]:
    return lambda value: None if value == "auto" else read(value)


def _written(write: Callable[[Any], int | str]) -> PlainSerializer:
    return PlainSerializer(lambda value: "auto" if value is None else write(value), when_used="json")


def _chunk(value: int | None) -> int | None:
    if value is not None and not LEAST_CHUNK <= value <= MOST_CHUNK:
        raise Unreadable(
            f"must be between {units.size_text(LEAST_CHUNK)} and {units.size_text(MOST_CHUNK)}",
            'write "auto", or one as in "512KiB"',
        )
    return value


def _folder(value: object) -> Path:
    if isinstance(value, Path) and value.is_absolute():  # `layers` made every readable path absolute
        return value
    if isinstance(value, str) and VARIABLE.match(value):
        raise Unreadable(f"{value!r} begins with a variable, which is not expanded", 'write it out, or with "~/"')
    raise Unreadable(f"{value!r} is no path of a folder", 'write it as in "/srv/watcherd/inbox"')


def _patterns(values: object) -> tuple[str, ...]:
    patterns = _strings(values, '["*.txt", "drafts/"]')
    for pattern in patterns:
        _require_pattern(pattern)
    return patterns


def _strings(values: object, example: str) -> tuple[str, ...]:
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return tuple(values)
    raise Unreadable(f"{values!r} is no list of texts", f"write it as in {example}")


_CLASS = re.compile(r"\[[!^]?\]?[^]/]*\[:\w+:\]")  # as [[:digit:]]


def _require_pattern(pattern: str) -> None:
    if _CLASS.search(pattern):  # pathspec takes its letters one by one: what it excludes would be taken
        raise Unreadable(
            f"{pattern!r} has a class of characters, which is not known here", 'write "[0-9]" or "[a-z]"'
        )
    # What pathspec compiles to nothing would silently match nothing, as does an unclosed bracket.
    try:
        compiled = list(gitignore.compiled([pattern]).patterns)
    except ValueError as error:
        raise Unreadable(
            f"{pattern!r} is no gitignore pattern: {error}", 'write it as in "*.txt" or "drafts/"'
        ) from error
    if not compiled or compiled[0].include is None:
        raise Unreadable(f"{pattern!r} matches nothing", 'write a gitignore pattern as in "*.txt" or "drafts/"')


def _extensions(values: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_extension(value) for value in _strings(values, '[".txt", ".md"]')))


def _extension(value: str) -> str:
    extension = "." + value.strip().lower().removeprefix(".")
    if extension == "." or set(extension[1:]) & {".", "/", "\0"} or extension.split() != [extension]:
        raise Unreadable(f"{value!r} is no extension", 'write one dot and what follows it, as in ".txt"')
    return extension


def _encoding(value: str) -> str:
    try:
        # `codecs.lookup` would take codecs that make no text of bytes (rot13, zip), and those of host names (idna,
        # punycode), which can neither read a text block by block nor replace invalid bytes.
        b"-".decode(value, "backslashreplace")
    except (LookupError, ValueError):
        raise Unreadable(
            f"{value!r} is no encoding of texts that Python knows", 'write "auto", or one as in "utf-8"'
        ) from None
    return codecs.lookup(value).name


def _one_of(*forms: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": list(forms)})


# What a configuration file may hold, for `watcherd config --schema`; a pattern says nothing of a number.
_AUTO = {"const": "auto"}
_DURATION = {"type": "string", "pattern": units.DURATION, "examples": ["250ms", "5s", "2m", "1.5h", "90d"]}
_SOME_DURATION = _DURATION | {"pattern": units.SOME + units.DURATION}
_SIZE = {"type": ["string", "integer"], "minimum": 0, "pattern": units.SIZE, "examples": ["64MiB", "2GB"]}
_SOME_SIZE = _SIZE | {"minimum": 1, "pattern": units.SOME + units.SIZE}
_CHUNK = _SOME_SIZE | {"minimum": LEAST_CHUNK, "maximum": MOST_CHUNK}
_SHARE = {"type": "string", "pattern": units.SHARE, "examples": ["1%"]}
_COUNT = {"type": "integer", "minimum": 1}
_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _TEXT}

Seconds = Annotated[float, BeforeValidator(units.duration), _written(units.duration_text), WithJsonSchema(_DURATION)]
PositiveSeconds = Annotated[Seconds, AfterValidator(_positive), WithJsonSchema(_SOME_DURATION)]
SecondsOrAuto = Annotated[
    float | None, BeforeValidator(_auto(units.duration)), _written(units.duration_text), _one_of(_AUTO, _DURATION)
]
PositiveSecondsOrAuto = Annotated[SecondsOrAuto, AfterValidator(_positive), _one_of(_AUTO, _SOME_DURATION)]
Bytes = Annotated[
    int, BeforeValidator(units.size), AfterValidator(_positive), _written(units.size_text), WithJsonSchema(_SOME_SIZE)
]
ChunkOrAuto = Annotated[
    int | None,
    BeforeValidator(_auto(units.size)),
    AfterValidator(_chunk),
    _written(units.size_text),
    _one_of(_AUTO, _CHUNK),
]
Share = Annotated[units.MinFree, BeforeValidator(units.min_free), _written(str), _one_of(_SHARE, _SIZE)]
Count = Annotated[int, BeforeValidator(units.count), WithJsonSchema(_COUNT)]
CountOrAuto = Annotated[int | None, BeforeValidator(_auto(units.count)), _written(int), _one_of(_AUTO, _COUNT)]
Folder = Annotated[Path, BeforeValidator(_folder), WithJsonSchema(_TEXT)]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_patterns), WithJsonSchema(_TEXTS)]
Extensions = Annotated[tuple[str, ...], BeforeValidator(_extensions), WithJsonSchema(_TEXTS)]
Encoding = Annotated[str, AfterValidator(lambda value: value if value == "auto" else _encoding(value))]
