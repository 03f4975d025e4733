"""Where what a batch has in work waits for its next step, which says where it goes on."""

from __future__ import annotations

from collections import deque
from enum import StrEnum, unique
from math import inf
from typing import TYPE_CHECKING

from watcherd.publish.leaving import Leaving
from watcherd.turns import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@unique
class Stage(StrEnum):
    """What is done for a job, and what is not."""

    READY = "a draft is written, and nothing on record"
    CHECKED = "that is durable, and about to be on record"
    INTENDED = "on record, and not visible"
    SHOWN = "visible, and that is not on disk yet"
    VISIBLE = "visible, and its input not retired"
    COLLIDED = "the same, and something has its input's name where that belongs"
    CARRIED = "its input is where it belongs, and not removed from our own folder"
    RETIRED = "its input is retired, and that is not on disk yet"


#: Where a job goes on, and how it is then; None where it has left, or waits aside.
Onward = tuple[Stage, Leaving] | None


class Stages:
    """What is in work, each at its stage. One thread uses it.

    `fail` gets what fails alone in a step, and its error; `alive` is called before each step.
    """

    def __init__(self, fail: Callable[[Stage, Leaving, OSError], None], alive: Callable[[], None]) -> None:
        self._fail = fail
        self._alive = alive
        self._at: dict[Stage, deque[Leaving]] = {stage: deque() for stage in Stage}

    def __bool__(self) -> bool:
        """Whether anything is in work."""
        return any(self._at.values())

    def at(self, stage: Stage) -> Sequence[Leaving]:
        """Return what waits at a stage."""
        return self._at[stage]

    def put(self, stage: Stage, *jobs: Leaving) -> None:
        """Let jobs wait at a stage."""
        self._at[stage].extend(jobs)

    def taken(self, stage: Stage) -> list[Leaving]:
        """Take all that waits at a stage."""
        jobs = list(self._at[stage])
        self._at[stage].clear()
        return jobs

    def each(self, stage: Stage, step: Callable[[Leaving], Onward], most: float = inf) -> None:
        """Let each that waits at a stage, or `most` of them, take a step. A SystemFault leaves it where it is."""
        queue = self._at[stage]
        if not queue:
            return  # and waits for nobody's turn
        with turn():
            while queue and most > 0:
                most -= 1
                self._alive()
                try:
                    onward = step(queue[0])
                except OSError as error:
                    self._fail(stage, queue[0], error)
                else:
                    if onward:
                        self._at[onward[0]].append(onward[1])
                queue.popleft()
