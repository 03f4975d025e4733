"""What became of every file, in SQLite.

One connection writes, in batches, and one reads; with write-ahead logging neither waits for the other. There are two
strengths of commit. An attempt must survive this process: ``synchronous=NORMAL``, a write without a sync. Word of
what is going to appear or disappear must survive the machine: ``synchronous=FULL``.

That an input was retired is written with the next transaction: until then `lookup` answers from memory, and after a
crash the next start finds the row at `publishing` and the input gone, which says the same.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, count
from tempfile import TemporaryFile
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Self

from watcherd import access
from watcherd.ledger import rows
from watcherd.ledger.answers import LATEST, Answers
from watcherd.ledger.database import connect, prepare, told_plainly
from watcherd.ledger.rows import marks
from watcherd.model import Failure, Job, SystemFault, signed
from watcherd.paths import readable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import IO

    from watcherd.decide import Retry
    from watcherd.model import Draft, Record
    from watcherd.states import State

#: Bytes that must be free for the ledger to grow: a batch takes less.
SPACE = 256 << 10

# Where no space can be set aside: a file system cannot, which glibc hides and musl tells; or a container forbids it.
_UNALLOCATED = {errno.ENOTSUP, errno.EINVAL, errno.ENOSYS, errno.EPERM}

# When a job is handed over, the daemon has survived the one that it worked on alone before, which may not be
# published yet. If both were on record as alone at the next crash, an innocent would be charged.
_NOT_ALONE_ANY_MORE = "UPDATE file SET alone = 0 WHERE id = ? AND state = 'working'"

# An earlier run's intention holds no claim, so a newer version of its file may be on record when it is withdrawn. Its
# row would be due for ever then, as only the latest of a path is looked up.
_OUTDATED = """DELETE FROM file WHERE id = ? AND EXISTS (SELECT 1 FROM file AS later WHERE later.inbox = file.inbox
    AND later.path = file.path AND later.id > file.id)"""

_REPLACED = f"""DELETE FROM file WHERE state IN ('working', 'retrying')
    AND id IN (SELECT ({LATEST.format("column1", "column2")}) FROM {{}})"""

# A failure ends the transaction, as `_transaction` does: to take back a statement alone SQLite would keep the pages
# that it changes, in a temporary file where they are many.
_HANDED_OVER = f"INSERT OR ROLLBACK INTO file ({rows.ATTEMPT}, state) SELECT *, 'working' FROM {{}}"
_INTENDED = """UPDATE OR ROLLBACK file SET state = column2, number = column3, draft = column4, result = column5,
    result_size = column6, result_mtime_ns = column7, at = column8 FROM {} WHERE id = column1"""
_RETIRED = "UPDATE OR ROLLBACK file SET state = column2, draft = NULL, due = NULL FROM {} WHERE id = column1"

#: Rows that a statement changes at once, in half of the time that they take one after the other. Such a statement is
#: kept for the next time, and the more rows it has the more memory that takes.
_AT_ONCE = 64


#: Ids for which a second leaves room. What a power cut, or a copy put back, has lost of a ledger had ids, too: going
#: by the clock, none is given to another file, for which a draft of that time, or a copy, would be taken.
_A_SECOND = 2048


class Intent(NamedTuple):
    """What is about to become of a job's input.

    `state` says which way it goes, `number` is the one of its new names (0: none), `draft` what will be visible: the
    result, or the reason of a quarantine.
    """

    job: Job
    state: State
    number: int
    draft: Draft


class Ledger(Answers):
    """The ledger in `path`. Raises Refused where it is none, a damaged one or one of a newer version; SystemFault.

    With `durable` false the strong commits are weak ones as well.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.folder = str(path.parent)
        self._durable = durable
        self._writing = Lock()
        with ExitStack() as undo:
            self._writer = connect(path)
            undo.callback(self._writer.close)
            self.id = prepare(self._writer, path)
            super().__init__(path)  # not before: there is nothing to be asked
            undo.callback(self._reader.close)
            self._file = self._at_path()
            last = int(self._ask("SELECT coalesce(max(seq), 0) FROM sqlite_sequence")[0][0])
            #: The id of this run's first attempt.
            self.first = max(last + 1, int(time.time() * _A_SECOND))
            undo.pop_all()
        self._alone: set[int] = set()  # the attempts on record as alone that were handed over last
        self._ids = count(self.first)

    def close(self) -> None:
        """Write what is still only known in memory, and close.

        What cannot be written, as on a full disk, is found out by the next start.
        """
        try:
            with suppress(SystemFault):
                self.flush()
        finally:
            with self._writing, self._reading:
                self._reader.close()
                self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def register(self, name: str, root: str) -> None:
        """Let the inbox at the resolved path `root` be called `name` in this run."""
        blob = os.fsencode(root)
        with self._transaction() as cursor:
            cursor.execute("INSERT OR IGNORE INTO inbox (root) VALUES (?)", (blob,))
        self._inboxes[name] = self._ask("SELECT id FROM inbox WHERE root = ?", blob)[0][0]

    def next_id(self) -> int:
        """Return an id for a new attempt, greater than all before it, in this run and the earlier ones."""
        return next(self._ids)

    # What is told --------------------------------------------------------------------------------------------------

    def hand_over(self, jobs: Sequence[Job]) -> None:
        """Put attempts on record, before the work begins; they replace what was unfinished of the same paths."""
        now = int(time.time())
        attempts = [self._row(job, now) for job in jobs]
        with self._transaction() as cursor:
            before = self._alone.copy()
            cursor.executemany(_NOT_ALONE_ANY_MORE, [(row,) for row in before])
            _for_all(cursor, _REPLACED, [row[1:3] for row in attempts])
            _for_all(cursor, _HANDED_OVER, attempts)
            self._alone.update(job.id for job in jobs if job.alone)
        self._alone -= before  # now that it is committed

    def remember(self, records: Iterable[Record]) -> None:
        """Put on record what ended before this ledger was made; their ids are given here."""
        now = int(time.time())
        ended = [
            (*self._row(Job(self.next_id(), it.file, it.kind, it.attempts), now), *rows.ending(it)) for it in records
        ]
        with self._transaction() as cursor:
            cursor.executemany(f"INSERT INTO file ({rows.ATTEMPT}, {rows.ENDING}) VALUES ({marks(19)})", ended)

    def intend(self, intents: Iterable[Intent]) -> None:
        """Put on record, to survive the machine, what is about to be published or set aside."""
        now = int(time.time())
        intended = [
            (job.id, state, number, draft.name, signed(draft.inode), draft.size, draft.mtime_ns, now)
            for job, state, number, draft in intents
        ]
        with self._transaction(full=True) as cursor:
            _for_all(cursor, _INTENDED, intended)

    def withdraw(self, job: Job) -> None:
        """Take back an intention that cannot be carried out: the job is in work as before it, but not alone.

        Where a newer version is on record, the job is forgotten. Both are written to survive the machine, as the
        intention was: it must not come back without its draft.
        """
        with self._transaction(full=True) as cursor:
            cursor.execute(_OUTDATED, (job.id,))
            cursor.execute(
                """UPDATE file SET state = 'working', alone = 0, number = 0, draft = NULL, result = NULL
                   WHERE id = ?""",
                (job.id,),
            )

    def note_failure(self, job: Job, failure: Failure, message: str, attempts: int) -> None:
        """Note why a job is about to be set aside, and after how many attempts."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE file SET failure = ?, message = ?, attempts = ? WHERE id = ?",
                (failure, readable(message), attempts, job.id),
            )

    def retry(self, job: Job, verdict: Retry, due: float, failure: Failure | None, message: str) -> None:
        """Put the next attempt on record, with the charges of a verdict, and not before `due`, Unix seconds."""
        charges = verdict.attempts, verdict.kills, verdict.alone
        with self._transaction() as cursor:
            cursor.execute(
                """UPDATE file SET state = 'retrying', attempts = ?, kills = ?, alone = ?, due = ?, failure = ?,
                   message = ?, at = ? WHERE id = ?""",
                (*charges, due, failure, readable(message), int(time.time()), job.id),
            )

    def send_back(self, row: int, due: float | None) -> bool:
        """Put on record that a quarantined file is on its way back since `due`, Unix seconds; or not, with None.

        Return whether it is on record as quarantined.
        """
        with self._transaction(full=True) as cursor:
            found = cursor.execute("UPDATE file SET due = ? WHERE id = ? AND state = 'quarantined'", (due, row))
            return found.rowcount > 0

    def give_back(self, jobs: Iterable[Job]) -> None:
        """Take attempts back that were not the files' to answer for; earlier charges stay."""
        charged: list[tuple[int]] = []
        fresh: list[tuple[int]] = []
        for job in jobs:
            (charged if job.attempts or job.kills or job.alone else fresh).append((job.id,))
        with self._transaction() as cursor:
            cursor.executemany("UPDATE file SET state = 'retrying', due = 0 WHERE id = ?", charged)
            cursor.executemany("DELETE FROM file WHERE id = ?", fresh)

    def forget(self, ids: Iterable[int], *, lastingly: bool = False) -> None:
        """Remove rows of files that vanished or changed since; with `lastingly` so that it survives the machine."""
        with self._transaction(full=lastingly) as cursor:
            cursor.executemany("DELETE FROM file WHERE id = ?", [(row,) for row in ids])

    def finish(self, ids: Iterable[int], state: State) -> None:
        """Note a terminal state, which is written with the next transaction."""
        with self._writing:
            self._retired.update(dict.fromkeys(ids, state))

    def flush(self) -> None:
        """Write what `finish` noted, if anything."""
        if self._retired:
            with self._transaction():
                pass

    def drop(self, inbox: str, path: str) -> None:
        """Remove the row of a file that waited for its next attempt, and is gone."""
        with self._transaction() as cursor:
            _for_all(cursor, _REPLACED, [(self._inboxes[inbox], os.fsencode(path))])

    def probe(self) -> None:
        """Raise SystemFault where the ledger cannot be written to, or could not grow."""
        with self._transaction(full=True) as cursor:
            cursor.execute("UPDATE ledger SET id = id")
        # That is no proof: the log of changes may have pages to reuse, and take a small change on a full disk.
        with access.error_as_fault(self.folder):
            require_space(self.folder)

    def free(self) -> tuple[int, int]:
        """Return the bytes that are free to us, and all bytes, of its file system.

        Raises SystemFault, also where its file is gone: SQLite would write on into what no later run finds.
        """
        with access.error_as_fault(self.folder):
            status = os.statvfs(self.folder)
            here = self._at_path()
        if here != self._file:
            message = f"the ledger {self._path} was removed or replaced: put it back, or restart watcherd"
            raise SystemFault(message, root=self.folder, errno=errno.ESTALE)
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize

    # How -----------------------------------------------------------------------------------------------------------

    def _at_path(self) -> tuple[int, int] | None:
        """Return the device and inode of the file at its path; None where there is none."""
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _row(self, job: Job, now: int) -> tuple[object, ...]:
        return rows.attempt(job, self._inboxes[job.file.inbox], now)

    @contextmanager
    def _transaction(self, *, full: bool = False) -> Iterator[sqlite3.Cursor]:
        with self._writing, told_plainly(self._path):
            cursor = self._writer.cursor()
            cursor.execute(f"PRAGMA synchronous = {'FULL' if full and self._durable else 'NORMAL'}")
            cursor.execute("BEGIN IMMEDIATE")
            try:
                # Not `at`: what changed the result since then was not us.
                _for_all(cursor, _RETIRED, list(self._retired.items()))
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    cursor.execute("ROLLBACK")
                raise
            self._retired.clear()  # nothing was added meanwhile: `finish` takes the same lock


def _for_all(cursor: sqlite3.Cursor, statement: str, its: Sequence[tuple[object, ...]]) -> None:
    """Execute a statement for many rows, a block at a time: for `{}` it gets their values, as `column1` and so on."""
    for start in range(0, len(its), _AT_ONCE):
        block = its[start : start + _AT_ONCE]
        table = ",".join([f"({marks(len(block[0]))})"] * len(block))
        cursor.execute(statement.format(f"(VALUES {table})"), tuple(chain.from_iterable(block)))


def require_space(folder: str) -> None:
    """Raise OSError where a ledger in that folder could not grow."""
    try:
        with TemporaryFile(dir=folder) as file:
            _take_up(file)
    except OSError as error:
        error.filename = folder  # the file has another name each time, by which each time would be news
        raise


def _take_up(file: IO[bytes]) -> None:
    """Give a new file `SPACE` bytes of its disk. Raises OSError where there are fewer."""
    try:
        os.posix_fallocate(file.fileno(), 0, SPACE)
    except OSError as error:
        if error.errno not in _UNALLOCATED:
            raise
        file.write(bytes(SPACE))
        file.flush()
