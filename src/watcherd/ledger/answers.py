"""What is on record, for whoever asks: by a connection that only reads, and does not wait for the one that writes."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Any

from watcherd.ledger import rows
from watcherd.ledger.database import Damaged, connect, told_plainly
from watcherd.ledger.rows import marks
from watcherd.model import Kind, signed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from watcherd.model import Ended, Record
    from watcherd.states import State

#: Rows looked up with one statement: more gains nothing. SQLite allows 32,766 parameters.
BLOCK = 1000

#: The greatest id that there can be.
LAST = (1 << 63) - 1

#: Quarantined files of one name that are looked at, each time that name comes again.
NAMESAKES = 100

#: A name that comes again and again has a row for each time, and only the latest says how things stand.
LATEST = "SELECT id FROM file WHERE inbox = {} AND path = {} ORDER BY id DESC LIMIT 1"

_UNFINISHED = "state IN ('working', 'retrying', 'publishing', 'quarantining')"
_ENDED = "state IN ('published', 'quarantined')"

#: No later version of its path took its names: the next one that was published (or set aside, if this one was) has
#: another number, or there is none.
_NOT_REPLACED = """number IS NOT (SELECT later.number FROM file AS later WHERE later.inbox = file.inbox
    AND later.path = file.path AND later.id > file.id AND later.state IN ('published', file.state)
    ORDER BY later.id LIMIT 1)"""


class Answers:
    """What the ledger in `path`, which is there, says of the inboxes that are registered. All raise SystemFault."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading = Lock()
        self._reader = connect(path)
        self._inboxes: dict[str, int] = {}  # by name, as they were registered
        self._retired: dict[int, State] = {}  # what is known, and not written yet

    def roots(self) -> set[str]:
        """Return the roots of the inboxes of which anything is on record, registered or not."""
        found = self._ask("SELECT root FROM inbox WHERE EXISTS (SELECT 1 FROM file WHERE inbox = inbox.id)")
        return {os.fsdecode(root) for (root,) in found}

    def lookup(self, inbox: str, paths: Sequence[str]) -> Mapping[str, Record]:
        """Return the latest record of each of these paths that has one."""
        return {
            record.file.path: record
            for where, values in self._latest(inbox, paths)
            for record in self._select(inbox, where, *values, by="NOT INDEXED")
        }

    def ended(self, inbox: str, paths: Sequence[str]) -> Mapping[str, Ended]:
        """Return how those of these paths ended whose latest row says that they did.

        It takes a third of the time of `lookup`, and leaves out what `finish` noted since the last transaction.
        """
        return {
            os.fsdecode(path): rows.ended(*facts)
            for where, values in self._latest(inbox, paths)
            for path, *facts in self._rows(rows.ENDED, inbox, f"{where} AND {_ENDED}", *values, by="NOT INDEXED")
        }

    def unfinished(self, inbox: str, *states: State) -> list[Record]:
        """Return the records of this inbox in these states, none of which is terminal; oldest first."""
        return self._select(inbox, f"{_UNFINISHED} AND state IN ({marks(len(states))}) ORDER BY id", *states)

    def due(self, inbox: str, now: float, furthest: float, limit: int = BLOCK) -> list[str]:
        """Return the paths whose retry is due at `now`, at most `limit` of each kind. Times are in Unix seconds.

        One that is due after `furthest` is due too: the clock has been set back since it was put on record.
        """
        where = f"{_UNFINISHED} AND state = 'retrying' AND kind = ? AND (due <= ? OR due > ?) ORDER BY due LIMIT ?"
        found = [row for kind in Kind for row in self._rows("path", inbox, where, kind, now, furthest, limit)]
        return [os.fsdecode(path) for (path,) in found]

    def earliest_due(self, inbox: str) -> float | None:
        """Return when the next retry of this inbox is due, Unix seconds."""
        ((due,),) = self._rows("min(due)", inbox, f"{_UNFINISHED} AND state = 'retrying'")
        return None if due is None else float(due)

    def drafts(self) -> set[str]:
        """Return the names of all drafts that an intention refers to, of every inbox."""
        return {name for (name,) in self._ask(f"SELECT draft FROM file WHERE {_UNFINISHED} AND draft IS NOT NULL")}

    def older(self, inbox: str, before: float, *, after: int, upto: int = LAST, limit: int = BLOCK) -> list[Record]:
        """Return terminal records older than `before`, Unix seconds, by id from the one after `after`, to `upto`."""
        where = f"id > ? AND id <= ? AND {_ENDED} AND at < ? ORDER BY id LIMIT ?"
        # In the order of ids: by its index of paths, SQLite would sort all rows of the inbox for each block.
        return self._select(inbox, where, after, upto, before, limit, by="NOT INDEXED")

    def lasting(self, records: Sequence[Record]) -> set[int]:
        """Return the ids of these records, all terminal and in that order, that no later one of their path replaced.

        The result of a kept file, and its reason, are replaced by those of its next version. Not what was done before
        files were kept: there each version has a number of its own.
        """
        where = f"id >= ? AND id <= ? AND {_NOT_REPLACED}"
        found = self._rows("id", records[0].file.inbox, where, records[0].id, records[-1].id, by="NOT INDEXED")
        return {row for (row,) in found}

    def ahead(self, after: int, rows: int) -> int:
        """Return the id of the row that comes so many rows, of any inbox, after that id; LAST where there is none."""
        found = self._ask("SELECT id FROM file WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?", after, rows - 1)
        return int(found[0][0]) if found else LAST

    def behind(self, share: float) -> int:
        """Return an id behind which the rows begin that follow this share of all, below 1. A million take 0.1 s."""
        offset = "SELECT CAST(count(*) * ? AS INTEGER) FROM file"  # ids have gaps, of any width
        found = self._ask(f"SELECT id - 1 FROM file ORDER BY id LIMIT 1 OFFSET ({offset})", share)
        return int(found[0][0]) if found else 0

    def quarantined(self, inbox: str, *, sent_back: bool = False) -> list[Record]:
        """Return the records of what is set aside in this inbox, oldest first; or only what is on its way back."""
        which = "AND due IS NOT NULL" if sent_back else ""
        return self._select(inbox, f"state = 'quarantined' {which} ORDER BY id")

    def namesakes(self, inbox: str, path: str) -> list[Record]:
        """Return the records of what was set aside by this path, the latest first, at most `NAMESAKES`."""
        where = "path = ? AND state = 'quarantined' ORDER BY id DESC LIMIT ?"
        return self._select(inbox, where, os.fsencode(path), NAMESAKES)

    def result(self, inbox: str, path: str) -> Record | None:
        """Return the latest published record of `path`."""
        where = "path = ? AND state = 'published' ORDER BY id DESC LIMIT 1"
        found = self._select(inbox, where, os.fsencode(path))
        return found[0] if found else None

    def results(self, inbox: str, path: str, state: State, found: os.stat_result) -> list[Record]:
        """Return the records of `path` that ended so, and whose results had the size and time of what was found.

        Not by inode alone: of very many results, that of one has long become another file's.
        """
        where = "path = ? AND state = ? AND result_size = ? AND result_mtime_ns = ?"
        return self._select(inbox, where, os.fsencode(path), state, found.st_size, signed(found.st_mtime_ns))

    def outlived(self, shown: Sequence[tuple[Record, int]]) -> set[int]:
        """Return the ids of the records, all of one inbox, whose results later ones of ours have replaced.

        Each comes with the inode seen under its result's name. Its result was replaced if a later row has that inode:
        of the same path, or of another whose file found the name free. Earlier rows prove nothing: the file system
        gives a free inode to the next file. This reads all later rows.
        """
        if not shown:
            return set()
        inodes = [signed(inode) for _, inode in shown]
        where = f"id > ? AND result IN ({marks(len(inodes))}) GROUP BY result"
        first = min(record.id for record, _ in shown)
        # By its index of paths, SQLite would look through all rows of the inbox.
        found = self._rows("result, max(id)", shown[0][0].file.inbox, where, first, *inodes, by="NOT INDEXED")
        latest = dict(found)
        asked = zip(shown, inodes, strict=True)
        return {record.id for (record, _), inode in asked if latest.get(inode, 0) > record.id}

    # How -----------------------------------------------------------------------------------------------------------

    def _select(self, inbox: str, where: str, *values: object, by: str = "") -> list[Record]:
        retired = dict(self._retired)  # before the rows are read: an entry that leaves it meanwhile is in the rows
        found = self._rows(rows.COLUMNS, inbox, where, *values, by=by)
        try:
            return [rows.record(inbox, row, retired) for row in found]
        except (KeyError, ValueError) as nonsense:
            raise Damaged(self._path, nonsense) from nonsense

    def _latest(self, inbox: str, paths: Sequence[str]) -> Iterator[tuple[str, list[bytes | int]]]:
        """Yield conditions for the latest row of each of these paths, by its id, and the values that they ask for."""
        for start in range(0, len(paths), BLOCK):
            block = [os.fsencode(path) for path in paths[start : start + BLOCK]]
            asked = f"WITH asked (wanted) AS (VALUES {','.join(['(?)'] * len(block))})"
            where = f"id IN ({asked} SELECT ({LATEST.format('?', 'wanted')}) FROM asked)"
            yield where, [*block, self._inboxes[inbox]]

    def _rows(self, columns: str, inbox: str, where: str, *values: object, by: str = "") -> list[tuple[Any, ...]]:
        statement = f"SELECT {columns} FROM file {by} WHERE inbox = ? AND {where}"
        return self._ask(statement, self._inboxes[inbox], *values)

    def _ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._reading, told_plainly(self._path):
            return self._reader.execute(statement, values).fetchall()
