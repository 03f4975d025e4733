"""Files that changed while they were worked on, and how long each has to be quiet before it is tried again.

Pure: the time is handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from watcherd.intake.settle import stretched

if TYPE_CHECKING:
    from watcherd.intake.settle import Pace

#: How many are remembered, and for how many seconds.
MOST, LONGEST = 1_024, 3_600.0


class _Asked(NamedTuple):
    inode: int
    quiet: float
    until: float


class Restless:
    """What is asked of the files of one gate. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.known: dict[str, _Asked] = {}

    def quiet(self, path: str, inode: int, now: float) -> float:
        """Return the seconds of quiet that are asked of a file; 0 of one that is not known to be restless."""
        asked = self.known.get(path)
        return asked.quiet if asked and asked.inode == inode and now < asked.until else 0.0

    def changed(self, path: str, inode: int, pace: Pace, now: float) -> None:
        """Ask more quiet of a file than before: it has changed once more."""
        seconds = stretched(self.quiet(path, inode, now), pace)
        self.forget(path)  # the last to have changed is the last to be forgotten
        self.known[path] = _Asked(inode, seconds, now + LONGEST)
        if len(self.known) > MOST:
            self.forget(next(iter(self.known)))

    def forget(self, path: str) -> None:
        """Ask nothing of a file any more: it is gone."""
        self.known.pop(path, None)
