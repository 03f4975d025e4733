"""The gate: the one way from a path that came to our notice to a job in its lane, for one kind of one inbox.

    wanted? → in flight? → what is there now → settled? → what the ledger knows → being written? → claimed → offered

Every way of discovery leads through here, and nothing that is turned back is forgotten: it waits with its reason
and is looked at again, or a scan will meet it again. A job that its lane has no room for is parked, and until it is
gone nothing else of its kind is looked at.
"""

from __future__ import annotations

import errno
import heapq
import stat
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING

import structlog

from watcherd import beneath, decide
from watcherd.intake.probe import Looks
from watcherd.intake.settle import How, Reason, Sighting, Wait, Writer, judge, stretched
from watcherd.model import After, Failed, File, Job, SystemFault
from watcherd.states import State

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from watcherd.intake.settle import Pace
    from watcherd.intake.terms import Desk, Terms
    from watcherd.ledger.claims import Claims
    from watcherd.model import Ended, Kind, Record

log = structlog.get_logger(__name__)

#: Files led through at once: one question to the ledger, and a few milliseconds.
BLOCK = 256
#: Of these, one in so many is for what has settled, and one for what a scan found: while more is hinted at than a
#: lane takes, neither would have a turn.
SHARE = 4
#: Paths that may wait to be looked at, and paths that may be settling; beyond, a scan finds them again.
MOST_HINTS = 4_096
MOST_WAITING = 4_096
#: Files remembered for having changed while they were worked on, and seconds: once calm, they are as all others.
MOST_RESTLESS, RESTLESS = 1_024, 3_600.0
#: Seconds until an unreadable file is tried again without an event; while descriptors are short.
UNREADABLE, SHORT = 30.0, 1.0

#: What says less than anything that is known already.
_WEAK = frozenset({How.SEEN, How.TOUCHED})
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.EXDEV})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})


