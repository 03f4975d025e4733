"""What became of every file, in SQLite.

One connection writes, in batches, and one reads; write-ahead logging lets them pass each other. Two strengths of
commit are used. An attempt must survive this process: ``synchronous=NORMAL``, a write without a sync. A word about
what is going to appear or disappear must survive the machine: ``synchronous=FULL``.

That an input was retired is written with whatever is written next: until then `lookup` answers from memory, and
after a crash the next start finds the row at `publishing` and the input gone, which says the same.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from itertools import count, repeat
from tempfile import TemporaryFile
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from watcherd.ledger import rows
from watcherd.ledger.database import connect, prepare, told_plainly
from watcherd.model import Failure, Job, Record, SystemFault, readable, signed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from watcherd.decide import Retry
    from watcherd.model import Draft, Ended
    from watcherd.states import State

#: Rows looked up with one statement. SQLite allows 32,766 parameters; more than this gains nothing.
BLOCK = 1000

#: The greatest id that there can be.
LAST = (1 << 63) - 1

#: Files of one name that were set aside and are asked for together, whenever that name comes again.
NAMESAKES = 100

#: Bytes that the ledger must have room to grow by: a batch takes less.
ROOM = 256 << 10

_UNFINISHED = "state IN ('working', 'retrying', 'publishing', 'quarantining')"

# Whoever is handed over shows that what this run worked on alone was left alive, if not published yet: were both on
# record as alone at the next crash, an innocent would be charged.
_NOT_ALONE_ANY_MORE = "UPDATE file SET alone = 0 WHERE id = ? AND state = 'working'"

# Where one name comes again and again it has a row for each time, and only the latest says how things stand.
_LATEST = "SELECT id FROM file WHERE inbox = ? AND path = {} ORDER BY id DESC LIMIT 1"

_REPLACED = f"DELETE FROM file WHERE id = ({_LATEST.format('?')}) AND state IN ('working', 'retrying')"


class Intent(NamedTuple):
    """What is about to become of a job's input.

    `state` says which way it goes, `number` is the one of its new names (0: none), `draft` what will be visible: the
    result, or the reason of a quarantine.
    """

    job: Job
    state: State
    number: int
    draft: Draft


class Ledger:
    """The ledger in `path`. Raises Refused where the file is no ledger, or is one of a newer version.

    With `durable` false the strong commits are weak ones as well.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.folder = str(path.parent)
        self._path = path
        self._durable = durable
        self._writing, self._reading = Lock(), Lock()
        with ExitStack() as undo:
            self._writer = connect(path)
            undo.callback(self._writer.close)
            self.id = prepare(self._writer, path)
            self._reader = connect(path)
            self._file = self._at_path()
            undo.pop_all()
        self._inboxes: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._retired: dict[int, State] = {}
        self._alone: set[int] = set()  # the attempts on record as alone that were handed over last
        #: The id of this run's first attempt.
        self.first = self._one("SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence")
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
        """Give the inbox at the resolved path `root` its label for this run."""
        blob = os.fsencode(root)
        with self._transaction() as cursor:
            cursor.execute("INSERT OR IGNORE INTO inbox (root) VALUES (?)", (blob,))
        number = self._one("SELECT id FROM inbox WHERE root = ?", (blob,))
        self._inboxes[name], self._names[number] = number, name

    def next_id(self) -> int:
        """Return an id for a new attempt, greater than all before it, in this run and the earlier ones."""
        return next(self._ids)

    # What is asked -------------------------------------------------------------------------------------------------

    def roots(self) -> set[str]:
        """Return the roots of the inboxes of which anything is on record, also of those without a label."""
        with self._reading, told_plainly(self._path):
            found = self._reader.execute(
                "SELECT root FROM inbox WHERE EXISTS (SELECT 1 FROM file WHERE inbox = inbox.id)"
            ).fetchall()
        return {os.fsdecode(root) for (root,) in found}

    def lookup(self, inbox: str, paths: Sequence[str]) -> Mapping[str, Record]:
        """Return the latest record of each of these paths that has one."""
        return {
            record.file.path: record
            for where, values in self._latest(inbox, paths)
            for record in self._select(inbox, where, *values, by="NOT INDEXED")
        }

    def ended(self, inbox: str, paths: Sequence[str]) -> Mapping[str, Ended]:
        """Return how the latest version of each of these paths ended that is on record as ended.

        It takes a third of the time of `lookup`, and what `finish` noted since the last transaction is not in it.
        """
        latest = {
            path: rows.ended(*facts)
            for where, values in self._latest(inbox, paths)
            for path, *facts in self._rows(rows.ENDED, inbox, where, *values, by="NOT INDEXED")
        }
        return {os.fsdecode(path): ended for path, ended in latest.items() if ended is not None}

    def unfinished(self, inbox: str, *states: State) -> list[Record]:
        """Return the records of this inbox in these states, none of which is terminal; oldest first."""
        return self._select(inbox, f"{_UNFINISHED} AND state IN ({_marks(len(states))}) ORDER BY id", *states)

    def due(self, inbox: str, now: float, furthest: float, limit: int = BLOCK) -> list[str]:
        """Return the paths whose retry is due at `now`, at most `limit`. Times are in Unix seconds.

        One that is due after `furthest` is due too: the clock has been set back since it was put on record.
        """
        where = f"{_UNFINISHED} AND state = 'retrying' AND (due <= ? OR due > ?) ORDER BY due LIMIT ?"
        return [record.file.path for record in self._select(inbox, where, now, furthest, limit)]

    def earliest_due(self, inbox: str) -> float | None:
        """Return when the next retry of this inbox is due, Unix seconds."""
        ((due,),) = self._rows("min(due)", inbox, f"{_UNFINISHED} AND state = 'retrying'")
        return None if due is None else float(due)

    def drafts(self) -> set[str]:
        """Return the names of all drafts that an intention refers to, of every inbox."""
        with self._reading, told_plainly(self._path):
            named = self._reader.execute(
                f"SELECT draft FROM file WHERE {_UNFINISHED} AND draft IS NOT NULL"
            ).fetchall()
        return {name for (name,) in named}

    def older(self, inbox: str, before: float, *, after: int, upto: int = LAST, limit: int = BLOCK) -> list[Record]:
        """Return terminal records older than `before`, Unix seconds, by id from the one after `after`, to `upto`."""
        where = "id > ? AND id <= ? AND state IN ('published', 'quarantined') AND at < ? ORDER BY id LIMIT ?"
        # In the order of ids: by its index of paths, SQLite would sort all rows of the inbox for each block.
        return self._select(inbox, where, after, upto, before, limit, by="NOT INDEXED")

    def ahead(self, after: int, rows: int) -> int:
        """Return the id of the row that comes so many rows, of any inbox, after that id; LAST where there is none."""
        with self._reading, told_plainly(self._path):
            found = self._reader.execute(
                "SELECT id FROM file WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?", (after, rows - 1)
            ).fetchone()
        return int(found[0]) if found else LAST

    def quarantined(self, inbox: str, *, sent_back: bool = False) -> list[Record]:
        """Return the records of what is set aside in this inbox, oldest first; or only what is on its way back."""
        which = "AND due IS NOT NULL" if sent_back else ""
        return self._select(inbox, f"state = 'quarantined' {which} ORDER BY id")

    def namesakes(self, inbox: str, path: str) -> list[Record]:
        """Return the records of what was set aside by this path, the latest first, at most `NAMESAKES`."""
        where = "path = ? AND state = 'quarantined' ORDER BY id DESC LIMIT ?"
        return self._select(inbox, where, os.fsencode(path), NAMESAKES)

    def result(self, inbox: str, path: str) -> Record | None:
        """Return the latest published record of `path`: what proves the result that is visible now ours."""
        where = "path = ? AND state = 'published' ORDER BY id DESC LIMIT 1"
        found = self._select(inbox, where, os.fsencode(path))
        return found[0] if found else None

    def outlived(self, shown: Sequence[tuple[Record, int]], *, others: bool = False) -> set[int]:
        """Return the ids of those records, of one inbox, whose inode, given with each, is by now a later result's.

        That is one of the same path, or, with `others`, of any that found the name free: all later rows are looked
        through. The inode itself says little: the file system gives it to the next file once it is free.
        """
        if not shown:
            return set()
        inodes = [signed(inode) for _, inode in shown]
        paths = [] if others else [os.fsencode(record.file.path) for record, _ in shown]
        keys, of_paths = ("NULL, result", "") if others else ("path, result", f"AND path IN ({_marks(len(paths))})")
        where = f"id > ? AND result IN ({_marks(len(inodes))}) {of_paths} GROUP BY {keys}"
        first = min(record.id for record, _ in shown)
        found = self._rows(f"{keys}, max(id)", shown[0][0].file.inbox, where, first, *inodes, *paths)
        latest = {(path, result): row for path, result, row in found}
        asked = zip(shown, paths or repeat(None), inodes, strict=False)
        return {record.id for (record, _), path, inode in asked if latest.get((path, inode), 0) > record.id}

    # What is told --------------------------------------------------------------------------------------------------

    def hand_over(self, jobs: Sequence[Job]) -> None:
        """Put attempts on record, before the work begins; they replace what was unfinished of the same paths."""
        now = int(time.time())
        attempts = [self._row(job, now) for job in jobs]
        with self._transaction() as cursor:
            before = self._alone.copy()
            cursor.executemany(_NOT_ALONE_ANY_MORE, [(row,) for row in before])
            cursor.executemany(_REPLACED, [row[1:3] for row in attempts])
            cursor.executemany(f"INSERT INTO file ({rows.ATTEMPT}, state) VALUES ({_marks(12)}, 'working')", attempts)
            self._alone.update(job.id for job in jobs if job.alone)
        self._alone -= before

    def remember(self, records: Iterable[Record]) -> None:
        """Put on record what ended before this ledger was made; their ids are given here."""
        now = int(time.time())
        ended = [
            (*self._row(Job(self.next_id(), it.file, it.kind, it.attempts), now), *rows.ending(it)) for it in records
        ]
        with self._transaction() as cursor:
            cursor.executemany(f"INSERT INTO file ({rows.ATTEMPT}, {rows.ENDING}) VALUES ({_marks(17)})", ended)

    def intend(self, intents: Iterable[Intent]) -> None:
        """Put on record, to survive the machine, what is about to be published or set aside."""
        now = int(time.time())
        intended = [
            (state, number, draft.name, signed(draft.inode), now, job.id) for job, state, number, draft in intents
        ]
        with self._transaction(full=True) as cursor:
            cursor.executemany(
                "UPDATE file SET state = ?, number = ?, draft = ?, result = ?, at = ? WHERE id = ?", intended
            )

    def withdraw(self, job: Job) -> None:
        """Take an intention back that cannot be carried out: the job is where it was before it, but not alone."""
        with self._transaction() as cursor:
            cursor.execute(
                """UPDATE file SET state = 'working', alone = 0, number = 0, draft = NULL, result = NULL
                   WHERE id = ?""",
                (job.id,),
            )

    def judge(self, job: Job, failure: Failure, message: str, attempts: int) -> None:
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

    def send_back(self, row: int, due: float | None) -> None:
        """Put on record that a quarantined file is on its way back since `due`, Unix seconds; or not, with None."""
        with self._transaction(full=True) as cursor:
            cursor.execute("UPDATE file SET due = ? WHERE id = ? AND state = 'quarantined'", (due, row))

    def give_back(self, jobs: Iterable[Job]) -> None:
        """Take attempts back that were not the files' to answer for; earlier charges stay."""
        charged: list[tuple[int]] = []
        fresh: list[tuple[int]] = []
        for job in jobs:
            (charged if job.attempts or job.kills or job.alone else fresh).append((job.id,))
        with self._transaction() as cursor:
            cursor.executemany("UPDATE file SET state = 'retrying', due = 0 WHERE id = ?", charged)
            cursor.executemany("DELETE FROM file WHERE id = ?", fresh)

    def forget(self, ids: Iterable[int]) -> None:
        """Remove rows: the file vanished, or changed and is another version now."""
        with self._transaction() as cursor:
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
            cursor.execute(_REPLACED, (self._inboxes[inbox], os.fsencode(path)))

    def probe(self) -> None:
        """Raise SystemFault where the ledger cannot be written to, or could not grow."""
        with self._transaction(full=True) as cursor:
            cursor.execute("UPDATE ledger SET id = id")
        # The log of changes has pages to reuse, so that one small change succeeds on a full disk, too.
        with self._its_folder_s_fault():
            require_room(self.folder)

    def free(self) -> tuple[int, int]:
        """Return the bytes that are free to us, and all bytes, of its file system. Raises SystemFault.

        Also where its file is gone: SQLite writes on into what no later run will find.
        """
        with self._its_folder_s_fault():
            status = os.statvfs(self.folder)
            here = self._at_path()
        if here != self._file:
            message = f"the ledger {self._path} was removed or replaced: put it back, or restart watcherd"
            raise SystemFault(message, root=self.folder, errno=errno.ESTALE)
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize

    # How -----------------------------------------------------------------------------------------------------------

    def _at_path(self) -> tuple[int, int] | None:
        """Return what tells the file at its path from another; None where there is none."""
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    @contextmanager
    def _its_folder_s_fault(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"the ledger's folder {self.folder}: {os.strerror(error.errno or 0)}"
            raise SystemFault(message, root=self.folder, errno=error.errno) from error

    def _row(self, job: Job, now: int) -> tuple[object, ...]:
        return rows.attempt(job, self._inboxes[job.file.inbox], now)

    def _select(self, inbox: str, where: str, *values: object, by: str = "") -> list[Record]:
        retired = dict(self._retired)  # before the rows are read: an entry that leaves it meanwhile is in the rows
        return [rows.record(inbox, row, retired) for row in self._rows(rows.COLUMNS, inbox, where, *values, by=by)]

    def _latest(self, inbox: str, paths: Sequence[str]) -> Iterator[tuple[str, list[bytes | int]]]:
        """Yield conditions for the latest row of each of these paths, by its id, and the values that they ask for."""
        for start in range(0, len(paths), BLOCK):
            block = [os.fsencode(path) for path in paths[start : start + BLOCK]]
            asked = f"WITH asked (wanted) AS (VALUES {','.join(['(?)'] * len(block))})"
            where = f"id IN ({asked} SELECT ({_LATEST.format('wanted')}) FROM asked)"
            yield where, [*block, self._inboxes[inbox]]

    def _rows(self, columns: str, inbox: str, where: str, *values: object, by: str = "") -> list[tuple[Any, ...]]:
        statement = f"SELECT {columns} FROM file {by} WHERE inbox = ? AND {where}"
        with self._reading, told_plainly(self._path):
            return self._reader.execute(statement, (self._inboxes[inbox], *values)).fetchall()

    def _one(self, statement: str, values: tuple[object, ...] = ()) -> int:
        """Return a number, by the writing connection without its lock: nobody else has the ledger yet."""
        with told_plainly(self._path):
            return int(self._writer.execute(statement, values).fetchone()[0])

    @contextmanager
    def _transaction(self, *, full: bool = False) -> Iterator[sqlite3.Cursor]:
        with self._writing, told_plainly(self._path):
            cursor = self._writer.cursor()
            cursor.execute(f"PRAGMA synchronous = {'FULL' if full and self._durable else 'NORMAL'}")
            cursor.execute("BEGIN IMMEDIATE")
            retired = dict(self._retired)
            try:
                cursor.executemany(  # no earlier than it was intended: the clock may have been set back since
                    "UPDATE file SET state = ?, draft = NULL, due = NULL, at = max(at, unixepoch()) WHERE id = ?",
                    [(state, row) for row, state in retired.items()],
                )
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    cursor.execute("ROLLBACK")
                raise
            for row in retired:
                del self._retired[row]


def require_room(folder: str) -> None:
    """Raise OSError where a ledger in that folder could not grow."""
    with TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, ROOM)


def _marks(number: int) -> str:
    return ",".join("?" * number)
