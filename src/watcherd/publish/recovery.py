"""After a crash: what an earlier run had put on record is taken up where it was, and other drafts are removed.

What is on disk of one file, in this order, and what a start does that finds no more:

    1  row `working` (survives the process)    a suspect: admitted again, alone; its draft is of an old attempt, and
                                               removed
    2  draft synced                            the same
    3  row `publishing`: number, draft, inode  the draft is there: if the input is the same version, on with 4; else
       (synced: survives the machine)          the row is forgotten, and the draft removed
    4  draft renamed, folder synced            the draft is gone, so it became visible: its folder is synced (again,
                                               maybe), and on with 5, whatever somebody did with the result since.
                                               But where it was made in another folder, and is not seen, it is out of
                                               reach, as before a change of the outbox or beneath a mount that is
                                               missing: the row is forgotten, while the input is there, and a new
                                               result is made
    5  input taken, both folders synced        5 again: the input is where it belongs, or gone, which is the same; a
                                               newer file that was taken in its place is given back
    6  row `published` (with the next write)   nothing

Where a number was taken and the next one is on record, a visible result may still have the former: it is renamed.

No name appears before 3, so a visible result is ours where a row has its inode; no input goes before 4 is synced. A
quarantine is the same with the reason as its draft. Drafts of this ledger that no row refers to are removed; those of
others are left. A file on its way back out of quarantine is finished by `wayback.finish`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from watcherd import beneath, sameness
from watcherd.access import told_plainly
from watcherd.beneath import OURS
from watcherd.ledger.ledger import Intent
from watcherd.model import Draft, Failed, Failure, Job, SystemFault
from watcherd.publish import retire, reveal
from watcherd.publish.folders import Folders
from watcherd.states import State

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Record
    from watcherd.publish.batch import Batch
    from watcherd.publish.place import Place, Way


def recover(
    place: Place, ledger: Ledger, batch: Batch, checkpoint: Callable[[], None] = lambda: None, *, away: bool = False
) -> None:
    """Hand to `batch` what is to be finished, and remove its inbox's drafts that no row refers to.

    Where the inbox is `away` for now, what is missing in it was not retired for that. Raises SystemFault, and what
    `checkpoint` raises before any file; then nothing was handed over: it can be called again.
    """

    def each(intents: Iterable[Intent]) -> Iterator[Intent]:
        for intent in intents:
            checkpoint()
            yield intent

    records = ledger.unfinished(place.inbox, State.PUBLISHING, State.QUARANTINING)
    hidden, visible, beyond = _told_apart(place, ledger, each(map(_intent, records)))
    # What lies in a folder that is closed to us is worked on anew once it is open: nobody has seen its result.
    intended, outdated = _held_against_inputs(place, each(hidden), closed=False)
    unseen, retired = (beyond, []) if away else _held_against_inputs(place, each(beyond), closed=True)
    visible += retired
    _renumber(place, each(visible))
    # For good, as their drafts go next: an intention whose draft is gone would be taken for a visible result.
    ledger.forget([intent.job.id for intent in (*outdated, *unseen)], lastingly=True)
    _restore(place, each(visible), {record.id: record.at for record in records})
    _remove_leftovers(place, {intent.draft.name for intent in intended}, ledger.first, checkpoint)
    batch.resume(intended, visible)


def decided(place: Place, ledger: Ledger) -> dict[int, Failed]:
    """Return what an earlier run decided against files that it did not set aside, by the ids of their jobs."""
    records = ledger.unfinished(place.inbox, State.QUARANTINING)
    return {it.id: Failed(_intent(it).job, it.failure or Failure.CRASHED, it.message) for it in records}


def _intent(record: Record) -> Intent:
    job = Job(record.id, record.file, record.kind, record.attempts, record.kills, record.alone)
    draft = Draft(record.draft, record.inode, record.result_size, record.result_mtime_ns)
    return Intent(job, record.state, record.number, draft)


def _told_apart(
    place: Place, ledger: Ledger, intents: Iterable[Intent]
) -> tuple[list[Intent], list[Intent], list[Intent]]:
    """Return those whose draft is still there, those whose draft became visible, and those with both out of reach."""
    hidden: list[Intent] = []
    visible: list[Intent] = []
    beyond: list[Intent] = []
    for intent in intents:
        way = place.way(intent.job, intent.state, intent.number)
        gone = way.root.made(intent.draft)
        if not gone and (way.root.has(intent.draft) or _take_back(place, ledger, intent, way)):
            hidden.append(intent)
        elif gone or _is_visible(way, intent.draft) or _has_replaced(place, ledger, intent, way):
            visible.append(intent)
        else:
            beyond.append(intent)
    return hidden, visible, beyond


def _take_back(place: Place, ledger: Ledger, intent: Intent, way: Way) -> bool:
    """Give somebody's own file its name again that had the draft's when the run died; return whether one had."""
    if intent.state is not State.PUBLISHING:
        return False  # a reason replaces nothing: what has its draft's name is a copy of its input, cut short

    def is_ours(there: os.stat_result) -> bool:
        return reveal.is_earlier(place, ledger, intent.job, there)

    folder, name = beneath.split(way.visible)
    opened = beneath.folder(way.root.path, folder)
    with told_plainly(way.root.path), suppress(FileNotFoundError, NotADirectoryError), opened as target:
        return reveal.take_back(way, intent.draft, target, name, is_ours)
    return False


def _is_visible(way: Way, draft: Draft) -> bool:
    with told_plainly(way.root.path):
        status = beneath.status(way.root.path, way.visible)
    return status is not None and status.st_ino == draft.inode


def _has_replaced(place: Place, ledger: Ledger, intent: Intent, way: Way) -> bool:
    """Whether what has the draft's name is the result that it took the place of, wherever it is by now."""
    if intent.state is not State.PUBLISHING:
        return False
    with told_plainly(way.root.path):
        there = beneath.status(way.root.path, f"{OURS}/{intent.draft.name}")
    return there is not None and reveal.is_earlier(place, ledger, intent.job, there)


