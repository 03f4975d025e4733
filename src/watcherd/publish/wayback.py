"""The way back out of quarantine: what is set aside, and putting it where it came from.

A running daemon need not be asked: a file that comes back is a new arrival to it.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.model import After, Failure, Job, State
from watcherd.publish import carry
from watcherd.publish.rename import move
from watcherd.publish.root import Root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Record
    from watcherd.publish.place import Place, Way


@dataclass(frozen=True, slots=True)
class SetAside:
    """A quarantined file: `path` within its inbox, `where` it lies now, and the ledger's record of it."""

    path: str
    where: str
    record: Record

    @property
    def failure(self) -> Failure:
        """Its class."""
        return self.record.failure or Failure.CRASHED


@dataclass(frozen=True, slots=True)
class PutBack:
    """What became of a retry: `refused` says why the file stays where it is, and is empty where it went back."""

    row: SetAside
    refused: str = ""


def set_aside(place: Place, ledger: Ledger) -> Iterator[SetAside]:
    """Yield what is quarantined of one inbox and has not been carried away by somebody, oldest first."""
    for record in ledger.quarantined(place.inbox):
        if is_set_aside(place, record):
            yield SetAside(record.file.path, "/".join(_where(place, _way(place, record), record)), record)


def is_set_aside(place: Place, record: Record) -> bool:
    """Whether a quarantined file lies where it was put, with its reason. Raises OSError."""
    way = _way(place, record)
    status = beneath.status(*_where(place, way, record))
    if status is None or beneath.status(way.root.path, way.visible) is None:
        return False
    known = record.file.version  # a kept file that was changed is another version, with a fate of its own
    return bool(way.into) or (status.st_size, status.st_mtime_ns) == (known.size, known.mtime_ns)


def _where(place: Place, way: Way, record: Record) -> tuple[str, str]:
    return (way.into.path, way.retired) if way.into else (place.root, record.file.path)


def put_back(place: Place, ledger: Ledger, row: SetAside) -> PutBack:
    """Put a file back where it came from, with its attempts at zero; refuse where that name is taken."""
    way = _way(place, row.record)
    try:
        if place.after is After.KEEP:
            # Forgotten before it is touched: a running daemon that looks at it then still finds nothing against it.
            ledger.forget([row.record.id])
            _remove_reason(way, row.record)
            _touch(place.root, row.path)
        else:
            _move(place, way, row)
            _remove_reason(way, row.record)
            ledger.forget([row.record.id])
    except FileExistsError:
        return PutBack(row, f"{place.root}/{row.path} is there again: move it, or this one, by hand")
    except OSError as error:
        return PutBack(row, f"{error.strerror}: {error.filename or row.where}")
    return PutBack(row)


def _way(place: Place, record: Record) -> Way:
    job = Job(record.id, record.file, record.kind)
    return place.way(job, State.QUARANTINING, record.number)


def _move(place: Place, way: Way, row: SetAside) -> None:
    inside, name = beneath.split(way.retired)
    target, new_name = beneath.split(row.path)
    with beneath.folder(way.root.path, inside) as source, beneath.folder(place.root, target, make=True) as folder:
        try:
            move(source, name, folder, new_name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            inbox = Root(place.root, f"back-{row.record.id}")
            carry.carry(way.root.path, way.retired, inbox, row.path, row.record.id)
            inbox.rest()
            os.unlink(name, dir_fd=source)


def _touch(root: str, path: str) -> None:
    """Let a running daemon notice a kept file: its ctime changes, and nothing else."""
    folder, name = beneath.split(path)
    with beneath.folder(root, folder) as parent:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        with suppress(PermissionError):  # somebody else's file: the next scan will notice
            os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=parent, follow_symlinks=False)


def _remove_reason(way: Way, record: Record) -> None:
    """Remove the reason that we wrote; a file of somebody else's under that name stays."""
    folder, name = beneath.split(way.visible)
    with suppress(FileNotFoundError), beneath.folder(way.root.path, folder) as parent:
        if os.stat(name, dir_fd=parent, follow_symlinks=False).st_ino == record.inode:
            os.unlink(name, dir_fd=parent)
