"""Scans: what lies in an inbox, whatever events said. Cursors that stop where their lane is full, and go on later.

A cursor belongs to one kind and holds a folder's open listing and the names of folders still to come, never a list
of files, so a million of them take no more memory than a thousand. Folders are opened component by component and
listed by descriptor: a folder swapped for a link in mid-scan leads nowhere.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.intake.rules import Ignored, what_it_is
from watcherd.model import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watcherd.intake.terms import Inbox

#: Entries looked at before a cursor hands over what it has, even nothing: a hint does not wait behind a long scan.
STRIDE = 1_000
#: Seconds after which it does so at the latest, as on a mount that is asked for each entry; and entries between two
#: looks at the clock.
LONGEST, FEW = 0.5, 10
#: Folders remembered one by one; more, and the whole inbox is scanned instead.
MOST_FOLDERS = 256

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who is told what a walk meets on its way."""

    entered: Callable[[int, str], None] = lambda *_: None  # a folder that is open now, and about to be listed
    refused: Callable[[str, OSError], None] = lambda *_: None  # a folder that cannot be listed
    ignored: Callable[[str, str], None] = lambda *_: None  # what is taken by no kind, with the reason


def admitted(
    inbox: Inbox, on_refused: Callable[[str, OSError], None] = lambda *_: None
) -> Iterator[tuple[Kind, list[str]]]:
    """Yield the paths of the regular files that the inbox's rules admit, kind by kind, in blocks of at most 1,000.

    `on_refused` is told of a folder that cannot be listed.
    """
    for kind in Kind:
        for paths in walk(inbox, kind, Listener(refused=on_refused)):
            yield kind, paths


def walk(inbox: Inbox, kind: Kind, listener: Listener, top: str = "") -> Iterator[list[str]]:
    """Yield the paths of an inbox's files of `kind` in and below the folder `top`, in blocks.

    A block may be empty: it is handed over after `STRIDE` entries or `LONGEST` seconds, and after a folder that
    cannot be listed. It is sorted, as neighbours share pages of the ledger's index.
    """
    return _Walk(inbox, kind, listener, top).blocks()


class _Walk:
    """One walk, and the folders that are still to come."""

    def __init__(self, inbox: Inbox, kind: Kind, listener: Listener, top: str) -> None:
        self._root = inbox.root
        self._rules = inbox.rules
        self._kind = kind
        self._listener = listener
        self._folders = [top]

    def blocks(self) -> Iterator[list[str]]:
        while self._folders:
            folder = self._folders.pop()
            try:
                yield from self._list(folder)
            except OSError as error:
                if error.errno not in _GONE or not folder:
                    self._listener.refused(folder, error)
                    yield []

    def _list(self, folder: str) -> Iterator[list[str]]:
        prefix = folder + "/" if folder else ""
        with beneath.folder(self._root, folder) as descriptor:
            os.lstat(".", dir_fd=descriptor)  # raises where it may be listed, but nothing in it be looked at
            self._listener.entered(descriptor, folder)
            taken, looked, ends = list[str](), 0, time.monotonic() + LONGEST
            for few in _few(descriptor):
                for entry in few:
                    if self._takes(entry, path := prefix + entry.name):
                        taken.append(path)
                looked += FEW
                if looked >= STRIDE or time.monotonic() > ends:
                    yield sorted(taken)
                    taken, looked, ends = [], 0, time.monotonic() + LONGEST
            yield sorted(taken)

    def _takes(self, entry: os.DirEntry[str], path: str) -> bool:
        """Return whether this is a file of our kind; remember a folder, and tell the listener of all else."""
        try:
            is_file = entry.is_file(follow_symlinks=False)
            is_folder = not is_file and entry.is_dir(follow_symlinks=False)
        except OSError as error:  # its type is not in the listing, as on some file systems, and cannot be asked for
            return self._may_be(path, error)
        if is_file:
            found = self._rules.kind(path)
            if isinstance(found, Ignored):
                self._listener.ignored(path, found.reason)
            return found is self._kind
        if not is_folder:
            with suppress(OSError):  # gone already, or not to be looked at: then there is nothing to say
                self._listener.ignored(path, what_it_is(entry.stat(follow_symlinks=False).st_mode))
        elif self._rules.enters(path):
            self._folders.append(path)
        return False

    def _may_be(self, path: str, error: OSError) -> bool:
        """Judge by its name what cannot be looked at: what is no file of any kind may be a folder."""
        found = self._rules.kind(path)
        if isinstance(found, Ignored) and self._rules.enters(path):
            self._listener.refused(path, error)
        return found is self._kind


def _few(folder: int) -> Iterator[list[os.DirEntry[str]]]:
    """Yield the entries of an open folder, `FEW` at a time."""
    with os.scandir(folder) as entries:
        while few := list(islice(entries, FEW)):
            yield few


class Cursor:
    """Where the scan of one kind stands.

    A scan of the whole that is asked for while one runs follows it: a scan answers what was asked for before it
    started, so no request is lost. Folders go first, all that were asked for; then the whole goes a stride on.
    """

    def __init__(self, walker: Callable[[str], Iterator[list[str]]]) -> None:
        self._walker = walker
        self._folders: dict[str, None] = {}
        self._whole: Iterator[list[str]] | None = None
        self._part: Iterator[list[str]] | None = None
        self._rest: list[str] = []
        self._asked = 0  # times that a scan of the whole was asked for
        self._answers = 0  # those that the last one begun answers
        self.answered = 0  # and those that have been answered

    @property
    def wants(self) -> bool:
        """Whether there is something to take."""
        return bool(self._rest or self._part or self._whole or self._folders or self._asked > self._answers)

    def ask(self) -> int:
        """Ask for a scan of the whole; return what `answered` will have come to once it is done."""
        self._asked += 1
        return self._asked

    def ask_folder(self, folder: str) -> None:
        """Ask for a scan of one folder and what is below it."""
        if len(self._folders) < MOST_FOLDERS:
            self._folders[folder] = None
        else:
            self.ask()

    def take(self, most: int) -> list[str]:
        """Return the next paths, at most `most`; none does not mean that there are no more."""
        if not self._rest:
            self._rest = self._next()
        taken, self._rest = self._rest[:most], self._rest[most:]
        return taken

    def suspend(self) -> None:
        """Close what is open, and begin again when there is a reason to go on."""
        if self.wants:
            self._answers = self._asked - 1  # what was last asked for is answered by one that begins anew
        self._folders.clear()
        self._whole = self._part = None
        self._rest = []

    def _next(self) -> list[str]:
        if self._part is None and self._folders:
            self._part = chain.from_iterable(map(self._walker, self._folders))
            self._folders = {}  # the next ones wait for a stride of the whole, as they may never cease
        if self._part is not None:
            block = next(self._part, None)
            if block is not None:
                return block
            self._part = None
        return self._step_whole() if self._whole or self._asked > self._answers else []

    def _step_whole(self) -> list[str]:
        if self._whole is None:
            self._answers = self._asked
            self._whole = self._walker("")
        block = next(self._whole, None)
        if block is None:
            self._whole = None
            self.answered = self._answers
        return block or []
