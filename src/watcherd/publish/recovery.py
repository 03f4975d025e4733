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
                                               result is made; an inbox that is away is waited for, to tell that
    5  input taken, both folders synced        5 again: the input is where it belongs, or gone, which is the same; a
                                               newer file that was taken in its place is given back
    6  row `published` (with the next write)   nothing

A rename may be on disk in one of its folders before it is in the other (btrfs): then a file has both names. So have a
result, or a reason, and its draft: that is visible; and an input and what was taken: that is taken once more.

Where a number was taken and the next one is on record, a visible result may still have the former: it is renamed.

No name appears before 3, so a visible result is ours where a row has its inode; no input goes before 4 is synced. A
quarantine is the same with the reason as its draft; but where that is out of reach, an input that was taken is given
back, to lie beside its reason in the end. Where files were numbered anew since, as FAT does when it is mounted,
inputs and visible results are known by size and time, and one that was taken is given back, to be taken again. Drafts
of this ledger that no row refers to are removed; those of others are left. A file on its way back out of quarantine
is finished by `wayback.finish`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from enum import Enum, unique
from functools import partial
from typing import TYPE_CHECKING

from watcherd import beneath, sameness, volumes
from watcherd.access import error_as_fault
from watcherd.beneath import OURS
from watcherd.model import Failed, Failure, Job, Stopped, SystemFault
from watcherd.publish import reveal
from watcherd.publish.aside import wayback
from watcherd.publish.inputs import taker
from watcherd.publish.inputs.custody import ours_of
from watcherd.publish.leaving import Leaving
from watcherd.publish.roots.folders import Folders
from watcherd.publish.said import say
from watcherd.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Record, Version
    from watcherd.publish.batch import Batch
    from watcherd.publish.roots.place import Place


class EarlierRun:
    """What an earlier run left for a `batch` to finish. One thread uses it.

    `is_away` looks whether the inbox is gone for now; `checkpoint` is called before each file, and may raise Stopped.
    """

    def __init__(
        self,
        place: Place,
        ledger: Ledger,
        batch: Batch,
        *,
        is_away: Callable[[], bool],
        checkpoint: Callable[[], None],
    ) -> None:
        self._place = place
        self._ledger = ledger
        self._batch = batch
        self._is_away = is_away
        self._checkpoint = checkpoint
        self._is_recovered = False  # what was on record is taken up
        self._is_over = False  # so are retries, which need their inbox

    def take_up(self) -> None:
        """Take up what is left, as far as can be. Raises SystemFault, and Stopped; then it can be called again."""
        if self._is_over:
            return
        # `is_away` knows nothing of one never seen.
        away = self._is_away() or not os.path.isdir(self._place.inbox_path)
        if not self._is_recovered:
            recover(self._place, self._ledger, self._batch, self._checkpoint, away=away)
            self._is_recovered = True
        # Before anything is admitted: a newer file of that name is left alone until then, and a drain ends beside it.
        self._batch.release()  # of too many that wait each is tried again, or one alone would hold up all
        self._batch.settle()
        if not away:
            with suppress(Stopped):  # a large file takes minutes: what the lanes finished is settled all the same
                for it in wayback.finish(self._place, self._ledger, self._checkpoint):
                    if it.refused:
                        say("warning", "retry.refused", it.row.record, reason=it.refused)
                self._is_over = True


@unique
class Found(Enum):
    """What became of an intention by the next start."""

    HIDDEN = "its draft is there, to become visible"
    VISIBLE = "it became visible, and its input is to be retired"
    VOID = "its input is another one by now, or is to have a new result"