class Gate:
    """The gate for files of `kind`. Used by one thread; `waiting` may be read by others."""

    def __init__(self, kind: Kind, claims: Claims, desk: Desk) -> None:
        self.kind = kind
        self._claims = claims
        self._desk = desk
        self._hints: dict[str, How] = {}
        self._waiting: dict[str, Wait] = {}
        self._alarms: list[tuple[float, str]] = []  # a heap; entries that `_waiting` no longer bears out are skipped
        self._restless: dict[str, tuple[int, float, float]] = {}  # path → inode, quiet time, until when it is asked
        self._parked: deque[Job] = deque()
        self._log = log.bind(kind=kind)  # bound once: what is not wanted then costs next to nothing
        self._overdue = inf  # when a scan must look for what found no room in `_waiting`

    # What is going on ----------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether there are paths to look at now, or jobs to hand over."""
        return bool(self._hints or self._parked)

    @property
    def blocked(self) -> bool:
        """Whether nothing can be led through until somebody downstream has room."""
        return bool(self._parked) or self.room() <= 0

    @property
    def settling(self) -> bool:
        """Whether a file is here that quiet alone makes complete."""
        return self._overdue < inf or any(known.reason == Reason.SETTLING for known in self._waiting.values())

    @property
    def alarm(self) -> float:
        """When the next file is to be looked at again, in monotonic seconds."""
        return min(self._alarms[0][0] if self._alarms else inf, self._overdue)

    def is_overdue(self, now: float) -> bool:
        """Whether a scan must look for what there was no room to remember; said once."""
        if now < self._overdue:
            return False
        self._overdue = inf
        return True

    def waits(self, path: str) -> bool:
        """Whether this path is not complete, or cannot be read."""
        return path in self._waiting

    def waiting(self) -> list[tuple[str, str]]:
        """Return the paths that are not complete, or cannot be read, each with its reason."""
        return [(path, known.reason) for path, known in self._waiting.copy().items()]

    # What comes in -------------------------------------------------------------------------------------------------

    def hint(self, path: str, how: How) -> bool:
        """Remember to look at `path`; False where there is no room, so that a scan must find it."""
        known = self._hints.get(path)
        if known is None and len(self._hints) >= MOST_HINTS:
            return False
        if known is How.CHANGED or (known is not None and how in _WEAK):
            return True
        self._hints[path] = how
        return True

    def forget(self) -> None:
        """Forget what is known of files that wait: their inbox is gone, or is to be looked at with new eyes."""
        self._hints.clear()
        self._waiting.clear()
        self._alarms.clear()
        self._overdue = inf

    def wind(self) -> None:
        """Have all that waits looked at when its time comes, also what was taken for that and not led through."""
        self._alarms = sorted((known.until, path) for path, known in self._waiting.items())

    def flush(self) -> bool:
        """Hand over what is parked; False where the lane is still full."""
        if self._parked:
            for _ in range(self._desk.offer(self._parked)):
                job = self._parked.popleft()
                self._log.debug("file.queued", inbox=job.file.inbox, path=job.file.path, attempts=job.attempts)
        return not self._parked

    def room(self) -> int:
        """Return how many files may be led through now."""
        return min(BLOCK, self._claims.room())

    def take(self, now: float, most: int) -> dict[str, How]:
        """Take up to `most` of the paths to look at: those hinted at, then a share of those whose time has come."""
        hinted = most - most // SHARE if self._alarms and self._alarms[0][0] <= now else most
        taken = {path: self._hints.pop(path) for path in list(self._hints)[:hinted]} if self._hints else {}
        while self._alarms and self._alarms[0][0] <= now and len(taken) < most:
            until, path = heapq.heappop(self._alarms)
            known = self._waiting.get(path)
            if known is not None and known.until == until:
                taken.setdefault(path, How.SEEN)
        return taken

    # The way through -----------------------------------------------------------------------------------------------

    def admit(self, hints: Mapping[str, How], terms: Terms) -> None:
        """Lead these paths through, at most `room()` of them."""
        with Looks(terms.inbox.root) as looks:
            undone = self._undone(looks, hints, terms)
            settled = [seen for path, how in undone.items() if (seen := self._settled(looks, path, how, terms))]
            if not settled:
                return
            records = self._desk.lookup([seen.path for seen in settled])
            for seen in settled:
                self._decide(looks, seen, records.get(seen.path), terms)
        self.flush()

    def _undone(self, looks: Looks, hints: Mapping[str, How], terms: Terms) -> Mapping[str, How]:
        """Leave out what is kept and done: there may be a million of them, and each scan meets them again.

        Where all else has to wait, they would take the places of new files among those that do. A network's cache may
        show one as it was a minute ago, which the next scan makes good: to open each would take twice as long.
        """
        if terms.inbox.after is not After.KEEP:
            return hints
        ended = self._desk.ended(list(hints))
        return {path: how for path, how in hints.items() if not self._is_done(looks, path, ended.get(path), terms)}

    def _is_done(self, looks: Looks, path: str, ended: Ended | None, terms: Terms) -> bool:
        if ended is None:
            return False
        try:
            status = looks.status(path)
        except OSError:
            return False  # what that means is told by who looks next
        done = decide.is_done(ended, status.st_size, status.st_mtime_ns)
        if done:
            self._waiting.pop(path, None)
            self._ignored(path, f"is {ended.state} already", terms)
        return done

    def _settled(self, looks: Looks, path: str, how: How, terms: Terms) -> Sighting | None:
        if self._claims.holds(path):
            self._waiting.pop(path, None)
            return None
        try:
            status = looks.status(path) if terms.mount.lease else looks.fresh(path)
        except OSError as error:
            self._unseen(path, how, error)
            return None
        if not stat.S_ISREG(status.st_mode):
            self._gone(path, how)
            self._ignored(path, what_it_is(status.st_mode), terms)
            return None
        sighting = self._sighting(path, how, status, terms)
        # The kernel is asked last, and only about what is otherwise complete.
        return self._judged(sighting, Writer.FREE if terms.mount.lease else Writer.UNKNOWN, terms)

    def _decide(self, looks: Looks, seen: Sighting, record: Record | None, terms: Terms) -> None:
        admission = decide.admission(record, seen.version, terms.inbox.after, terms.inbox.policy, time.time())
        match admission:
            case decide.Admit():
                unwritten = self._unwritten(looks, seen, terms)
                if unwritten is not None:
                    self._welcome(record)
                    self._admit(self._job(unwritten, admission, terms))
            case decide.Condemn():
                self._condemn(seen, admission, terms)
            case decide.Leave(reason):
                self._waiting.pop(seen.path, None)
                self._ignored(seen.path, reason, terms)
            case decide.Later():
                self._waiting.pop(seen.path, None)  # the ledger knows when it is due

    def _unwritten(self, looks: Looks, seen: Sighting, terms: Terms) -> Sighting | None:
        """Return what is there now if nobody is writing it."""
        if not terms.mount.lease:
            return seen
        try:
            status, writer = looks.writer(seen.path)
        except OSError as error:
            self._unseen(seen.path, seen.how, error)
            return None
        if writer is Writer.FREE and beneath.is_still(status, seen.version):
            return seen
        return self._judged(self._sighting(seen.path, seen.how, status, terms), writer, terms)

    def _welcome(self, record: Record | None) -> None:
        if record is not None and record.state is State.QUARANTINED:
            self._desk.came_back(record)

    def _job(self, seen: Sighting, charges: decide.Admit, terms: Terms) -> Job:
        file = File(terms.inbox.name, seen.path, seen.version)
        return Job(self._desk.next_id(), file, self.kind, charges.attempts, charges.kills, charges.alone)

    def _admit(self, job: Job) -> None:
        self._waiting.pop(job.file.path, None)
        if self._claims.claim(job.file.path):  # or it is somebody else's since we looked, and comes back when free
            self._parked.append(job)  # handed over with what is admitted beside it: a worker takes several at a time

    def _condemn(self, seen: Sighting, verdict: decide.Condemn, terms: Terms) -> None:
        self._claims.claim(seen.path)
        self._waiting.pop(seen.path, None)
        job = self._job(seen, decide.Admit(verdict.attempts - 1, alone=True), terms)
        try:
            self._desk.condemn(Failed(job, verdict.failure, verdict.message))
        except SystemFault:
            self._claims.release(seen.path)  # a scan meets it again
            raise

    # What is turned back -------------------------------------------------------------------------------------------

    def _sighting(self, path: str, how: How, status: os.stat_result, terms: Terms) -> Sighting:
        now = time.time()
        version = beneath.version_of(status)
        if how is How.CHANGED:
            self._stretch(path, version.inode, terms.pace)
        return Sighting(
            path,
            version,
            how,
            changed_ago=now - status.st_ctime,
            written_ago=now - status.st_mtime,
            linked=status.st_nlink > 1,
            restless=self._quiet_time(path, version.inode) if self._restless else 0.0,
        )

    def _quiet_time(self, path: str, inode: int) -> float:
        """Return the seconds of quiet to ask of a file that changed while it was worked on; 0 of any other."""
        its, seconds, until = self._restless.get(path, (0, 0.0, 0.0))
        return seconds if its == inode and time.monotonic() < until else 0.0

    def _stretch(self, path: str, inode: int, pace: Pace) -> None:
        seconds = stretched(self._quiet_time(path, inode), pace)
        self._restless.pop(path, None)  # the last to have changed is the last to be forgotten
        self._restless[path] = inode, seconds, time.monotonic() + RESTLESS
        if len(self._restless) > MOST_RESTLESS:
            del self._restless[next(iter(self._restless))]

    def _judged(self, sighting: Sighting, writer: Writer, terms: Terms) -> Sighting | None:
        known = self._waiting.get(sighting.path)
        wait = judge(sighting, known.settling if known else None, time.monotonic(), terms.pace, writer)
        if wait is None:
            return sighting
        self._wait(sighting.path, wait)
        return None

    def _wait(self, path: str, waiting: Wait) -> None:
        if path not in self._waiting and not self._has_place_for(waiting):
            if waiting.settling:  # else its event, or a scan by the clock, brings it back
                self._overdue = min(self._overdue, waiting.until)
            return
        self._waiting[path] = waiting
        heapq.heappush(self._alarms, (waiting.until, path))
        if len(self._alarms) > 4 * MOST_WAITING:
            self.wind()

    def _has_place_for(self, waiting: Wait) -> bool:
        """Whether one more may be remembered. What cannot be read may wait for ever: half the places are not its."""
        return len(self._waiting) < (MOST_WAITING if waiting.settling else MOST_WAITING // 2)

    def _unseen(self, path: str, how: How, error: OSError) -> None:
        if error.errno in _GONE:
            self._gone(path, how)
            return
        reason = Reason.PERMISSION if error.errno in _FORBIDDEN else str(error.strerror)
        self._wait(path, Wait(time.monotonic() + self._patience(error), reason, None))

    def _patience(self, error: OSError) -> float:
        """Return seconds until an unreadable file is looked at again. A shortage is told, and pauses the intake."""
        fault = beneath.shortage(error)
        if fault is None:
            return UNREADABLE
        self._desk.on_fault(fault)
        return SHORT

    def _gone(self, path: str, how: How) -> None:
        self._waiting.pop(path, None)
        self._restless.pop(path, None)
        if how is How.DUE:
            self._desk.drop(path)

    def _ignored(self, path: str, reason: str, terms: Terms) -> None:
        self._log.debug("file.ignored", inbox=terms.inbox.name, path=path, reason=reason)


def what_it_is(mode: int) -> str:
    """Return, for people, what a thing of this `st_mode` is, if it is no regular file."""
    names = {
        stat.S_IFLNK: "is a symbolic link",
        stat.S_IFIFO: "is a FIFO",
        stat.S_IFSOCK: "is a socket",
        stat.S_IFCHR: "is a device",
        stat.S_IFBLK: "is a device",
        stat.S_IFDIR: "is a folder",
    }
    return names.get(stat.S_IFMT(mode), "is no regular file")
