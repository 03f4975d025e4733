"""`watcherd run`: the daemon, in the foreground."""

from __future__ import annotations

import os
import sys

import click

from watcherd.cli import folders, options

_EPILOG = """\b
Examples:
  watcherd run --inbox inbox --outbox outbox --make-folders
  watcherd --config /etc/watcherd/watcherd.toml run
"""


@click.command(epilog=_EPILOG)
@folders.make_option
@options.folder_options
def run(*, make_folders: bool, **flags: object) -> int:
    """Watch the inboxes until SIGTERM or SIGINT (Ctrl-C)."""
    settings, reload = options.load(flags), options.loader(flags)
    # A service waits: its disk may come late, and one that ended five times in five minutes stays down.
    folders.require(settings, make=make_folders, awaited="NOTIFY_SOCKET" in os.environ)
    if sys.stderr.isatty():
        for inbox in settings.inbox.values():
            print(f"Drop files into {inbox.path}; results appear in {inbox.outbox}; Ctrl-C stops.", file=sys.stderr)
    with options.without_rich():
        from watcherd import daemon

    options.configure_logs(settings)
    return daemon.run(settings, reload)
