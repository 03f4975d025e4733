"""What several commands share: the folders in place of a configuration file, `--json`, and loading the settings."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from watcherd import paths
from watcherd.cli import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from watcherd.settings import Settings

Decorated = TypeVar("Decorated", bound="Callable[..., Any]")


class _NonEmptyPath(click.Path):
    """A path that is not empty: an empty one is an unset shell variable, and is not to mean the working directory."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if value == "":
            self.fail("is empty: write a path, as in '.' for the working directory.", param, ctx)
        return super().convert(value, param, ctx)


#: A path that click does not judge: what is wrong with it is handled as if a file had named it.
PATH = _NonEmptyPath(readable=False, path_type=Path)
_FOLDERS = (
    click.option("--inbox", type=PATH, metavar="DIR", help="Watch this folder, without a configuration file."),
    click.option("--outbox", type=PATH, metavar="DIR", help="Where results appear."),
    click.option("--archive", type=PATH, metavar="DIR", help="Where inputs go. [default: beside the outbox]"),
    click.option("--failed", type=PATH, metavar="DIR", help="Where bad inputs go. [default: beside the outbox]"),
    click.option("--state", type=PATH, metavar="DIR", help="Where the ledger is kept."),
    click.option("--after", type=click.Choice(["archive", "delete", "keep"]), help="What becomes of a done input."),
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

#: Seconds after which it is said that folders do not answer.
SILENCE = 5.0


def folder_options(command: Decorated) -> Decorated:
    """Let a command take folders in place of a configuration file, as keyword arguments."""
    for option in reversed(_FOLDERS):
        command = option(command)
    return command


def load(flags: dict[str, object]) -> Settings:
    """Return the effective settings, and say what was left aside on the way. Raises ConfigurationError."""
    read = loader(flags)  # which imports what takes long on a slow disk
    with _silence_told():
        loaded = read()
    for note in loaded.layers.notes:
        show.remark(f"watcherd: {note}")
    return loaded


def load_from(flags: Mapping[str, object], config: str | None) -> Settings:
    """Return what `config`, or the flags alone, say to a process in an empty environment. Raises as `load`."""
    from watcherd import settings

    return settings.load(flags, {}, _working_directory(), Path(config) if config else None)


@contextmanager
def _silence_told() -> Iterator[None]:
    """Say so where the folders of a configuration are looked at for long: a mount that is dead does not answer."""
    line = "a folder of the configuration does not answer, and is waited for: look after its mount"
    timer = threading.Timer(SILENCE, show.complain, [line])
    timer.daemon = True
    with suppress(RuntimeError):  # no thread is left for it: that is told by who needs one
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def loader(flags: dict[str, object]) -> Callable[[], Settings]:
    """Return a function that loads the effective settings silently, even once the working directory is gone."""
    from watcherd import settings

    return partial(settings.load, flags, os.environ, _working_directory(), click.get_current_context().obj)


def _working_directory() -> Path:
    from watcherd.settings import ConfigurationError, Problem

    try:
        return Path.cwd()
    except OSError as error:
        problem = Problem("working directory", "", "it was removed", "go to another one")
        raise ConfigurationError([problem]) from error


def tell_of_others(settings: Settings) -> None:
    """Say where an inbox is not on record, but others are: this command was not told what its daemon was told."""
    from watcherd.plain import unheard_of

    unheard, others = (", ".join(map(paths.typed, roots)) for roots in unheard_of(settings))
    if unheard and others:
        mend = "give the command the flags and variables of the daemon"
        show.remark(f"watcherd: nothing is on record of {unheard}, but of {others}; {mend}")


@contextmanager
def without_rich() -> Iterator[None]:
    """Import what logs without rich: structlog imports it where it can, for tracebacks that we never draw.

    That would cost a tenth of a second at every start, and 4 MB of memory. A progress bar imports it afterwards.
    """
    known = sys.modules.get("rich")
    sys.modules["rich"] = None  # type: ignore[assignment]  # how an import is refused: see importlib
    try:
        yield
    finally:
        del sys.modules["rich"]
        if known:
            sys.modules["rich"] = known


def configure_logs(settings: Settings, *, above_bar: bool = False) -> None:
    """Log on standard error as the settings say; above a progress bar without a line for each file."""
    from watcherd.service import logs

    level = "warning" if above_bar and settings.log.level == "info" else settings.log.level
    logs.configure(level, settings.log.format, above_bar=above_bar)
