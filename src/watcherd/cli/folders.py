"""The inboxes and outboxes that a run needs: made if asked for, and checked before anything else is made."""

from __future__ import annotations

import os
import shlex
import stat
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

    from watcherd.settings import Settings

make_option = click.option("--make-folders", is_flag=True, help="Make a missing inbox and outbox first.")


def require(settings: Settings, *, make: bool) -> None:
    """Raise ClickException where an inbox is no folder, or no outbox is there; `make` makes both first.

    A missing inbox is waited for. One outbox of several that is missing keeps only its own inbox waiting, which the
    daemon says.
    """
    flaws = []
    for inbox in settings.inbox.values():
        for path in (inbox.path, inbox.outbox) if make else ():
            _make(path)
        if os.path.exists(inbox.path) and (flaw := _flaw(inbox.path)):
            raise click.ClickException(flaw)
        flaws.append(_flaw(inbox.outbox))
    if all(flaws):
        raise click.ClickException(flaws[0])


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be made: {error.strerror}; make it or name another") from error


def _flaw(path: Path) -> str:
    """Say why a folder cannot be used, and what to do; empty where it can."""
    try:
        return "" if stat.S_ISDIR(path.stat().st_mode) else f"{path} is no folder: move it away, or name another"
    except FileNotFoundError:
        return f"{path} is missing: mkdir -p {shlex.quote(str(path))}, or --make-folders"
    except OSError as error:
        return f"{path} cannot be used: {error.strerror}; mend that"
