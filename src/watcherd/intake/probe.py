"""Asking the kernel whether any process has a file open for writing, and what may be believed of a mount.

A read lease is granted exactly while nobody has the file open for writing, a writable mapping included (fcntl(2),
F_SETLEASE). It is given back at once, because it delays a writer that opens meanwhile. Only the owner of a file or
CAP_LEASE may ask, and only ext4, xfs, btrfs and tmpfs answer truly: NFS and SMB say EAGAIN without a writer, and
overlayfs does not see one below it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import re
import signal
from dataclasses import dataclass

from watcherd import beneath, volumes
from watcherd.intake.settle import Pace, Writer
from watcherd.volumes import KNOWN, LEASING, LOCAL

_MULTIGRAIN = (6, 13)  # since this kernel, two writes with a look in between never share a timestamp


@dataclass(frozen=True, slots=True)
class Mount:
    """What may be believed of the file system that holds a folder.

    `events`: inotify tells of every change; `lease`: the kernel can be asked for writers; `coarse`: two writes may
    share a timestamp.
    """

    name: str
    events: bool
    lease: bool
    coarse: bool

    def pace(self, settle: float | None) -> Pace:
        """Return how patient to be here; `settle` is the operator's word in seconds, None leaves it to the mount."""
        if settle is not None:
            return Pace(settle, settle, self.coarse)
        return Pace(1.0 if self.lease else 10.0, 10.0, self.coarse)

    def rescan(self, rescan: float | None) -> float:
        """Return the seconds between scans; `rescan` is the operator's word, None leaves it to the mount."""
        return rescan if rescan is not None else (600.0 if self.events else 5.0)


def mount(root: str) -> Mount:
    """Return what may be believed of the file system at `root`. Raises OSError where it cannot be asked."""
    magic = volumes.number_of(root)
    lease = magic in LEASING
    return Mount(KNOWN.get(magic, hex(magic)), magic in LOCAL, lease, not lease or _kernel() < _MULTIGRAIN)


def _kernel() -> tuple[int, int]:
    major, minor = re.findall(r"\d+", platform.release() + ".0.0")[:2]
    return int(major), int(minor)


def writer(descriptor: int) -> Writer:
    """Return what the kernel says about writers of the file behind `descriptor`, which was opened for reading.

    A writer that opens in the instant of the lease makes the kernel signal us: by default with SIGIO, which kills a
    process that does not handle it, so we ask for SIGURG, which is ignored then.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return Writer.WRITTEN if error.errno == errno.EAGAIN else Writer.UNKNOWN
    return Writer.FREE


class Looks(beneath.Nearby):
    """Looks at files beneath one root, for a moment: a context manager."""

    def __init__(self, root: str) -> None:
        super().__init__()
        self._root = root

    def status(self, path: str) -> os.stat_result:
        """Return the `lstat` of `path`. Raises OSError."""
        folder, name = self.parent(self._root, path)
        return os.lstat(name, dir_fd=folder)

    def fresh(self, path: str) -> os.stat_result:
        """Return the status of the regular file at `path` by opening it, past a network's cache. Raises OSError."""
        descriptor, status = beneath.open_file(*self.parent(self._root, path))
        beneath.let_go(descriptor)
        return status

    def writer(self, path: str) -> tuple[os.stat_result, Writer]:
        """Return what is there now, and whether it is being written. Raises OSError."""
        descriptor, _ = beneath.open_file(*self.parent(self._root, path))
        try:
            answer = writer(descriptor)
            return os.fstat(descriptor), answer  # in this order: what was written before the answer shows
        finally:
            beneath.let_go(descriptor)
