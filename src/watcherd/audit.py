"""Holding ledger and folders against each other: every file is where the ledger says, and each is accounted for.

What was carried away from outbox, archive or failed is `collected`: those folders are their owners'. While a daemon
runs, what is on its way is its business, and only what it has finished is judged.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from watcherd import beneath, decide, sameness
from watcherd.access import error_as_fault, mend_of
from watcherd.beneath import OURS
from watcherd.evidence import found_aside
from watcherd.intake.probe import Looks
from watcherd.intake.scan import admitted
from watcherd.intake.settle import Writer
from watcherd.model import After, SystemFault
from watcherd.plain import inbox_of, ledger_of, place_of
from watcherd.publish.aside import quarantine
from watcherd.publish.aside.crossing import BACK, is_copy
from watcherd.publish.inputs.custody import ours_of
from watcherd.service import locks
from watcherd.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcherd.intake.terms import Inbox
    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Record, Version
    from watcherd.publish.roots.place import Place, Way
    from watcherd.settings import Settings

#: States in which a row is while its file is on its way, and only then.
ON_THE_WAY = (State.WORKING, State.PUBLISHING, State.QUARANTINING)


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that should not be: `where` is a path, `what` one word for it, `message` what to do."""

    inbox: str
    where: str
    what: str
    message: str


@dataclass(slots=True)
class Audit:
    """What was found, in files; whoever judges adds to it.

    `finished` are on record as published or quarantined. `collected` are those of them whose result, or moved input,
    somebody has taken since. `running`: a daemon runs, so that not all could be judged.
    """

    running: bool = False
    finished: int = 0
    collected: int = 0
    wrong: list[Wrong] = field(default_factory=list)
    _unreadable: set[str] = field(default_factory=set)

    def report(self, inbox: str, where: str, what: str, message: str) -> None:
        """Report something that should not be."""
        self.wrong.append(Wrong(inbox, where, what, message))

    def unreadable(self, inbox: str, folder: str, error: OSError) -> None:
        """Report a folder that cannot be looked into, once, however often it is met."""
        folder = folder.rstrip("/")
        if folder not in self._unreadable:
            self._unreadable.add(folder)
            message = f"cannot be looked into: {error.strerror}; mend that, and audit again"
            self.report(inbox, folder, "unreadable", message)

    @contextmanager
    def looking(self, inbox: str) -> Iterator[None]:
        """Report a folder that cannot be looked into, and go on."""
        try:
            yield
        except OSError as error:
            self.unreadable(inbox, error.filename, error)


def audit(settings: Settings) -> Audit:
    """Hold the ledger and the folders of `settings` against each other.

    Raises Refused, and SystemFault where the folders of no inbox can be used.
    """
    with ledger_of(settings) as ledger:
        found = Audit(running=locks.is_held(str(settings.state)))
        faults = [fault for name in settings.inbox if (fault := _fault_of(name, settings, ledger, found))]
    if len(faults) == len(settings.inbox):
        raise faults[0]
    return found


def _fault_of(name: str, settings: Settings, ledger: Ledger, found: Audit) -> SystemFault | None:
    """Judge one inbox. Where its folders cannot be used, report that as wrong, and return the fault."""
    try:
        _judge_inbox(name, settings, ledger, found)
    except SystemFault as fault:
        found.report(name, fault.root, "unreadable", str(fault))
        return fault
    return None


def _judge_inbox(name: str, settings: Settings, ledger: Ledger, found: Audit) -> None:
    place = place_of(name, settings, ledger)
    inbox = inbox_of(place, settings)
    _require_there(inbox)
    _judge_finished(place, ledger, found)
    if not found.running:
        before = len(found.wrong)
        try:
            _report_unfinished(place, ledger, found)
            _report_drafts(place, ledger, found)
            _report_unaccounted(inbox, ledger, found)
            _report_unlisted(place, inbox, ledger, found)
        finally:
            found.running = locks.is_held(str(settings.state))
            if found.running:  # it was started meanwhile: what it has in hand is not wrong
                del found.wrong[before:]


def _require_there(inbox: Inbox) -> None:
    try:
        os.stat(os.path.join(inbox.root, ""))  # the slash: a file is no root
    except OSError as error:
        reason = str(error.strerror)
        flaw = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be used: {reason}"
        raise SystemFault(f"the inbox {inbox.root} {flaw}; {mend_of(reason)}", root=inbox.root) from error


# What is done -------------------------------------------------------------------------------------------------------


