"""The ways in which a name may change hands, each atomic, none of which overwrites anything.

Python offers only the rename that replaces, so the kernel is asked by `renameat2(2)`. Where a file system does not
know its flags (NFS, some FUSE ones), or a container forbids it, a hard link and an unlink do the same for a file of
ours. They would not for somebody else's: a newer one may get its name between the two, and would be unlinked.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.sameness import are_names_of_one

if TYPE_CHECKING:
    from collections.abc import Callable

_NOREPLACE, _EXCHANGE = 1, 2
_libc = ctypes.CDLL(None, use_errno=True)

#: What a file system answers that does not know the flag, or the call; and one that knows no hard links.
UNKNOWN = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})
LINKLESS = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP})


def take(source: int, name: str, target: int, new_name: str) -> None:
    """Rename anybody's `name` in the folder `source` to `new_name` in the folder `target`, where nothing may be yet.

    Raises OSError: EEXIST where something is, ENOENT where the source is gone, EXDEV across file systems, and one of
    `UNKNOWN` where this file system cannot.
    """
    _renameat2(source, name, target, new_name, _NOREPLACE)


def move(source: int, name: str, target: int, new_name: str) -> None:
    """Rename as `take` does, also where the file system cannot; `name` is one that nobody else gives to a file.

    Where both are names of one file, as of a rename that a power cut left half on disk, `name` is removed.
    """
    try:
        _take_or_link(source, name, target, new_name)
    except FileExistsError:
        if not are_names_of_one(beneath.named(source, name), beneath.named(target, new_name)):
            raise
        os.unlink(name, dir_fd=source)


def _take_or_link(source: int, name: str, target: int, new_name: str) -> None:
    try:
        take(source, name, target, new_name)
    except OSError as error:
        if error.errno not in UNKNOWN:
            raise
        _link_and_unlink(source, name, target, new_name)


def replace(source: int, name: str, target: int, old_name: str, is_ours: Callable[[os.stat_result], bool]) -> bool:
    """Put `name` in the place of `old_name` if that is ours to replace; return whether it was.

    The two change places and what came out is looked at: between a look and a rename, the name could become a file of
    somebody else's. Raises OSError.
    """
    if not is_ours(os.lstat(old_name, dir_fd=target)):
        return False
    try:
        exchange(source, name, target, old_name)
    except OSError as error:
        if error.errno not in UNKNOWN:
            raise
        os.replace(name, old_name, src_dir_fd=source, dst_dir_fd=target)  # this file system offers no better
        return True
    if not is_ours(os.lstat(name, dir_fd=source)):
        exchange(source, name, target, old_name)
        return False
    os.unlink(name, dir_fd=source)
    return True


def exchange(source: int, name: str, target: int, other_name: str) -> None:
    """Let two names change places. Raises OSError, one of `UNKNOWN` where this file system cannot."""
    _renameat2(source, name, target, other_name, _EXCHANGE)


def _link_and_unlink(source: int, name: str, target: int, new_name: str) -> None:
    try:
        os.link(name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in LINKLESS:
            raise
        _hold_and_rename(source, name, target, new_name)
    else:
        os.unlink(name, dir_fd=source)


def _hold_and_rename(source: int, name: str, target: int, new_name: str) -> None:
    """Hold `new_name` with an empty file, or folder, and rename over it: a crash in between leaves that there."""
    is_folder = stat.S_ISDIR(os.lstat(name, dir_fd=source).st_mode)  # as what replaced an input, and is given back
    hold, let_go = (os.mkdir, os.rmdir) if is_folder else (_make_file, os.unlink)
    hold(new_name, dir_fd=target)
    try:
        os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
    except OSError:
        let_go(new_name, dir_fd=target)
        raise


def _make_file(name: str, *, dir_fd: int) -> None:
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, dir_fd=dir_fd))


def _renameat2(source: int, name: str, target: int, new_name: str, flags: int) -> None:
    if not hasattr(_libc, "renameat2"):  # another C library than glibc, as musl
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), new_name)
    if _libc.renameat2(source, os.fsencode(name), target, os.fsencode(new_name), flags):
        number = ctypes.get_errno()
        if number == errno.EPERM and _is_forbidden():  # else it is one of a file, or of its folder
            number = errno.ENOSYS
        raise OSError(number, os.strerror(number), new_name)


def _is_forbidden() -> bool:
    """Whether a container forbids the call: it does so whatever is asked, where the kernel finds no such folder."""
    return bool(_libc.renameat2(-1, b"", -1, b"", _NOREPLACE)) and ctypes.get_errno() == errno.EPERM
