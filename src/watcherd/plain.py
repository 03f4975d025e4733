"""What each room takes of the settings, in plain values; and the ledger, for commands that start no room."""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from typing import TYPE_CHECKING

from watcherd import processors
from watcherd.decide import RetryPolicy
from watcherd.intake.rules import Rules
from watcherd.intake.terms import Inbox
from watcherd.ledger.database import EMPTY, Damaged, unusable
from watcherd.ledger.ledger import Ledger
from watcherd.model import After, Kind, Limits, Refused
from watcherd.paths import quoted
from watcherd.publish.roots.place import Affixes, Place
from watcherd.publish.roots.root import Root
from watcherd.settings import chunk, workers
from watcherd.settings.layers import PREFIX, ROLES

if TYPE_CHECKING:
    from watcherd.settings import Settings
    from watcherd.settings.shape import Image, Text


def place_of(name: str, settings: Settings, ledger: Ledger, *, awaited: bool = False) -> Place:
    """Return where the files of an inbox go, and register the inbox with the ledger. Raises SystemFault.

    Folders that are `awaited` need not be there yet.
    """
    inbox = settings.inbox[name]
    path = os.path.realpath(inbox.path)
    ledger.register(name, path)
    root_of = partial(Root, owner=ledger.id, inbox=path, durable=settings.is_durable, awaited=awaited)
    outbox, failed = root_of(str(inbox.outbox)), root_of(str(inbox.failed))
    archive = root_of(str(inbox.archive)) if inbox.after is After.ARCHIVE else failed
    affixes = {kind: Affixes(row.prefix, row.suffix) for kind, row in processors.TABLE.items()}
    return Place(
        inbox=name, inbox_path=path, after=inbox.after, outbox=outbox, archive=archive, failed=failed, affixes=affixes
    )


def inbox_of(place: Place, settings: Settings, *, once: bool = False) -> Inbox:
    """Return what an intake is to know of the inbox of `place`; no folder is looked at."""
    inbox = settings.inbox[place.inbox]
    extensions = {kind: frozenset(_table(kind, settings).extensions) for kind in Kind}
    return Inbox(
        name=place.inbox,
        root=place.inbox_path,
        after=place.after,
        rules=Rules(extensions, inbox.include, inbox.exclude, recursive=inbox.recursive),
        settle=inbox.settle,
        rescan=inbox.rescan,
        policy=policy_of(settings),
        once=once,
        named=str(inbox.path),
    )


def policy_of(settings: Settings) -> RetryPolicy:
    """Return how often a failing file is tried, and how long between."""
    retry = settings.retry
    return RetryPolicy(attempts=retry.attempts, backoff=retry.backoff, max_backoff=retry.max_backoff)


def limits_of(kind: Kind, settings: Settings) -> Limits:
    """Return what one job of a kind may take."""
    text, image = settings.text, settings.image
    return Limits(
        max_bytes=text.max_bytes,
        encoding=text.encoding,
        chunk=text.chunk or chunk(),
        max_pixels=image.max_pixels,
        memory=image.memory,
        timeout=_table(kind, settings).timeout,
    )


def workers_of(kind: Kind, settings: Settings) -> int:
    """Return how many workers a kind has."""
    return _table(kind, settings).workers or workers()


def _table(kind: Kind, settings: Settings) -> Text | Image:
    return settings.text if kind is Kind.TEXT else settings.image


def retry_command(settings: Settings, name: str) -> str:
    """Return the command that retries a file of this inbox, up to the file's path."""
    program, inbox, place = _program(), settings.inbox[name], settings.layers.place
    said = [place("state"), *(place("inbox", name, key) for key in (*ROLES, "after"))]
    if not any(it.startswith(("--", PREFIX, "$")) for it in said):
        which = f"{name}/" if len(settings.inbox) > 1 else ""  # another may have set aside by that path, too
        return f"{program} --config {quoted(said[1].rpartition(':')[0])} retry -- {which}"
    # Whoever retries does not know what came by a flag or a variable, so flags say it all.
    roles = {"inbox": inbox.path, "outbox": inbox.outbox, "archive": inbox.archive, "failed": inbox.failed}
    flags = {**roles, "state": settings.state, "after": inbox.after}
    return f"{program} retry {' '.join(f'--{flag} {quoted(str(value))}' for flag, value in flags.items())} -- "


def _program() -> str:
    """Return how a shell calls us: by our name where it finds us by that, else by our path."""
    if shutil.which("watcherd"):
        return "watcherd"
    script = os.path.abspath(sys.argv[0])
    return quoted(script) if os.path.basename(script) == "watcherd" else f"{quoted(sys.executable)} -m watcherd"


# For commands ------------------------------------------------------------------------------------------------------


def ledger_of(settings: Settings) -> Ledger:
    """Open the ledger for a command that makes none. Raises Refused where there never was one, and SystemFault."""
    path = settings.state / "ledger.db"
    try:
        size = os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"there is no ledger in {settings.state}: no watcherd has run with this state directory"
        raise Refused(f"{message}; give the command what its watcherd was given, or start that first") from error
    except OSError as error:
        raise unusable(path, error.strerror) from error
    if not size:  # left for the daemon to find: opening it would make a new one, and nothing would be rebuilt
        raise Damaged(path, EMPTY)
    return Ledger(path)


def unheard_of(settings: Settings) -> tuple[list[str], list[str]]:
    """Return the inboxes of which nothing is on record, and those on record that the settings do not name.

    A flag or a variable may have given the daemon others than the caller. Raises what `ledger_of` raises.
    """
    with ledger_of(settings) as ledger:
        recorded = ledger.roots()
    named = {os.path.realpath(inbox.path) for inbox in settings.inbox.values()}
    return sorted(named - recorded), sorted(recorded - named)
