"""What has come to a publisher and is not settled yet, in equal shares for the kinds.

A flood waits here for several batches. A file of another kind is in the next one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from watcherd.model import CameBack, SystemFault
from watcherd.publish.inputs.carrier import Carried

if TYPE_CHECKING:
    from watcherd.model import Kind, Outcome

    #: What comes to a publisher.
    Arrival = Outcome | Carried | CameBack | SystemFault


class Arrivals:
    """Arrivals that wait, those of a kind in their order. One thread uses it."""

    def __init__(self) -> None:
        self._waiting: dict[Kind | None, deque[Arrival]] = {}

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return any(self._waiting.values())

    def put(self, arrival: Arrival) -> None:
        """Let it wait."""
        self._waiting.setdefault(_kind(arrival), deque()).append(arrival)

    def take(self, most: int) -> list[Arrival]:
        """Take so many at most: an equal share of each kind; what rarer ones leave goes to the others."""
        taken: list[Arrival] = []
        kinds = len(self._waiting)
        for queue in sorted(self._waiting.values(), key=len):
            share = (most - len(taken)) // kinds
            taken += [queue.popleft() for _ in range(min(share, len(queue)))]
            kinds -= 1
        return taken


def _kind(arrival: Arrival) -> Kind | None:
    match arrival:
        case SystemFault():
            return None
        case Carried():
            return arrival.leaving.job.kind
        case CameBack():
            return arrival.kind
    return arrival.job.kind
