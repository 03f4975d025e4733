"""Draining: the daemon's own rooms over what is in the inboxes, until nothing is left that could be done.

The inboxes are scanned once and not watched, so that this ends also where new files keep coming.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from queue import Empty
from threading import Lock
from typing import TYPE_CHECKING

from watcherd.access import mend_of
from watcherd.assembly import Died, Ears, Mailbox, deaths
from watcherd.intake.probe import Looks
from watcherd.intake.scan import admitted
from watcherd.model import After, Failed
from watcherd.pruner import Pruner
from watcherd.publish.health import STARTING
from watcherd.rooms import assembled
from watcherd.sameness import looks_like
from watcherd.service import signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from watcherd.assembly import Line
    from watcherd.intake.terms import Inbox
    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Kind
    from watcherd.publish.batch import Exit
    from watcherd.rooms import Rooms
    from watcherd.settings import Settings

#: Seconds between looks at the progress.
_LOOK = 0.02

#: Seconds without the end of any file after which a pause is one that does not pass by itself.
PATIENCE = 10.0

#: Seconds for which old rows of the ledger are forgotten in the end: some 300,000, or millions that are young.
FORGETTING = 5.0

#: Quarantined files that a report names. All of a million would be some 300 MB; `watcherd failures` lists them.
LISTED = 10_000


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What became of the files: paths are relative to their inbox, `seconds` is the time that all of it took.

    `quarantined` has inbox, path, class and message of the first ones, and `unlisted` is how many more there are;
    `waiting` has inbox, path and reason; `left` is how many files have not come to their end. `troubles` say what
    held an inbox up, and what to do about it; `interrupted` is the signal that cut it short, 0 for none.
    """

    published: Mapping[Kind, int]
    quarantined: tuple[tuple[str, str, str, str], ...]
    waiting: tuple[tuple[str, str, str], ...]
    bytes: int
    seconds: float
    unlisted: int = 0
    left: int = 0
    troubles: tuple[str, ...] = ()
    interrupted: int = 0


@dataclass(slots=True)
class _Tally:
    """What has ended so far, counted from the publishers' threads."""

    published: Counter[Kind] = field(default_factory=Counter)
    quarantined: list[tuple[str, str, str, str]] = field(default_factory=list)
    unlisted: int = 0
    bytes: int = 0
    lock: Lock = field(default_factory=Lock)

    def count(self, ended: Exit) -> None:
        job, outcome = ended.job, ended.outcome
        with self.lock:
            self.bytes += job.file.version.size
            if not isinstance(outcome, Failed):  # None is of a result that an earlier run made
                self.published[job.kind] += 1
            elif len(self.quarantined) >= LISTED:
                self.unlisted += 1
            else:
                self.quarantined.append((job.file.inbox, job.file.path, outcome.failure.value, outcome.message))

    @property
    def files(self) -> int:
        return self.published.total() + len(self.quarantined) + self.unlisted


class Patience:
    """Tells a pause that somebody has to end from one that passes by itself (pure). Times are monotonic seconds."""

    def __init__(self) -> None:
        self._files = 0
        self._since = inf  # when the first pause was seen since a file came to its end

    def is_over(self, files: int, now: float, *, paused: bool) -> bool:
        """Whether something is `paused`, and the number of `files` that have ended has not changed for too long."""
        if files != self._files:
            self._files, self._since = files, inf
        if paused:
            self._since = min(self._since, now)
        return paused and now - self._since > PATIENCE


def drain(settings: Settings, progress: Callable[[int, int, int, int], None] | None = None) -> DrainReport:
    """Process what is in the inboxes, and its retries, and report; files still being written are left.

    `progress` is called with files done, files in all, bytes done and bytes in all; all are counted first for it.
    Raises as `daemon.run` does, and whatever ended a room that died; Stopped where a signal to stop came before
    anything was begun.
    """
    began = time.monotonic()
    tally = _Tally()
    mailbox = Mailbox()
    ears = Ears(on_death=mailbox.put, on_end=tally.count)
    with signals.delivered(mailbox.put) as checkpoint, assembled(settings, ears, checkpoint, once=True) as rooms:
        files, size = _census(rooms, checkpoint) if progress else (0, 0)
        show = progress or (lambda *_: None)
        rooms.start()
        interrupted = _until_over(rooms.lines, mailbox, tally, lambda: show(tally.files, files, tally.bytes, size))
        troubles = tuple(trouble for line in rooms.lines if (trouble := _trouble(line)))
        if not interrupted:
            Pruner(rooms.lines, lambda: rooms.settings.ledger.history).prune_at_once(ears.of("pruning"), FORGETTING)
        rooms.stop()  # what is in work ends, or is in its inbox again: only then it can be counted
        for died in deaths(mailbox):
            raise died.error
        left = _census(rooms)[0] if interrupted or troubles else 0
    waiting = tuple((line.name, *entry) for line in rooms.lines for entry in _waiting(line))
    return DrainReport(
        published=tally.published,
        quarantined=tuple(tally.quarantined),
        unlisted=tally.unlisted,
        waiting=waiting,
        bytes=tally.bytes,
        seconds=time.monotonic() - began,
        left=max(len(waiting), left),
        troubles=troubles,
        interrupted=interrupted,
    )


def _until_over(lines: list[Line], mailbox: Mailbox, tally: _Tally, show: Callable[[], None]) -> int:
    """Wait until nothing is left that could be done, or for a signal to stop, which is returned."""
    patience = Patience()
    while not _is_over(lines, patience, tally.files):
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


def _is_over(lines: list[Line], patience: Patience, files: int) -> bool:
    """Whether only what waits for somebody is left of each inbox."""
    given_up = patience.is_over(files, time.monotonic(), paused=any(map(_pause, lines)))
    return all(line.intake.lost or line.intake.drained() or (given_up and _pause(line)) for line in lines)


def _pause(line: Line) -> str:
    """Return why nothing is taken from an inbox for now; empty where all is well, or is about to be."""
    return "" if line.publisher.paused == STARTING else line.publisher.paused


def _trouble(line: Line) -> str:
    """Say what holds an inbox up, if something does."""
    if lost := line.intake.lost:
        return f"the inbox {line.place.inbox_path} is lost: {lost}; {mend_of(lost)}, and drain again"
    pause = _pause(line)
    return pause and f"the inbox {line.place.inbox_path} is paused: {pause}; mend that, and drain again"


def _waiting(line: Line) -> list[tuple[str, str]]:
    """Return what was left for now, with the reason: what is not complete, and inputs whose result is visible."""
    return sorted([*line.intake.waiting(), *line.publisher.unretired().items()])


def _census(rooms: Rooms, checkpoint: Callable[[], None] = lambda: None) -> tuple[int, int]:
    """Return how many files are to be done, and their bytes. `checkpoint` is called for each that is there."""
    files = size = 0
    for line in rooms.lines:
        for its in _undone(line.intake.inbox, rooms.ledger, checkpoint):
            files, size = files + 1, size + its
    return files, size


def _undone(inbox: Inbox, ledger: Ledger, checkpoint: Callable[[], None]) -> Iterator[int]:
    """Yield the size of each file that is not done, going by what is on record.

    Files that cannot be looked at, or vanish meanwhile, are left to the intake.
    """
    with Looks(inbox.root) as looks:
        for _, paths in admitted(inbox):
            done = ledger.ended(inbox.name, paths) if inbox.after is After.KEEP else {}
            for path in paths:
                checkpoint()
                with suppress(OSError):
                    status = looks.status(path)
                    if path not in done or not looks_like(status, done[path]):
                        yield status.st_size
