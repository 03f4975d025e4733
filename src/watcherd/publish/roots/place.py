"""Where the files of one inbox go: a pure map from a job and its number to names beneath roots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from watcherd.beneath import join, split
from watcherd.model import After
from watcherd.publish.roots.names import derived
from watcherd.states import ASIDE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcherd.model import Job, Kind, Record
    from watcherd.publish.roots.root import Root
    from watcherd.states import State


class Affixes(NamedTuple):
    """What a kind puts around a source's name to make its result's."""

    prefix: str
    suffix: str


class Way(NamedTuple):
    """One file's way out: its draft becomes `visible` beneath `root`, its input goes to `retired` beneath `into`.

    `into` is None where the input stays, or is deleted.
    """

    root: Root
    visible: str
    into: Root | None
    retired: str

    @property
    def names(self) -> list[tuple[str, str]]:
        """What the result is to be called, and the input where that is moved: each a root and a path there."""
        result = self.root.path, self.visible
        return [result, (self.into.path, self.retired)] if self.into else [result]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The folders of one inbox: its name, its resolved path, and how results of each kind are named."""

    inbox: str
    inbox_path: str
    after: After
    outbox: Root
    archive: Root
    failed: Root
    affixes: Mapping[Kind, Affixes]

    @property
    def roots(self) -> tuple[Root, ...]:
        """The roots that are written to."""
        return (self.outbox, self.archive, self.failed) if self.after is After.ARCHIVE else (self.outbox, self.failed)

    def rest(self) -> None:
        """Let go of the folders: nothing is open in them then, so that they can be unmounted."""
        for root in self.roots:
            root.rest()

    def way(self, job: Job | Record, state: State, number: int) -> Way:
        """Return the way of a job under `number`: out to its result, or aside where `state` says so."""
        folder, name = split(job.file.path)
        numbered = join(folder, derived(name, number))
        if state in ASIDE:
            reason = join(folder, derived(derived(name, number), suffix=".error.json"))
            return Way(self.failed, reason, None if self.after is After.KEEP else self.failed, numbered)
        prefix, suffix = self.affixes[job.kind]
        result = join(folder, derived(name, number, prefix=prefix, suffix=suffix))
        return Way(self.outbox, result, self.archive if self.after is After.ARCHIVE else None, numbered)

    def way_on_record(self, record: Record) -> Way:
        """Return the way that a file went by its record, or is to go."""
        return self.way(record, record.state, record.number)
