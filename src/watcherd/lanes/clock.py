"""The time that counts against a file: it stands still while we do not run.

After a process was stopped, a container frozen or a machine paused, it looks as if each job had taken all that time.
So the clock of a lane has a keeper, who says when it will be back: the clock runs until then, and no further. Where
the machine is so busy that the keeper is late, a lane loses patience later; a job that hangs holds up no keeper.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Counts the seconds of `read` in which its keeper is not late; none before the first visit."""

    def __init__(self, read: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._lost_and_until = 0.0, read()  # in one value, as other threads read both

    def now(self) -> float:
        """Return the time that counts."""
        lost, until = self._lost_and_until
        return min(self._read() - lost, until)

    def keep(self, seconds: float) -> float:
        """Go on for so many seconds, in which its keeper is to be back; return them."""
        now = self.now()
        self._lost_and_until = self._read() - now, now + seconds
        return seconds
