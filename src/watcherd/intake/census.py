"""The files in an inbox that its rules admit, for those who count them and take none."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from watcherd.intake.probe import Looks
from watcherd.intake.scan import Listener, walk
from watcherd.model import After, Kind
from watcherd.sameness import looks_like

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watcherd.intake.terms import Inbox
    from watcherd.ledger.ledger import Ledger


def admitted(
    inbox: Inbox, on_refused: Callable[[str, OSError], None] = lambda *_: None
) -> Iterator[tuple[Kind, list[str]]]:
    """Yield the paths of the regular files that the inbox's rules admit, kind by kind, in blocks of at most 1,000.

    `on_refused` is told of a folder that cannot be listed.
    """
    for kind in Kind:
        for paths in walk(inbox, kind, Listener(refused=on_refused)):
            yield kind, paths


def undone(inbox: Inbox, ledger: Ledger, checkpoint: Callable[[], None]) -> Iterator[int]:
    """Yield the size of each admitted file that is not done, going by what is on record.

    Files that cannot be looked at, or vanish meanwhile, are left to the intake. `checkpoint` is called for each file.
    """
    with Looks(inbox.root) as looks:
        for _, paths in admitted(inbox):
            done = ledger.ended(inbox.name, paths) if inbox.after is After.KEEP else {}
            for path in paths:
                checkpoint()
                with suppress(OSError):
                    status = looks.status(path)
                    if path not in done or not looks_like(status, done[path]):
                        yield status.st_size
