"""The file systems that are known, and what may be believed of them.

A folder says its own by number, f_type of statfs(2). Mounts have names, in /proc/self/mountinfo; of FUSE only they
tell which program is behind it. An inbox on one that is not known here is polled, and a ledger may lie on it.
"""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

#: Number → name of those that can be asked for writers.
LEASING = {0xEF53: "ext4", 0x58465342: "xfs", 0x9123683E: "btrfs", 0x01021994: "tmpfs"}
#: Those whose changes all pass through this kernel, so that every one becomes an event.
LOCAL = LEASING | {
    0x794C7630: "overlay",
    0x2FC12FC1: "zfs",
    0xF2F52010: "f2fs",
    0xCA451A4E: "bcachefs",
    0x4D44: "vfat",
    0x2011BAB0: "exfat",
    0x7366746E: "ntfs3",
}
#: Another machine holds the files: locks, mmap and events cannot be relied on. Mounts are known by these names, too.
_DISTANT = {
    0x6969: "nfs",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x01021997: "9p",
    0x5346414F: "afs",
    0x6B414653: "afs",  # the kernel's own
    0x00C36400: "ceph",
    0x73757245: "coda",
    0x0BD00BD0: "lustre",
    0x01161970: "gfs2",
}
#: All numbers that have a name.
KNOWN = LOCAL | _DISTANT | {0x65735546: "fuse"}

#: Those that keep no inodes: a file has another one once it was mounted anew, or long unused.
_RENUMBERING = {0x4D44, 0x2011BAB0}

_DISTANT_NAMES = {*_DISTANT.values(), "nfs4", "smb3", "smbfs", "ncpfs"}  # the last two of kernels before 4.17
#: Any program may stand behind FUSE; these are known to use the local disk, which others may change without an event.
_LOCAL_FUSE = {"fuseblk", "fuse.fuse-overlayfs", "fuse.bindfs", "fuse.mergerfs", "fuse.ntfs-3g"}


def number_of(folder: str) -> int:
    """Return the number of the file system that holds a folder. Raises OSError where it cannot be asked."""
    # struct statfs begins with f_type everywhere; what follows differs and is not read.
    status = ctypes.create_string_buffer(512)
    if _libc.statfs(os.fsencode(folder), status) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), folder)
    return ctypes.c_long.from_buffer(status).value & 0xFFFFFFFF


def renumbers(folder: str) -> bool:
    """Whether the inodes of the files beneath a folder do not last. Raises OSError."""
    return number_of(folder) in _RENUMBERING


def is_distant(name: str) -> bool:
    """Whether another machine, or an unknown program, holds the files."""
    return name in _DISTANT_NAMES or (name.startswith("fuse") and name not in _LOCAL_FUSE)
