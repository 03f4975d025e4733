"""When the ledger is asked for retries, and which of them are to be looked at now.

It is asked when the next one is due, and soon after one may have been put on record. Retries that wait at the gate,
for instance until their writer is done, are not hinted at again and again, and do not hide others that are due.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from watcherd.intake.pending import Pending
    from watcherd.ledger.ledger import Ledger

#: Seconds between two questions to the ledger, at least.
SOON = 0.1
#: Seconds between two questions while some are due, and wait.
AGAIN = 1.0
#: Retries that one question returns at most, besides those that wait.
MOST = 1_000


class Retries:
    """The retries of `inbox`; `pendings` know which of them wait. Used by one thread."""

    def __init__(self, inbox: str, ledger: Ledger, pendings: Collection[Pending]) -> None:
        self._inbox = inbox
        self._ledger = ledger
        self._pendings = pendings
        self._due: Sequence[str] = ()  # when the ledger was last asked
        self._asked = -inf
        self.at = 0.0  # when it is to be asked again, in monotonic seconds

    def hasten(self) -> None:
        """Ask soon: one may have been put on record."""
        self.at = self._asked + SOON

    def due(self, furthest: float) -> list[str]:
        """Return those that are due and do not wait; none where it is not time to ask. Raises SystemFault.

        One that is due in more than `furthest` seconds is due too: the clock has been set back.
        """
        now = time.monotonic()
        if now < self.at:
            return []
        self.at, self._asked = now + self._ask(furthest), now
        return [path for path in self._due if not self._waits(path)]

    def all_wait(self) -> bool:
        """Whether all of them wait. Raises SystemFault."""
        if self.at == inf:
            return True
        return self._each_waits(self._due) and self._each_waits(self._on_record(inf, inf, 1))  # also those due later

    def _ask(self, furthest: float) -> float:
        """Ask which are due; return the seconds until the ledger is to be asked again."""
        now, earliest = time.time(), self._ledger.earliest_due(self._inbox)
        if earliest is None:
            self._due = ()
            return inf
        self._due = self._on_record(now, now + furthest, MOST)
        return AGAIN if self._due else max(SOON, earliest - now)

    def _each_waits(self, paths: Sequence[str]) -> bool:
        """Whether there are any, and each of them waits."""
        return bool(paths) and all(map(self._waits, paths))

    def _waits(self, path: str) -> bool:
        return any(pending.waits(path) for pending in self._pendings)

    def _on_record(self, now: float, furthest: float, most: int) -> Sequence[str]:
        """Return `most` that are due, or more: those that wait may all be due first, and hide as many."""
        return self._ledger.due(self._inbox, now, furthest, most + sum(map(len, self._pendings)))
