"""Giving a result its visible name, by a rename that overwrites nothing.

A rename may be done although it ends in an error, as on a network's file system, or in a run that died. So what has
the name is asked for its inode before anything is believed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.access import error_as_fault
from watcherd.publish.inputs.taker import give_back
from watcherd.publish.roots.rename import exchange, move, replace
from watcherd.sameness import has_inode, looks_like
from watcherd.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Draft, Job
    from watcherd.publish.leaving import Leaving
    from watcherd.publish.roots.folders import Folders
    from watcherd.publish.roots.place import Place, Way

#: How often a folder is made anew that whoever collects removes, as it is empty, before it has a name in it. No more,
#: as that error may last: so some servers refuse a name.
ANEW = 10


def show(folders: Folders, way: Way, draft: Draft, is_ours: Callable[[os.stat_result], bool]) -> bool:
    """Give a draft its visible name; False where something has that.

    `is_ours` is asked whether it may replace what has it. Raises OSError, and SystemFault where our own folder fails.
    """
    for _ in range(ANEW):
        with suppress(FileNotFoundError):
            return _show(folders, way, draft, is_ours)
        folders.forget(way.root.path, way.visible)  # opened before, a folder that was removed takes no name
    return _show(folders, way, draft, is_ours)


def _show(folders: Folders, way: Way, draft: Draft, is_ours: Callable[[os.stat_result], bool]) -> bool:
    target, name = folders.parent(way.root.path, way.visible, make=True)
    folders.touch(way.root.path, way.visible)
    drafts = way.root.ours()
    try:
        return _rename(drafts, draft.name, target, name, is_ours) or _finish(way, draft, target, name, is_ours)
    except OSError:
        if _finish(way, draft, target, name, is_ours):
            return True
        raise


def rename(folders: Folders, before: Way, after: Way, draft: Draft) -> None:
    """Give a visible result another name, unless its owner has collected it. Raises OSError: EEXIST if taken."""
    with suppress(FileNotFoundError):
        source, name = folders.parent(before.root.path, before.visible)
        target, new_name = folders.parent(after.root.path, after.visible)
        if has_inode(beneath.named(source, name), draft):
            folders.touch(after.root.path, after.visible)
            try:
                move(source, name, target, new_name)
            except OSError:
                if not has_inode(beneath.named(target, new_name), draft):
                    raise


def _rename(drafts: int, draft: str, target: int, name: str, is_ours: Callable[[os.stat_result], bool]) -> bool:
    try:
        move(drafts, draft, target, name)
    except FileExistsError:
        with suppress(FileNotFoundError):  # its owner takes it away in this instant
            return replace(drafts, draft, target, name, is_ours)
        move(drafts, draft, target, name)
    return True


def _finish(way: Way, draft: Draft, target: int, name: str, is_ours: Callable[[os.stat_result], bool]) -> bool:
    """Remove what has the draft's own name where the draft has the visible one already; return whether it has."""
    if not has_inode(beneath.named(target, name), draft) or take_back(way, draft, target, name, is_ours):
        return False
    way.root.discard(draft.name)
    return True


def take_back(way: Way, draft: Draft, target: int, name: str, is_ours: Callable[[os.stat_result], bool]) -> bool:
    """Undo it where a run died after a draft had changed places with somebody's own file; return whether one had.

    `name` is that of the result, in the folder `target`. Raises OSError.
    """
    drafts = way.root.ours()
    with suppress(FileNotFoundError):
        there, shown = os.lstat(draft.name, dir_fd=drafts), os.lstat(name, dir_fd=target)
        if has_inode(shown, draft) and not has_inode(there, draft) and not is_ours(there):
            exchange(drafts, draft.name, target, name)
            beneath.sync_names(target)  # what is on record goes next, and what has a draft's name then
            return True
    return False


def spare(place: Place, ledger: Ledger, it: Leaving) -> None:
    """Give a user's own file its name back that has the draft's, since the two changed places: a draft is removed.

    Nothing changed places where there was no earlier result. That, or the draft, is known by its size and time where
    a file system has numbered it anew. Raises SystemFault.
    """
    there = it.way.root.seen(it.draft)
    if there is None or has_inode(there, it.draft) or looks_like(there, it.draft):
        return
    earlier = ledger.result(place.inbox, it.job.file.path)
    if earlier and not (is_earlier(place, ledger, it.job, there) or looks_like(there, earlier.result)):
        with error_as_fault(it.way.root.path):
            give_back(it.way.root.ours(), it.draft.name, it.way.root.path, it.way.visible)


def is_earlier(place: Place, ledger: Ledger, job: Job, there: os.stat_result) -> bool:
    """Whether this is the result of an earlier version of a job's file, as we wrote it. Raises SystemFault.

    That is not always the latest: inputs may have been moved for a while, and results written to another folder.
    """
    latest = ledger.result(place.inbox, job.file.path)
    if latest is not None and place.outbox.wrote(there, latest):
        return True  # at once: of a file that is edited all day long, the others are many
    others = ledger.results(place.inbox, job.file.path, State.PUBLISHED, there)
    return any(place.outbox.wrote(there, it) for it in others)
