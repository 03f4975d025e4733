"""What is quarantined, and its way back: for commands, whether or not a daemon runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcherd.assembly import place_of
from watcherd.ledger.ledger import Ledger
from watcherd.publish import wayback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watcherd.publish.wayback import PutBack, SetAside
    from watcherd.settings import Settings


def set_aside(settings: Settings) -> list[SetAside]:
    """Return what is quarantined in all inboxes. Raises Refused and SystemFault."""
    path = settings.state / "ledger.db"
    if not path.exists():
        return []
    with Ledger(path) as ledger:
        return [row for name in settings.inbox for row in wayback.set_aside(place_of(name, settings, ledger), ledger)]


def put_back(settings: Settings, rows: Sequence[SetAside]) -> list[PutBack]:
    """Put these files back where they came from. Raises Refused and SystemFault."""
    if not rows:
        return []
    with Ledger(settings.state / "ledger.db") as ledger:
        places = {name: place_of(name, settings, ledger) for name in settings.inbox}
        return [wayback.put_back(places[row.record.file.inbox], ledger, row) for row in rows]
