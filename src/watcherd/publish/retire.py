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

from watcherd import beneath, sameness
from watcherd.beneath import OURS
from watcherd.model import After
from watcherd.publish.names import derived
from watcherd.publish.rename import UNKNOWN, move, take

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.model import Job, Record
    from watcherd.publish.folders import Folders
    from watcherd.publish.place import Place, Way


@unique
class Taken(Enum):
    """What came of taking an input."""

    MOVED = "it is where it belongs"
    GONE = "its owner removed it"
    REPLACED = "a newer file had its name, and is given back"
    ELSEWHERE = "it lies in our own folder of the inbox, and is to be carried to where it belongs"


class Inputs:
    """The inputs of one inbox, as a batch takes them out of it through its `folders`. One thread uses it.

    `is_away` looks whether the inbox is gone for now, as its mount may be: then no input is missed in it.
    """

    def __init__(self, place: Place, folders: Folders, is_away: Callable[[], bool]) -> None:
        self._inbox = place.root
        self._after = place.after
        self._folders = folders
        self._is_away = is_away
        self._unrestored: set[int] = set()  # jobs for whose inputs newer files were taken, and lie where those belong

    def are_away(self) -> bool:
        """Whether the inbox is away. It is held open first, so that it stays what it is now."""
        with suppress(OSError):
            self._folders.root(self._inbox)
        return self._is_away()

    def retire(self, job: Job, way: Way) -> Taken:
        """Take a job's input out of its inbox, unless it stays there: to where it belongs, or for good.

        Raises OSError: EEXIST where something is there, ENODEV where the inbox is away.
        """
        if way.into is not None:
            taken = self._move(job, way.into.path, way.retired)
        else:
            taken = self._remove(job) if self._after is After.DELETE else self._leave(job)
        if taken is Taken.GONE and self._is_away():
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), self._inbox)
        return taken

    def discard(self, job: Job, way: Way) -> bool:
        """Remove the input of `job` from our own folder of the inbox; False where not all of it is where it belongs.

        Its owner may have written into it since it was copied at the version that the job has.
        """
        with suppress(FileNotFoundError):  # a start after a crash may find the work done
            ours, name = self._folders.parent(self._inbox, ours_of(job))
            if not self._is_carried(job, os.lstat(name, dir_fd=ours), way):
                return False
            self._folders.touch(self._inbox, ours_of(job))
            os.unlink(name, dir_fd=ours)
        return True

    def tell_where(self, job: Job, error: OSError) -> None:
        """Name the whole path of an input in our own folder, which nobody finds by the name that it has there."""
        ours = ours_of(job)
        if error.filename == beneath.split(ours)[1]:
            error.filename = f"{self._inbox}/{ours}"

    def _is_carried(self, job: Job, original: os.stat_result, way: Way) -> bool:
        if _is_input(job, original):
            return True
        there = self._folders.status(way.into.path, way.retired) if way.into else None
        return there is not None and os.path.samestat(there, original)  # a link has all that is written into it

    def _move(self, job: Job, root: str, path: str) -> Taken:
        target, name = self._folders.parent(root, path, make=True)
        try:
            taken = Taken.REPLACED if job.id in self._unrestored else self._take(job, target, name, take)
        except FileExistsError:
            if not _is_input(job, os.lstat(name, dir_fd=target)):
                raise
            self._folders.touch(self._inbox, job.file.path)
            return Taken.MOVED  # by an earlier run, cut short; what has its name in the inbox now is newer
        except OSError as error:
            if error.errno not in {errno.EXDEV, *UNKNOWN}:
                raise
            return self._to_ours(job)
        if taken is Taken.REPLACED:
            self._restore(job, root, path)
        if taken is not Taken.MOVED and self._is_in_ours(job):
            return self._to_ours(job)
        self._folders.touch(root, path)
        return taken

    def _restore(self, job: Job, root: str, path: str) -> None:
        """Restore a newer file that was taken for a job's input. Where that fails, `retire` goes on with it."""
        self._unrestored.add(job.id)
        _restore(*self._folders.parent(root, path), self._inbox, job.file.path)
        self._folders.touch(self._inbox, job.file.path)
        self._unrestored.remove(job.id)

    def _remove(self, job: Job) -> Taken:
        taken = self._to_ours(job)
        if taken is not Taken.ELSEWHERE:
            return taken
        ours, name = self._folders.parent(self._inbox, ours_of(job))
        if not _is_input(job, os.lstat(name, dir_fd=ours)):  # by now, or when a run died
            self._restore_from_ours(job)
            return Taken.REPLACED
        os.unlink(name, dir_fd=ours)
        return Taken.MOVED

    def _leave(self, job: Job) -> Taken:
        """Leave an input where it is. What a run took that died, when inputs did not stay, is given back."""
        if self._is_in_ours(job):
            self._restore_from_ours(job)
        return Taken.MOVED

    def _to_ours(self, job: Job) -> Taken:
        ours, name = self._folders.parent(self._inbox, ours_of(job), make=True)
        if _is_there(ours, name):  # an earlier run, or attempt, has taken it; its owner may still write into it
            is_its = os.lstat(name, dir_fd=ours).st_ino == job.file.version.inode
            taken = Taken.MOVED if is_its else Taken.REPLACED
        else:
            taken = self._take(job, ours, name, _rename)
        self._folders.touch(self._inbox, ours_of(job))  # also for what becomes of it now
        if taken is Taken.REPLACED:
            self._restore_from_ours(job)
        return Taken.ELSEWHERE if taken is Taken.MOVED else taken

    def _restore_from_ours(self, job: Job) -> None:
        """Restore a newer file that was taken into our own folder of the inbox; both folders are to be synced."""
        _restore(*self._folders.parent(self._inbox, ours_of(job)), self._inbox, job.file.path)
        for path in (ours_of(job), job.file.path):
            self._folders.touch(self._inbox, path)

    def _is_in_ours(self, job: Job) -> bool:
        """Whether an earlier run, cut short, has taken the input already."""
        return self._folders.status(self._inbox, ours_of(job)) is not None

    def _take(self, job: Job, target: int, name: str, rename: Callable[[int, str, int, str], None]) -> Taken:
        try:
            source, own_name = self._folders.parent(self._inbox, job.file.path)
            rename(source, own_name, target, name)
        except (FileNotFoundError, NotADirectoryError):
            if not _is_gone(self._inbox, job.file.path):
                raise  # a folder was removed or replaced under us
            self._folders.touch(self._inbox, job.file.path)  # a run that died may have taken it, unsynced
            return Taken.GONE
        self._folders.touch(self._inbox, job.file.path)
        same = _is_input(job, os.lstat(name, dir_fd=target))
        return Taken.MOVED if same else Taken.REPLACED


