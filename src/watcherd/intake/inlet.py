"""An inlet: one kind's way to its lane, for what is hinted at, what has waited and what a scan finds.

Each kind has its own, so that one whose lane is full holds up no other.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING

from watcherd.intake.pending import SHARE
from watcherd.intake.settle import How

if TYPE_CHECKING:
    from watcherd.intake.gate import Gate
    from watcherd.intake.rounds import Rounds
    from watcherd.intake.terms import Terms
    from watcherd.model import Kind


class Inlet:
    """The inlet for files of `kind`, through their `gate`; `rounds` find them. Used by one thread."""

    def __init__(self, kind: Kind, gate: Gate, rounds: Rounds) -> None:
        self.pending = gate.pending
        self._kind = kind
        self._gate = gate
        self._rounds = rounds

    @property
    def can_go_on(self) -> bool:
        """Whether something can be led through at once."""
        return not self._gate.blocked and (self.pending.hinted or self._rounds.wants(self._kind))

    @property
    def alarm(self) -> float:
        """When the next file is to be looked at again, in monotonic seconds; never while nothing is led through."""
        return inf if self._gate.blocked else self.pending.alarm

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left to be led through, besides what is parked: that is in flight."""
        return not (self.pending.hinted or self.pending.settling or self._rounds.wants(self._kind))

    def ask_overdue(self, now: float) -> None:
        """When it is time, ask for a scan for what there was no room to remember."""
        if self.pending.take_overdue(now):
            self._rounds.ask_kind(self._kind)

    def advance(self, terms: Terms) -> None:
        """Lead through what is to be looked at, and then a stride of the scan. Raises SystemFault."""
        self._gate.flush()
        if self._gate.blocked:
            return
        room, wants = self._gate.room(), self._rounds.wants(self._kind)
        hints = self.pending.take(time.monotonic(), room - room // SHARE if wants else room)
        self._gate.admit(hints, terms)
        # Even if the hints have filled the lane: there was room for both together.
        if wants and (left := min(room - len(hints), self._gate.room())) > 0:
            with self._rounds.charged(self._kind):
                paths = self._rounds.take(self._kind, left)
                self._gate.admit(dict.fromkeys(paths, How.SEEN), terms)
