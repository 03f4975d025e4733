"""What the log says of a job: the same context for each event, and the facts of its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from watcherd.model import Done, Words
from watcherd.states import State

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from watcherd.model import Failed, Job, Record
    from watcherd.publish.batch import Exit

log = structlog.get_logger(__name__)


def say(level: str, event: str, job: Job | Record, **facts: object) -> None:
    """Log `event` of a job, or of its record."""
    getattr(log, level)(event, inbox=job.file.inbox, path=job.file.path, kind=job.kind, **facts)


def say_end(log: FilteringBoundLogger, ended: Exit) -> None:
    """Log how a job ended, with what came of its work, to a `log` that is bound to its inbox.

    This alone is said of each file, and to be bound anew each time takes a logger longer than all else here.
    """
    path, kind, outcome = ended.job.file.path, ended.job.kind, ended.outcome
    facts = _result(outcome) if isinstance(outcome, Done) else why(outcome) if outcome else {}
    if ended.state is State.PUBLISHED:
        log.info("file.published", path=path, kind=kind, **facts, result=ended.visible)
    else:
        log.warning("file.quarantined", path=path, kind=kind, **facts, reason_file=ended.visible)


def _result(done: Done) -> dict[str, object]:
    """Return what was found out, or made."""
    it, seconds = done.result, round(done.seconds, 6)
    if isinstance(it, Words):
        return {"words": it.words, "seconds": seconds}
    return {"size": f"{it.width}x{it.height}", "seconds": seconds}


def why(failed: Failed) -> dict[str, object]:
    """Return what went wrong, with the traceback where it was a bug of ours."""
    facts: dict[str, object] = {"class": failed.failure.value, "message": failed.message}
    return {**facts, "trace": failed.trace} if failed.trace else facts
