"""The way back out of quarantine: what is set aside, and putting it where it came from.

A running daemon need not be asked: a file that comes back is a new arrival to it. That a file is on its way back is
on record before anything moves, so that the next start can finish what was cut short.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.model import After, Failure, Job, State, SystemFault
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
class CameBack:
    """A quarantined file was dragged back into its inbox, or mended where it was kept: `record` is of the past."""

    record: Record


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
    ledger.send_back(row.record.id, time.time())
    try:
        _put_back(place, ledger, row.record)
    except (OSError, SystemFault) as error:
        ledger.send_back(row.record.id, None)
        return PutBack(row, _refusal(place, row, error))
    return PutBack(row)


def _refusal(place: Place, row: SetAside, error: OSError | SystemFault) -> str:
    match error:
        case FileExistsError():
            return f"{place.root}/{row.path} is there again: move it, or this one, by hand"
        case OSError():
            return f"{error.strerror}: {error.filename or row.where}"
    return str(error)


def clear_reason(place: Place, came_back: CameBack) -> None:
    """Remove the reason of a file that is not set aside any more; one that was copied back still lies beside it."""
    record = came_back.record
    way = _way(place, record)
    with suppress(OSError):  # a folder that fails is found out where it is needed; a reason too many does no harm
        if way.into is None or beneath.status(way.into.path, way.retired) is None:
            _remove_reason(way, record)


def finish(place: Place, ledger: Ledger) -> None:
    """Take up what was on its way back when its command was killed. Raises SystemFault."""
    for record in ledger.quarantined(place.inbox):
        if record.due:
            _finish(place, ledger, record)


def _finish(place: Place, ledger: Ledger, record: Record) -> None:
    try:
        if is_set_aside(place, record):
            _put_back(place, ledger, record)
        else:
            _forget(place, ledger, record)
    except (OSError, SystemFault):
        ledger.send_back(record.id, None)  # its name is taken, or a folder fails: it can be asked for again


def _put_back(place: Place, ledger: Ledger, record: Record) -> None:
    if place.after is not After.KEEP:
        _move(place, _way(place, record), record)
    # Forgotten before it is touched: a running daemon that looks at it then finds nothing against it.
    _forget(place, ledger, record)
    if place.after is After.KEEP:
        _touch(place.root, record.file.path)


def _forget(place: Place, ledger: Ledger, record: Record) -> None:
    _remove_reason(_way(place, record), record)
    ledger.forget([record.id])


def _way(place: Place, record: Record) -> Way:
    job = Job(record.id, record.file, record.kind)
    return place.way(job, State.QUARANTINING, record.number)


def _move(place: Place, way: Way, record: Record) -> None:
    inside, name = beneath.split(way.retired)
    target, new_name = beneath.split(record.file.path)
    with beneath.folder(way.root.path, inside) as source, beneath.folder(place.root, target, make=True) as folder:
        try:
            move(source, name, folder, new_name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _carry(place, way, record)
            os.unlink(name, dir_fd=source)


def _carry(place: Place, way: Way, record: Record) -> None:
    inbox = Root(place.root, f"back-{record.id}")  # its draft is another than those of the daemon
    try:
        carry.carry(way.root.path, way.retired, inbox, record.file.path, record.id)
    finally:
        inbox.rest()


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
