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

from watcherd import beneath, sameness
from watcherd.access import told_plainly
from watcherd.beneath import OURS, version_of
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

#: Why a retry is refused of what is not on record as set aside any more; what lies there now is of a later row.
FORESTALLED = "is not set aside any more: another `watcherd retry` was faster, or its owner"


@dataclass(frozen=True, slots=True)
class PutBack:
    """What became of a retry: `refused` says why the file stays where it is, and is empty where it went back."""

    row: SetAside
    refused: str = ""


@dataclass(frozen=True, slots=True)
class _Return:
    """One file's way back: its `row`, the `way` that it went, and what is called `between` the blocks of a copy."""

    place: Place
    ledger: Ledger
    row: SetAside
    way: Way
    between: Callable[[], None]

    @property
    def record(self) -> Record:
        """What the ledger has of it."""
        return self.row.record


def put_back(place: Place, ledger: Ledger, row: SetAside) -> PutBack:
    """Put a file back where it came from, with its attempts at zero; refuse where that name is taken."""
    if row.held:
        return PutBack(row, row.held)
    with _alone(ledger, wait=True), _marked(place.root):
        if not ledger.send_back(row.record.id, time.time()):
            return PutBack(row, FORESTALLED)
        return _tried(_put_back, _Return(place, ledger, row, way_of(place, row.record), between=lambda: None))


def finish(place: Place, ledger: Ledger, between: Callable[[], None] = lambda: None) -> list[PutBack]:
    """Take up what was on its way back when its command was killed, unless one is at it. Raises SystemFault.

    All of it waits where the failed folder may be the bare mount point of what holds these files. `between` is called
    between the blocks of a file that goes to another file system.
    """
    if place.failed.doubt:
        return []
    with _alone(ledger, wait=False) as alone:
        records = ledger.quarantined(place.inbox, sent_back=True) if alone else []
        rows = (row_of(place, record) for record in records)
        return [_tried(_finish, _Return(place, ledger, row, way_of(place, row.record), between)) for row in rows]


def _tried(act: Callable[[_Return], None], it: _Return) -> PutBack:
    try:
        act(it)
    except (OSError, SystemFault) as error:
        refusal = _refusal(it, error)
        if _has_begun(it):
            return PutBack(it.row, f"{refusal}; it is on its way: `watcherd retry`, or a start, finishes that")
        it.ledger.send_back(it.record.id, None)  # it can be asked for again
        return PutBack(it.row, refusal)
    return PutBack(it.row)


def _has_begun(it: _Return) -> bool:
    """Whether something of it has moved already; False also where that cannot be looked at."""
    with suppress(OSError, SystemFault):
        return not is_set_aside(it.place, it.record) or _is_carried(it)
    return False


def _refusal(it: _Return, error: OSError | SystemFault) -> str:
    match error:
        case FileExistsError():
            there = f"{it.place.root}/{it.row.path}"
            return f"{there} is there again: retry this one once that has left its inbox"
        case FileNotFoundError(filename=it.place.root):
            return f"its inbox {it.place.root} is missing: mount it, or bring it back, and retry"
        case OSError():
            return f"{error.strerror}: {error.filename or it.row.where}"
    return str(error)


@contextmanager
def _alone(ledger: Ledger, *, wait: bool) -> Iterator[bool]:
    """Keep everybody else from putting files back; without `wait`, False where somebody is at it.

    Raises SystemFault.
    """
    with told_plainly(ledger.folder), beneath.folder(ledger.folder) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def _marked(inbox: str) -> Iterator[None]:
    """Keep our own folder in the inbox: by it a start that is to finish this knows it from a bare mount point."""
    with suppress(OSError):
        os.mkdir(f"{inbox}/{OURS}", 0o700)
    yield
    with suppress(OSError):  # a daemon's note is in it
        os.rmdir(f"{inbox}/{OURS}")


def _finish(it: _Return) -> None:
    if _is_aside_anew(it):
        it.ledger.forget([it.record.id])  # what lies there, and its reason, are those of a later row
    elif it.place.after is After.KEEP or is_set_aside(it.place, it.record):
        _put_back(it)
    else:
        _discard_copy(it)
        _forget(it)


