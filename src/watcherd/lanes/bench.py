"""Where one job is done: its input is opened, a draft made, the slot works, and what came of it is its outcome.

Whatever happens in between, the input is let go, and a draft that holds no result is discarded.
"""

from __future__ import annotations

import errno
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from watcherd import beneath, sameness
from watcherd.lanes.slot import Cut, DraftError, WorkerKilled
from watcherd.lanes.work import close_draft
from watcherd.model import Done, Failed, Failure, FileFault, Returned, Stalled, SystemFault
from watcherd.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.lanes.slot import Slot
    from watcherd.model import Draft, Job, Limits, Outcome

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a lane knows of an inbox: its `root`, and how its outbox makes, measures and discards drafts.

    `new_draft` takes a job's id and returns a name and a descriptor to fill, which `written` takes once it is filled;
    `discard` takes a name. All three raise SystemFault; `fault` makes one of an error in writing a draft.
    """

    root: str
    new_draft: Callable[[int], tuple[str, int]]
    written: Callable[[str, int], Draft]
    discard: Callable[[str], None]
    fault: Callable[[OSError], SystemFault]

    def work(self, job: Job, slot: Slot, limits: Limits, nearby: beneath.Nearby) -> Outcome:
        """Have `slot` work on a job, if its input is still the one that was admitted, and return what came of it."""
        began = time.monotonic()
        try:
            source, status = beneath.open_file(*nearby.parent(self.root, job.file.path))
            try:
                if not sameness.is_still(status, job.file.version):
                    return Returned(job, State.WAITING, "changed before it was worked on", changed=True)
                return self._process(job, slot, limits, source, began)
            finally:
                beneath.let_go(source)
        except DraftError as error:
            return _stalled(job, self.fault(error), began)
        except SystemFault as fault:
            return _stalled(job, fault, began)
        except (FileFault, WorkerKilled, Cut, MemoryError, OSError) as error:
            return _failed(job, error)

    def _process(self, job: Job, slot: Slot, limits: Limits, source: int, began: float) -> Done:
        name, descriptor = self.new_draft(job.id)
        try:
            try:
                result = slot.run(job, source, descriptor, limits)
                draft = self.written(name, descriptor)
            finally:
                close_draft(descriptor)
        except Exception:
            self.discard(name)
            raise
        return Done(job, draft, result, time.monotonic() - began)

    def clear(self, outcome: Outcome) -> None:
        """Clear away what a thread made that was given up meanwhile: its job has another outcome."""
        if isinstance(outcome, Done):
            with suppress(SystemFault):  # then it is removed later
                self.discard(outcome.draft.name)


def _stalled(job: Job, fault: SystemFault, began: float) -> Stalled:
    """Say how long a fault took to be seen: until its pause is over it needs as long to be seen again."""
    fault.took = time.monotonic() - began
    return Stalled(job, fault)


def _failed(job: Job, error: FileFault | WorkerKilled | Cut | MemoryError | OSError) -> Outcome:
    """Say what an error is as the outcome of its job: the file's, the system's, or nobody's."""
    match error:
        case FileFault():
            return Failed(job, error.failure, str(error), trace=error.trace)
        case WorkerKilled():
            return Failed(job, Failure.CRASHED, str(error), charged=False)
        case Cut():
            log.info("file.cut_short", kind=job.kind, inbox=job.file.inbox, path=job.file.path)
            return Returned(job, State.WAITING, "stopped")
        case MemoryError():  # in our own process, where a text takes as little as any other
            return Stalled(job, SystemFault("cannot work on a file: out of memory", root="", errno=errno.ENOMEM))
        case OSError():
            return _unreadable(job, error)


def _unreadable(job: Job, error: OSError) -> Outcome:
    """Say what an error in opening or reading an input means."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return Returned(job, State.VANISHED, "removed before it was taken")
    if isinstance(error, PermissionError):
        return Returned(job, State.WAITING, "permission")
    if fault := beneath.shortage(error):
        return Stalled(job, fault)
    # Where the disk, or a mount, fails, it is looked at again less and less often, as if it had changed.
    return Returned(job, State.WAITING, f"cannot be read for now: {error.strerror}", changed=True)
