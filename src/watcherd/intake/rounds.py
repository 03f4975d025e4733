"""When an inbox is scanned, and what its walks are told: each kind's cursor, and the scans of the whole by all."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

import structlog

from watcherd import beneath
from watcherd.intake.scan import Cursor, Listener, walk
from watcherd.model import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watcherd.intake.root import InboxRoot
    from watcherd.intake.terms import Inbox

log = structlog.get_logger(__name__)

#: Seconds between scans of an inbox that cannot be watched, or listed, as a whole.
BLIND_RESCAN = 5.0
#: A scan is followed by this many times its own processor time without one: with all else that an idle daemon does,
#: 2 % of a core.
SCAN_SHARE = 60
#: One in which a folder failed, by this many times as long as it held up all else: a dying disk is slow to say so.
FAILED_SHARE = 10


@dataclass(slots=True)
class _Part:
    """One kind's part of a scan of the whole: done when its cursor has answered what `until` says."""

    cursor: Cursor
    until: int
    spent: float = 0.0  # processor seconds
    again: float = 0.0  # when to walk it once more if another kind's part is not done by then; 0: not done itself

    @property
    def is_done(self) -> bool:
        return self.cursor.answered >= self.until


@dataclass(slots=True)
class _Round:
    """A scan of the whole."""

    reason: str
    parts: dict[Kind, _Part]
    began: float
    files: int = 0


