"""`watcherd run`: the daemon, in the foreground."""
# ruff: noqa: PLC0415
# (the daemon brings everything, which takes longer to import than `--help` may take)

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from watcherd.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from watcherd.settings import Settings

_EPILOG = """\b
Examples:
  watcherd run --inbox inbox --outbox outbox --make-folders
  watcherd --config /etc/watcherd/watcherd.toml run
"""


@click.command(epilog=_EPILOG)
@click.option("--make-folders", is_flag=True, help="Make a missing inbox and outbox first.")
@options.folder_options
@click.pass_context
def run(context: click.Context, /, *, make_folders: bool, **flags: object) -> None:
    """Watch the inboxes until SIGTERM or SIGINT (Ctrl-C)."""
    settings = options.load(context, flags)
    if make_folders and _make(settings) and sys.stderr.isatty():
        _welcome(settings)
    with options.without_rich():
        from watcherd import daemon

    options.configure_logs(settings)
    context.exit(daemon.run(settings, reload=lambda: options.load_or_raise(context, flags)))


def _make(settings: Settings) -> list[Path]:
    """Make the inboxes and outboxes that are missing, and return them."""
    wanted = [path for inbox in settings.inbox.values() for path in (inbox.path, inbox.outbox)]
    missing = [path for path in wanted if not os.path.isdir(path)]
    for path in missing:
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise click.ClickException(f"{path} cannot be made: {error.strerror}; make it or name another") from error
    return missing


def _welcome(settings: Settings) -> None:
    for inbox in settings.inbox.values():
        print(f"Drop files into {inbox.path}; results appear in {inbox.outbox}; Ctrl-C stops.", file=sys.stderr)
