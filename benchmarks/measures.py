"""What a measurement comes to: a ratio to a rival, a figure, a point of the scaling study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stage import Run


@dataclass(frozen=True, slots=True)
class Ratio:
    """One comparison: what both sides took, start-up taken off, and how many times faster ours should be at least."""

    work: str
    against: str
    ours: Run
    theirs: Run
    least: float | None

    @property
    def ratio(self) -> float:
        return self.theirs.wall / self.ours.wall

    @property
    def cells(self) -> tuple[str, ...]:
        budget = "" if self.least is None else f"{self.least:g}×"
        return (
            self.work,
            self.against,
            _time(self.ours.wall),
            _time(self.theirs.wall),
            f"{self.ratio:.2f}×",
            f"{self.theirs.cpu / self.ours.cpu:.2f}×",
            budget,
        )

    @property
    def missed(self) -> bool:
        return self.least is not None and self.ratio < self.least


@dataclass(frozen=True, slots=True)
class Figure:
    """A measurement without a rival, and the most that it should be."""

    work: str
    value: float
    unit: str
    most: float

    @property
    def cells(self) -> tuple[str, ...]:
        return self.work, "", f"{self.value:.3g} {self.unit}", "", "", "", f"≤ {self.most:g} {self.unit}"

    @property
    def missed(self) -> bool:
        return self.value > self.most


@dataclass(frozen=True, slots=True)
class Point:
    """One drain: what was varied, to what, how many files and bytes it did in how many seconds, and its memory.

    `cpu`: its processor seconds, which stand still where others disturb the clock's; 0 where they were not taken.
    """

    study: str
    kind: str
    at: float
    files: int
    bytes: int
    seconds: float
    memory: int
    cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A start over files that are all done: seconds until it has caught up, and the ledger's bytes for a file."""

    files: int
    seconds: float
    ledger_bytes_a_file: float


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.0f} ms"
