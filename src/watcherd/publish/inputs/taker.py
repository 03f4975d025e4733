"""Taking an input by a rename, and restoring a newer file that was taken in its place.

An owner may rename a newer file into the input's name at any instant, so that no check beforehand is worth
anything. Therefore an input is *taken* by one atomic rename that overwrites nothing, and looked at afterwards: what
turns out to be a newer file is put back. Only what was looked at is ever removed.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from enum import Enum, unique
from typing import TYPE_CHECKING

from watcherd import beneath, sameness
from watcherd.publish.roots.names import derived
from watcherd.publish.roots.rename import move

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.model import Job
    from watcherd.publish.roots.folders import Folders


@unique
class Taken(Enum):
    """What came of taking an input."""

    MOVED = "it is where it belongs"
    GONE = "its owner removed it"
    REPLACED = "a newer file had its name, and is given back"
    ELSEWHERE = "it lies in our own folder of the inbox, and is to be carried to where it belongs"


class Taker:
    """Takes inputs out of an inbox, and restores newer files, through a batch's `folders`. One thread uses it."""

    def __init__(self, inbox: str, folders: Folders) -> None:
        self._inbox = inbox
        self._folders = folders

    def take(self, job: Job, target: int, name: str, rename: Callable[[int, str, int, str], None]) -> Taken:
        """Take a job's input by a `rename` to `name` in the folder `target`, and look at what was taken.

        MOVED: it was the input; REPLACED: a newer file, which lies there to be restored; GONE: its owner has taken it
        away, from here or from there. Raises OSError, as `rename` does.
        """
        try:
            source, own_name = self._folders.parent(self._inbox, job.file.path)
            rename(source, own_name, target, name)
        except (FileNotFoundError, NotADirectoryError):
            if not _is_gone(self._inbox, job.file.path):
                raise  # a folder was removed or replaced under us
            self._folders.touch(self._inbox, job.file.path)  # a run that died may have taken it, unsynced
            return Taken.GONE
        self._folders.touch(self._inbox, job.file.path)
        found = beneath.named(target, name)
        if found is None:  # whoever collects there was as quick as that
            return Taken.GONE
        return Taken.MOVED if sameness.is_unwritten(found, job.file.version) else Taken.REPLACED

    def has_name(self, job: Job, there: os.stat_result) -> bool:
        """Whether what was taken to be a job's input, and lies `there`, has its name in the inbox as well.

        So it may be after a power cut: btrfs writes a rename in one of its folders before the other. Raises OSError.
        """
        with suppress(PermissionError):  # a folder that is closed to us since holds up nothing
            return sameness.are_names_of_one(there, self._folders.status(self._inbox, job.file.path))
        return False

    def restore(self, job: Job, root: str, path: str) -> None:
        """Restore a newer file that was taken for a job's input, to `path` beneath `root`. Raises OSError."""
        give_back(*self._folders.parent(root, path), self._inbox, job.file.path)
        self._folders.touch(self._inbox, job.file.path)


def restore_newer(inbox: str, job: Job, root: str, path: str, since: float) -> None:
    """Restore a newer file that a run which died took for a job's input, to `path` beneath `root`.

    What came there before `since`, Unix seconds, was not taken by that run; nor was anything if the input is still in
    its place. It may also be a file that its owner put there since, which cannot be told. Raises OSError.
    """
    found = None
    with suppress(PermissionError):  # into a folder that is closed to us nothing was taken
        found = beneath.status(root, path)
    if found is None or not _is_newer(job, found, since) or found.st_dev != os.stat(inbox).st_dev:
        return
    if not sameness.is_unwritten(beneath.status(inbox, job.file.path), job.file.version):
        folder, name = beneath.split(path)
        with beneath.folder(root, folder) as target:
            give_back(target, name, inbox, job.file.path)


def _is_gone(inbox: str, path: str) -> bool:
    os.stat(inbox)  # where the inbox is away, nothing can be said of its files
    return beneath.status(inbox, path) is None


def _is_newer(job: Job, found: os.stat_result, since: float) -> bool:
    """Whether a file came here since then that is neither the input nor what was carried of it."""
    came = stat.S_ISREG(found.st_mode) and found.st_ctime >= since - sameness.ROUNDING
    return came and not sameness.looks_like(found, job.file.version)


def give_back(source: int, name: str, root: str, path: str) -> None:
    """Give `name` in the folder `source`, which is somebody's own, back its `path` beneath `root`, on disk.

    That is the next free one if a newer file has it by now. Its folder is made where it is gone, and looked for anew
    where it goes in this instant; where something else has its name, as a symbolic link, the file goes to the root
    itself. Raises OSError, ENODEV where the root is gone.
    """
    folder, own_name = beneath.split(path)
    number = 0
    while beneath.named(source, name):
        try:
            with beneath.folder(root, folder, make=True) as target:
                move(source, name, target, derived(own_name, number))
                beneath.sync_names(target)
        except FileExistsError:
            number += 1
        except FileNotFoundError:
            if not os.path.exists(root):
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), root) from None
        except OSError as error:
            if not folder or error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                raise
            folder = ""
