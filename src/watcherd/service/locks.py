"""One daemon for one state directory, one inbox and one outbox.

The lock itself is a `flock` in the state directory. A root only holds a note that names its daemon's state directory:
whoever finds it asks that directory's lock whether the daemon is alive. So nothing stays open in a root, which could
not be unmounted otherwise, and a note left behind by a crash binds nobody.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.access import REFUSALS, error_as_fault, may
from watcherd.beneath import OURS, Doubt
from watcherd.lifeline import Thread
from watcherd.model import Refused, SystemFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LOCK = "lock"
#: The name of the note, in the folder of ours in each root.
NOTE = "owner"

#: Seconds that the workers of a daemon which died have to notice it. The kernel kills them within milliseconds.
_WORKERS = 5.0

#: Seconds that all folders together have to answer at a stop.
_ANSWER = 2.0


@contextmanager
def state(directory: str) -> Iterator[int]:
    """Hold the lock of the state directory; yield its descriptor, which workers inherit. Raises Refused, OSError.

    Workers that outlive an earlier daemon hold its lock until they are gone, and are waited for.
    """
    # No link is followed: the lock file is emptied, and root may use a directory that is somebody else's.
    descriptor = os.open(f"{directory}/{_LOCK}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(descriptor, directory)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
        with suppress(OSError):  # a disk that fails by now: who reads of us there finds that we are gone
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, directory: str) -> None:
    ends = time.monotonic() + _WORKERS
    while not _locked(descriptor):
        said = os.pread(descriptor, 32, 0)
        holder = int(said) if said.isdigit() else 0
        if time.monotonic() > ends or (holder and _is_alive(holder)):
            who = f"watcherd, process {holder}" if holder else "a watcherd that is about to start or to end"
            raise Refused(f"the state directory {directory} is in use by {who}: stop that one first")
        time.sleep(0.02)


def is_held(directory: str, by: int = 0) -> bool:
    """Whether a daemon with that state directory is alive; with `by`, unless it says to be another process."""
    try:  # a note names the directory, which may be a stranger's: opening a FIFO in there would block
        descriptor = os.open(f"{directory}/{_LOCK}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # somebody else's: it cannot be asked, so it is believed
    try:
        if _locked(descriptor, fcntl.LOCK_SH):  # shared: those who merely ask do not refuse each other
            return False
        with suppress(OSError):  # no file, but something of a stranger's
            said = os.pread(descriptor, 32, 0)
            return not by or not said.isdigit() or int(said) == by
        return True
    finally:
        os.close(descriptor)


class Note:
    """The note in a folder that says whose it is: the daemon's with that `state` directory.

    It is written when the daemon starts, and when an inbox without one is found. A folder that cannot be written to
    gets none: nothing in it can be taken twice.
    """

    def __init__(self, path: str, state: str) -> None:
        self._path = path
        self._state = state
        self._root = path  # where it was written: what the path leads to may be another folder later
        self._said = b""
        self._doubt: Doubt | None = None

    def write(self) -> None:
        """Write it. Raises Refused where another daemon has the folder, and SystemFault."""
        self._doubt = Doubt(self._path)
        self.remove()
        with error_as_fault(self._path):
            self._root = os.path.realpath(self._path)
            self._said = _noted(self._root, self._state)

    @property
    def is_written(self) -> bool:
        """Whether it was written: a folder that cannot be written to has none."""
        return bool(self._said)

    def renew(self, was_lost: bool) -> None:  # noqa: FBT001 (a callback)
        """Write it in an inbox that is back, or that was missing or another folder when the daemon started.

        Raises SystemFault, also where another daemon has the inbox by now.
        """
        if self.is_written and is_noted(self._path) and not was_lost:
            return
        with refusal_as_fault(self._path):
            self.write()

    def in_doubt(self) -> bool:
        """Look whether the folder in which it was written may be a bare mount point."""
        return self._doubt is not None and self._doubt.holds()

    def remove(self) -> None:
        """Take it back."""
        said, self._said = self._said, b""
        if said:
            _remove_note(self._root, said)


@contextmanager
def refusal_as_fault(path: str) -> Iterator[None]:
    """Raise Refused as a SystemFault of the folder: a running daemon waits until the other one lets go of it."""
    try:
        yield
    except Refused as refusal:
        raise SystemFault(str(refusal), root=path) from refusal


def leave(notes: Iterable[Note]) -> None:
    """Take back the notes whose folders answer. In a mount that hangs one stays, and binds nobody once we are gone.

    So does one for which no thread can be started: removing it without a thread might hang.
    """
    leaving = [Thread(target=note.remove, name="leaving", daemon=True) for note in notes]
    for thread in leaving:
        with suppress(SystemFault):
            thread.start()
    ends = time.monotonic() + _ANSWER
    for thread in leaving:
        thread.join(max(0.0, ends - time.monotonic()))


def is_noted(path: str) -> bool:
    """Whether there is a note in the folder `path`, as a daemon that runs leaves in each inbox that it sees."""
    return os.path.lexists(f"{path}/{OURS}/{NOTE}")


def _noted(path: str, directory: str) -> bytes:
    """Write the note, and return what it says: nothing where it cannot be written."""
    note = _open_note(path)
    if note is None:
        return b""
    said = json.dumps({"state": os.path.realpath(directory), "pid": os.getpid()}).encode()
    try:
        with suppress(OSError):  # for the moment of reading and writing; some mounts have no locks
            fcntl.flock(note, fcntl.LOCK_EX)
        _require_free(os.pread(note, 8192, 0), path, directory)
        os.ftruncate(note, 0)
        os.pwrite(note, said, 0)
    finally:
        os.close(note)
    return said


def _open_note(path: str) -> int | None:
    try:
        with beneath.folder(path, OURS, make=True) as ours:
            return os.open(NOTE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=ours)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
    if may(path, os.W_OK):
        raise Refused(f"{path}/{OURS} belongs to another user: if no watcherd of theirs runs here, remove it")
    return None


def _require_free(note: bytes, path: str, directory: str) -> None:
    try:
        said = json.loads(note or b"{}")
        holder, pid = str(said.get("state", "")), int(said.get("pid", 0))
        # A later run with that state directory, which was not given this folder any more, left the note as it was.
        binds = holder and not _is_same(holder, directory) and is_held(holder, by=pid)
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return  # cut short by a crash, or not ours: it binds nobody
    if binds:
        raise Refused(
            f"{path} is in use by watcherd, process {pid}, with the state directory {holder}: stop that first"
        )


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return one == other


def _remove_note(path: str, said: bytes) -> None:
    # If it is gone, or not ours to remove, it binds nobody once the state's lock is free. At this path there may be
    # another folder by now, with another daemon's note.
    with suppress(OSError):
        with beneath.file(path, f"{OURS}/{NOTE}") as (note, _):
            if os.read(note, len(said) + 1) != said:
                return
        with beneath.folder(path, OURS) as ours:
            os.unlink(NOTE, dir_fd=ours)
        os.rmdir(f"{path}/{OURS}")


def _locked(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True
