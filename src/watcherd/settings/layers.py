"""The sources of settings, strongest first: what each says, and where it says it.

A layer keeps what it was told, unchecked, but for paths: those are made absolute here, because only here is it known
what they are relative to (the folder of the file that holds them; for flags and environment the working directory).
"""

from __future__ import annotations

import os
import re
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

PREFIX = "WATCHERD_"
ROLES = ("path", "outbox", "archive", "failed")
#: The place of a value that nobody gave; that of one that follows from a given one begins with it.
DEFAULT = "default"
#: A variable at the start of a path: a shell would have expanded it, and we do not.
VARIABLE = re.compile(r"\$(\w+|\{\w+\})(?=/|$)")

#: What tomllib raises: a TOMLDecodeError is a ValueError, as is that of a number with too many digits.
NOT_TOML = (ValueError, RecursionError)

#: What the last line of a statement of several lines holds.
_END = re.compile("[]}]|\"{3}|'{3}")

_LISTS = frozenset({"include", "exclude", "extensions"})

#: The names of settings on their way down the tables: ("inbox", "scans", "path").
Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source says. `places` has where each key was said; `name` stands in for those not in there."""

    name: str
    values: Mapping[str, Any]
    places: Mapping[Keys, str] = field(default_factory=dict)

    def find(self, keys: Keys) -> object:
        """Return what this source says about `keys`; None where it is silent."""
        value: object = self.values
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def inboxes(self) -> Mapping[str, object]:
        """Return the table of each inbox that this source mentions."""
        tables = self.find(("inbox",))
        return tables if isinstance(tables, dict) else {}

    def place(self, keys: Keys) -> str:
        """Return where `keys` are said; else where something beneath them is, or the nearest table around them."""
        beneath = (inner for inner in self.places if inner[: len(keys)] == keys)
        around = (keys[:length] for length in reversed(range(len(keys))))
        return next((self.places[near] for near in (keys, *beneath, *around) if near in self.places), self.name)


@dataclass(frozen=True, slots=True)
class Layers:
    """All sources, strongest first. `notes` tell people what was left aside, and why."""

    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()

    def find(self, *keys: str) -> object:
        """Return what the strongest source says about `keys`; None where all are silent."""
        return next((said for layer in self.layers if (said := layer.find(keys)) is not None), None)

    def place(self, *keys: str) -> str:
        """Return where that is said."""
        return next((layer.place(keys) for layer in self.layers if layer.find(keys) is not None), DEFAULT)

    def inboxes(self) -> list[str]:
        """Return the names of all inboxes that any source mentions, those of the weakest source first."""
        return list(dict.fromkeys(name for layer in reversed(self.layers) for name in layer.inboxes()))

    def without(self, keys: Collection[Keys]) -> Layers:
        """Return what they say besides these keys, and all beneath them."""
        return Layers(tuple(replace(layer, values=_without(layer.values, keys)) for layer in self.layers))


def _without(values: Mapping[str, Any], keys: Collection[Keys], table: Keys = ()) -> dict[str, Any]:
    kept = {key: value for key, value in values.items() if (*table, key) not in keys}
    return {key: _without(it, keys, (*table, key)) if isinstance(it, dict) else it for key, it in kept.items()}


def from_flags(flags: Mapping[str, Any], cwd: Path) -> Layer:
    """Read the flags that stand in place of a file: inbox, outbox, archive, failed, after, and state."""
    said = {name: value for name, value in flags.items() if value is not None}
    inbox = {"path" if name == "inbox" else name: value for name, value in said.items() if name != "state"}
    values: dict[str, Any] = {"inbox": {"inbox": inbox}} if inbox else {}
    places = {("inbox", "inbox", key): f"--{'inbox' if key == 'path' else key}" for key in inbox}
    if "state" in said:
        values["state"] = said["state"]
    return Layer("flags", anchored(values, cwd), places | {("state",): "--state"})


def from_environment(environ: Mapping[str, str], cwd: Path) -> Layer:
    """Read ``WATCHERD_…`` variables, `__` between levels. An empty one counts as unset."""
    values: dict[str, Any] = {}
    places: dict[Keys, str] = {}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name != f"{PREFIX}CONFIG" and environ[name]:
            keys = _keys_of(name)
            _put(values, keys, _listed(environ[name]) if keys[-1] in _LISTS else environ[name])
            places[keys] = name
    return Layer("environment", anchored(values, cwd), places)


def _keys_of(variable: str) -> Keys:
    said = variable.removeprefix(PREFIX).lower()
    if found := re.fullmatch("(inbox)__(.+)__(.+)", said):  # its name may hold, or be, underscores; its keys do not
        return found.groups()
    return tuple(said.split("__"))


def _put(values: dict[str, Any], keys: Keys, value: object) -> None:
    *tables, last = keys
    for table in tables:
        inner = values.setdefault(table, {})
        if not isinstance(inner, dict):  # WATCHERD_LOG=x beside WATCHERD_LOG__LEVEL=y: the former is the problem
            return
        values = inner
    values[last] = value


def _listed(text: str) -> list[str]:
    """Split a list in a variable: commas between, or TOML's brackets where a comma is part of a pattern."""
    if text.lstrip().startswith("["):
        with suppress(*NOT_TOML):  # then it begins with a pattern as [0-9]*.txt
            return list(tomllib.loads(f"list = {text}")["list"])
    return [part for part in map(str.strip, text.split(",")) if part]


