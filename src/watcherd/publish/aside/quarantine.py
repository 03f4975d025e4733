"""What is set aside: where each file lies that could not be processed, and its reason.

A file can come back out of it by itself, as its owner may drag it back; the command that does so is in wayback.py.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.model import Failure
from watcherd.publish.aside import reason
from watcherd.publish.inputs.custody import ours_of
from watcherd.sameness import has_inode, looks_like
from watcherd.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcherd.ledger.ledger import Ledger
    from watcherd.model import CameBack, Record
    from watcherd.publish.roots.place import Place, Way

#: Why a file that cannot be processed is not set aside yet.
HELD = "not set aside yet: `file.unretired` says what holds it, or no watcherd runs"


@dataclass(frozen=True, slots=True)
class SetAside:
    """A quarantined file: the ledger's record of it, and `where` it lies now.

    `held` says why it is not set aside yet, and is empty where it is.
    """

    record: Record
    where: str
    held: str = ""

    @property
    def path(self) -> str:
        """Its path within its inbox."""
        return self.record.file.path

    @property
    def failure(self) -> Failure:
        """Its class."""
        return self.record.failure or Failure.CRASHED


def set_aside(place: Place, ledger: Ledger) -> Iterator[SetAside]:
    """Yield what is quarantined of one inbox and has not been carried away by somebody. Raises OSError."""
    # Where several rows name one place, the one whose reason is there is of what lies there, or else the latest: the
    # files of the others were carried away, or put into another folder.
    records = sorted(ledger.quarantined(place.inbox), key=lambda it: _has_reason(place, it))
    latest = {row.where: row for row in (row_of(place, record) for record in records)}
    yield from (row for row in latest.values() if is_set_aside(place, row.record))


def _has_reason(place: Place, record: Record) -> bool:
    way = place.way_on_record(record)
    found = beneath.status(way.root.path, way.visible)
    return found is not None and way.root.wrote(found, record)


def held(place: Place, ledger: Ledger) -> Iterator[SetAside]:
    """Yield what is to be set aside in one inbox and is not yet, as when it cannot be moved. Raises OSError."""
    for record in ledger.unfinished(place.inbox, State.QUARANTINING):
        if where := _held_at(place, record):
            yield SetAside(record, f"{place.inbox_path}/{where}", HELD)


def _held_at(place: Place, record: Record) -> str:
    """Return where in its inbox a file lies that is to be set aside; empty where that is done, and not on record."""
    way = way_of(place, record)
    if way.into is None:
        waits = beneath.status(way.root.path, way.visible) is None
        return record.file.path if waits else ""
    for where in (record.file.path, ours_of(record)):
        if has_inode(beneath.status(place.inbox_path, where), record.file.version):
            return where
    return ""


def row_of(place: Place, record: Record) -> SetAside:
    """Return what the record of a quarantined file says, whether or not it still lies there."""
    return SetAside(record, "/".join(_lies_at(place, way_of(place, record), record)))


def is_set_aside(place: Place, record: Record) -> bool:
    """Whether a quarantined file lies where it was put, with its reason. Raises OSError."""
    way = way_of(place, record)
    # Its reason first: where that folder fails, it is not known what lies there.
    if beneath.status(way.root.path, way.visible) is None or is_anothers(place, way):
        return False
    status = beneath.status(*_lies_at(place, way, record))
    # A kept file that was changed is another version, with a fate of its own.
    return status is not None and (bool(way.into) or looks_like(status, record.file.version))


def _lies_at(place: Place, way: Way, record: Record) -> tuple[str, str]:
    """Return the root beneath which a quarantined file lies that went this way, and its path there."""
    return (way.into.path, way.retired) if way.into else (place.inbox_path, record.file.path)


def way_of(place: Place, record: Record) -> Way:
    """Return the way that a quarantined file went, or is to go.

    It lies in the failed folder, too, where inputs are kept now and were not when it was set aside.
    """
    way = place.way_on_record(record)
    with suppress(OSError):  # what a folder that fails may hold is told by who looks into it
        if way.into is None and looks_like(beneath.status(place.failed.path, way.retired), record.file.version):
            return way._replace(into=place.failed)
    return way


def is_anothers(place: Place, way: Way) -> bool:
    """Whether what has the name of a reason is that of another inbox, with which the failed folder is shared."""
    with suppress(OSError):  # what cannot be read does not say so
        return reason.is_anothers(reason.facts_in(way.root.path, way.visible), place.inbox_path)
    return False


def clear_reason(place: Place, ledger: Ledger, came_back: CameBack) -> None:
    """Remove the reason of a file that came back, unless only a copy did, and the file still lies aside.

    Several of its name may have been set aside, and any of them may be the one: the reasons of all that are gone are
    removed. Of very many only the latest are looked at; the others' go with their rows. Raises SystemFault.
    """
    latest = came_back.record  # which the ledger may not have written down yet
    for record in (*ledger.namesakes(place.inbox, latest.file.path), latest):
        way = way_of(place, record)
        with suppress(OSError):  # a folder that fails is found out where it is needed; a reason too many does no harm
            if way.into is None or beneath.status(way.into.path, way.retired) is None:
                remove_reason(place, record)


def remove_reason(place: Place, record: Record) -> None:
    """Remove the reason that we wrote; a file of somebody else's under that name stays.

    Raises OSError, and SystemFault where the folder fails.
    """
    way = place.way_on_record(record)
    folder, name = beneath.split(way.visible)
    with suppress(FileNotFoundError), beneath.folder(way.root.path, folder) as parent:
        # Looked at last: where its file is bad again, a daemon gives the name to another reason meanwhile.
        if not is_anothers(place, way) and way.root.wrote(os.lstat(name, dir_fd=parent), record):
            os.unlink(name, dir_fd=parent)
