"""`watcherd init`: a commented configuration and its folders."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import click

from watcherd.cli import folders, options, show
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
    made = {directory / name: folders.ensure(directory / name) for name in _FOLDERS}
    made[directory / "watcherd.toml"] = _write_configuration(directory / "watcherd.toml")
    if as_json:
        show.as_json([{**as_fields("path", path), "made": is_new} for path, is_new in made.items()])
    else:
        for path, is_new in made.items():
            print(f"{'made  ' if is_new else 'exists'} {path}")


def _write_configuration(path: Path) -> bool:
    """Write the example, whole, unless something has its name: the next attempt would keep half of one."""
    from watcherd import beneath
    from watcherd.cli import whole
    from watcherd.publish.roots.rename import move

    if os.path.lexists(path):
        return False
    example = resources.files("watcherd").joinpath("watcherd.toml").read_bytes()
    try:
        with whole.draft_of(path, example) as draft, beneath.folder(str(path.parent)) as folder:
            move(folder, draft.name, folder, path.name)
    except FileExistsError:
        return False
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}; choose another DIR") from error
    return True
