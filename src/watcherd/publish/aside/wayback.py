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
from watcherd.access import error_as_fault
from watcherd.beneath import OURS
from watcherd.model import After, SystemFault
from watcherd.publish.aside import crossing
from watcherd.publish.aside.crossing import WayBack
from watcherd.publish.aside.quarantine import is_set_aside, remove_reason, row_of, way_of
from watcherd.publish.roots.rename import move
from watcherd.states import ASIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watcherd.ledger.ledger import Ledger
    from watcherd.publish.aside.quarantine import SetAside
    from watcherd.publish.roots.place import Place

#: Why a retry is refused of what is not on record as set aside any more; what lies there now is of a later row.
FORESTALLED = "is not set aside any more: another `watcherd retry` was faster, or its owner"


@dataclass(frozen=True, slots=True)
class PutBack:
    """What became of a retry: `refused` says why the file stays where it is, and is empty where it went back."""

    row: SetAside
    refused: str = ""


def put_back(place: Place, ledger: Ledger, row: SetAside) -> PutBack:
    """Put a file back where it came from, with its attempts at zero; refuse where that name is taken."""
    if row.held:
        return PutBack(row, row.held)
    with _alone(ledger, wait=True), _marked(place.inbox_path):
        if not ledger.send_back(row.record.id, time.time()):
            return PutBack(row, FORESTALLED)
        return _tried(_put_back, WayBack(place, ledger, row, way_of(place, row.record), between=lambda: None))


def finish(place: Place, ledger: Ledger, between: Callable[[], None] = lambda: None) -> list[PutBack]:
    """Take up what was on its way back when its command was killed, unless one is at it. Raises SystemFault.

    All of it waits where the failed folder may be the bare mount point of what holds these files. `between` is called
    between the blocks of a file that goes to another file system.
    """
    if place.failed.in_doubt():
        return []
    with _alone(ledger, wait=False) as alone:
        records = ledger.quarantined(place.inbox, sent_back=True) if alone else []
        rows = (row_of(place, record) for record in records)
        return [_tried(_finish, WayBack(place, ledger, row, way_of(place, row.record), between)) for row in rows]


def _tried(act: Callable[[WayBack], None], it: WayBack) -> PutBack:
    try:
        act(it)
    except (OSError, SystemFault) as error:
        refusal = _refusal(it, error)
        if _has_begun(it):
            return PutBack(it.row, f"{refusal}; it is on its way: `watcherd retry`, or a start, finishes that")
        it.ledger.send_back(it.record.id, None)  # it can be asked for again
        return PutBack(it.row, refusal)
    return PutBack(it.row)


def _has_begun(it: WayBack) -> bool:
    """Whether the file has left the failed folder, or that cannot be told."""
    with suppress(OSError, SystemFault):
        return crossing.is_carried(it) or not is_set_aside(it.place, it.record)
    return True


def _refusal(it: WayBack, error: OSError | SystemFault) -> str:
    match error:
        case FileExistsError():
            there = f"{it.place.inbox_path}/{it.row.path}"
            return f"{there} is there again: retry this one once that has left its inbox"
        case FileNotFoundError(filename=it.place.inbox_path):
            return f"its inbox {it.place.inbox_path} is missing: mount it, or bring it back, and retry"
        case OSError():
            return f"{error.strerror}: {error.filename or it.row.where}"
    return str(error)


@contextmanager
def _alone(ledger: Ledger, *, wait: bool) -> Iterator[bool]:
    """Keep everybody else from putting files back; without `wait`, False where somebody is at it.

    Raises SystemFault.
    """
    with error_as_fault(ledger.folder), beneath.folder(ledger.folder) as descriptor:
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


def _finish(it: WayBack) -> None:
    is_aside_anew = _is_aside_anew(it)
    if is_aside_anew or not crossing.is_aside(it):
        crossing.show(it)
    crossing.discard_copies(it)  # what was cut short is made anew
    if is_aside_anew:
        it.ledger.forget([it.record.id])  # what lies there, and its reason, are those of a later row
    elif it.place.after is After.KEEP or is_set_aside(it.place, it.record):
        _put_back(it)
    else:
        _forget(it)


def _is_aside_anew(it: WayBack) -> bool:
    """Whether it came back, and a daemon has set it, or what came after it, aside by the same name."""
    inbox, path = it.place.inbox, it.record.file.path
    later = (*it.ledger.lookup(inbox, [path]).values(), *it.ledger.namesakes(inbox, path))
    return any(row.state in ASIDE and row.id > it.record.id and row.number == it.record.number for row in later)


def _put_back(it: WayBack) -> None:
    if it.way.into:
        _move(it)
    # Forgotten before it is touched: a running daemon that looks at it then finds nothing against it.
    _forget(it)
    if it.way.into is None:
        _touch(it.place.inbox_path, it.record.file.path)


def _forget(it: WayBack) -> None:
    remove_reason(it.place, it.record)
    with suppress(FileNotFoundError), beneath.folder(it.way.root.path, beneath.split(it.way.visible)[0]) as folder:
        beneath.sync_names(folder)  # or it came back after a power cut, of nothing
    it.ledger.forget([it.record.id])


def _move(it: WayBack) -> None:
    inside, name = beneath.split(it.way.retired)
    target, new_name = beneath.split(it.record.file.path)
    with (
        beneath.folder(it.way.root.path, inside) as source,
        beneath.folder(it.place.inbox_path, target, make=True) as folder,
    ):
        try:
            move(source, name, folder, new_name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            crossing.bring(it, source, name)
            crossing.show(it)
        beneath.sync_names(folder)
        beneath.sync_names(source)


def _touch(root: str, path: str) -> None:
    """Let a running daemon notice a kept file: its ctime changes, and nothing else."""
    folder, name = beneath.split(path)
    with beneath.folder(root, folder) as parent:
        status = os.lstat(name, dir_fd=parent)
        with suppress(PermissionError):  # somebody else's file: the next scan will notice
            os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=parent, follow_symlinks=False)
