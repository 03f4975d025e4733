"""Taking an input out of its inbox, once its result is durable.

An owner may rename a newer file into the input's name at any instant, so that no check beforehand is worth
anything. Therefore an input is *taken* by one atomic rename that overwrites nothing, and looked at afterwards: what
turns out to be a newer file is put back. Only what was looked at is ever removed.

Where a file system cannot rename without replacing, an input is renamed into our own folder of the inbox, under a
name that nobody else gives to a file, and goes to where it belongs from there.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from enum import Enum, unique
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.beneath import OURS
from watcherd.model import ROUNDING
from watcherd.publish.names import derived
from watcherd.publish.rename import UNKNOWN, move, take

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.model import Job, Record
    from watcherd.publish.folders import Folders


@unique
class Taken(Enum):
    """What came of taking an input."""

    MOVED = "it is where it belongs"
    GONE = "its owner removed it"
    REPLACED = "a newer file had its name, and is given back"
    ELSEWHERE = "it lies in our own folder of the inbox, and is to be carried to where it belongs"


class NotGivenBack(OSError):
    """A newer file was taken in the input's place, and still lies where that was to go."""


def to(folders: Folders, inbox: str, job: Job, root: str, path: str) -> Taken:
    """Move a job's input from `inbox` to `path` beneath `root`.

    Raises OSError: EEXIST where something is there, NotGivenBack where `put_back` is to come first.
    """
    target, name = folders.parent(root, path, make=True)
    try:
        taken = _take(folders, inbox, job, target, name, take)
    except FileExistsError:
        if not _is_input(job, os.lstat(name, dir_fd=target)):
            raise
        folders.touch(inbox, job.file.path)
        return Taken.MOVED  # by an earlier run, cut short; what has its name in the inbox now is newer
    except OSError as error:
        if error.errno not in {errno.EXDEV, *UNKNOWN}:
            raise
        return _to_ours(folders, inbox, job)
    if taken is Taken.REPLACED:
        put_back(folders, inbox, job, root, path)
    if taken is not Taken.MOVED and _is_in_ours(folders, inbox, job):
        return _to_ours(folders, inbox, job)
    folders.touch(root, path)
    return taken


def put_back(folders: Folders, inbox: str, job: Job, root: str, path: str) -> None:
    """Give a newer file back that `to` took for a job's input. Raises NotGivenBack."""
    try:
        _put_back(*folders.parent(root, path), inbox, job.file.path)
    except OSError as error:
        raise NotGivenBack(error.errno, error.strerror, error.filename) from error


def away(folders: Folders, inbox: str, job: Job) -> Taken:
    """Remove a job's input from `inbox` for good. Raises OSError."""
    taken = _to_ours(folders, inbox, job)
    if taken is not Taken.ELSEWHERE:
        return taken
    ours, name = folders.parent(inbox, ours_of(job))
    if not _is_input(job, os.lstat(name, dir_fd=ours)):  # by now, or when a run died
        _give_back_ours(folders, inbox, job)
        return Taken.REPLACED
    os.unlink(name, dir_fd=ours)
    return Taken.MOVED


def kept(folders: Folders, inbox: str, job: Job) -> Taken:
    """Leave a job's input where it is. What a run took that died, when inputs did not stay, is given back."""
    if _is_in_ours(folders, inbox, job):
        _give_back_ours(folders, inbox, job)
    return Taken.MOVED


def give_back(inbox: str, job: Job, root: str, path: str, since: float) -> None:
    """Give back a newer file that a run which died took for a job's input, to `path` beneath `root`. Raises OSError.

    It was taken after the time `since`, Unix seconds, and only where the input is not in its place any more: anything
    else came there another way, as with another daemon. It cannot be told from one that its owner put there since;
    but that was not processed either, and then is.
    """
    found = None
    with suppress(PermissionError):  # into a folder that is closed to us nothing was taken
        found = beneath.status(root, path)
    if found is None or not _is_newer(job, found, since):
        return
    if found.st_dev == os.stat(inbox).st_dev and not _is_in_place(job, inbox):
        folder, name = beneath.split(path)
        with beneath.folder(root, folder) as target:
            _put_back(target, name, inbox, job.file.path)


