"""Whether the daemon makes progress: which rooms stand still; and its line of status.

A room that stands still is most often held by a mount that does not answer. A restart would not help, and would stop
the other inboxes as well; so the daemon counts as hung only where no inbox makes progress.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING

import structlog

from watcherd.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watcherd.assembly import Line

log = structlog.get_logger(__name__)

#: Seconds without progress after which a room is said to be stuck. With nothing to do, each makes some every second.
STILL = 60.0

#: Looks in the time in which a room may stand still.
LOOKS = 4


class Pulse:
    """The progress of the intake and the publisher of each line.

    `patience`: seconds after which whoever watches the daemon kills it. `period`: seconds between two looks.
    """

    def __init__(self, lines: Sequence[Line], patience: float = inf) -> None:
        self._lines = lines
        self._still = min(STILL, patience / 2)
        self.period = self._still / LOOKS
        self._stuck: set[str] = set()
        self._felt = time.monotonic()

    def feel(self) -> bool:
        """Say which rooms stand still, and which go on again; return whether any inbox makes progress."""
        now = time.monotonic()
        late, self._felt = now - self._felt > self._still / 2, now
        if late:  # the whole process was stopped, and its rooms had no chance to go on
            return True
        held = [_standing_still(line, now - self._still) for line in self._lines]
        stuck = {room for rooms in held for room in rooms}
        for room in sorted(stuck - self._stuck):
            log.error("room.stuck", room=room, seconds=self._still)
        for room in sorted(self._stuck - stuck):
            log.info("room.recovered", room=room)
        self._stuck = stuck
        return not all(held)


def _standing_still(line: Line, since: float) -> list[str]:
    """Return the rooms of a line that have made no progress since then."""
    progressed = {"intake": line.intake.progressed, "publisher": line.publisher.progressed}
    return [f"{room} of {line.name}" for room, at in progressed.items() if at < since]


def status(lines: Sequence[Line]) -> str:
    """Say in one line what was done since the start, what is in hand, and what is wrong."""
    published, quarantined = (
        sum(line.publisher.ended[state] for line in lines) for state in (State.PUBLISHED, State.QUARANTINED)
    )
    in_hand = sum(line.publisher.in_hand for line in lines)
    counts = f"{published:,} published, {quarantined:,} quarantined, {in_hand:,} in hand"
    return "; ".join([counts, *(trouble for line in lines if (trouble := _trouble(line)))])


def _trouble(line: Line) -> str:
    if line.intake.lost:
        return f"{line.name} lost"
    return f"{line.name} paused: {line.publisher.paused}" if line.publisher.paused else ""
