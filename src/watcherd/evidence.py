"""What the folders prove without a ledger: the evidence is what we wrote into them.

- What was set aside lies in the failed folder with its reason, which says what the row said.
- A kept input has its result, which is no older; that of a text names its source and its size. (Of an image no more
  can be said without decoding it, and strangers' pictures are decoded in workers alone.)

What cannot be reached proves nothing, and is passed over. A fault of the machine is raised: what it hides would be
forgotten.
"""

from __future__ import annotations

import errno
import re
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from watcherd import beneath, sameness
from watcherd.intake.scan import admitted
from watcherd.model import After, Draft, Failure, File, Kind, Record
from watcherd.paths import from_fields, readable
from watcherd.publish.aside.reason import facts_in, is_anothers
from watcherd.states import State

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from watcherd.intake.terms import Inbox
    from watcherd.ledger.ledger import Ledger
    from watcherd.publish.roots.place import Place

_REASON = ".error.json"

#: The end of a reason's name that was too long to show its number, and how many numbers are tried then.
_SHORTENED, _NUMBERS = re.compile(r"~[0-9a-f]{8}\.error\.json$"), 1000

#: Errors of a file that cannot be reached. Any other is of its disk or mount.
_OUT_OF_REACH = {errno.EACCES, errno.ENAMETOOLONG}

#: The same of a folder, which may be gone by the time it is listed.
_CLOSED = {*_OUT_OF_REACH, errno.ENOENT, errno.ENOTDIR, errno.ELOOP}

#: Errors of opening something that is no file.
_NO_FILE = {errno.ELOOP, errno.EINVAL}

#: Attempts that a reason of ours may count: as many as the ledger can hold.
_COUNTS = range(1 << 31)


def raise_unless_closed(error: OSError) -> None:
    """Raise the error of a folder or a file, unless that is closed to us or gone, and so proves nothing."""
    if error.errno not in _CLOSED:
        raise error


# What was kept ------------------------------------------------------------------------------------------------------


def kept(place: Place, inbox: Inbox, ledger: Ledger, checkpoint: Callable[[], None]) -> Iterator[Record]:
    """Yield the kept inputs whose results are there; none where inputs are not kept."""
    if place.after is not After.KEEP:
        return
    for kind, paths in admitted(inbox, _refused):
        known = ledger.lookup(inbox.name, paths)
        for path in paths:
            checkpoint()
            if record := _kept_one(place, path, kind, known.get(path)):
                yield record


def _refused(folder: str, error: OSError) -> None:
    """Pass over a closed folder of an inbox; raise what hides all of it, as before it is mounted."""
    if not folder:
        raise error
    raise_unless_closed(error)


def _kept_one(place: Place, path: str, kind: Kind, known: Record | None) -> Record | None:
    source = _status(place.inbox_path, path)
    if source is None:
        return None
    record = Record(0, File(place.inbox, path, beneath.version_of(source)), kind, State.PUBLISHED)
    if known is not None and known.file == record.file:
        return None  # it was set aside, and its result is an earlier version's
    visible = place.way_on_record(record).visible
    result = _status(place.outbox.path, visible)
    since = min(source.st_mtime_ns, source.st_ctime_ns)  # its mtime may be from a clock that is ahead
    if result is None or not result.st_size or result.st_mtime_ns < since:
        return None
    if kind is Kind.TEXT and not _tells_of(_facts(place.outbox.path, visible), record.file):
        return None
    return _with_result(record, result)


def _tells_of(facts: Mapping[str, object], file: File) -> bool:
    """Whether the result of a text is that of this file (pure)."""
    return (from_fields("source", facts), facts.get("bytes")) == (file.path, file.version.size)


# What was set aside -------------------------------------------------------------------------------------------------


def found_aside(
    place: Place, inbox: Inbox, on_refused: Callable[[OSError], None], checkpoint: Callable[[], None] = lambda: None
) -> Iterator[Record]:
    """Yield the files that lie in the failed folder with a reason of ours; call `checkpoint` before each.

    `on_refused` is told of a folder that cannot be listed, and of a reason that cannot be read. Raises OSError.
    """
    for _, paths in beneath.tree(place.failed.path, _is_mirror, on_refused):
        for reason in (path for path in paths if path.endswith(_REASON)):
            checkpoint()
            if record := _found_one(place, inbox, reason, _facts(place.failed.path, reason, on_refused)):
                yield record