class _Seen(NamedTuple):
    """A row, what was seen under its result's name, and what is wrong with that; empty where nothing is."""

    row: Record
    way: Way
    result: os.stat_result
    flaw: str


def _judge_finished(place: Place, ledger: Ledger, found: Audit) -> None:
    """Judge all that is on record as published or quarantined, a block at a time."""
    last = 0
    while rows := ledger.older(place.inbox, inf, after=last):
        found.finished += len(rows)
        seen: list[_Seen] = []
        for row in _lasting(place, ledger, rows):
            with found.looking(place.inbox):
                _judge_input(place, row, found)
                if it := _seen(place, row):
                    seen.append(it)
                else:
                    found.collected += 1
        # The folders come first, then the ledger: a running daemon puts a result on record before it shows it, so
        # what was seen is on record by now.
        outlived = ledger.outlived([(it.row, it.result.st_ino) for it in seen if it.flaw])
        for it in seen:
            with found.looking(place.inbox):
                _judge_result(place, it, found, outlived=it.row.id in outlived or _is_of_another(place, ledger, it))
        last = rows[-1].id


def _lasting(place: Place, ledger: Ledger, rows: list[Record]) -> list[Record]:
    """Return the rows that no later one replaced, as may be with a kept file; none of what was moved aside was."""
    if place.after is not After.KEEP:
        return rows
    lasting = ledger.lasting(rows)
    return [row for row in rows if row.id in lasting or _lies_aside(place, row)]


def _lies_aside(place: Place, row: Record) -> bool:
    return row.state is State.QUARANTINED and quarantine.way_of(place, row).into is not None


def _judge_input(place: Place, row: Record, found: Audit) -> None:
    status = None if place.after is After.KEEP else _status(place.inbox_path, row.file.path)
    if status is not None and beneath.version_of(status) == row.file.version:
        message = f"is on record as {row.state}, and still in its inbox: restart watcherd"
        found.report(place.inbox, f"{place.inbox_path}/{row.file.path}", "input", message)


def _seen(place: Place, row: Record) -> _Seen | None:
    """Return what is seen of a row's result; None where somebody has collected it."""
    way = place.way_on_record(row)
    result = _status(way.root.path, way.visible)
    return None if result is None else _Seen(row, way, result, _flaw(way, row, result))


def _is_of_another(place: Place, ledger: Ledger, it: _Seen) -> bool:
    """Whether another file of its path has left its own result there.

    That is a later one where inodes do not last, or an earlier one where a former folder is configured again.
    """
    its = ledger.results(place.inbox, it.row.file.path, it.row.state, it.result) if it.flaw else []
    return any(it.way.root.wrote(it.result, row) for row in its)


def _judge_result(place: Place, it: _Seen, found: Audit, *, outlived: bool) -> None:
    """Judge a result that was seen. Raises OSError, with the folder that cannot be looked into as `filename`."""
    if outlived:
        if place.after is not After.KEEP:  # a kept file's was replaced, not taken away
            found.collected += 1
    elif it.flaw and quarantine.is_anothers(place, it.way):
        found.collected += 1  # another inbox shares the folder, and its file has the name by now
    elif it.flaw:
        found.report(place.inbox, f"{it.way.root.path}/{it.way.visible}", "result", it.flaw)
    elif it.way.into and _status(it.way.into.path, it.way.retired) is None:
        found.collected += 1


def _flaw(way: Way, row: Record, result: os.stat_result) -> str:
    """Return what is wrong with the file that has a result's name; empty where nothing is. Raises SystemFault."""
    if result.st_size and way.root.wrote(result, row):
        return ""
    if not sameness.has_inode(result, row.result):
        return "is not what watcherd put there: it was replaced"
    return "was changed after it was published" if result.st_size else "is empty, and was not when it was published"


# What is not --------------------------------------------------------------------------------------------------------


def _report_unfinished(place: Place, ledger: Ledger, found: Audit) -> None:
    for row in ledger.unfinished(place.inbox, *ON_THE_WAY):
        message = f"is at {row.state}, and no watcherd runs: start it, and it will go on"
        found.report(place.inbox, f"{place.inbox_path}/{row.file.path}", "unfinished", message)


