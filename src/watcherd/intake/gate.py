"""The gate: the one way from a path that came to our notice to a job in its lane, for one kind of one inbox.

    done? → in flight? → what is there now → settled? → what the ledger knows → being written? → claimed → offered

Every way of discovery of what the rules want leads through here, and nothing that is turned back is forgotten: it
waits with its reason and is looked at again, or a scan will meet it again. A job that its lane has no room for is
parked, and until it is gone nothing else of its kind is looked at.
"""

from __future__ import annotations

import errno
import stat
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING

import structlog

from watcherd import beneath, decide, sameness
from watcherd.intake.pending import SHARE, Pending
from watcherd.intake.probe import Looks
from watcherd.intake.restless import Restless
from watcherd.intake.rules import what_it_is
from watcherd.intake.settle import How, Reason, Sighting, Wait, Writer, wait_of
from watcherd.model import After, CameBack, Failed, File, Job, SystemFault
from watcherd.states import State

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from watcherd.intake.rounds import Rounds
    from watcherd.intake.terms import Desk, Terms
    from watcherd.ledger.claims import Claims
    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Ended, Kind, Record

log = structlog.get_logger(__name__)

#: Files led through at once: one question to the ledger, and a few milliseconds.
BLOCK = 256
#: Seconds until an unreadable file is tried again without an event, and one on which another process has a lease.
UNREADABLE, LEASED = 30.0, 1.0

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.EXDEV})


