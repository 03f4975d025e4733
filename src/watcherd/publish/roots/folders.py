"""The folders that one batch works in: each is opened once, and synced once where something was put into it.

A root stays open while its batch lasts, and all else is opened from there: where its file system goes in the middle
of a batch, nothing lands on the bare mount point.
"""

from __future__ import annotations

import os
from typing import Self

from watcherd import beneath
from watcherd.publish.roots import disk

#: Folders held open at once. A batch may touch more; a process may not open so many.
_OPEN = 64


class Folders:
    """Descriptors of folders beneath roots, open for the length of a ``with``. One thread uses it.

    What was touched and not synced, because an error came between, is remembered for the next time. Nothing is synced
    that is not to be `durable`.
    """

    def __init__(self, *, durable: bool = True) -> None:
        self._durable = durable
        self._roots: dict[str, int] = {}
        self._open: dict[tuple[str, str], int] = {}  # within them; what was used last is last
        self._touched: dict[tuple[str, str], None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._close_oldest()
        while self._roots:
            os.close(self._roots.popitem()[1])

    def root(self, root: str) -> int:
        """Return the descriptor of a root. Raises OSError."""
        if root not in self._roots:
            self._roots[root] = beneath.open_folder(root)
        return self._roots[root]

    def parent(self, root: str, path: str, *, make: bool = False) -> tuple[int, str]:
        """Return the descriptor of the folder that holds `path` beneath `root`, and the last name of `path`.

        The descriptor is good until many others were asked for. With `make` the folder is made where it is missing.
        Raises OSError as `beneath.folder` does.
        """
        folder, name = beneath.split(path)
        return self._descriptor(root, folder, make=make), name

    def forget(self, root: str, path: str) -> None:
        """Let the folder of `path` be opened anew: its owner may have removed it since."""
        descriptor = self._open.pop((root, beneath.split(path)[0]), None)
        if descriptor is not None:
            os.close(descriptor)

    def status(self, root: str, path: str) -> os.stat_result | None:
        """Return the `lstat` of `path` beneath `root`; None where nothing is. Raises OSError otherwise."""
        try:
            parent, name = self.parent(root, path)
            return os.lstat(name, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def has(self, root: str, path: str) -> bool:
        """Whether something is seen at `path` beneath `root`. Only a rename that overwrites nothing can be sure.

        It takes a quarter of the time of `status`, which makes an error of each name that is free. Raises OSError.
        """
        try:
            parent, name = self.parent(root, path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return os.access(name, os.F_OK, dir_fd=parent, effective_ids=True, follow_symlinks=False)

    def touch(self, root: str, path: str) -> None:
        """Note that the folder of `path` was changed, and is to be synced."""
        if self._durable:
            self._touched[root, beneath.split(path)[0]] = None

    def touch_all(self, root: str, path: str) -> None:
        """Note the same of it and all folders around it, which may be new as well: each holds a name of the next."""
        while path:
            self.touch(root, path)
            path, _ = beneath.split(path)

    def sync(self) -> None:
        """Write what was touched to disk. Raises OSError that names the folder."""
        while self._touched:
            key = next(iter(self._touched))
            try:
                self._to_disk(*key)
            except (FileNotFoundError, NotADirectoryError):
                pass  # removed by its owner meanwhile, with all that was in it
            except OSError as error:
                raise OSError(error.errno, error.strerror, "/".join(filter(None, key))) from error
            del self._touched[key]

    def _to_disk(self, root: str, folder: str) -> None:
        try:
            descriptor = self._descriptor(root, folder, make=False)
        except PermissionError:  # closed to us since then
            if not disk.sync_all(self.root(root)):
                os.sync()
        else:
            beneath.sync_names(descriptor)

    def _descriptor(self, root: str, folder: str, *, make: bool) -> int:
        if not folder:
            return self.root(root)
        descriptor = self._open.pop((root, folder), None)
        if descriptor is None:
            if len(self._open) >= _OPEN:
                self._close_oldest()
            self.root(root)  # first: what is wrong with it names it
            try:
                descriptor = self._entered(root, folder, make=make)
            except OSError as error:  # which names one component, of no root
                error.filename = f"{root}/{folder}"
                raise
        self._open[root, folder] = descriptor  # again at the end
        return descriptor

    def _entered(self, root: str, folder: str, *, make: bool) -> int:
        try:
            return beneath.open_within(self.root(root), folder)
        except FileNotFoundError:
            if not make:
                raise
        self.touch_all(root, folder)
        return beneath.open_within(self.root(root), folder, make=True)

    def _close_oldest(self) -> None:
        os.close(self._open.pop(next(iter(self._open))))
