"""Whether the system is well where one inbox writes: why the inbox is paused, and when that is over.

Whether a disk has room again for *these* results, only they can tell: a probe of a few bytes passes on a disk that is
full for a picture. So work goes on as soon as a probe passes, but the pause is only said to be over when the fault
has not come back for a while; and while it comes back, it is said once.
"""

from __future__ import annotations

import errno
import os
import time
from math import inf
from typing import TYPE_CHECKING

import structlog

from watcherd import beneath
from watcherd.model import SystemFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.ledger.ledger import Ledger
    from watcherd.publish.roots.place import Place

log = structlog.get_logger(__name__)

#: Why nothing is admitted before the work of an earlier run is taken up.
STARTING = "starting"

#: Seconds between looks at the free space, and at faults that may have passed; and where there is neither.
TICK, CALM = 1.0, 3.0

#: Seconds without the fault after which a pause is over, beside twice those that the fault took to be seen.
PROOF = 3.0

#: The most faults that are remembered as said: some are said in other words each time.
MOST = 16


class Health:
    """The state of one inbox's roots and of the ledger. One thread uses it; others read `paused`.

    `least_free` gives the bytes that must stay free of a file system with so many, and may be replaced at any time;
    `prepare` raises SystemFault until the folders are ready, and does nothing from then on; `on_pause` is called when
    the pause begins or ends.
    """

    def __init__(
        self,
        place: Place,
        ledger: Ledger,
        *,
        least_free: Callable[[int], int],
        prepare: Callable[[], None],
        on_pause: Callable[[], None],
    ) -> None:
        self.least_free = least_free
        self.paused = STARTING  # why nothing is admitted; empty when all is well
        self._place = place
        self._ledger = ledger
        self._prepare = prepare
        self._on_pause = on_pause
        self._next_look = 0.0
        self._took = 0.0  # the most seconds that a fault took to be seen since all was well
        self._told: set[str] = set()  # the faults since then, as the log has them
        self._passed = ""  # the last of them, once work goes on
        self._over_at = inf  # when that is over if it stays away until then, in monotonic seconds

    def is_due(self, *, idle: bool) -> bool:
        """Whether it is time to look; if so, that is noted. With nothing to do, and all well, it seldom is."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        calm = idle and not self.paused and self._over_at == inf
        self._next_look = now + (CALM if calm else TICK)
        return True

    def until_due(self) -> float:
        """Return the seconds until it is time to look."""
        return max(0.0, self._next_look - time.monotonic())

    def look_within(self, seconds: float) -> None:
        """Let it be time to look in so many seconds at the latest."""
        self._next_look = min(self._next_look, time.monotonic() + seconds)

    def conclude(self) -> None:
        """End the pause, unless space is short; once one before it proves to be over, say so. Raises SystemFault."""
        if time.monotonic() >= self._over_at:
            log.info("intake.resumed", inbox=self._place.inbox, reason=self._passed)
            self._told.clear()
            self._took, self._over_at = 0.0, inf
        if shortage := self._shortage():
            self.pause(shortage)
        elif self.paused:
            self._resume()

    def pause(self, fault: SystemFault) -> None:
        """Admit nothing more, until the next look finds that all is well."""
        reason = _reason(fault)
        self._next_look = time.monotonic() + TICK
        self._over_at = inf
        self._took = max(self._took, fault.took)
        if reason != self.paused:
            self._tell(reason)
            self.paused = reason
            self._on_pause()

    def probe(self) -> None:
        """Raise SystemFault where something is not well, with no folder left open: it may have to be unmounted."""
        self._place.rest()  # all of them: one that fails may be on the file system of the others
        self._prepare()
        self._ledger.probe()
        for root in self._place.roots:
            try:
                root.probe()
            finally:
                root.rest()

    def _tell(self, reason: str) -> None:
        """Log a fault, unless it was told since all was well: several may come by turns."""
        if reason not in self._told:
            if len(self._told) >= MOST:
                self._told.clear()
            self._told.add(reason)
            log.error("intake.paused", inbox=self._place.inbox, reason=reason)

    def _resume(self) -> None:
        if self.paused != STARTING:
            self._passed, self._over_at = self.paused, time.monotonic() + PROOF + 2 * self._took
        self.paused = ""
        self._on_pause()

    def _shortage(self) -> SystemFault | None:
        """Say which file system is short of space. Nothing more is admitted then, and what is done still leaves."""
        spaces = [(root.path, *root.free()) for root in self._place.roots]
        for path, free, size in (*spaces, (self._ledger.folder, *self._ledger.free())):
            if free < self.least_free(size):
                # Without numbers: a ZFS that others write to has another size each second, and each would be news.
                reason = f"{path} has fewer bytes free than min_free: make room, or lower it"
                return SystemFault(reason, root=path, errno=errno.ENOSPC)
        return None


def _reason(fault: SystemFault) -> str:
    """Say a fault; a shortage of the whole process is the same wherever it is met."""
    if fault.errno in beneath.SHORTAGE:
        return f"{os.strerror(fault.errno)}: raise this process's limits (LimitNOFILE, ulimit -n, memory)"
    return str(fault)
