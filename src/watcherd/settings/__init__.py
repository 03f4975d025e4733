"""Flags, environment, TOML → one frozen Settings.

    layers    what each source says, and on which line
    units     durations, sizes, shares, both ways
    forms     what a value may be: durations, sizes, folders, patterns as people write them
    shape     every key with its type, default and description
    live      what can change in a running daemon
    folders   folders that follow from others, and overlaps by path, inode and mount
    rules     settings that contradict each other, though each is sound
    mounts    what is mounted where
    machine   cores and memory, less what cgroups allow
    problems  every problem at once, each with its place and mend

Known to the rooms above it alone: those below are given plain values.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from watcherd.settings import folders
from watcherd.settings.layers import (
    NOT_TOML,
    ROLES,
    Layer,
    Layers,
    at_home,
    from_environment,
    from_file,
    from_flags,
    home,
)
from watcherd.settings.live import flat
from watcherd.settings.machine import chunk, workers
from watcherd.settings.problems import ConfigurationError, Problem, explained, in_order
from watcherd.settings.rules import contradictions
from watcherd.settings.shape import Inbox, Settings
from watcherd.settings.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ConfigurationError", "Inbox", "Origin", "Problem", "Settings", "chunk", "load", "origins", "workers"]

_NO_INBOX = "name one: `watcherd init` writes a configuration, or give --inbox DIR --outbox DIR"
_OF_INBOX_FLAGS = ("outbox", "archive", "failed", "after")


def load(flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path, config: Path | None = None) -> Settings:
    """Return the effective settings, or raise ConfigurationError with everything that is wrong.

    `flags` are inbox, outbox, archive, failed, state and after, where they were given; with an inbox among them no
    file is read but `config`.
    """
    layers = _layers(flags, environ, cwd, config)
    problems = [*(_misused(flags) or _missing_inbox(layers)), *folders.problems(layers), *contradictions(layers)]
    try:
        settings = Settings.of(layers)
    except ValidationError as error:
        found = in_order([*problems, *explained(error, layers)])
        raise ConfigurationError(found, _besides(error, layers)) from error
    if problems:
        raise ConfigurationError(in_order(problems), settings)
    return settings


def _besides(error: ValidationError, layers: Layers) -> Settings | None:
    """Return the settings without the keys that are wrong, and without any inbox whose folders are.

    None where the state is not known, or nothing else is left.
    """
    found = (tuple(map(str, it["loc"])) for it in error.errors(include_url=False))
    with suppress(ValidationError):
        return Settings.of(layers.without({keys[:2] if keys[-1] in ROLES else keys for keys in found}))
    return None


def _layers(flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path, config: Path | None) -> Layers:
    by_flags, environment = flags.get("inbox") is not None, from_environment(environ, cwd)
    if by_flags:
        whole = [from_flags(flags, cwd), environment, *([_read(cwd / at_home(config))] if config else [])]
        notes = tuple(note for layer in whole for note in _left_aside(layer))
        said = [_only_by_flags(layer) for layer in whole]
    else:
        path, notes = _find_file(environ, cwd, config)
        said = [from_flags({"state": flags.get("state")}, cwd), environment, *([_read(path)] if path else [])]
    derived = folders.derived(Layers(tuple(said)), environ, by_flags=by_flags)
    return Layers((*said, derived), notes)


def _only_by_flags(layer: Layer) -> Layer:
    """Leave aside the inboxes of other sources: the flags' inbox stands in their place."""
    kept = {name: inbox for name, inbox in layer.inboxes().items() if name == "inbox"}
    others = {key: value for key, value in layer.values.items() if key != "inbox"}
    return Layer(layer.name, others | ({"inbox": kept} if kept else {}), layer.places)


def _left_aside(layer: Layer) -> Iterator[str]:
    for name in layer.inboxes():
        if name != "inbox":
            yield f"inbox.{name} of {layer.place(('inbox', name))} is left aside: --inbox stands in its place"


def _find_file(environ: Mapping[str, str], cwd: Path, config: Path | None) -> tuple[Path | None, tuple[str, ...]]:
    """Return the one file to read, and what was passed over on the way to it."""
    if named := config or environ.get("WATCHERD_CONFIG"):
        return cwd / at_home(Path(named)), ()
    here = cwd / "watcherd.toml"
    skipped = _distrusted(here)
    places = [*([] if skipped else [here]), *_usual_places(environ)]
    return next(filter(os.path.isfile, places), None), skipped


def _usual_places(environ: Mapping[str, str]) -> Iterator[Path]:
    chosen = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not chosen.is_absolute():  # also where it is not set, as the XDG base directory specification has it
        chosen = home(environ) / ".config"
    yield chosen / "watcherd/watcherd.toml"
    yield Path("/etc/watcherd/watcherd.toml")


def _distrusted(path: Path) -> tuple[str, ...]:
    """Say why a file in the working directory is not read: anybody may put one, or a link, into /tmp."""
    try:
        owners = {path.lstat().st_uid, path.stat().st_uid}
    except OSError:
        return ()
    others = owners - {0, os.geteuid()}
    if not others:
        return ()
    return (f"{path} is left aside: it belongs to user {others.pop()}, not to you or root; --config {path} reads it",)


def _read(path: Path) -> Layer:
    try:
        return from_file(path)
    except FileNotFoundError:
        flaw, mend = "there is no such file", "`watcherd init` writes one"
    except IsADirectoryError:
        flaw, mend = "is a folder", f"name the file in it, as in {path / 'watcherd.toml'}"
    except OSError as error:
        flaw, mend = f"cannot be read: {error.strerror}", "mend that, or name another"
    except UnicodeDecodeError as error:
        flaw, mend = f"is not UTF-8 at byte {error.start}", "save it as UTF-8"
    except NOT_TOML as error:
        flaw, mend = f"is not TOML: {error}", "correct it; texts stand in quotes"
    raise ConfigurationError([Problem(str(path), "", flaw, mend)])


def _misused(flags: Mapping[str, Any]) -> list[Problem]:
    given = [flag for flag in _OF_INBOX_FLAGS if flags.get(flag) is not None and flags.get("inbox") is None]
    message = "stands in place of a configuration file, with --inbox"
    return [Problem(f"--{flag}", "", message, "add --inbox DIR") for flag in given]


def _missing_inbox(layers: Layers) -> Iterator[Problem]:
    if layers.find("inbox") in (None, {}):
        passed = f" ({layers.notes[0]})" if layers.notes else ""
        yield Problem("configuration", "inbox", f"there is no inbox{passed}", _NO_INBOX)


@dataclass(frozen=True, slots=True)
class Origin:
    """A value as people write it, where it came from, and what "auto" means on this machine."""

    value: object
    place: str
    chosen: int | str | None = None


def origins(settings: Settings) -> dict[str, Origin]:
    """Return every key, dotted, with its value and origin, in the order of the example file."""
    written = flat(settings.model_dump(mode="json"))
    return {
        key: Origin(value, settings.layers.place(*key.split(".")), _chosen(key, value))
        for key, value in written.items()
    }


def _chosen(key: str, value: object) -> int | str | None:
    if value != "auto":
        return None
    name = key.rpartition(".")[2]
    if name == "workers":
        return workers()
    return size_text(chunk()) if name == "chunk" else None