def _is_aside_anew(it: _Return) -> bool:
    """Whether it came back, and a daemon has set it, or what came after it, aside by the same name."""
    aside = {State.QUARANTINING, State.QUARANTINED}
    later = (_latest(it), *it.ledger.namesakes(it.place.inbox, it.record.file.path))
    return any(row.state in aside and row.id > it.record.id and row.number == it.record.number for row in later)


def _latest(it: _Return) -> Record:
    """Return what is on record of what had its path last."""
    path = it.record.file.path
    return it.ledger.lookup(it.place.inbox, [path]).get(path, it.record)


def _put_back(it: _Return) -> None:
    if it.way.into:
        _move(it)
    # Forgotten before it is touched: a running daemon that looks at it then finds nothing against it.
    _forget(it)
    if it.way.into is None:
        _touch(it.place.root, it.record.file.path)


def _forget(it: _Return) -> None:
    remove_reason(it.place, it.record)
    it.ledger.forget([it.record.id])


def _move(it: _Return) -> None:
    inside, name = beneath.split(it.way.retired)
    target, new_name = beneath.split(it.record.file.path)
    with (
        beneath.folder(it.way.root.path, inside) as source,
        beneath.folder(it.place.root, target, make=True) as folder,
    ):
        try:
            move(source, name, folder, new_name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            copied = os.lstat(name, dir_fd=source)
            _carry(it)
            beneath.sync_names(folder)  # an earlier attempt may have been cut short before that
            _remove(it, source, name, copied)
            beneath.sync_names(source)
            _discard_copy(it)
        else:
            beneath.sync_names(folder)
            beneath.sync_names(source)


# To another file system --------------------------------------------------------------------------------------------
#
# Between the file's new name and the end of its old one, a running daemon may take it and be done with it. So its
# copy has a name of ours besides, until the old one is gone: it tells the next attempt what the daemon took.


def _inbox(it: _Return) -> Root:
    """Return the inbox as a tree that copies are made in. Raises SystemFault where it is gone."""
    return Root(it.place.root, f"{BACK}{it.ledger.id}")


def _copy(it: _Return) -> str:
    """Return the name of a file's copy, in our own folder of the inbox. Raises SystemFault as `_inbox` does."""
    return _inbox(it).name_of(it.record.id)


def _carry(it: _Return) -> None:
    if _is_carried(it):
        return
    # What was cut short is made anew: to write into it would be to write into whatever it is linked to.
    _discard_copy(it)
    inbox = _inbox(it)
    try:
        carry.copied(it.way.root.path, it.way.retired, inbox, it.record.id, it.between)
        _show(it)
    except (OSError, SystemFault):
        if not _is_carried(it):
            _discard_copy(it)
        raise
    finally:
        inbox.rest()


def _is_carried(it: _Return) -> bool:
    """Whether an earlier attempt, cut short, has put this very file back: it is there, or a daemon has taken it."""
    copy = beneath.status(it.place.root, f"{OURS}/{_copy(it)}")
    original = beneath.status(it.way.root.path, it.way.retired)
    if copy is None or original is None or not sameness.is_copy(copy, original):  # somebody may have mended it since
        return False
    latest = _latest(it)
    return copy.st_nlink > 1 or (latest.id > it.record.id and latest.file.version.inode == copy.st_ino)


def _remove(it: _Return, source: int, name: str, copied: os.stat_result) -> None:
    """Remove what was copied. Raises OSError where its owner wrote into it since, or put another in its place."""
    if not sameness.is_unwritten(os.lstat(name, dir_fd=source), version_of(copied)):
        _discard_copy(it)
        raise OSError(errno.EBUSY, "was changed while a copy of it went back, and stays beside that", it.row.where)
    os.unlink(name, dir_fd=source)


def _show(it: _Return) -> None:
    root, copy, path = it.place.root, _copy(it), it.record.file.path
    if not carry.linked(root, f"{OURS}/{copy}", root, path):
        carry.place(root, copy, path)


def _discard_copy(it: _Return) -> None:
    with suppress(FileNotFoundError), beneath.folder(it.place.root, OURS) as ours:
        os.unlink(_copy(it), dir_fd=ours)


def _touch(root: str, path: str) -> None:
    """Let a running daemon notice a kept file: its ctime changes, and nothing else."""
    folder, name = beneath.split(path)
    with beneath.folder(root, folder) as parent:
        status = os.lstat(name, dir_fd=parent)
        with suppress(PermissionError):  # somebody else's file: the next scan will notice
            os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=parent, follow_symlinks=False)
