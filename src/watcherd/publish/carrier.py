"""The thread that carries inputs to other file systems, so that a large one does not hold the small ones."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from watcherd.model import SystemFault
from watcherd.publish.carry import carry
from watcherd.publish.retire import ours_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.ledger.ledger import Intent
    from watcherd.publish.place import Place


class Carried(NamedTuple):
    """What came of carrying an input: `error` is None where it lies where it belongs."""

    intent: Intent
    error: OSError | SystemFault | None


class Carrier:
    """Carries for one publisher, one input at a time; `report` is called from its thread.

    What waits here holds its claim, so there is never more of it than there are claims.
    """

    def __init__(self, place: Place, report: Callable[[Carried], None]) -> None:
        self._place = place
        self._report = report
        self._orders: SimpleQueue[Intent | None] = SimpleQueue()
        self._thread: Thread | None = None

    def take(self, intent: Intent) -> None:
        """Carry the input of `intent`, which lies in our own folder of its inbox."""
        if self._thread is None:  # most inboxes never need one
            self._thread = Thread(target=self._serve, name=f"carrier-{self._place.inbox}", daemon=True)
            self._thread.start()
        self._orders.put(intent)

    def stop(self, timeout: float) -> None:
        """Finish what has begun, for at most `timeout` seconds; the rest is taken up at the next start."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join(timeout)

    def _serve(self) -> None:
        while (intent := self._orders.get()) is not None:
            self._report(Carried(intent, self._carry(intent)))

    def _carry(self, intent: Intent) -> OSError | SystemFault | None:
        way = self._place.way(intent.job, intent.state, intent.number)
        if way.into is None:
            return None
        try:
            carry(self._place.root, ours_of(intent.job), way.into, way.retired, intent.job.id)
        except (OSError, SystemFault) as error:
            return error
        return None
