"""Which folder is at the path of a root: the one that we met there first, or it again.

It is known by our own folder in it: where a file system was unmounted, the bare mount point is another one and has
none, and nothing is put there.
"""

from __future__ import annotations

import os

from watcherd import beneath
from watcherd.beneath import OURS, Doubt


class Ground:
    """The folder that is met at `path` when this is made, and from then on no other. One thread at a time may use it.

    `doubt`: whether it may be a bare mount point. `home` tells it from others that had its path. Raises OSError.
    """

    def __init__(self, path: str, *, durable: bool) -> None:
        self._path = path
        self._durable = durable
        self._mounted = os.path.ismount(path)
        self.doubt = Doubt(path)
        self._identity, self.home = _identity(path), _home(path)
        self._mark: int | None = None

    def reach(self) -> bool:
        """Have our own folder in the folder that was met; return whether that is at the path."""
        identity = _identity(self._path)
        if identity != self._identity and self._is_back():
            self._identity, self.home = identity, _home(self._path)
        if identity != self._identity:
            return False
        self._remember_mark()
        return True

    def _is_back(self) -> bool:
        """Whether it is the same file system, mounted anew, or a new one where one was mounted before."""
        is_ours = self._mark is not None and self._mark_now() == self._mark
        return is_ours or (self._mounted and os.path.ismount(self._path))

    def _mark_now(self) -> int | None:
        try:
            return os.lstat(f"{self._path}/{OURS}").st_ino
        except FileNotFoundError:
            return None

    def _remember_mark(self) -> None:
        mark = self._mark_now()
        if mark is None or self._mark is None:
            self._mark = None  # until its name is on disk: a draft that is gone with it would pass for visible
            with beneath.folder(self._path) as root:
                os.close(beneath.open_within(root, OURS, make=True))
                if self._durable:  # also where it is there: whoever made it may have been cut short before that
                    beneath.sync_names(root)
            mark = self._mark_now()
        self._mark = mark


def _home(path: str) -> str:
    """Return what tells a folder from others that had its path: the roots of all ext4 have one inode, say."""
    both = os.stat(path).st_ino ^ os.statvfs(path).f_fsid
    return f"{(both ^ both >> 32) & 0xFFFFFFFF:08x}"


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
