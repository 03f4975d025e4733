"""Inputs that cannot be taken for now: only time, or their owner, clears what is in their way."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from watcherd.model import Job, SystemFault

if TYPE_CHECKING:
    from watcherd.publish.leaving import Leaving
    from watcherd.publish.stages import Stage

#: Inputs that may wait: more are a fault of the system. And how many are tried again at a time.
MOST, AT_A_TIME = 4096, 1024


class Hindered(NamedTuple):
    """A job with something in its way for now, as `reason` says: it waits without its claim."""

    job: Job
    reason: str


class Unretired:
    """The inputs of the inbox at `root` that wait, each to be tried again at the stage of its batch where it was.

    What is to become of them is on record, so they hold no claim. One thread uses it.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._waiting: deque[tuple[Stage, Leaving]] = deque()
        self._hindered: dict[int, Hindered] = {}  # by the ids of their jobs; also while they are tried again

    def __bool__(self) -> bool:
        """Whether anything waits, or is tried again."""
        return bool(self._hindered)

    def reasons(self) -> dict[str, str]:
        """Return the paths of what waits, or is tried again, each with what is in its way. For any thread."""
        return {it.job.file.path: it.reason for it in self._hindered.copy().values()}

    def put(self, stage: Stage, it: Leaving, reason: str) -> Hindered | None:
        """Let a job wait, to be tried again at a stage; return what is to be told of one that is new here.

        Raises SystemFault where too many wait already.
        """
        if len(self._waiting) >= MOST:
            why = "`file.unretired` says why of each"  # to name one would be another message each time
            message = f"{MOST:,} inputs cannot be taken out of {self._root}: {why}"
            raise SystemFault(message, root=self._root)
        self._waiting.append((stage, it))
        known = it.job.id in self._hindered
        hindered = self._hindered[it.job.id] = Hindered(it.job, reason)
        return None if known else hindered

    def released(self) -> list[tuple[Stage, Leaving]]:
        """Take what is to be tried again: some at a time, those first that wait longest."""
        return [self._waiting.popleft() for _ in range(min(AT_A_TIME, len(self._waiting)))]

    def leave(self, it: Leaving) -> bool:
        """Forget a job that came to its end; return whether it had waited."""
        return self._hindered.pop(it.job.id, None) is not None
