"""The inboxes and outboxes that a run needs: made if asked for, and checked before anything else is made."""

from __future__ import annotations

import os
import shlex
import stat
from typing import TYPE_CHECKING

import click

from watcherd.access import mend_of

if TYPE_CHECKING:
    from pathlib import Path

    from watcherd.settings import Settings

make_option = click.option("--make-folders", is_flag=True, help="Make a missing inbox and outbox first.")


def require(settings: Settings, *, make: bool, awaited: bool = False) -> None:
    """Raise ClickException where an inbox is no folder, or no outbox is there; `make` makes both first.

    A missing inbox is waited for. One outbox of several that is missing keeps only its own inbox waiting, which the
    daemon says; so do all of them where they are `awaited`.
    """
    inboxes = settings.inbox.values()
    for path in (path for inbox in inboxes for path in (inbox.path, inbox.outbox) if make):
        if not os.path.exists(path):  # whether one that is no folder ends the start is told below
            ensure(path)
    no_inboxes = [found for inbox in inboxes if os.path.exists(inbox.path) and (found := flaw(inbox.path))]
    no_outboxes = [found for inbox in inboxes if (found := flaw(inbox.outbox))]
    if no_inboxes or (len(no_outboxes) == len(inboxes) and not awaited):
        raise click.ClickException("; ".join([*no_inboxes, *no_outboxes][0]))


def ensure(path: Path) -> bool:
    """Make a folder and those around it; return whether it was missing. Raises ClickException where that fails."""
    try:
        path.mkdir(parents=True)
    except FileExistsError as error:
        if found := flaw(path):
            raise click.ClickException("; ".join(found)) from error
        return False
    except OSError as error:
        raise click.ClickException(f"{path} cannot be made: {error.strerror}; make it or name another") from error
    return True


def flaw(path: Path) -> tuple[str, str] | None:
    """Return why a path is no folder that can be used, and what to do about it; None where it is one."""
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        command = f"mkdir -p {shlex.quote(os.path.realpath(path))}"  # where a link leads to
        option = "" if _is_linked(path) else ", or start with --make-folders"
        return f"{path} is missing", f"mount it, or make it: {command}{option}"
    except OSError as error:
        return f"{path} cannot be reached: {error.strerror}", f"{mend_of(str(error.strerror))}, or name another"
    return None if is_folder else (f"{path} is no folder", "move it away, or name another")


def _is_linked(path: Path) -> bool:
    """Whether a missing folder would be made where a link leads, which `mkdir` does not follow to make it."""
    return any(os.path.islink(it) and not os.path.exists(it) for it in (path, *path.parents))