def _report_drafts(place: Place, ledger: Ledger, found: Audit) -> None:
    """Look for files in our own folders that belong to nothing on its way."""
    needed = ledger.drafts()
    taken = {ours_of(row) for row in ledger.unfinished(place.inbox, *ON_THE_WAY)}
    for root in place.roots:
        # Others may share it, with ledgers of their own, an outbox by turns: drafts of theirs stay.
        for name in _ours(place.inbox, root.path, found):
            if name not in needed and root.is_ours(name, alone=root is place.outbox):
                message = "is a draft of nothing that is on its way: a start removes its own, remove others by hand"
                found.report(place.inbox, f"{root.path}/{OURS}/{name}", "draft", message)
    sent_back = ledger.quarantined(place.inbox, sent_back=True)
    for name in _ours(place.inbox, place.inbox_path, found):
        if f"{OURS}/{name}" not in taken:
            message = _said_of_taken(name, is_known=any(is_copy(name, ledger, row) for row in sent_back))
            found.report(place.inbox, f"{place.inbox_path}/{OURS}/{name}", "draft", message)


def _said_of_taken(name: str, *, is_known: bool) -> str:
    if is_known:
        return "is of a retry that was cut short: start watcherd, or retry, and it is finished"
    if name.startswith(BACK):
        mend = "if its file is gone from the failed folder, give it its name, by its reason there; else remove it"
        return f"is of a retry that was cut short, and that this ledger does not know: {mend}"
    mend = "look at it, then put it back into the inbox, to be done once more, or remove it"
    return f"was taken from the inbox, and belongs to nothing that is on its way: {mend}"


def _ours(inbox: str, root: str, found: Audit) -> list[str]:
    try:
        return [name for name in os.listdir(f"{root}/{OURS}") if name != locks.NOTE]
    except FileNotFoundError:
        return []
    except OSError as error:
        found.unreadable(inbox, f"{root}/{OURS}" if os.access(root, os.X_OK) else root, error)
        return []


def _report_unaccounted(inbox: Inbox, ledger: Ledger, found: Audit) -> None:
    """Look for files that the rules admit and the ledger does not know, or knows as another version."""

    def refused(folder: str, error: OSError) -> None:
        found.unreadable(inbox.name, f"{inbox.root}/{folder}", error)

    with Looks(inbox.root) as looks:
        for _, paths in admitted(inbox, refused):
            records = ledger.lookup(inbox.name, paths)
            for path in paths:
                if why := _unaccounted_for(looks, path, records.get(path), inbox.after):
                    found.report(inbox.name, f"{inbox.root}/{path}", *why)


def _unaccounted_for(looks: Looks, path: str, record: Record | None, after: After) -> tuple[str, str] | None:
    """Return in a word why nothing accounts for a file, and what to do; None where its record does, or it is gone."""
    try:
        if _is_accounted_for(record, beneath.version_of(looks.status(path)), after):
            return None
        _, writer = looks.writer(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return "unreadable", f"cannot be read: {error.strerror}; mend that, then start watcherd, or drain"
    if writer is Writer.WRITTEN:
        return "written", "is being written: wait for its end, then start watcherd, or drain"
    return "unaccounted", "is in the inbox, and nothing accounts for it: start watcherd, or drain"


def _is_accounted_for(record: Record | None, version: Version, after: After) -> bool:
    """Whether the ledger speaks of a file: it is unfinished, kept, or named by `_judge_input` already (pure)."""
    return record is not None and (decide.is_done(record, version, after) or record.file.version == version)


def _report_unlisted(place: Place, inbox: Inbox, ledger: Ledger, found: Audit) -> None:
    """Look for files that were set aside, and that the ledger does not know, as it is an older or a new one."""
    rows = (*ledger.unfinished(place.inbox, State.QUARANTINING), *ledger.quarantined(place.inbox))
    known = {(row.file.path, row.number) for row in rows}

    def refused(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            found.unreadable(place.inbox, error.filename, error)

    with error_as_fault(place.failed.path):
        for record in found_aside(place, inbox, refused):
            # A kept file is in its inbox, and accounted for there, unless it was set aside before inputs were kept.
            if (record.file.path, record.number) not in known and _lies_aside(place, record):
                where = quarantine.row_of(place, record).where
                message = "was set aside, and is not on record: put it back into its inbox, or take it away"
                found.report(place.inbox, where, "unaccounted", message)


def _status(root: str, path: str) -> os.stat_result | None:
    """Return what is at `path`, None where nothing is. Raises OSError, with the closed folder as `filename`."""
    try:
        return beneath.status(root, path)
    except OSError as error:
        error.filename = f"{root}/{beneath.split(path)[0]}"
        raise
