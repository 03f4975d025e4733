"""Serve disks by FUSE, each a file to be mounted as a loop, and put each write and each flush on record.

    python recorder.py RECORD FOLDER IMAGE...      serve each IMAGE in FOLDER by its own name, until that is unmounted

An entry of the record is the number of the disk, an offset and a length, and then what was written; a flush has no
length. The kernel asks for one thing after the other, so that a flush is of all that is on record before it.
"""

import errno
import os
import stat
import sys
from pathlib import Path

from mfusepy import FUSE, FuseOSError, Operations
from tests.system.power.history import ENTRY


class Recorder(Operations):
    """A file system of disks."""

    use_ns = True

    def __init__(self, record, images):
        self._record = record.open("wb", buffering=0)
        self._numbers = {f"/{image.name}": number for number, image in enumerate(images)}
        self._images = [os.open(image, os.O_RDWR) for image in images]

    def getattr(self, path, fh=None):  # noqa: ARG002 (as it is called)
        """Tell what is there: the folder and the disks."""
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if path not in self._numbers:
            raise FuseOSError(errno.ENOENT)
        size = os.fstat(self.open(path, 0)).st_size
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": size}

    def open(self, path, flags):  # noqa: ARG002 (as it is called)
        """Return the descriptor of a disk."""
        return self._images[self._numbers[path]]

    def read(self, path, size, offset, fh):  # noqa: ARG002 (as it is called)
        """Read."""
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        """Write, and put that on record."""
        self._record.write(ENTRY.pack(self._numbers[path], offset, len(data)) + data)
        return os.pwrite(fh, data, offset)

    def fsync(self, path, datasync, fh):  # noqa: ARG002 (as it is called)
        """Put on record that all which was written before is to last."""
        self._record.write(ENTRY.pack(self._numbers[path], 0, 0))
        return 0


if __name__ == "__main__":
    record, folder, *images = map(Path, sys.argv[1:])
    FUSE(Recorder(record, images), str(folder), foreground=True, nothreads=True)
