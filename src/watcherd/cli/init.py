"""`watcherd init`: a commented configuration and its folders."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

_FOLDERS = ("inbox", "outbox", "archive", "failed")
_EPILOG = """\b
Example:
  watcherd init ~/watched && watcherd --config ~/watched/watcherd.toml run
"""


@click.command(epilog=_EPILOG)
@click.argument("directory", type=click.Path(path_type=Path), default=Path(), metavar="[DIR]")
def init(directory: Path) -> None:
    """Write a commented configuration and its folders.

    Under DIR, or here. Nothing that exists is overwritten.
    """
    for folder in _FOLDERS:
        _say(directory / folder, made=_make_folder(directory / folder))
    _say(directory / "watcherd.toml", made=_write_configuration(directory / "watcherd.toml"))


def _say(path: Path, *, made: bool) -> None:
    print(f"{'made  ' if made else 'exists'} {path}")


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
            file.write(resources.files("watcherd").joinpath("watcherd.toml").read_bytes())
    except FileExistsError:
        return False
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}; choose another DIR") from error
    return True
