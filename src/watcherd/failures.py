"""What is quarantined, and its way back: for commands, with or without a running daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from watcherd.access import error_as_fault
from watcherd.model import After, SystemFault
from watcherd.plain import ledger_of, place_of
from watcherd.publish.aside import quarantine, wayback
from watcherd.publish.aside.wayback import PutBack
from watcherd.service import locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from watcherd.ledger.ledger import Ledger
    from watcherd.publish.aside.quarantine import SetAside
    from watcherd.publish.roots.place import Place
    from watcherd.settings import Settings

T = TypeVar("T")

#: Why a retry is refused while the running daemon waits for its inbox.
AWAY = "its inbox is away: bring it back first (`inbox.recovered` says that it is)"


def set_aside(settings: Settings, on_fault: Callable[[SystemFault], None]) -> list[SetAside]:
    """Return what is quarantined in all inboxes, and what is to be. Raises Refused, and SystemFault for the ledger.

    `on_fault` gets the fault of an inbox whose folders cannot be used; the others are still listed.
    """
    return _of_each(
        settings.inbox, settings, lambda *of: [*quarantine.set_aside(*of), *quarantine.held(*of)], on_fault
    )


def finish(settings: Settings, on_fault: Callable[[SystemFault], None]) -> list[PutBack]:
    """Finish the retries of a command that was killed. Raises, and calls `on_fault`, as `set_aside` does."""
    present = [name for name in settings.inbox if not _is_away(settings, name)]
    return _of_each(present, settings, wayback.finish, on_fault)


def _of_each(
    inboxes: Iterable[str],
    settings: Settings,
    ask: Callable[[Place, Ledger], Iterable[T]],
    on_fault: Callable[[SystemFault], None],
) -> list[T]:
    rows: list[T] = []
    with ledger_of(settings) as ledger:
        for name in inboxes:
            try:
                place = place_of(name, settings, ledger)
                with error_as_fault(place.failed.path):  # as where it holds a folder that is closed to us
                    rows.extend(ask(place, ledger))
            except SystemFault as fault:
                on_fault(fault)
    return rows


def put_back(settings: Settings, rows: Sequence[SetAside]) -> list[PutBack]:
    """Put these files back where they came from. Raises Refused and SystemFault."""
    away = {name for name in settings.inbox if _is_away(settings, name)}
    with ledger_of(settings) as ledger:
        places = {name: place_of(name, settings, ledger) for name in {row.record.file.inbox for row in rows}}
        return [
            PutBack(row, AWAY)
            if (inbox := row.record.file.inbox) in away
            else wayback.put_back(places[inbox], ledger, row)
            for row in rows
        ]


def _is_away(settings: Settings, name: str) -> bool:
    """Whether the running daemon has lost this inbox: a bare mount point may be in its place, and hide files."""
    inbox = settings.inbox[name]
    if inbox.after is After.KEEP or not locks.is_held(str(settings.state)):
        return False
    return not locks.is_noted(str(inbox.path))