def _is_mirror(folder: str) -> bool:
    """Whether a folder may mirror one of the inbox: no dot-folder does (pure)."""
    return not beneath.split(folder)[1].startswith(".")


def _found_one(place: Place, inbox: Inbox, reason: str, facts: Mapping[str, object]) -> Record | None:
    path, status = from_fields("path", facts), _status(place.failed.path, reason)
    kind = inbox.rules.kind(path)
    is_its = "root" in facts or facts.get("inbox") == place.inbox  # an inbox's name is a label: it may be another now
    if not is_its or is_anothers(facts, place.inbox_path):
        return None
    if not isinstance(kind, Kind) or status is None:
        return None
    file = File(place.inbox, path, beneath.version_of(status))
    for number in _numbers_in(reason):
        record = _with_result(Record(0, file, kind, State.QUARANTINED, number=number), status)
        if place.way_on_record(record).visible == reason:
            return _as_it_lies(place, record, facts)
    return None


def _numbers_in(reason: str) -> Iterator[int]:
    """Yield the numbers that a reason may have by its name: those in there, and 0, which is never written (pure).

    A name that was too long for its number shows none, so the first `_NUMBERS` are tried. One of more than 18 digits
    is none of ours: the ledger could not hold it.
    """
    yield from map(int, re.findall(r"\.(\d{1,18})(?=\.)", reason))
    yield from range(_NUMBERS if _SHORTENED.search(reason) else 1)


def _as_it_lies(place: Place, record: Record, facts: Mapping[str, object]) -> Record | None:
    """Return the record of what lies in the failed folder, mended or not; of a kept file, only as its reason has it.

    A kept file is in its inbox, or in the failed folder if `keep` was set after it was moved there.
    """
    found = _status(place.failed.path, place.way_on_record(record).retired)
    if place.after is After.KEEP:
        either = found, _status(place.inbox_path, record.file.path)
        found = next((it for it in either if _is_as_said(it, facts)), None)
    if found is None:
        return None
    return _quarantined(facts, replace(record, file=record.file._replace(version=beneath.version_of(found))))


def _is_as_said(found: os.stat_result | None, facts: Mapping[str, object]) -> bool:
    """Whether a file has the time that its reason says (pure)."""
    try:
        return sameness.has_time(found, datetime.fromisoformat(str(facts.get("modified"))).timestamp())
    except ValueError:
        return False


def _quarantined(facts: Mapping[str, object], record: Record) -> Record | None:
    """Return the record with what the reason says of it; None where that is no reason of ours."""
    attempts, failure, message = facts.get("attempts"), facts.get("class"), facts.get("message")
    if not isinstance(attempts, int) or attempts not in _COUNTS:
        return None
    if not isinstance(message, str) or failure not in list(Failure):
        return None
    return replace(record, attempts=attempts, failure=Failure(str(failure)), message=readable(message))


def _facts(root: str, path: str, on_refused: Callable[[OSError], None] = raise_unless_closed) -> Mapping[str, object]:
    """Return what a result or a reason says; nothing where it is none. `on_refused` gets the error of reading it."""
    try:
        return facts_in(root, path)
    except OSError as error:
        if error.errno not in _NO_FILE:
            error.filename = f"{root}/{path}"
            on_refused(error)
        return {}


def _with_result(record: Record, result: os.stat_result) -> Record:
    size, mtime_ns, _, inode = beneath.version_of(result)
    return replace(record, result=Draft("", inode, size, mtime_ns))


def _status(root: str, path: str) -> os.stat_result | None:
    """Return what is at a path; None where it cannot be reached, as through a closed folder: that proves nothing."""
    try:
        return beneath.status(root, path)
    except OSError as error:
        if error.errno not in _OUT_OF_REACH:
            raise
        return None