def from_file(path: Path) -> Layer:
    """Read a TOML file. Raises OSError, UnicodeDecodeError and NOT_TOML."""
    text = path.read_bytes().decode("utf-8-sig")  # with the mark that editors on Windows set
    values = tomllib.loads(text)
    places = {keys: f"{path}:{line}" for keys, line in lines_of(text)}
    return Layer(str(path), anchored(values, path.absolute().parent), places)


def lines_of(text: str) -> Iterator[tuple[Keys, int]]:
    """Yield each table and key of a valid TOML text with its line, counted from 1.

    tomllib keeps no positions, so each statement is parsed by itself: it ends with the first line that makes it
    parse. Only lines that may end one are tried, or a long list would be parsed once for each of its lines.
    """
    table: Keys = ()
    statement, first = "", 1
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        statement += line + "\n"
        if number > first and not _END.search(line):
            continue
        try:
            keys = list(_paths(tomllib.loads(statement)))
        except tomllib.TOMLDecodeError:
            continue
        if re.match(r"\s*\[", statement):
            table = keys[0]
            yield table, first
        else:
            yield from ((table + inner, first) for inner in keys)
        statement, first = "", number + 1


def _paths(values: Mapping[str, Any]) -> Iterator[Keys]:
    for key, value in values.items():
        beneath = list(_paths(value)) if isinstance(value, dict) else []
        yield from ((key, *keys) for keys in beneath or [()])


def anchored(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Return the values with their paths made absolute under `base`; a leading ``~`` is the home folder."""
    absolute = dict(values)
    if "state" in absolute:
        absolute["state"] = _absolute(absolute["state"], base)
    if isinstance(absolute.get("inbox"), dict):
        absolute["inbox"] = {name: _anchored_inbox(inbox, base) for name, inbox in absolute["inbox"].items()}
    return absolute


def _anchored_inbox(inbox: object, base: Path) -> object:
    if not isinstance(inbox, dict):
        return inbox
    return {key: _absolute(value, base) if key in ROLES else value for key, value in inbox.items()}


def _absolute(value: object, base: Path) -> object:
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value) or "\0" in os.fspath(value):
        return value
    if VARIABLE.match(os.fspath(value)):
        return os.fspath(value)
    path = base.absolute() / at_home(Path(value))
    # "a/../b" is not "b" where a is a symbolic link: only the kernel's way up is right.
    return Path(os.path.realpath(path)) if ".." in path.parts else path


def home(environ: Mapping[str, str]) -> Path:
    """Return the caller's home folder; for a user without one, as in a container, ``/``."""
    try:
        return Path(environ.get("HOME") or "~").expanduser()
    except RuntimeError:
        return Path("/")


def at_home(path: Path) -> Path:
    """Return a path with a leading ``~`` made the home folder; of a user without one, it is a name like any other."""
    return Path(os.path.expanduser(path))
