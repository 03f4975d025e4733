"""A folder tree that we write to: outbox, archive or failed.

Each has a folder of our own in it, on the same file system, where drafts are written before they get their names.
"""

from __future__ import annotations

import errno
import os
import re
import time
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, TypeVar
from zlib import crc32

from watcherd import access, beneath, sameness, volumes
from watcherd.beneath import OURS
from watcherd.model import Draft, SystemFault, signed
from watcherd.publish.roots import disk
from watcherd.publish.roots.ground import Ground

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from watcherd.model import Record

T = TypeVar("T")

#: The name of a draft: its ledger, the folder that it was made in, the inbox that it is for, its attempt. One that an
#: earlier version made lacks the inbox, or both.
_DRAFT = re.compile(r"(.+?)(?:-[0-9a-f]{8}(?:-([0-9a-f]{8}))?)?-(?:(\d+)|probe)")

#: Bytes from which on a draft is worth a write of its own, before it is synced with those beside it.
_LARGE = 256 << 10


class Root:
    """The folder at `path`, in which drafts of the ledger `owner` are made for an `inbox`. All threads may use it.

    Every OSError of this folder comes out as a SystemFault that names it. Which folder it is, is settled now, or with
    `awaited` when it is first used.
    """

    def __init__(
        self, path: str, owner: str, inbox: str = "", *, durable: bool = True, awaited: bool = False
    ) -> None:
        self.path = path
        self._owner = owner
        self._source = f"{crc32(os.fsencode(inbox)):08x}"
        self.durable = durable
        self._lock = Lock()
        self._ours: int | None = None  # open while there is work, or the folder could not be unmounted
        self._strays: set[str] = set()  # drafts that a fault kept from being removed
        self._syncs = disk.Syncs()
        self._ground: Ground | None = None  # until it is met
        if not awaited:
            with self.faults():
                self._met()

    def in_doubt(self) -> bool:
        """Look whether the folder may be a bare mount point. Raises OSError."""
        return self._met().doubt.holds()

    def check(self) -> None:
        """Raise SystemFault where the folder is not the one that we started with, or not to be reached."""
        with self._lock:
            self._check()

    def probe(self) -> None:
        """Raise SystemFault where the folder cannot be written to: create, write, sync and unlink a file."""
        with self._lock, self.faults():
            self._check()
            _write_and_unlink(self._open_ours(), self.name_of("probe"))  # first: its error says what is wrong
            if not access.may(self.path, os.W_OK | os.X_OK):  # our own folder in there may be open all the same
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.path)

    def free(self) -> tuple[int, int]:
        """Return the bytes that are free to us, and all bytes, of the file system. Raises SystemFault."""
        with self.faults():
            status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize

    def new_draft(self, number: int) -> tuple[str, int]:
        """Make the draft of attempt `number`; return its name and a descriptor to fill, which the caller closes."""
        name = self.name_of(number)
        try:
            with self._lock:
                ours = self._open_ours()
                self._strays.add(name)  # until it is known as a draft: it may be there also where its making failed
                descriptor = _made(ours, name)
                self._strays.discard(name)
        except OSError as error:  # without `faults`, which would take some of the time of each small text
            raise self.fault(error) from error
        return name, descriptor

    def name_of(self, number: int | str) -> str:
        """Return the name of the draft of attempt `number`. It says where it is made, and for which inbox."""
        return f"{self._prefix()}{self._source}-{number}"

    def is_ours(self, name: str, *, alone: bool) -> bool:
        """Whether what has such a name is of this ledger (pure).

        `alone`: also what is of any for this inbox, or does not say for which, as the folder is one daemon's.
        """
        its = _DRAFT.fullmatch(name)
        owner, inbox = its.groups()[:2] if its else (None, None)
        return owner == self._owner or (alone and inbox in {None, self._source})

    def is_home_of(self, draft: Draft) -> bool:
        """Whether a draft was made in this very folder, not in another that had its path before."""
        return draft.name.startswith(self._prefix())

    def _prefix(self) -> str:
        return f"{self._owner}-{self._met().home}-"

    def written(self, name: str, descriptor: int) -> Draft:
        """Return a draft that was filled; let the disk begin to write a large one. Raises SystemFault."""
        try:
            status = os.fstat(descriptor)
        except OSError as error:
            raise self.fault(error) from error
        if self.durable and status.st_size >= _LARGE:
            disk.begin(descriptor)
        return Draft(name, status.st_ino, status.st_size)

    def write_draft(self, number: int, content: bytes) -> Draft:
        """Make a draft that holds `content`; none is left where that fails. Raises SystemFault."""
        name, descriptor = self.new_draft(number)
        try:
            with self.faults(), os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                return self.written(name, descriptor)
        except SystemFault:
            self.discard(name)
            raise

    def discard(self, name: str) -> None:
        """Remove a draft, if it is still there. Raises SystemFault; then it is removed once there is no work."""
        with self._lock, self.faults():
            self._strays.add(name)
            self._unlink(name)

    def seen(self, draft: Draft) -> os.stat_result | None:
        """Return what has a draft's name; None where nothing has. Raises SystemFault.

        It is this very draft by its inode. Some file systems number anew when they are mounted.
        """
        return self._in_ours(lambda ours: os.lstat(draft.name, dir_fd=ours))

    def wrote(self, found: os.stat_result, record: Record) -> bool:
        """Whether a file in here is the result of a record, or its reason, as we wrote it. Raises SystemFault."""
        if sameness.is_as_written(found, record):
            return True
        with self.faults():  # asked last, as nearly every file is known by its inode
            return sameness.looks_like(found, record.result) and volumes.renumbers(self.path)

    def vouched(self, draft: Draft) -> Draft | None:
        """Return a draft that is on disk with all by which its result is known; None where it is not there any more.

        One of another size counts as gone: a disk that went and came back may show a name without its content. One
        of a time to come, as a server's clock may be ahead, or ours was set back, is given that of now. Raises
        SystemFault.
        """
        status = self.seen(draft)
        if status is None or (status.st_ino, status.st_size) != (draft.inode, draft.size):
            return None
        if status.st_mtime > time.time():
            self._in_ours(lambda ours: _date(ours, draft.name))
            status = self.seen(draft) or status
        return Draft(draft.name, draft.inode, status.st_size, signed(status.st_mtime_ns))

    def leftovers(self, before: float, *, of_any: bool = False) -> list[str]:
        """Return the names of the owner's drafts of attempts before that number, and of a probe that was cut short.

        With `of_any` also those of any other ledger for this inbox. Raises SystemFault.
        """
        found = map(_DRAFT.fullmatch, self._in_ours(os.listdir) or [])
        its = (it for it in found if it and (it[1] == self._owner or (of_any and it[2] == self._source)))
        return [it[0] for it in its if int(it[3] or 0) < before]

    def to_disk(self, drafts: Sequence[Draft]) -> None:
        """Write the drafts, and their names, to disk. Raises SystemFault."""
        if not self.durable:
            return
        ours = self.ours()
        with self.faults():
            self._syncs.sync(ours, [draft.name for draft in drafts])

    def ours(self) -> int:
        """Return the descriptor of our own folder in there; it stays open until `rest`. Raises SystemFault."""
        with self._lock:
            return self._open_ours()

    def rest(self) -> None:
        """Close what is open here: there is no work. What a fault has left is removed first, or at a later rest."""
        with self._lock:
            for name in tuple(self._strays):
                with suppress(OSError, SystemFault):  # one file that cannot be removed holds up no other
                    self._unlink(name)
            if self._ours is not None:
                os.close(self._ours)
                self._ours = None

    def fault(self, error: OSError) -> SystemFault:
        """Say an OSError of this folder as a fault of the system."""
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno == errno.EFBIG:
            reason += ": raise this process's limit (LimitFSIZE, ulimit -f)"
        if self._ground is None:
            missing = "it is missing: mount it, or bring it back"  # nor is it to be made: another run may know it
            reason = missing if error.errno == errno.ENOENT else reason + access.how_to_use(self.path, error)
        elif error.errno == errno.ENOENT and not os.path.lexists(self.path):
            reason += ": mount it again, or bring it back; if it is lost, make it and restart watcherd"
        return SystemFault(f"{self.path}: {reason}", root=self.path, errno=error.errno)

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Let an OSError be a fault of this folder."""
        try:
            yield
        except OSError as error:
            raise self.fault(error) from error

    def _in_ours(self, act: Callable[[int], T]) -> T | None:
        """Act in our own folder; None where the name is not there."""
        try:
            with self._lock:
                return act(self._open_ours())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self.fault(error) from error

    def _unlink(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._open_ours())
        self._strays.discard(name)

    def _open_ours(self) -> int:
        if self._ours is None:
            self._check()
            with self.faults():
                self._ours = beneath.open_folder(self.path, OURS)
        return self._ours

    def _met(self) -> Ground:
        """Return the ground, which is met now if it was not before. Raises OSError."""
        if self._ground is None:
            self._ground = Ground(self.path, durable=self.durable)
        return self._ground

    def _check(self) -> None:
        with self.faults():
            is_here = self._met().reach()
        if not is_here:
            raise SystemFault(
                f"{self.path} is not the folder that watcherd started with: mount it again, or restart watcherd",
                root=self.path,
                errno=errno.ESTALE,
            )


def _made(folder: int, name: str) -> int:
    """Make a file; one of that name goes, but not what is in it: a result may be the same file.

    A link may have been shown and not unlinked, and its id given once more, as where ledger and clock were set back.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(name, flags, 0o666, dir_fd=folder)
    except FileExistsError:
        os.unlink(name, dir_fd=folder)
        return os.open(name, flags, 0o666, dir_fd=folder)


def _write_and_unlink(folder: int, name: str) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        os.write(descriptor, b"probe" * 1024)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        os.unlink(name, dir_fd=folder)


def _date(folder: int, name: str) -> None:
    """Give a file the time of now, if we may: there are mounts that show all that is in them as another user's.

    Whoever may write to it may have it dated by the system: over SMB that is our clock too, over NFS the server's.
    """
    now = time.time_ns()
    with suppress(PermissionError):
        try:
            os.utime(name, ns=(now, now), dir_fd=folder, follow_symlinks=False)
        except PermissionError:
            os.utime(name, dir_fd=folder, follow_symlinks=False)