def discard(folders: Folders, inbox: str, job: Job) -> None:
    """Remove what was taken of `job` into our own folder of the inbox."""
    with suppress(FileNotFoundError):  # a start after a crash may find the work done
        ours, name = folders.parent(inbox, ours_of(job))
        folders.touch(inbox, ours_of(job))
        os.unlink(name, dir_fd=ours)


def ours_of(job: Job | Record) -> str:
    """Return the path, in our own folder of the inbox, under which a taken input lies.

    The inode keeps it apart from what a daemon with another ledger, and the same ids, may have left there.
    """
    return f"{OURS}/taken-{job.id}-{job.file.version.inode}"


def _to_ours(folders: Folders, inbox: str, job: Job) -> Taken:
    ours, name = folders.parent(inbox, ours_of(job), make=True)
    if _is_there(ours, name):  # an earlier run, or attempt, has taken it; its owner may still write into it
        is_its = os.lstat(name, dir_fd=ours).st_ino == job.file.version.inode
        taken = Taken.MOVED if is_its else Taken.REPLACED
    else:
        taken = _take(folders, inbox, job, ours, name, _rename)
    folders.touch(inbox, ours_of(job))  # also for what becomes of it now
    if taken is Taken.REPLACED:
        _give_back_ours(folders, inbox, job)
    return Taken.ELSEWHERE if taken is Taken.MOVED else taken


def _give_back_ours(folders: Folders, inbox: str, job: Job) -> None:
    """Give a newer file back that was taken into our own folder of the inbox; both folders are to be synced."""
    _put_back(*folders.parent(inbox, ours_of(job)), inbox, job.file.path)
    for path in (ours_of(job), job.file.path):
        folders.touch(inbox, path)


def _is_in_ours(folders: Folders, inbox: str, job: Job) -> bool:
    """Whether an earlier run, cut short, has taken the input already."""
    return folders.status(inbox, ours_of(job)) is not None


def _rename(source: int, name: str, target: int, new_name: str) -> None:
    os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)


def _take(  # noqa: PLR0913, PLR0917 (from where, what, to where, how)
    folders: Folders, inbox: str, job: Job, target: int, name: str, rename: Callable[[int, str, int, str], None]
) -> Taken:
    try:
        source, own_name = folders.parent(inbox, job.file.path)
        rename(source, own_name, target, name)
    except (FileNotFoundError, NotADirectoryError):
        if not _is_gone(inbox, job.file.path):
            raise  # a folder was removed or replaced under us
        folders.touch(inbox, job.file.path)  # it may have been a run that died before that was on disk
        return Taken.GONE
    folders.touch(inbox, job.file.path)
    same = _is_input(job, os.lstat(name, dir_fd=target))
    return Taken.MOVED if same else Taken.REPLACED


def _is_gone(inbox: str, path: str) -> bool:
    os.stat(inbox)  # where the inbox is away, nothing can be said of its files
    return beneath.status(inbox, path) is None


def _is_input(job: Job, found: os.stat_result) -> bool:
    return beneath.version_of(found).same_content(job.file.version)


def _is_in_place(job: Job, inbox: str) -> bool:
    found = beneath.status(inbox, job.file.path)
    return found is not None and _is_input(job, found)


def _is_newer(job: Job, found: os.stat_result, since: float) -> bool:
    """Whether a file came here since then that is neither the input nor what was carried of it."""
    came = stat.S_ISREG(found.st_mode) and found.st_ctime >= since - ROUNDING
    return came and not beneath.version_of(found).looks_like(job.file.version)


def _put_back(target: int, name: str, inbox: str, path: str) -> None:
    """Give a newer file its name back, or the next free one if a still newer file has that by now.

    Its folder is made where it is gone, and looked for anew where it goes in this instant; where something else has
    its name, as a symbolic link, the file goes to the inbox itself. Raises OSError, ENODEV where the inbox is gone.
    """
    folder, own_name = beneath.split(path)
    number = 0
    while _is_there(target, name):
        try:
            with beneath.folder(inbox, folder, make=True) as source:
                move(target, name, source, derived(own_name, number))
        except FileExistsError:
            number += 1
        except FileNotFoundError:
            if not os.path.exists(inbox):
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), inbox) from None
        except OSError as error:
            if not folder or error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                raise
            folder = ""


def _is_there(folder: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True
