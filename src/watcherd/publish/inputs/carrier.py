"""The thread that carries inputs to other file systems; a long input lets the short ones pass.

What waits here holds its claim: behind one that takes minutes, small files would use up all claims of their inbox.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from watcherd import beneath, lifeline
from watcherd.model import SystemFault
from watcherd.publish.inputs.carry import InVain, carry
from watcherd.publish.inputs.custody import ours_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread

    from watcherd.model import Version
    from watcherd.publish.leaving import Leaving
    from watcherd.publish.roots.place import Place
    from watcherd.publish.roots.root import Root

#: Bytes from which on an input is a long one.
LONG = 16 << 20

#: Bytes for each of which, copied in vain, an input rests a second, and the most seconds: it may be in vain for ever,
#: as where its name has a character that the other file system cannot hold.
IN_VAIN, LONGEST_REST = 16 << 10, 600.0


class Carried(NamedTuple):
    """What came of carrying an input: `error` is None where it lies where it belongs, at the version in `leaving`."""

    leaving: Leaving
    error: OSError | SystemFault | None


class _Refusal(NamedTuple):
    """Why an input was copied in vain, and until when, in monotonic seconds, it is not copied again.

    Where a `disk` had less room than the `size` that it needs, it is copied again as soon as there is as much: each
    copy before that would take all there is, and others write there too. What a disk says of its room may be too
    little for us, as where some is reserved for root, or it compresses: so `until` holds there as well.
    """

    error: InVain | SystemFault
    until: float
    disk: Root | None = None
    size: int = 0

    def is_over(self) -> bool:
        """Whether it may be copied again; where the disk cannot be asked, that tells why."""
        if time.monotonic() >= self.until:
            return True
        try:
            return self.disk is not None and self.disk.free()[0] >= self.size
        except SystemFault:
            return True


class Carrier:
    """Carries for one publisher, one input at a time; `report` and `on_death` are called from its thread.

    There is never more in it than there are claims.
    """

    def __init__(
        self, place: Place, report: Callable[[Carried], None], on_death: Callable[[BaseException], None]
    ) -> None:
        self._place = place
        self._report = report
        self._on_death = on_death
        self._orders: SimpleQueue[Leaving | None] = SimpleQueue()
        self._long: deque[Leaving] = deque()
        self._refusals: dict[int, _Refusal] = {}  # by the ids of jobs
        self._stopping = False
        self._thread: Thread | None = None

    def take(self, it: Leaving) -> None:
        """Carry the input of a job, which lies in our own folder of its inbox; once stopped, leave it there."""
        if self._thread is None and not self._stopping:  # most inboxes never need one
            thread = lifeline.thread(self._serve, name=f"carrier-{self._place.inbox}", on_death=self._on_death)
            thread.start()
            self._thread = thread  # not before it runs: else nobody would try again to start it
        self._orders.put(it)

    def stop(self, timeout: float) -> None:
        """Finish what has begun, for at most `timeout` seconds; the rest is taken up at the next start."""
        if self._thread is None:
            self._stopping = True  # nobody would wait for one that begins now
        else:
            self._orders.put(None)
            self._thread.join(timeout)

    def _serve(self) -> None:
        while not self._stopping:
            self._carry_short_ones(wait=not self._long)
            if self._long and not self._stopping:
                self._carry(self._long.popleft(), lambda: self._carry_short_ones(wait=False))

    def _carry_short_ones(self, *, wait: bool) -> None:
        """Carry what is short of what was ordered by now, and note what is long."""
        while not self._stopping:
            try:
                it = self._orders.get(block=wait)
            except Empty:
                return
            wait = False
            if it is None:
                self._stopping = True
            elif it.job.file.version.size >= LONG:
                self._long.append(it)
            else:
                self._carry(it, lambda: None)

    def _carry(self, it: Leaving, between: Callable[[], None]) -> None:
        job = it.job
        refusal = self._refusals.pop(job.id, None)
        if refusal is None or refusal.is_over():
            carried = self._carried(it, between)
            refusal = _refusal(carried.error, job.file.version.size, it.way.into)
        else:
            carried = Carried(it, refusal.error)
        if refusal:
            self._refusals[job.id] = refusal
        self._report(carried)

    def _carried(self, it: Leaving, between: Callable[[], None]) -> Carried:
        if it.way.into is None:
            return Carried(it, None)
        try:
            version = carry(self._place.inbox_path, ours_of(it.job), it.way.into, it.way.retired, it.job.id, between)
        except SystemFault as fault:
            return Carried(it, fault)
        except OSError as error:  # a shortage is a fault now: an error would be met anew at each look at the report
            return Carried(it, beneath.shortage(error) or error)
        return Carried(_at(version, it), None)


def _refusal(error: OSError | SystemFault | None, size: int, disk: Root | None) -> _Refusal | None:
    """Return what is remembered of an input of so many bytes that was copied in vain; nothing of any other."""
    match error:  # without the frames of the error, which hold a block of the copy
        case InVain():
            rest = min(size / IN_VAIN, LONGEST_REST)
            return _Refusal(InVain(error.errno, error.strerror, error.filename), time.monotonic() + rest)
        case SystemFault(errno=errno.ENOSPC) if disk:
            with suppress(SystemFault):
                if disk.free()[0] < size:
                    fault = SystemFault(str(error), root=error.root, errno=error.errno)
                    return _Refusal(fault, time.monotonic() + LONGEST_REST, disk, size)
    return None


def _at(version: Version, it: Leaving) -> Leaving:
    """Return the job with the version that its input was carried at; by its inode it is known as the input."""
    file = it.job.file._replace(version=version._replace(inode=it.job.file.version.inode))
    return it._replace(job=it.job._replace(file=file))