class Rounds:
    """The scans of `inbox`, which may be replaced by another of the same root. Used by one thread.

    `unlisted` are the folders that cannot be listed, each with the reason.
    """

    def __init__(self, inbox: Inbox, root: InboxRoot) -> None:
        self.inbox = inbox
        self._root = root
        self._log = log.bind(inbox=inbox.name)
        self._cursors = {kind: Cursor(self._walker(kind)) for kind in Kind}
        self._round: _Round | None = None
        self.unlisted: dict[str, str] = {}  # those that refused any kind's walk since they were last asked for
        self._told: set[str] = set()  # those, of this scan and the one before, that the log has said
        self._failed = False  # whether a folder was refused since a scan last began, and no event says when to retry
        self._held = 0.0  # seconds for which the last scan, or the one under way, held up all else of the inbox
        self.next = inf  # when the next one is due, monotonic seconds
        self.ended = 0.0  # when the last one ended, Unix seconds

    def _walker(self, kind: Kind) -> Callable[[str], Iterator[list[str]]]:
        listener = Listener(entered=self._entered, refused=self._refused)
        if kind is Kind.TEXT:  # what is not taken is said once, not by each kind's walk
            listener = replace(listener, ignored=self._ignored)
        return lambda top: walk(self.inbox, kind, listener, top)

    def wants(self, kind: Kind) -> bool:
        """Whether there is something to take for this kind."""
        return self._cursors[kind].wants

    def ask(self, reason: str) -> None:
        """Ask for a scan of the whole, which also arms what could not be watched before."""
        self.unlisted.clear()
        self._failed, self._held = False, 0.0
        self._root.reconsider()
        parts = {kind: _Part(cursor, cursor.ask()) for kind, cursor in self._cursors.items()}
        self._round = _Round(reason, parts, time.monotonic())
        self.next = inf

    def ask_kind(self, kind: Kind) -> None:
        """Ask for a scan for one kind, of which something was not remembered."""
        self._cursors[kind].ask()

    def ask_folder(self, folder: str) -> None:
        """Ask for a scan of one folder and what is below it; of the whole, if that is the root (empty)."""
        if not folder:
            self.ask("changed root")
        elif self.inbox.rules.enters(folder):
            for it in self._unlisted_in(folder):
                del self.unlisted[it]
            for cursor in self._cursors.values():
                cursor.ask_folder(folder)

    def touched(self, folder: str) -> None:
        """Ask for a scan of what was refused in a watched folder whose rights, or only times, were changed."""
        # One that may not be entered now is asked for itself: refused, it is remembered until it is touched again.
        for it in self._unlisted_in(folder) if self._root.may_enter(folder) else [folder]:
            self.ask_folder(it)

    def _unlisted_in(self, folder: str) -> list[str]:
        beneath_it = folder and folder + "/"
        return [it for it in self.unlisted if it == folder or it.startswith(beneath_it)]

    def take(self, kind: Kind, most: int) -> list[str]:
        """Return the next paths for one kind, at most `most`."""
        paths = self._cursors[kind].take(most)
        if self._round is not None and not self._round.parts[kind].is_done:
            self._round.files += len(paths)
        return paths

    @contextmanager
    def charged(self, kind: Kind) -> Iterator[None]:
        """Count the body as a cost of this kind's part of the scan under way."""
        began, since = time.thread_time(), time.monotonic()
        yield
        if self._round is not None:
            self._round.parts[kind].spent += time.thread_time() - began
            self._held += time.monotonic() - since

    def conclude(self, period: float) -> None:
        """If the scan under way is done, say so, and put off the next one for `period` seconds or more."""
        done = self._round
        if done is None:
            return
        if not all(part.is_done for part in done.parts.values()):
            self._walk_again(done, period)
            return
        self._round = None
        self._told.intersection_update(self.unlisted)
        self._root.concluded()
        self.ended = time.time()
        now = time.monotonic()
        self.next = now + self._pause(period, sum(part.spent for part in done.parts.values()))
        tell = self._log.debug if done.reason == "period" else self._log.info
        tell("inbox.rescanned", reason=done.reason, files=done.files, seconds=round(now - done.began, 6))

    def _walk_again(self, under_way: _Round, period: float) -> None:
        """Have each kind walked by the clock that waits for another: one whose lane is full may do so for hours."""
        now = time.monotonic()
        for part in under_way.parts.values():
            if part.cursor.wants:
                continue
            part.again = part.again or now + self._pause(period, part.spent)
            if now >= part.again:
                part.again = part.spent = 0.0
                part.cursor.ask()

    def _pause(self, period: float, spent: float) -> float:
        """Return the seconds between two scans that take so many of the processor."""
        return max(self.period(period), SCAN_SHARE * spent)

    def period(self, usual: float) -> float:
        """Return the seconds between scans: fewer than usual where something cannot be watched, or was not listed."""
        if self._root.blind:
            return min(usual, BLIND_RESCAN)
        return min(usual, max(BLIND_RESCAN, FAILED_SHARE * self._held)) if self._failed else usual

    def _hasten(self) -> None:
        """Scan soon where a folder could not be watched or listed outside of a scan of the whole."""
        if self._round is None:
            self.next = min(self.next, time.monotonic() + self.period(inf))

    def suspend(self) -> None:
        """Close what is open; what was under way begins again when something is taken."""
        for cursor in self._cursors.values():
            cursor.suspend()

    # What a walk tells ---------------------------------------------------------------------------------------------

    def _entered(self, descriptor: int, folder: str) -> None:
        """Watch a folder that is about to be listed."""
        self._root.arm(descriptor, folder)
        self._hasten()

    def _refused(self, folder: str, error: OSError) -> None:
        """Remember a folder that cannot be listed, and say so; its turn comes again with its next event or scan.

        Raises SystemFault where descriptors are short.
        """
        if fault := beneath.shortage(error):
            self._log.debug("file.waiting", path=folder, reason=str(fault))  # a broken mount may say so of one alone
            raise fault from error
        self.unlisted[folder] = reason = str(error.strerror)
        if folder not in self._told:
            self._told.add(folder)
            self._log.warning("folder.unreadable", path=folder, reason=reason)
        # An event tells that rights were given back, and none that a disk was mended. A drain does not scan again: it
        # would take what came since its start.
        self._failed = self._failed or not (isinstance(error, PermissionError) or self.inbox.once)
        self._hasten()

    def _ignored(self, path: str, reason: str) -> None:
        """Say what is not taken."""
        self._log.debug("file.ignored", path=path, reason=reason)
