"""Carrying a taken input to where it belongs, from our own folder of its inbox; only then is it removed there.

On the same file system that is a hard link. To another one it is copied, verified, synced and renamed: this takes as
long as the file is large, so something else may be done between its blocks. It is synced on the way, too, as one sync
of all would take as long.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING

from watcherd import beneath, sameness
from watcherd.beneath import OURS
from watcherd.model import SystemFault
from watcherd.publish.roots.rename import LINKLESS, move

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watcherd.model import Draft, Version
    from watcherd.publish.roots.root import Root

_BLOCK = 1 << 20
_SYNC = 32 * _BLOCK

#: Errors that say that something of the original cannot be held by a file system, or set by us, or is gone again.
_REFUSALS = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.ERANGE, errno.E2BIG, errno.ENODATA}
)


class InVain(OSError):
    """An input was copied, or a part of it, for nothing: to try again costs as much, and may be in vain for ever."""


def carry(  # noqa: PLR0913, PLR0917 (from where, to where, and how)
    inbox: str, source: str, root: Root, path: str, number: int, between: Callable[[], None]
) -> Version:
    """Have `source` beneath `inbox` at `path` beneath `root` as well, by a link or a draft with `number`.

    Return the version of `source` that was carried: somebody may write into it at any time, and a copy whose file
    system cannot hold the exact time does not tell which version it is of.

    A copy keeps mode, times and extended attributes; the owner where we may. `between` is called between its blocks.
    Raises FileExistsError where the name is taken, SystemFault where `root` fails, OSError where the source, or the
    folder for its copy, cannot be opened, InVain where it fails after that.
    """
    root.check()
    with beneath.file(inbox, source) as (original, status):
        version = beneath.version_of(status)
        if _is_there(root, path, original, status, between) or _linked(inbox, source, root.path, path):
            return version
        with _in_vain():
            draft = _copied(original, status, root, number, between)
    try:
        with _in_vain():
            give_name(root.path, draft.name, path)
    finally:
        root.discard(draft.name)
    return version


@contextmanager
def _in_vain() -> Iterator[None]:
    """Raise an OSError as InVain, unless it is that a name is taken: then it is carried by another one.

    A file that is larger than any that its new file system can hold is in vain, too: as a fault of the system it
    would pause its inbox for ever. So is one for which a quota has no room: whether it has by now only a copy tells.
    """
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise InVain(error.errno, error.strerror, error.filename) from error
    except SystemFault as fault:
        if fault.errno not in {errno.EFBIG, errno.EDQUOT}:
            raise
        raise InVain(fault.errno, os.strerror(fault.errno), fault.root) from fault


def copied(folder: str, source: str, root: Root, number: int, between: Callable[[], None]) -> Draft:
    """Return a draft beneath `root` that is a copy of `source` beneath `folder`, on disk. See `carry`."""
    with beneath.file(folder, source) as (original, status):
        return _copied(original, status, root, number, between)


def _copied(original: int, status: os.stat_result, root: Root, number: int, between: Callable[[], None]) -> Draft:
    name, descriptor = root.new_draft(number)
    try:
        _fill(original, descriptor, root, between)
        _require_unchanged(original, status)
        _finish(original, descriptor, status, root, between)
        return root.written(name, descriptor)
    except BaseException:
        root.discard(name)
        raise
    finally:
        os.close(descriptor)


def _is_there(root: Root, path: str, original: int, status: os.stat_result, between: Callable[[], None]) -> bool:
    """Whether an earlier attempt, cut short, has carried this file already: the same bytes with the same time.

    Not where the name is that of another file, as where names do not differ by case alone. It may have been cut short
    before they were on disk, which they are then.
    """
    folder, name = beneath.split(path)
    try:
        with beneath.file(root.path, path) as (other, found), beneath.folder(root.path, folder) as target:
            if not (sameness.is_copy(found, status) and _lists(target, name) and _equal(original, other, between)):
                return False
            with root.faults():
                os.fsync(other)
                beneath.sync_names(target)
    except OSError:
        return False  # nothing there, or nothing that could be ours: naming the copy will tell
    return True


def _lists(folder: int, name: str) -> bool:
    """Whether what a folder has by that name is called so, to the letter. Raises OSError."""
    with os.scandir(folder) as entries:
        return any(entry.name == name for entry in entries)


def _linked(inbox: str, source: str, root: str, path: str) -> bool:
    """Link it; False where that cannot be: across file systems, on one without links, or where we may not."""
    (ours, own_name), (folder, name) = beneath.split(source), beneath.split(path)
    with beneath.folder(inbox, ours) as taken, beneath.folder(root, folder, make=True) as target:
        try:
            os.link(own_name, name, src_dir_fd=taken, dst_dir_fd=target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EMLINK, *LINKLESS}:
                raise
            return False
        beneath.sync_names(target)
    return True


def _fill(original: int, copied: int, root: Root, between: Callable[[], None]) -> None:
    for number, block in enumerate(_blocks(original), 1):
        left = memoryview(block)
        with root.faults():
            while left:
                left = left[os.write(copied, left) :]
            if number * _BLOCK % _SYNC == 0:
                os.fdatasync(copied)
        between()


def _require_unchanged(original: int, status: os.stat_result) -> None:
    """Raise OSError where somebody still writes into the original: what comes after the copy would be lost."""
    if not sameness.looks_like(os.fstat(original), beneath.version_of(status)):
        raise OSError(errno.EBUSY, "changed while it was copied")


def _finish(original: int, copied: int, status: os.stat_result, root: Root, between: Callable[[], None]) -> None:
    _dress(original, copied, status, root)
    with root.faults():
        os.fsync(copied)
    if not _equal(original, copied, between):
        raise SystemFault(f"{root.path}: a copy differs from its original", root=root.path, errno=errno.EIO)


def _equal(one: int, other: int, between: Callable[[], None]) -> bool:
    for mine, theirs in zip_longest(_blocks(one), _blocks(other)):
        if mine != theirs:
            return False
        between()
    return True


def _blocks(descriptor: int) -> Iterator[bytes]:
    at = 0
    while block := os.pread(descriptor, _BLOCK, at):
        yield block
        at += len(block)


def _dress(original: int, copied: int, status: os.stat_result, root: Root) -> None:
    """Give the copy what is known of the original, as far as its file system can hold it.

    Raises SystemFault where that fails, OSError where the original cannot be read, or its owner's quota is full.
    """
    with _unless_refused(copied):
        _give(copied, status, root)
    with root.faults(), _unless_refused(copied):
        os.fchmod(copied, status.st_mode & 0o7777)
    with _unless_refused(copied):
        for attribute in os.listxattr(original):
            with _unless_refused(copied):
                value = os.getxattr(original, attribute)
                with root.faults(), _unless_refused(copied):
                    os.setxattr(copied, attribute, value)
    with root.faults(), _unless_refused(copied):
        os.utime(copied, ns=(status.st_atime_ns, status.st_mtime_ns))


def _give(copied: int, status: os.stat_result, root: Root) -> None:
    """Give the copy to the owner of the original. Raises OSError where that is refused, or their quota is full."""
    try:
        os.fchown(copied, status.st_uid, status.st_gid)
    except OSError as error:
        if error.errno not in {errno.EDQUOT, *_REFUSALS}:
            raise root.fault(error) from error
        error.filename = root.path
        raise


@contextmanager
def _unless_refused(copied: int) -> Iterator[None]:
    """Go on where this file system, or our rights, do not allow it; a full disk is no such case."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS and not _is_too_large(error, copied):
            raise


def _is_too_large(error: OSError, copied: int) -> bool:
    """Whether an attribute has no room in its file, as in ext4 beyond 4 KiB: said as if the disk were full."""
    status = os.fstatvfs(copied)
    return error.errno == errno.ENOSPC and status.f_bavail * status.f_frsize > _BLOCK


def give_name(root: str, draft: str, path: str) -> None:
    """Rename a draft to `path` beneath `root`, which is on disk then. Raises OSError: EEXIST where that is taken."""
    folder, name = beneath.split(path)
    # Not the root's own descriptor of its drafts: the publisher may let go of that one at any time.
    with beneath.folder(root, OURS) as drafts, beneath.folder(root, folder, make=True) as target:
        move(drafts, draft, target, name)
        beneath.sync_names(target)