def _renumber(place: Place, visible: Iterable[Intent]) -> None:
    """Give results the number on record that still have an earlier one, as the run died between the two."""
    with Folders() as folders:
        for intent in visible:
            way = place.way(intent.job, intent.state, intent.number)
            with suppress(SystemFault):
                if _is_visible(way, intent.draft):
                    continue  # as nearly all are; and the numbers of a name that came often are many
            for number in range(intent.number):
                with suppress(OSError):  # as where its folder is a file by now: it keeps the number that it has
                    reveal.rename(folders, place.way(intent.job, intent.state, number), way, intent.draft)


def _held_against_inputs(
    place: Place, intents: Iterable[Intent], *, closed: bool
) -> tuple[list[Intent], list[Intent]]:
    """Return the intents whose input is still the version that was worked on, and all others.

    An input in a folder that is closed to us counts as that version where `closed` says so.
    """
    same: list[Intent] = []
    other: list[Intent] = []
    with Folders() as folders:
        for intent in intents:
            (same if _is_unchanged(folders, place.root, intent.job, closed=closed) else other).append(intent)
    return same, other


def _is_unchanged(folders: Folders, inbox: str, job: Job, *, closed: bool) -> bool:
    with told_plainly(inbox):
        try:
            status = folders.status(inbox, job.file.path)
        except PermissionError:
            folders.root(inbox)  # one that is closed itself is no single file's affair
            return closed
    return status is not None and sameness.is_still(status, job.file.version)


def _restore(place: Place, visible: Iterable[Intent], since: Mapping[int, int]) -> None:
    """Restore the newer files that were taken for inputs and not looked at any more.

    `since` is when each job's intention went on record, Unix seconds.
    """
    for intent in visible:
        way = place.way(intent.job, intent.state, intent.number)
        if way.into is not None:
            with told_plainly(way.into.path):
                retire.restore_newer(place.root, intent.job, way.into.path, way.retired, since[intent.job.id])


def _remove_leftovers(place: Place, needed: set[str], before: int, checkpoint: Callable[[], None]) -> None:
    # Where a kept result was replaced by an exchange, what has the draft's name is the result of before.
    for root in place.roots:
        for name in root.leftovers(before):
            if name not in needed:
                checkpoint()
                root.discard(name)
