"""The inboxes and outboxes that a run needs: made where that is asked for, and looked at before all else is made."""

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
    """See that each outbox is there and each inbox can come; `make` makes both. Raises ClickException where not."""
    for inbox in settings.inbox.values():
        for path in (inbox.path, inbox.outbox) if make else ():
            _make(path)
        if os.path.exists(inbox.path):  # else it is waited for
            _require(inbox.path)
        _require(inbox.outbox)


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be made: {error.strerror}; make it or name another") from error


def _require(path: Path) -> None:
    try:
        flaw = "" if stat.S_ISDIR(path.stat().st_mode) else "is no folder: move it away, or name another"
    except FileNotFoundError:
        flaw = f"is missing: mkdir -p {shlex.quote(str(path))}, or --make-folders"
    except OSError as error:
        flaw = f"cannot be used: {error.strerror}; mend that"
    if flaw:
        raise click.ClickException(f"{path} {flaw}")
