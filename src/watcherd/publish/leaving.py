"""What is on its way out, each with its way, and numbers that give no name twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from watcherd.ledger.ledger import Intent
from watcherd.model import After, Done, Draft, Failed, Job
from watcherd.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.publish.roots.folders import Folders
    from watcherd.publish.roots.place import Place, Way


class Leaving(NamedTuple):
    """A job on its way out: all that is on record of it, or about to be, and the `way` that follows from that.

    `outcome` is what came of its work: None of a result that an earlier run made.
    """

    job: Job
    state: State
    number: int
    draft: Draft
    way: Way
    outcome: Done | Failed | None

    @property
    def intent(self) -> Intent:
        """What is put on record of it."""
        return Intent(self.job, self.state, self.number, self.draft)


class Numbers:
    """The numbers of what leaves `place`, whose names are seen by `folders`. One thread uses it."""

    def __init__(self, place: Place, folders: Folders) -> None:
        self._place = place
        self._folders = folders
        self._given: set[tuple[str, str]] = set()  # names of what is not visible yet

    def is_kept(self, it: Leaving) -> bool:
        """Whether its result has one name alone, as it follows its source."""
        return self._place.after is After.KEEP and it.state is State.PUBLISHING

    def numbered(self, it: Leaving, above: int = -1) -> Leaving:
        """Return it with a number, greater than `above`, under which neither of its two names is taken.

        Raises OSError where that cannot be found out.
        """
        if self.is_kept(it):
            return self._under(0, it)
        number = first_free(lambda number: number <= above or self._is_taken(self._under(number, it)))
        free = self._under(number, it)
        self._given.update(free.way.names)
        return free

    def _is_taken(self, it: Leaving) -> bool:
        names = it.way.names
        return not self._given.isdisjoint(names) or any(self._folders.has(*name) for name in names)

    def _under(self, number: int, it: Leaving) -> Leaving:
        if it.number == number:
            return it
        return it._replace(number=number, way=self._place.way(it.job, it.state, number))

    def forget(self) -> None:
        """Forget which names were given: all are visible now, and seen where they are."""
        self._given.clear()


def first_free(is_taken: Callable[[int], bool]) -> int:
    """Return 0, or a number that is free while the one before it is taken: found by doubling, then by halving.

    It is the lowest where none was freed below it. To look for that one by one would cost a name that has come
    100,000 times as many looks.
    """
    taken, free = -1, 0
    while is_taken(free):
        taken, free = free, 2 * free + 1
    while free - taken > 1:
        middle = (taken + free) // 2
        if is_taken(middle):
            taken = middle
        else:
            free = middle
    return free
