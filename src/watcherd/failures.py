"""What is quarantined, and its way back: for commands, whether or not a daemon runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from watcherd.assembly import ledger_of, place_of
from watcherd.publish import wayback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from watcherd.ledger.ledger import Ledger
    from watcherd.publish.place import Place
    from watcherd.publish.wayback import PutBack, SetAside
    from watcherd.settings import Settings

T = TypeVar("T")


def set_aside(settings: Settings) -> list[SetAside]:
    """Return what is quarantined in all inboxes, and what is to be. Raises Refused and SystemFault."""
    return [*_of_each_inbox(settings, wayback.set_aside), *_of_each_inbox(settings, wayback.held)]


def finish(settings: Settings) -> list[PutBack]:
    """Take up what a command that was killed left on its way back. Raises Refused and SystemFault."""
    return _of_each_inbox(settings, wayback.finish)


def _of_each_inbox(settings: Settings, ask: Callable[[Place, Ledger], Iterable[T]]) -> list[T]:
    with ledger_of(settings) as ledger:
        return [row for name in settings.inbox for row in ask(place_of(name, settings, ledger), ledger)]


def put_back(settings: Settings, rows: Sequence[SetAside]) -> list[PutBack]:
    """Put these files back where they came from. Raises Refused and SystemFault."""
    if not rows:
        return []
    with ledger_of(settings) as ledger:
        places = {name: place_of(name, settings, ledger) for name in settings.inbox}
        return [wayback.put_back(places[row.record.file.inbox], ledger, row) for row in rows]
