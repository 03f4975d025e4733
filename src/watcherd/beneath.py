"""Opening what lies beneath a root, and never anything outside it.

A path is walked component by component with ``dir_fd`` and ``O_NOFOLLOW``, so whatever is swapped in meanwhile,
a symbolic link included, ends in an error instead of a file elsewhere. What is opened for reading is looked at
first, because even opening a FIFO or a device does something to it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from watcherd.model import SystemFault, Version, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The name of our own folder in each root. Dot-folders are never entered by an intake.
OURS = ".watcherd"

#: Errors of opening that are not about the file, but about the whole process or machine.
SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

#: Errors of a disk that takes no more.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def shortage(error: OSError) -> SystemFault | None:
    """Return the fault of the whole process or machine that an error of opening shows; None where it shows none."""
    if error.errno not in SHORTAGE:
        return None
    return SystemFault(f"cannot open files: {error.strerror}", root="", errno=error.errno)


def version_of(status: os.stat_result) -> Version:
    """Return the version that a `stat` shows."""
    return Version(status.st_size, signed(status.st_mtime_ns), signed(status.st_ctime_ns), status.st_ino)


def split(path: str) -> tuple[str, str]:
    """Split a relative path into its folder (empty for the root itself) and its name."""
    folder, _, name = path.rpartition("/")
    return folder, name


def join(folder: str, name: str) -> str:
    """Return the relative path of a name in a folder, which is empty for the root itself."""
    return f"{folder}/{name}" if folder else name


@contextmanager
def folder(root: str, path: str = "", *, make: bool = False) -> Iterator[int]:
    """Open the folder at `path` beneath `root` and yield its descriptor; with `make`, create on disk what is missing.

    Raises OSError: ENOENT where it is missing, ENOTDIR or ELOOP where a component is no real folder.
    """
    descriptor = open_folder(root, path, make=make)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_folder(root: str, path: str = "", *, make: bool = False) -> int:
    """Open the folder at `path` beneath `root`; the caller closes the descriptor. See `folder`."""
    # The root itself is the operator's word, and may be a symbolic link.
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if not path:
        return descriptor
    try:
        return open_within(descriptor, path, make=make, lasting=make)
    finally:
        os.close(descriptor)


def open_within(root: int, path: str, *, make: bool = False, lasting: bool = False) -> int:
    """Open the folder at `path`, not empty, beneath the open folder `root`, which stays open. See `folder`.

    With `lasting`, the names of the folders that it makes are synced to disk.
    """
    descriptor = root
    for component in path.split("/"):
        try:
            if make:
                _make(descriptor, component, lasting=lasting)
            if component == "..":
                raise OSError(errno.EXDEV, "a path beneath a root does not lead upwards", component)
            inner = os.open(component, _FOLDER, dir_fd=descriptor)
        finally:
            if descriptor != root:
                os.close(descriptor)
        descriptor = inner
    return descriptor


def _make(descriptor: int, component: str, *, lasting: bool) -> None:
    with suppress(FileExistsError):
        os.mkdir(component, 0o700 if component == OURS else 0o777, dir_fd=descriptor)
        if lasting:
            sync_names(descriptor)


def sync_names(folder: int) -> None:
    """Write the names in an open folder to disk. Raises OSError.

    Where its file system knows no sync of folders (AFS, OrangeFS, VirtualBox's), no more can be done for them.
    """
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


@contextmanager
def file(root: str, path: str) -> Iterator[tuple[int, os.stat_result]]:
    """Open the regular file at `path` beneath `root` for reading; yield its descriptor and its `fstat`.

    Raises OSError as `folder` does, and EINVAL where something other than a regular file is there.
    """
    inside, name = split(path)
    with folder(root, inside) as parent:
        descriptor, status = open_file(parent, name)
    try:
        yield descriptor, status
    finally:
        let_go(descriptor)


def let_go(descriptor: int) -> None:
    """Close what was only read: a network's mount may fail at that, which says nothing of what was read before."""
    with suppress(OSError):
        os.close(descriptor)


def tree(
    root: str, enters: Callable[[str], bool], on_refused: Callable[[OSError], None]
) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder that `enters` accepts, first the root as "", with the paths in it that are no folders.

    At any depth: `os.walk` takes a frame for each level, and fails where the whole path is too long for the kernel.
    `on_refused` gets the error of a folder that cannot be listed, with its whole path as `filename`.
    """
    waiting = [""]
    while waiting:
        inside, others = waiting.pop(), list[str]()
        try:
            with folder(root, inside) as descriptor, os.scandir(descriptor) as entries:
                for entry in entries:
                    path = join(inside, entry.name)
                    if not entry.is_dir(follow_symlinks=False):
                        others.append(path)
                    elif enters(path):
                        waiting.append(path)
        except OSError as error:
            error.filename = os.path.normpath(f"{root}/{inside}")
            on_refused(error)
        else:
            yield inside, others


class Nearby:
    """Opens the folders of one path after the other: the last one stays open, as the next path is often in it.

    A context manager, because nothing may stay open in a root while nothing goes on there. One thread uses it.
    """

    def __init__(self) -> None:
        self._folder = ("", "")
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def parent(self, root: str, path: str) -> tuple[int, str]:
        """Return the folder that holds `path` beneath `root`, open until the next call, and the last name of `path`.

        Raises OSError as `folder` does.
        """
        inside, name = split(path)
        if self._descriptor < 0 or (root, inside) != self._folder:
            self._leave()
            self._descriptor = open_folder(root, inside)
            self._folder = root, inside
        return self._descriptor, name

    def _leave(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def open_file(parent: int, name: str) -> tuple[int, os.stat_result]:
    """Open the regular file `name` in the folder `parent` for reading; return it, to be closed, with its `fstat`."""
    _regular(os.lstat(name, dir_fd=parent), name)
    descriptor = os.open(name, _FILE, dir_fd=parent)
    try:
        return descriptor, _regular(os.fstat(descriptor), name)
    except OSError:
        os.close(descriptor)
        raise


def _regular(status: os.stat_result, name: str) -> os.stat_result:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", name)
    return status


def status(root: str, path: str) -> os.stat_result | None:
    """Return the `lstat` of `path` beneath `root`, or None where nothing is there."""
    inside, name = split(path)
    try:
        with folder(root, inside) as parent:
            return os.lstat(name, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return None


def named(folder: int, name: str) -> os.stat_result | None:
    """Return the `lstat` of `name` in an open folder; None where nothing has that. Raises OSError otherwise."""
    try:
        return os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None


def is_bare(path: str) -> bool:
    """Whether nothing but our own folder is seen at `path`: it may be the mount point of what is mounted later."""
    with suppress(OSError), os.scandir(path) as entries:
        return all(entry.name == OURS for entry in entries)
    return True


class Doubt:
    """Whether the folder at `path` may be a bare mount point, with what an earlier run had there not mounted yet.

    It may be one until something is seen there: our own folder when this is made, or anything else later. (An inbox
    keeps our folder only if a run was killed, or left something in it.) A run on a bare mount point leaves our folder
    there too, which deceives the next run.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._holds = not os.path.lexists(f"{path}/{OURS}")

    def holds(self) -> bool:
        """Look whether it may still be one."""
        self._holds = self._holds and is_bare(self._path)
        return self._holds
