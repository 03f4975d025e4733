"""The file in which the ledger is: made, checked, and its errors told plainly."""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from contextlib import closing, contextmanager, suppress
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from watcherd.access import how_to_write
from watcherd.model import Failure, Kind, Refused, SystemFault
from watcherd.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = 2

#: What makes a ledger of version 1 one of version 2.
_ADDED = "ALTER TABLE file ADD COLUMN result_size INTEGER; ALTER TABLE file ADD COLUMN result_mtime_ns INTEGER;"

#: What is wrong with a ledger of no bytes: SQLite would take it for a new one.
EMPTY = "it is empty"

#: Bytes read at once to see whether all can be.
READ = 1 << 20

#: Seconds to wait for a lock on the database: a command of ours holds it for milliseconds.
PATIENCE = 2.0


class Damaged(Refused):
    """The ledger at `path` is no sound database: `why`."""

    def __init__(self, path: Path, why: object) -> None:
        super().__init__(f"{path} is damaged ({why}): start watcherd again, which sets it aside and makes a new one")
        self.why = str(why)


def require_sound(path: Path) -> None:
    """Raise Damaged where there is a ledger in `path` that is not sound. A million rows take one and a half seconds.

    Raises SystemFault where its disk fails to read it: SQLite would call that malformed, and it may be whole.
    """
    if not _is_there(path):
        return
    try:
        _examine(path)
    except Damaged:
        _examine(path)  # once more: a disk may fail for an instant


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise unusable(path, error.strerror) from error


def _examine(path: Path) -> None:
    _require_readable(path)
    with closing(connect(path)) as connection, _told(path):
        # Not the quick one: a log of changes that lay beside an older ledger as that was put back, or a write that a
        # disk lost, may leave rows that no index holds. What was on its way would never be finished, nor told.
        said = connection.execute("PRAGMA integrity_check(1)").fetchone()[0] if path.stat().st_size else EMPTY
        if said != "ok":
            raise Damaged(path, said)
        if 0 < _version(connection) <= VERSION:
            _require_sense(connection, path)


def _require_sense(connection: sqlite3.Connection, path: Path) -> None:
    """Raise Damaged where a row has a word that none is: to SQLite, one in which a bit was flipped is as good."""
    connection.text_factory = lambda text: text.decode(errors="replace")
    try:
        for state, kind, failure in connection.execute("SELECT DISTINCT state, kind, failure FROM file"):
            State(state), Kind(kind), Failure(failure or Failure.CRASHED)
    except ValueError as nonsense:
        raise Damaged(path, nonsense) from nonsense


def _require_readable(path: Path) -> None:
    try:
        _read_through(_opened_for_good(path, path.stat().st_ino))
        with suppress(FileNotFoundError), open(f"{path}-wal", "rb") as changes:
            _read_through(changes.fileno())
    except OSError as error:
        raise unusable(path, error.strerror) from error


@cache
def _opened_for_good(path: Path, inode: int) -> int:  # noqa: ARG001 (one that takes its place is another)
    """Open a ledger, to stay open: a process that closes any descriptor of a file loses its locks on it (`fcntl(2)`).

    SQLite's would be among them, of a ledger that we use just now.
    """
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def let_go(path: Path) -> None:
    """Close a damaged ledger that is about to be set aside: no connection of ours is open to it any more."""
    os.close(_opened_for_good(path, path.stat().st_ino))
    _opened_for_good.cache_clear()


def _read_through(descriptor: int) -> None:
    at = 0
    while block := os.pread(descriptor, READ, at):
        at += len(block)


def unusable(path: Path, why: object) -> SystemFault:
    """Return what is raised of a ledger that cannot be used, and why."""
    message = f"the ledger {path} cannot be used: {why}{how_to_write(path.parent, path)}"
    return SystemFault(message, root=str(path.parent))


def connect(path: Path) -> sqlite3.Connection:
    """Open the database, or make one for our eyes alone. Raises SystemFault and Damaged."""
    with suppress(OSError):  # it is there, or SQLite will say why it cannot be; its other files have the same mode
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with told_plainly(path):
        return sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)


def prepare(connection: sqlite3.Connection, path: Path) -> str:
    """Make a new ledger, or check that this one is of our version; return its id."""
    with told_plainly(path):
        empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        version = _version(connection)  # asked last: another may make a ledger just now
        if version > VERSION:
            raise Refused(
                f"{path} was written by a newer watcherd (ledger version {version}, this one knows {VERSION}): "
                "run the newer one, or give another state directory"
            )
        if version == 0 and not empty:
            raise Refused(f"{path} is a database of something else: give another state directory")
        if version < VERSION:
            _change(connection, _ADDED if version else _created())
        connection.execute("PRAGMA journal_mode = WAL")  # not before: a file without its log of changes is a ledger
        return str(connection.execute("SELECT id FROM ledger").fetchone()[0])


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _created() -> str:
    schema = resources.files(__package__).joinpath("ledger.sql").read_text("utf-8")
    return f"{schema} INSERT INTO ledger VALUES ('{secrets.token_hex(4)}');"


def _change(connection: sqlite3.Connection, script: str) -> None:
    """Bring the ledger to our version, unless a command beside us, or the daemon, just did."""
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {VERSION}; COMMIT;")
    except sqlite3.OperationalError:  # as what is to be made is there
        connection.rollback()
        if _version(connection) != VERSION:
            raise


@contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours: a damaged file is refused, everything else is the system's fault.

    So is a closed connection: a thread that hung in a mount, and was left behind by a stop, may come back and use it.
    And so is a disk that fails to read: a statement that meets that says that the file is malformed.
    """
    try:
        with _told(path):
            yield
    except Damaged as damage:
        with suppress(Damaged):
            require_sound(path)
            raise unusable(path, "disk I/O error") from damage
        raise


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, by its word."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.InternalError, sqlite3.ProgrammingError) as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_IOERR_SHORT_READ:  # of it, or of its log: no pause brings back what is missing
            raise Damaged(path, "it was cut short") from error
        # No room for the smallest file is an I/O error to SQLite, and a full disk to people.
        why = "database or disk is full" if code == sqlite3.SQLITE_IOERR_SHMSIZE else error
        raise unusable(path, why) from error
    except MemoryError as error:
        message = f"the ledger {path} cannot be used: {os.strerror(errno.ENOMEM)}"
        raise SystemFault(message, root=str(path.parent), errno=errno.ENOMEM) from error
    except sqlite3.IntegrityError:
        raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter in the message of the former
        raise Damaged(path, error) from error