def recover(place: Place, ledger: Ledger, batch: Batch, checkpoint: Callable[[], None], *, away: bool) -> None:
    """Hand to `batch` what is to be finished, and remove its inbox's drafts that no row refers to.

    Raises SystemFault, also where an input alone can tell what became of it and its inbox is `away` for now; and what
    `checkpoint` raises before any file. Then nothing was handed over: it can be called again.
    """
    left: dict[Found, list[Leaving]] = {found: [] for found in Found}
    with Folders() as folders:
        for record in ledger.unfinished(place.inbox, State.PUBLISHING, State.QUARANTINING):
            checkpoint()
            it = _numbered_anew(place, _leaving(place, record), away=away)
            seen = _seen(place, ledger, it)
            if seen is None and away:
                raise _both_away(place.inbox_path, it.way.root.path)
            found = _held_against_input(place, folders, it, seen)
            if found is Found.VISIBLE:
                _renumber(place, folders, it)
                _restore_newer(place, it, record.at)
            left[found].append(it)
    # For good, as their drafts go next: an intention whose draft is gone would be taken for a visible result.
    ledger.forget([it.job.id for it in left[Found.VOID]], lastingly=True)
    hidden, visible = left[Found.HIDDEN], left[Found.VISIBLE]
    _remove_leftovers(place, ledger.drafts() - {it.draft.name for it in visible}, ledger.first, checkpoint)
    batch.resume(hidden, visible)


def _leaving(place: Place, record: Record) -> Leaving:
    job = Job(record.id, record.file, record.kind, record.attempts, record.kills, record.alone)
    way = place.way_on_record(record)
    is_bad = record.state is State.QUARANTINING
    outcome = Failed(job, record.failure or Failure.CRASHED, record.message) if is_bad else None
    return Leaving(job, record.state, record.number, record.result, way, outcome)


def _numbered_anew(place: Place, it: Leaving, *, away: bool) -> Leaving:
    """Return it with the inodes that its input, and its visible result, have by now where inodes do not last.

    What has a result's draft's name may be that, or what it changed places with: then it is not known to be visible.
    """
    root, draft, job = it.way.root, it.draft, it.job if away else _input_anew(place.inbox_path, it.job)
    with error_as_fault(root.path):
        if volumes.renumbers(root.path) and (it.state is State.QUARANTINING or root.seen(draft) is None):
            shown = beneath.status(root.path, it.way.visible)
            if shown is not None and sameness.looks_like(shown, draft):
                draft = draft._replace(inode=shown.st_ino)
    return it._replace(job=job, draft=draft)


def _input_anew(inbox: str, job: Job) -> Job:
    # Where the inbox is missing, or its folder is closed to us, nothing is to be found.
    with error_as_fault(inbox), suppress(FileNotFoundError, PermissionError):
        if volumes.renumbers(inbox):
            _give_back_taken(inbox, job)
            found = beneath.status(inbox, job.file.path)
            if found is not None and sameness.looks_like(found, job.file.version):
                return job._replace(file=job.file._replace(version=beneath.version_of(found)))
    return job


def _give_back_taken(inbox: str, job: Job) -> None:
    """Give an input back that was taken, also by a recovery that was cut short and knew it by another inode."""
    own = beneath.split(ours_of(job))[1]
    any_inode = own.rpartition("-")[0] + "-"
    with suppress(FileNotFoundError), beneath.folder(inbox, OURS) as ours:
        for name in os.listdir(ours):
            if name.startswith(any_inode) and (
                name == own or sameness.looks_like(os.lstat(name, dir_fd=ours), job.file.version)
            ):
                taker.give_back(ours, name, inbox, job.file.path)


def _seen(place: Place, ledger: Ledger, it: Leaving) -> Found | None:
    """Return whether a result is hidden, or became visible, whatever somebody did with it since; None if neither.

    Another file that has the draft's name may be what the draft changed places with: the earlier result, or a user's
    own file, which is given its name back. Not where it looks like the draft, which may have been numbered anew; nor
    with a reason, which replaces nothing: there it is a copy of the input, cut short.
    """
    root = it.way.root
    there = root.seen(it.draft)
    if there is None and root.is_home_of(it.draft):
        return Found.VISIBLE
    if sameness.has_inode(there, it.draft):  # it may have both names: of a link, or of a rename that is half on disk
        return Found.VISIBLE if _is_visible(it) else Found.HIDDEN
    if there is not None and it.state is State.PUBLISHING and not sameness.looks_like(there, it.draft):
        is_earlier = partial(reveal.is_earlier, place, ledger, it.job)
        if is_earlier(there):
            return Found.VISIBLE
        if _take_back(it, is_earlier):
            return _seen(place, ledger, it)  # their newer file may have come out of that
        reveal.spare(place, ledger, it)
    return Found.VISIBLE if _is_visible(it) else None


