"""Draining: the daemon's own rooms over what is in the inboxes, until nothing is left that could be done.

The inboxes are scanned once and not watched, so that this ends also where new files keep coming.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING

from watcherd.assembly import Died, Ears
from watcherd.daemon import assembled
from watcherd.intake.rules import Ignored
from watcherd.model import Done, Failed, State, SystemFault
from watcherd.service import signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from watcherd.assembly import Line
    from watcherd.intake.terms import Inbox
    from watcherd.model import Kind
    from watcherd.publish.batch import Ended
    from watcherd.settings import Settings

#: Seconds between looks at how far it is.
_LOOK = 0.1

#: The class and message of what an earlier run had decided to set aside.
_EARLIER = ("", "decided by an earlier run: see `watcherd failures`")


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What became of the files: paths are relative to their inbox, `seconds` is the time that all of it took.

    `quarantined` has inbox, path, class and message, `waiting` inbox, path and reason; `interrupted` is the signal
    that cut it short, 0 for none.
    """

    published: Mapping[Kind, int]
    quarantined: tuple[tuple[str, str, str, str], ...]
    waiting: tuple[tuple[str, str, str], ...]
    bytes: int
    seconds: float
    interrupted: int = 0


@dataclass(slots=True)
class _Tally:
    """What has ended so far, counted from the publishers' threads."""

    published: Counter[Kind] = field(default_factory=Counter)
    quarantined: list[tuple[str, str, str, str]] = field(default_factory=list)
    bytes: int = 0
    lock: Lock = field(default_factory=Lock)

    def count(self, ended: Ended, told: Done | Failed | None) -> None:
        job = ended.job
        with self.lock:
            self.bytes += job.file.version.size
            if ended.state is State.PUBLISHED:
                self.published[job.kind] += 1
                return
            why = (told.failure.value, told.message) if isinstance(told, Failed) else _EARLIER
            self.quarantined.append((job.file.inbox, job.file.path, *why))

    @property
    def files(self) -> int:
        return self.published.total() + len(self.quarantined)


def drain(settings: Settings, progress: Callable[[int, int, int, int], None] = lambda *_: None) -> DrainReport:
    """Process what is in the inboxes, and its retries, and report; files still being written are left.

    `progress` is called with files done, files in all, bytes done and bytes in all. Raises as `daemon.run` does,
    SystemFault where an inbox is missing once all others are drained, and whatever ended a room that died.
    """
    began = time.monotonic()
    tally = _Tally()
    mailbox: SimpleQueue[int | Died] = SimpleQueue()
    ears = Ears(on_death=mailbox.put, on_end=tally.count)
    with signals.delivered(mailbox.put), assembled(settings, ears, once=True) as daemon:
        files, size = _census(daemon.lines)
        daemon.start()
        interrupted = _until_drained(daemon.lines, mailbox, lambda: progress(tally.files, files, tally.bytes, size))
        waiting = tuple((line.name, *entry) for line in daemon.lines for entry in line.intake.waiting())
        _require_there(daemon.lines)
    seconds = time.monotonic() - began
    return DrainReport(tally.published, tuple(tally.quarantined), waiting, tally.bytes, seconds, interrupted)


def _until_drained(lines: list[Line], mailbox: SimpleQueue[int | Died], show: Callable[[], None]) -> int:
    """Wait until all inboxes are drained, or for a signal to stop, which is returned."""
    while not all(line.intake.drained() or line.intake.lost for line in lines):
        show()
        try:
            message = mailbox.get(timeout=_LOOK)
        except Empty:
            continue
        if isinstance(message, Died):
            raise message.error
        if message in signals.STOP:
            return message
    show()
    return 0


def _require_there(lines: list[Line]) -> None:
    for line in lines:
        if line.intake.lost:
            root = line.place.root
            raise SystemFault(f"the inbox {root} is missing: bring it back, or mount it, and drain again", root=root)


def _census(lines: list[Line]) -> tuple[int, int]:
    """Return how many files, and bytes, the inboxes hold that their rules admit: what a progress bar is drawn by."""
    files = size = 0
    for line in lines:
        for its in _sizes(line.intake.inbox):
            files, size = files + 1, size + its
    return files, size


def _sizes(inbox: Inbox) -> Iterator[int]:
    """Yield the size of each file; what cannot be looked at, or goes meanwhile, is left to the intake."""
    folders = [""]
    while folders:
        folder = folders.pop()
        with suppress(OSError), os.scandir(os.path.join(inbox.root, folder)) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if inbox.recursive and inbox.rules.enters(path):
                        folders.append(path)
                elif entry.is_file(follow_symlinks=False) and not isinstance(inbox.rules.kind(path), Ignored):
                    with suppress(FileNotFoundError):
                        yield entry.stat(follow_symlinks=False).st_size
