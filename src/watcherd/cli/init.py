"""`watcherd init`: a commented configuration and its folders."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import BinaryIO

import click

from watcherd.cli import options, show
from watcherd.paths import as_fields

_FOLDERS = ("inbox", "outbox", "archive", "failed")
_EPILOG = """\b
Example:
  watcherd init ~/watched && watcherd --config ~/watched/watcherd.toml run
"""


@click.command(epilog=_EPILOG)
@click.argument("directory", type=options.PATH, default=Path(), metavar="[DIR]")
@options.json_option
def init(directory: Path, *, as_json: bool) -> None:
    """Write a commented configuration and its folders.

    Under DIR, or here. Nothing that exists is overwritten.
    """
    made = {directory / folder: _make_folder(directory / folder) for folder in _FOLDERS}
    made[directory / "watcherd.toml"] = _write_configuration(directory / "watcherd.toml")
    if as_json:
        show.as_json([{**as_fields("path", path), "made": is_new} for path, is_new in made.items()])
    else:
        for path, is_new in made.items():
            print(f"{'made  ' if is_new else 'exists'} {path}")


def _make_folder(path: Path) -> bool:
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        if path.is_dir():
            return False
        raise click.ClickException(f"{path} is no folder; move it away or choose another DIR") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be made: {error.strerror}; choose another DIR") from error
    return True


def _write_configuration(path: Path) -> bool:
    try:
        with path.open("xb") as file:
            _fill(path, file)
    except FileExistsError:
        return False
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}; choose another DIR") from error
    return True


def _fill(path: Path, file: BinaryIO) -> None:
    """Write the example to disk, or leave nothing there: half of one would be kept by the next attempt."""
    try:
        file.write(resources.files("watcherd").joinpath("watcherd.toml").read_bytes())
        file.flush()
    except OSError:
        path.unlink(missing_ok=True)
        raise