def _take_back(it: Leaving, is_ours: Callable[[os.stat_result], bool]) -> bool:
    root, (folder, name) = it.way.root.path, beneath.split(it.way.visible)
    opened = beneath.folder(root, folder)
    with error_as_fault(root), suppress(FileNotFoundError, NotADirectoryError), opened as target:
        return reveal.take_back(it.way, it.draft, target, name, is_ours)
    return False


def _is_visible(it: Leaving) -> bool:
    with error_as_fault(it.way.root.path):
        status = beneath.status(it.way.root.path, it.way.visible)
    return sameness.has_inode(status, it.draft)


def _held_against_input(place: Place, folders: Folders, it: Leaving, seen: Found | None) -> Found:
    """Return what is to be done with an intention whose result was `seen` so. Raises SystemFault."""
    inbox, job = place.inbox_path, it.job
    if seen is Found.VISIBLE:
        return seen
    if seen is Found.HIDDEN:
        # What lies in a folder that is closed to us is worked on anew once it is open: nobody has seen its result.
        return seen if _is_there(folders, inbox, job, sameness.is_still, if_closed=False) else Found.VOID
    if it.state is State.QUARANTINING and _give_back(place, job):
        return Found.VOID
    # Its result is out of reach. The input may have another mode or owner by now, as where a whole tree has.
    return Found.VOID if _is_there(folders, inbox, job, sameness.is_unwritten, if_closed=True) else Found.VISIBLE


def _give_back(place: Place, job: Job) -> bool:
    """Give an input back that was taken to be set aside, if it was: it is to lie beside its reason, which is away.

    Return whether it was. Raises SystemFault.
    """
    inside, name = beneath.split(ours_of(job))
    with (
        error_as_fault(place.inbox_path),
        suppress(FileNotFoundError),
        beneath.folder(place.inbox_path, inside) as ours,
    ):
        if sameness.has_inode(os.lstat(name, dir_fd=ours), job.file.version):
            taker.give_back(ours, name, place.inbox_path, job.file.path)
            return True
    return False


def _both_away(inbox: str, root: str) -> SystemFault:
    reason = f"it is missing, or empty, and what was on its way out of it is not in {root}"
    return SystemFault(f"{inbox}: {reason}: mount both; or, if nothing is lost, put any file into it", root=inbox)


def _is_there(
    folders: Folders, inbox: str, job: Job, is_it: Callable[[os.stat_result, Version], bool], *, if_closed: bool
) -> bool:
    """Whether an input is what was worked on, by `is_it`; `if_closed` where its folder is. Raises SystemFault."""
    with error_as_fault(inbox):
        try:
            status = folders.status(inbox, job.file.path)
        except PermissionError:
            folders.root(inbox)  # one that is closed itself is no single file's affair
            return if_closed
    return status is not None and is_it(status, job.file.version)


def _renumber(place: Place, folders: Folders, it: Leaving) -> None:
    """Give a result the number on record where it still has an earlier one, as the run died between the two."""
    with suppress(SystemFault):
        if _is_visible(it):
            return  # as nearly all are; and the numbers of a name that came often are many
    for number in range(it.number):
        with suppress(OSError):  # as where its folder is a file by now: it keeps the number that it has
            reveal.rename(folders, place.way(it.job, it.state, number), it.way, it.draft)


def _restore_newer(place: Place, it: Leaving, since: int) -> None:
    """Restore a newer file that a run took for an input, not before `since`, and died before it looked at it."""
    if into := it.way.into:
        with error_as_fault(into.path):
            taker.restore_newer(place.inbox_path, it.job, into.path, it.way.retired, since)


def _remove_leftovers(place: Place, needed: set[str], before: int, checkpoint: Callable[[], None]) -> None:
    # Drafts of another inbox are its own, as where several are drained into one outbox by turns. Where a kept result
    # was replaced by an exchange, what has the draft's name is the result of before.
    for root in place.roots:
        for name in root.leftovers(before):
            if name not in needed:
                checkpoint()
                root.discard(name)