class Gate:
    """The gate for files of `kind` in `inbox`; `pending` are the paths to be led through. Used by one thread.

    Each kind has its own, so that one whose lane is full holds up no other; `rounds` find what no hint names.
    `checkpoint` is called before each look at a path, and may raise to end a block: on a slow mount it takes minutes.
    `drop` is called with the path of a retry or a suspect whose file is gone.
    """

    def __init__(  # noqa: PLR0913 (what it is wired to)
        self,
        inbox: str,
        kind: Kind,
        ledger: Ledger,
        claims: Claims,
        desk: Desk,
        *,
        rounds: Rounds,
        checkpoint: Callable[[], None],
        drop: Callable[[str], None],
    ) -> None:
        self.pending = Pending()
        self._inbox = inbox
        self._kind = kind
        self._ledger = ledger
        self._claims = claims
        self._desk = desk
        self._rounds = rounds
        self._checkpoint = checkpoint
        self._drop = drop
        self._restless = Restless()
        self._parked: deque[Job] = deque()
        self._log = log.bind(inbox=inbox, kind=kind)  # bound once, so that an unwanted event costs next to nothing

    # What is going on ----------------------------------------------------------------------------------------------

    @property
    def blocked(self) -> bool:
        """Whether nothing can be led through until somebody downstream has room."""
        return bool(self._parked) or self.room() <= 0

    @property
    def can_go_on(self) -> bool:
        """Whether something can be led through at once."""
        return not self.blocked and (self.pending.hinted or self._rounds.wants(self._kind))

    @property
    def alarm(self) -> float:
        """When the next file is to be looked at again, in monotonic seconds; never while nothing is led through."""
        return inf if self.blocked else self.pending.alarm

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left to be led through, besides what is parked: that is in flight."""
        return not (self.pending.hinted or self.pending.settling or self._rounds.wants(self._kind))

    def flush(self) -> None:
        """Hand over what is parked, as far as the lane has room."""
        if self._parked:
            for _ in range(self._desk.offer(self._parked)):
                job = self._parked.popleft()
                self._log.debug("file.queued", path=job.file.path, attempts=job.attempts)

    def room(self) -> int:
        """Return how many files may be led through now."""
        return min(BLOCK, self._claims.room())

    # The way through -----------------------------------------------------------------------------------------------

    def advance(self, terms: Terms) -> None:
        """Lead through what is to be looked at, and then a stride of the scan. Raises SystemFault."""
        if self.pending.take_overdue(time.monotonic()):  # there was no room to remember what a scan is to find now
            self._rounds.ask_kind(self._kind)
        self.flush()
        if self.blocked:
            return
        room, wants = self.room(), self._rounds.wants(self._kind)
        hints = self.pending.take(time.monotonic(), room - room // SHARE if wants else room)
        self.admit(hints, terms)
        # Even if the hints have filled the lane: there was room for both together.
        if wants and (left := min(room - len(hints), self.room())) > 0:
            with self._rounds.charged(self._kind):
                paths = self._rounds.take(self._kind, left)
                self.admit(dict.fromkeys(paths, How.SEEN), terms)

    def admit(self, hints: Mapping[str, How], terms: Terms) -> None:
        """Lead these paths through, at most `room()` of them. Raises SystemFault."""
        with Looks(terms.inbox.root) as looks:
            undone = self._undone(looks, hints, terms)
            settled = [seen for path, how in undone.items() if (seen := self._settled(looks, path, how, terms))]
            if not settled:
                return
            records = self._ledger.lookup(self._inbox, [seen.path for seen in settled])
            for seen in settled:
                self._decide(looks, seen, records.get(seen.path), terms)
        self.flush()

    def _undone(self, looks: Looks, hints: Mapping[str, How], terms: Terms) -> Mapping[str, How]:
        """Leave out kept files that are done: there may be a million of them, and each scan meets them again.

        On a mount where every file has to settle first, they would crowd out new ones. Their status may come from a
        network's cache, a minute old: the next scan sees the new one, and opening each would take twice as long.
        """
        if terms.inbox.after is not After.KEEP:
            return hints
        ended = self._ledger.ended(self._inbox, list(hints))
        done = {path: it.state for path, it in ended.items() if self._is_done(looks, path, it)}
        for path, state in done.items():
            self._leave(path, f"is {state} already")
        return {path: how for path, how in hints.items() if path not in done}

    def _is_done(self, looks: Looks, path: str, ended: Ended) -> bool:
        self._checkpoint()
        try:
            return sameness.looks_like(looks.status(path), ended)
        except OSError:
            return False  # whoever looks next tells what that means

    def _settled(self, looks: Looks, path: str, how: How, terms: Terms) -> Sighting | None:
        self._checkpoint()
        if self._claims.holds(path):  # and it comes back once it is free
            return None
        try:
            status = looks.status(path) if terms.mount.lease else looks.fresh(path)
        except OSError as error:
            self._unseen(path, how, error)
            return None
        if not stat.S_ISREG(status.st_mode):
            self._gone(path, how)
            self._leave(path, what_it_is(status.st_mode))
            return None
        sighting = self._sighting(path, how, status, terms)
        # The kernel is asked last, and only about what is otherwise complete.
        return self._if_complete(sighting, Writer.FREE if terms.mount.lease else Writer.UNKNOWN, terms)

    def _decide(self, looks: Looks, seen: Sighting, record: Record | None, terms: Terms) -> None:
        self._checkpoint()
        admission = decide.admission(record, seen.version, terms.inbox.after, terms.inbox.policy, time.time())
        match admission:
            case decide.Admit():
                unwritten = self._unwritten(looks, seen, terms)
                if unwritten is not None:
                    self._admit(self._job(unwritten, admission), record)
            case decide.Condemn():
                self._condemn(seen, admission)
            case decide.Leave(reason):
                self._leave(seen.path, reason)
            case decide.Later():
                self.pending.drop(seen.path)  # the ledger knows when it is due

    def _unwritten(self, looks: Looks, seen: Sighting, terms: Terms) -> Sighting | None:
        """Return what is there now if nobody is writing it."""
        if not terms.mount.lease:
            return seen
        try:
            status, writer = looks.writer(seen.path)
        except OSError as error:
            self._unseen(seen.path, seen.how, error)
            return None
        if writer is Writer.FREE and sameness.is_still(status, seen.version):
            return seen
        return self._if_complete(self._sighting(seen.path, seen.how, status, terms), writer, terms)

    def _job(self, seen: Sighting, charges: decide.Admit) -> Job:
        file = File(self._inbox, seen.path, seen.version)
        return Job(self._ledger.next_id(), file, self._kind, *charges)

    def _admit(self, job: Job, record: Record | None) -> None:
        if record is not None and record.state is State.QUARANTINED:
            self._desk.put(CameBack(record, job.kind))
        self.pending.drop(job.file.path)
        if self._claims.claim(job.file.path):  # else it was claimed since we looked, and comes back when free
            self._parked.append(job)  # handed over together: a worker takes several at a time

    def _condemn(self, seen: Sighting, verdict: decide.Condemn) -> None:
        self._claims.claim(seen.path)
        self.pending.drop(seen.path)
        job = self._job(seen, decide.Admit(verdict.attempts - 1, alone=True))
        try:
            self._ledger.hand_over([job])
        except SystemFault:
            self._claims.release(seen.path)  # a scan meets it again
            raise
        self._desk.put(Failed(job, verdict.failure, verdict.message))

    # What is turned back -------------------------------------------------------------------------------------------

    def _sighting(self, path: str, how: How, status: os.stat_result, terms: Terms) -> Sighting:
        now = time.time()
        version = beneath.version_of(status)
        if how is How.CHANGED:
            self._restless.changed(path, version.inode, terms.pace, time.monotonic())
        restless = self._restless.quiet(path, version.inode, time.monotonic()) if self._restless.known else 0.0
        changed_ago, written_ago = now - status.st_ctime, now - status.st_mtime
        return Sighting(path, version, how, changed_ago, written_ago, linked=status.st_nlink > 1, restless=restless)

    def _if_complete(self, sighting: Sighting, writer: Writer, terms: Terms) -> Sighting | None:
        """Return a file that is complete; have any other wait."""
        wait = wait_of(sighting, self.pending.known(sighting.path), time.monotonic(), terms.pace, writer)
        if wait is None:
            return sighting
        self.pending.wait(sighting.path, wait)
        return None

    def _unseen(self, path: str, how: How, error: OSError) -> None:
        if fault := beneath.shortage(error):
            self._log.debug("file.waiting", path=path, reason=str(fault))  # a broken mount may say so of one alone
            raise fault from error
        if error.errno in _GONE:
            self._gone(path, how)
            return
        if isinstance(error, BlockingIOError):  # another has a lease on it, as file servers for clients that write
            self.pending.wait(path, Wait(time.monotonic() + LEASED, Reason.WRITTEN, None))
            return
        reason = Reason.PERMISSION if isinstance(error, PermissionError) else str(error.strerror)
        if self.pending.wait(path, Wait(time.monotonic() + UNREADABLE, reason, None)):
            self._log.warning("file.unreadable", path=path, reason=str(reason))

    def _gone(self, path: str, how: How) -> None:
        self.pending.drop(path)
        self._restless.forget(path)
        if how is How.DUE:
            self._drop(path)

    def _leave(self, path: str, reason: str) -> None:
        self.pending.drop(path)
        self._log.debug("file.ignored", path=path, reason=reason)
