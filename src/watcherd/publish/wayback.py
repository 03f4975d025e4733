"""The way back out of quarantine: putting what is set aside where it came from.

A running daemon need not be asked: a file that comes back is a new arrival to it. That a file is on its way back is
on record before anything moves, so that the next start can finish what was cut short.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.beneath import OURS, told_plainly
from watcherd.model import After, SystemFault
from watcherd.publish import carry
from watcherd.publish.quarantine import is_set_aside, remove_reason, row_of, way_of
from watcherd.publish.rename import move
from watcherd.publish.root import Root
from watcherd.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Record
    from watcherd.publish.place import Place, Way
    from watcherd.publish.quarantine import SetAside

#: How the names of copies on their way back begin: they are others than the daemon's drafts.
BACK = "back-"


@dataclass(frozen=True, slots=True)
class PutBack:
    """What became of a retry: `refused` says why the file stays where it is, and is empty where it went back."""

    row: SetAside
    refused: str = ""


def put_back(place: Place, ledger: Ledger, row: SetAside) -> PutBack:
    """Put a file back where it came from, with its attempts at zero; refuse where that name is taken."""
    if row.held:
        return PutBack(row, row.held)
    with _alone(ledger, wait=True), _marked(place.root):
        ledger.send_back(row.record.id, time.time())
        return _tried(place, ledger, row, _put_back, between=lambda: None)


def _tried(
    place: Place,
    ledger: Ledger,
    row: SetAside,
    act: Callable[[Place, Ledger, Record, Callable[[], None]], None],
    between: Callable[[], None],
) -> PutBack:
    try:
        act(place, ledger, row.record, between)
    except (OSError, SystemFault) as error:
        ledger.send_back(row.record.id, None)  # it can be asked for again
        return PutBack(row, _refusal(place, row, error))
    return PutBack(row)


@contextmanager
def _alone(ledger: Ledger, *, wait: bool) -> Iterator[bool]:
    """Keep everybody else from putting files back; without `wait`, False where somebody is at it.

    Raises SystemFault.
    """
    with told_plainly(ledger.folder), beneath.folder(ledger.folder) as descriptor:
        yield _locked(descriptor, wait=wait)


def _locked(descriptor: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


@contextmanager
def _marked(inbox: str) -> Iterator[None]:
    """Keep our own folder in the inbox: by it a start that is to finish this knows it from a bare mount point."""
    with suppress(OSError):
        os.mkdir(f"{inbox}/{OURS}", 0o700)
    yield
    with suppress(OSError):  # a daemon's note is in it
        os.rmdir(f"{inbox}/{OURS}")


def _refusal(place: Place, row: SetAside, error: OSError | SystemFault) -> str:
    match error:
        case FileExistsError():
            return f"{place.root}/{row.path} is there again: move it, or this one, by hand"
        case OSError():
            return f"{error.strerror}: {error.filename or row.where}"
    return str(error)


def finish(place: Place, ledger: Ledger, between: Callable[[], None] = lambda: None) -> list[PutBack]:
    """Take up what was on its way back when its command was killed, unless one is at it. Raises SystemFault.

    All of it waits where the failed folder may be the bare mount point of what holds these files. `between` is called
    between the blocks of a file that goes to another file system.
    """
    if place.failed.doubt:
        return []
    with _alone(ledger, wait=False) as alone:
        records = ledger.quarantined(place.inbox, sent_back=True) if alone else []
        return [_tried(place, ledger, row_of(place, record), _finish, between) for record in records]


def _finish(place: Place, ledger: Ledger, record: Record, between: Callable[[], None]) -> None:
    if _is_aside_anew(place, ledger, record):
        ledger.forget([record.id])  # what lies there, and its reason, are those of a later row
    elif place.after is After.KEEP or is_set_aside(place, record):
        _put_back(place, ledger, record, between)
    else:
        _discard_copy(place, ledger, record)
        _forget(place, ledger, record)


def _is_aside_anew(place: Place, ledger: Ledger, record: Record) -> bool:
    """Whether it came back, and a daemon has set it aside again by the same name."""
    latest = ledger.lookup(place.inbox, [record.file.path]).get(record.file.path, record)
    aside = latest.state in {State.QUARANTINING, State.QUARANTINED}
    return aside and latest.id > record.id and latest.number == record.number


def _put_back(place: Place, ledger: Ledger, record: Record, between: Callable[[], None]) -> None:
    way = way_of(place, record)
    if way.into:
        _move(place, ledger, way, record, between)
    # Forgotten before it is touched: a running daemon that looks at it then finds nothing against it.
    _forget(place, ledger, record)
    if way.into is None:
        _touch(place.root, record.file.path)


def _forget(place: Place, ledger: Ledger, record: Record) -> None:
    remove_reason(place, record)
    ledger.forget([record.id])


def _move(place: Place, ledger: Ledger, way: Way, record: Record, between: Callable[[], None]) -> None:
    inside, name = beneath.split(way.retired)
    target, new_name = beneath.split(record.file.path)
    with beneath.folder(way.root.path, inside) as source, beneath.folder(place.root, target, make=True) as folder:
        try:
            move(source, name, folder, new_name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _carry(place, ledger, way, record, between)
            _remove_carried(place, ledger, way, record)
        else:
            os.fsync(folder)
            os.fsync(source)


# To another file system --------------------------------------------------------------------------------------------
#
# Between the file's new name and the end of its old one, a running daemon may take it and be done with it. So its
# copy has a name of ours besides, until the old one is gone: it tells the next attempt what the daemon took.


def _carry(place: Place, ledger: Ledger, way: Way, record: Record, between: Callable[[], None]) -> None:
    if _is_carried(place, ledger, way, record):
        return
    # What was cut short is made anew: to write into it would be to write into whatever it is linked to.
    _discard_copy(place, ledger, record)
    inbox = _inbox(place, ledger)
    try:
        carry.copied(way.root.path, way.retired, inbox, record.id, between)
        _show(place, ledger, record)
    except (OSError, SystemFault):
        _discard_copy(place, ledger, record)
        raise
    finally:
        inbox.rest()


def _inbox(place: Place, ledger: Ledger) -> Root:
    """Return the inbox as what copies are made in."""
    return Root(place.root, f"{BACK}{ledger.id}")


def _copy(place: Place, ledger: Ledger, record: Record) -> str:
    return _inbox(place, ledger).name_of(record.id)


def _is_carried(place: Place, ledger: Ledger, way: Way, record: Record) -> bool:
    """Whether an earlier attempt, cut short, has put this very file back: it is there, or a daemon has taken it."""
    copy = beneath.status(place.root, f"{OURS}/{_copy(place, ledger, record)}")
    original = beneath.status(way.root.path, way.retired)
    if copy is None or original is None or not carry.is_alike(copy, original):  # somebody may have mended it since
        return False
    latest = ledger.lookup(place.inbox, [record.file.path]).get(record.file.path, record)
    return copy.st_nlink > 1 or (latest.id > record.id and latest.file.version.inode == copy.st_ino)


def _show(place: Place, ledger: Ledger, record: Record) -> None:
    copy = _copy(place, ledger, record)
    if not carry.linked(place.root, f"{OURS}/{copy}", place.root, record.file.path):
        carry.place(place.root, copy, record.file.path)


def _remove_carried(place: Place, ledger: Ledger, way: Way, record: Record) -> None:
    folder, name = beneath.split(way.retired)
    with beneath.folder(way.root.path, folder) as source:
        os.unlink(name, dir_fd=source)
        os.fsync(source)
    _discard_copy(place, ledger, record)


def _discard_copy(place: Place, ledger: Ledger, record: Record) -> None:
    with suppress(FileNotFoundError), beneath.folder(place.root, OURS) as ours:
        os.unlink(_copy(place, ledger, record), dir_fd=ours)


def _touch(root: str, path: str) -> None:
    """Let a running daemon notice a kept file: its ctime changes, and nothing else."""
    folder, name = beneath.split(path)
    with beneath.folder(root, folder) as parent:
        status = os.lstat(name, dir_fd=parent)
        with suppress(PermissionError):  # somebody else's file: the next scan will notice
            os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=parent, follow_symlinks=False)