def restore_newer(inbox: str, job: Job, root: str, path: str, since: float) -> None:
    """Restore a newer file that a run which died took for a job's input, to `path` beneath `root`.

    What came there before `since`, Unix seconds, was not taken by that run; nor was anything if the input is still in
    its place. It may also be a file that its owner put there since, which cannot be told. Raises OSError.
    """
    found = None
    with suppress(PermissionError):  # into a folder that is closed to us nothing was taken
        found = beneath.status(root, path)
    if found is None or not _is_newer(job, found, since):
        return
    if found.st_dev == os.stat(inbox).st_dev and not _is_input(job, beneath.status(inbox, job.file.path)):
        folder, name = beneath.split(path)
        with beneath.folder(root, folder) as target:
            _restore(target, name, inbox, job.file.path)


def ours_of(job: Job | Record) -> str:
    """Return the path, in our own folder of the inbox, under which a taken input lies.

    The inode keeps it apart from what a daemon with another ledger, and the same ids, may have left there.
    """
    return f"{OURS}/taken-{job.id}-{job.file.version.inode}"


def _rename(source: int, name: str, target: int, new_name: str) -> None:
    os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)


def _is_gone(inbox: str, path: str) -> bool:
    os.stat(inbox)  # where the inbox is away, nothing can be said of its files
    return beneath.status(inbox, path) is None


def _is_input(job: Job, found: os.stat_result | None) -> bool:
    return sameness.is_unwritten(found, job.file.version)


def _is_newer(job: Job, found: os.stat_result, since: float) -> bool:
    """Whether a file came here since then that is neither the input nor what was carried of it."""
    came = stat.S_ISREG(found.st_mode) and found.st_ctime >= since - sameness.ROUNDING
    return came and not sameness.looks_like(found, job.file.version)


def _restore(target: int, name: str, inbox: str, path: str) -> None:
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
