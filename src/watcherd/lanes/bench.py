"""Where one job is done: its input is opened, a draft made, the slot works, and what came of it is its outcome.

Whatever happens in between, the input is let go, and a draft that holds no result is discarded.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from watcherd import beneath, sameness
from watcherd.lanes.errors import failed, unreadable
from watcherd.lanes.slot import Cut, DraftError
from watcherd.lanes.work import close_draft
from watcherd.model import Done, Returned, Stalled, SystemFault
from watcherd.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.lanes.slot import Slot
    from watcherd.model import Draft, Job, Limits, Outcome, Result

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a lane knows of an inbox: its `root`, and how drafts are made, sent to disk and discarded in its outbox.

    The first and the last raise SystemFault; `fault` makes one of an error in writing a draft.
    """

    root: str
    new_draft: Callable[[int], tuple[Draft, int]]
    hasten: Callable[[int], None]
    discard: Callable[[str], None]
    fault: Callable[[OSError], SystemFault]

    def work(self, job: Job, slot: Slot, limits: Limits, nearby: beneath.Nearby) -> Outcome:
        """Have `slot` work on a job, if its input is still the one that was admitted, and return what came of it."""
        try:
            source, status = beneath.open_file(*nearby.parent(self.root, job.file.path))
            try:
                if not sameness.is_still(status, job.file.version):
                    return Returned(job, State.WAITING, "changed before it was worked on", changed=True)
                return self._process(job, slot, limits, source)
            finally:
                beneath.let_go(source)
        except SystemFault as fault:
            return Stalled(job, fault)
        except OSError as error:
            return unreadable(job, error)

    def _process(self, job: Job, slot: Slot, limits: Limits, source: int) -> Outcome:
        begin = time.monotonic()
        draft, descriptor = self.new_draft(job.id)
        try:
            result = self._written(job, slot, limits, source, descriptor)
            return Done(job, draft, result, time.monotonic() - begin)
        except Exception as error:
            self.discard(draft.name)
            if isinstance(error, DraftError):
                raise self.fault(error) from error
            if isinstance(error, Cut):
                log.info("file.cut_short", kind=job.kind, inbox=job.file.inbox, path=job.file.path)
            return failed(job, error)

    def _written(self, job: Job, slot: Slot, limits: Limits, source: int, draft: int) -> Result:
        try:
            result = slot.run(job, source, draft, limits)
            self.hasten(draft)
            return result
        finally:
            close_draft(draft)

    def clear(self, outcome: Outcome) -> None:
        """Clear away what a thread made that was given up meanwhile: its job has another outcome."""
        if isinstance(outcome, Done):
            with suppress(SystemFault):  # then it is removed later
                self.discard(outcome.draft.name)
