"""What is wrong with a configuration: every problem at once, each with its place and its mend."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel

from watcherd.model import WatcherdError
from watcherd.settings.layers import PREFIX
from watcherd.settings.shape import Settings
from watcherd.settings.units import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from watcherd.settings.layers import Keys, Layers

_NO_BOOLEAN = "is neither true nor false", "write true or false"

#: What a value is not, by pydantic's name for that, and what to write.
_NOT = {"bool_parsing": _NO_BOOLEAN, "bool_type": _NO_BOOLEAN, "string_type": ("is no text", "write one, in quotes")}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it was said, about which key, what is wrong, and what to do about it."""

    place: str
    key: str
    message: str
    mend: str

    @property
    def text(self) -> str:
        """What is wrong, with the key that it is about."""
        return f"{self.key}: {self.message}" if self.key and self.key not in self.message else self.message

    def __str__(self) -> str:
        return f"{self.place}: {self.text}; {self.mend}"


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems once each: those of a file by its lines, after all others."""
    return sorted(dict.fromkeys(problems), key=_line)


def _line(problem: Problem) -> int:
    line = problem.place.rpartition(":")[2]
    return int(line) if line.isdecimal() else 0


class ConfigurationError(WatcherdError):
    """The configuration cannot be used. Its text has a line for each of its `problems`.

    `besides` are the settings without the keys that are wrong by themselves; None where the rest is none.
    """

    def __init__(self, problems: Iterable[Problem], besides: Settings | None = None) -> None:
        self.problems = tuple(problems)
        self.besides = besides
        super().__init__("\n".join(map(str, self.problems)))


def explained(error: ValidationError, layers: Layers) -> Iterator[Problem]:
    """Say what pydantic found in our words, with the place of each value."""
    for details in error.errors(include_url=False):
        keys = tuple(map(str, details["loc"]))
        if details["type"] == "missing":
            yield from _missing(keys, layers)
        else:
            place = layers.place(*keys)
            message, mend = _words(details, keys, place)
            yield Problem(place, ".".join(keys), message, mend)


def _missing(keys: Keys, layers: Layers) -> Iterator[Problem]:
    if keys[-1] in {"archive", "failed"}:  # they follow from the outbox, so it is the one that is missing
        return
    place = layers.place(*keys[:-1])
    yield Problem(place, ".".join(keys), f"{'.'.join(keys)} is missing", _addition(keys, place))


def _addition(keys: Keys, place: str) -> str:
    if place.startswith("--"):
        return f"add --{'inbox' if keys[-1] == 'path' else keys[-1]} DIR"
    if place.startswith(PREFIX):
        return f"set {_spelled('.'.join(keys), place)}"
    return f'add {keys[-1]} = "..." beneath [{".".join(keys[:-1])}]'


def _words(details: ErrorDetails, keys: Keys, place: str) -> tuple[str, str]:
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, Unreadable):
        return str(cause), cause.mend
    match details["type"]:
        case "extra_forbidden":
            return f"unknown key {'.'.join(keys)}", _nearest(keys, place)
        case "model_type" | "dict_type":
            return f"{details['input']!r} is no table", _as_table(keys, place)
        case "literal_error" | "enum":
            return f"{details['input']!r} is not known here", f"write {details['ctx']['expected']}"
        case other:
            flaw, mend = _NOT.get(other, (f"is wrong: {details['msg'].lower()}", "correct it"))
            return f"{details['input']!r} {flaw}", mend


def _as_table(keys: Keys, place: str) -> str:
    if meant := _with_levels(place):
        return f"did you mean {meant}?"
    if place.startswith(PREFIX):
        known = next(key for key in KEYS if key.startswith(f"{_dotted(keys)}."))
        return f"set a key of it, as {_spelled(known, place, *keys[1:])}"
    if keys[0] == "inbox":
        return "each inbox is a table with a name of your choice, as in [inbox.scans]"
    return f"write it as [{'.'.join(keys)}] with keys beneath"


def _nearest(keys: Keys, place: str) -> str:
    meant = _with_levels(place) or _elsewhere(keys, place) or _alike(keys, place)
    return f"did you mean {meant}?" if meant else "remove it; `watcherd config --schema` lists all keys"


def _elsewhere(keys: Keys, place: str) -> str:
    """Return the key of this name in another table; nothing where its own has one, or no table has."""
    table, _, key = _dotted(keys).lower().rpartition(".")
    found = next((name for name in KEYS if name.rpartition(".")[2] == key), "")
    if not found or key in _names_in(table):
        return ""
    above = "" if "." in found or place.startswith(PREFIX) else ", above all tables"
    return _spelled(found, place) + above


def _alike(keys: Keys, place: str) -> str:
    """Return the key in the same table whose name is most like this one; nothing where none is like it."""
    table, _, key = _dotted(keys).lower().rpartition(".")
    near = get_close_matches(key, _names_in(table) if table else [*_names_in(""), *KEYS], n=1)  # also log_level
    if not near:
        return ""
    meant = ".".join((*keys[:-1], near[0]))
    # A variable goes on after the name of a table: TXT__TIMEOUT.
    is_table = not table and near[0] not in KEYS
    rest = place.removeprefix(PREFIX).split("__")[1:] if is_table and place.startswith(PREFIX) else []
    return _spelled(".".join((meant, *rest)), place)


def _names_in(table: str) -> list[str]:
    """Return the names of the keys and tables that a table may hold; those at the top for none."""
    inside = f"{table}." if table else ""
    return [name.removeprefix(inside).partition(".")[0] for name in KEYS if name.startswith(inside)]


def _with_levels(place: str) -> str:
    """Return the variable that was meant where only the underscores of the one at `place` are wrong; else nothing."""
    if not place.startswith(PREFIX):
        return ""
    said = re.sub("_+", "_", place.removeprefix(PREFIX).lower())
    for known in KEYS:
        if found := re.fullmatch(known.replace(".", "_").replace("*", "(.+)"), said):
            return _spelled(known, place, *found.groups())
    return ""


def _spelled(key: str, place: str, inbox: str = "NAME") -> str:
    """Write a key as it is written where the problem is: as a variable in the environment."""
    dotted = key.replace("*", inbox)
    return PREFIX + dotted.replace(".", "__").upper() if place.startswith(PREFIX) else dotted


def _dotted(keys: Keys) -> str:
    return ".".join("*" if keys[0] == "inbox" and depth == 1 else key for depth, key in enumerate(keys))


def _keys_of(table: type[BaseModel], before: str = "") -> Iterator[str]:
    for name, field in table.model_fields.items():
        types = (field.annotation, *get_args(field.annotation))
        inner = next((it for it in types if isinstance(it, type) and issubclass(it, BaseModel)), None)
        if inner is None:
            yield before + name
        else:
            yield from _keys_of(inner, f"{before}{name}." + ("*." if name == "inbox" else ""))


#: Every key, dotted; the name of an inbox is ``*``.
KEYS = tuple(_keys_of(Settings))
