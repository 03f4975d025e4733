"""Retiring an input once its result is durable: it is moved to where it belongs, removed for good, or left there.

Where no rename brings it there, it is taken to our own folder of the inbox (custody.py), and carried from that.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from watcherd.model import After
from watcherd.publish.inputs.taker import Taken, Taker
from watcherd.publish.roots.rename import UNKNOWN, take
from watcherd.sameness import is_unwritten

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.model import Job
    from watcherd.publish.inputs.custody import Custody
    from watcherd.publish.roots.folders import Folders
    from watcherd.publish.roots.place import Place, Way


class Inputs:
    """The inputs of one inbox, as a batch retires them through its `folders`, and its `custody`. One thread uses it.

    `is_away` looks whether the inbox is gone for now, as its mount may be: then no input is missed in it.
    """

    def __init__(self, place: Place, folders: Folders, custody: Custody, is_away: Callable[[], bool]) -> None:
        self._inbox = place.inbox_path
        self._after = place.after
        self._folders = folders
        self._custody = custody
        self._is_away = is_away
        self._taker = Taker(place.inbox_path, folders)
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
            taken = self._custody.remove(job) if self._after is After.DELETE else self._leave(job)
        if taken is Taken.GONE and self._is_away():
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), self._inbox)
        return taken

    def _move(self, job: Job, root: str, path: str) -> Taken:
        target, name = self._folders.parent(root, path, make=True)
        try:
            taken = Taken.REPLACED if job.id in self._unrestored else self._taker.take(job, target, name, take)
        except FileExistsError:
            there = self._folders.status(root, path)
            if there is None or not is_unwritten(there, job.file.version):
                raise
            if self._taker.has_name(job, there) or self._custody.holds(job):
                self._folders.touch(root, path)
                self._folders.sync()  # first: its other name goes, which may be all that is on disk
                return self._custody.remove(job)
            self._folders.touch(self._inbox, job.file.path)
            return Taken.MOVED  # by an earlier run, cut short; what has its name in the inbox now is newer
        except OSError as error:
            if error.errno not in {errno.EXDEV, *UNKNOWN}:
                raise
            return self._custody.take(job)
        if taken is Taken.REPLACED:
            self._restore(job, root, path)
        if taken is not Taken.MOVED and self._custody.holds(job):
            return self._custody.take(job)
        self._folders.touch(root, path)
        return taken

    def _restore(self, job: Job, root: str, path: str) -> None:
        """Restore a newer file that was taken for a job's input. Where that fails, `retire` goes on with it."""
        self._unrestored.add(job.id)
        self._taker.restore(job, root, path)
        self._unrestored.remove(job.id)

    def _leave(self, job: Job) -> Taken:
        """Leave an input where it is. What a run took that died, when inputs did not stay, is given back."""
        if self._custody.holds(job):
            self._custody.restore(job)
        return Taken.MOVED
