"""Our own folder of an inbox, in which taken inputs lie until they are where they belong, or gone for good.

What is to be deleted goes there, what belongs on another file system, and all where a file system cannot rename
without replacing: under a name that nobody else gives to a file, any rename will do.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.beneath import OURS
from watcherd.publish.inputs.taker import Taken, Taker
from watcherd.sameness import has_inode, is_unwritten

if TYPE_CHECKING:
    from watcherd.model import Job, Record
    from watcherd.publish.roots.folders import Folders
    from watcherd.publish.roots.place import Way


class Custody:
    """Our own folder of the inbox at `inbox`, as a batch uses it through its `folders`. One thread uses it."""

    def __init__(self, inbox: str, folders: Folders) -> None:
        self._inbox = inbox
        self._folders = folders
        self._taker = Taker(inbox, folders)

    def holds(self, job: Job) -> bool:
        """Whether an earlier run, cut short, has taken the input of `job` already. Raises OSError."""
        return self._taken(job) is not None

    def take(self, job: Job) -> Taken:
        """Take the input of `job`, if that is not done: ELSEWHERE, if it is in here then. Raises OSError."""
        ours, name = self._folders.parent(self._inbox, ours_of(job), make=True)
        if there := self._taken(job):
            # An earlier run, or attempt, has taken it; its owner may still write into it.
            taken = Taken.MOVED if has_inode(there, job.file.version) else Taken.REPLACED
        else:
            taken = self._taker.take(job, ours, name, _rename)
        self._folders.touch(self._inbox, ours_of(job))  # also for what becomes of it now
        if taken is Taken.REPLACED:
            self.restore(job)
        return Taken.ELSEWHERE if taken is Taken.MOVED else taken

    def restore(self, job: Job) -> None:
        """Restore a newer file that was taken for the input of `job`. Raises OSError."""
        self._folders.touch(self._inbox, ours_of(job))
        self._taker.restore(job, self._inbox, ours_of(job))

    def remove(self, job: Job) -> Taken:
        """Take the input of `job`, and remove it for good. Raises OSError."""
        taken = self.take(job)
        if taken is not Taken.ELSEWHERE:
            return taken
        ours, name = self._folders.parent(self._inbox, ours_of(job))
        if not is_unwritten(os.lstat(name, dir_fd=ours), job.file.version):  # by now, or when a run died
            self.restore(job)
            return Taken.REPLACED
        os.unlink(name, dir_fd=ours)
        return Taken.MOVED

    def discard(self, job: Job, way: Way) -> bool:
        """Remove the input of `job` that was carried from here; False where not all of it is where it belongs.

        Its owner may have written into it since it was copied at the version that the job has; or it is not here, as
        where a disk that came back has lost that it was taken, and is to be looked for. Raises OSError.
        """
        try:
            ours, name = self._folders.parent(self._inbox, ours_of(job))
            if not self._is_carried(job, os.lstat(name, dir_fd=ours), way):
                return False
            self._folders.touch(self._inbox, ours_of(job))
            os.unlink(name, dir_fd=ours)
        except FileNotFoundError:
            return False
        return True

    def tell_where(self, job: Job, error: OSError) -> None:
        """Name the whole path of an input that lies here, which nobody finds by the name that it has here."""
        ours = ours_of(job)
        if error.filename == beneath.split(ours)[1]:
            error.filename = f"{self._inbox}/{ours}"

    def _taken(self, job: Job) -> os.stat_result | None:
        """Return what lies in here for the input of `job`; one that has its own name as well loses this one."""
        there = self._folders.status(self._inbox, ours_of(job))
        if there and self._taker.has_name(job, there):
            ours, name = self._folders.parent(self._inbox, ours_of(job))
            os.unlink(name, dir_fd=ours)
            return None
        return there

    def _is_carried(self, job: Job, original: os.stat_result, way: Way) -> bool:
        if is_unwritten(original, job.file.version):
            return True
        there = self._folders.status(way.into.path, way.retired) if way.into else None
        return there is not None and os.path.samestat(there, original)  # a link has all that is written into it


def ours_of(job: Job | Record) -> str:
    """Return the path, in our own folder of the inbox, under which a taken input lies.

    The inode keeps it apart from what a daemon with another ledger, and the same ids, may have left there.
    """
    return f"{OURS}/taken-{job.id}-{job.file.version.inode}"


def _rename(source: int, name: str, target: int, new_name: str) -> None:
    os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
