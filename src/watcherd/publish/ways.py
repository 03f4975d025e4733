"""The ways of what is in a batch, each worked out once, and numbers that give no name twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcherd.model import After
from watcherd.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.ledger.ledger import Intent
    from watcherd.publish.roots.folders import Folders
    from watcherd.publish.roots.place import Place, Way


class Ways:
    """Which way each intent goes from `place`, whose names are seen by `folders`. One thread uses it."""

    def __init__(self, place: Place, folders: Folders) -> None:
        self._place = place
        self._folders = folders
        self._known: dict[tuple[int, State, int], Way] = {}  # each stage asks for them
        self._given: set[tuple[str, str]] = set()  # names of what is not visible yet

    def of(self, intent: Intent) -> Way:
        """Return the way of an intent under its number."""
        key = intent.job.id, intent.state, intent.number
        way = self._known.get(key)
        if way is None:
            way = self._known[key] = self._place.way(intent.job, intent.state, intent.number)
        return way

    def names(self, intent: Intent) -> list[tuple[str, str]]:
        """Return what its result is to be called, and its input where that is moved: each a root and a path there."""
        way = self.of(intent)
        names = [(way.root.path, way.visible)]
        return [*names, (way.into.path, way.retired)] if way.into else names

    def is_kept(self, intent: Intent) -> bool:
        """Whether its result has one name alone, as it follows its source."""
        return self._place.after is After.KEEP and intent.state is State.PUBLISHING

    def numbered(self, intent: Intent, above: int = -1) -> Intent:
        """Return the intent with a number, greater than `above`, under which neither of its two names is taken.

        Raises OSError where that cannot be found out.
        """
        if self.is_kept(intent):
            return _under(0, intent)
        number = first_free(lambda number: number <= above or self._is_taken(intent, number))
        free = _under(number, intent)
        self._given.update(self.names(free))
        return free

    def _is_taken(self, intent: Intent, number: int) -> bool:
        names = self.names(_under(number, intent))
        return not self._given.isdisjoint(names) or any(self._folders.has(*name) for name in names)

    def all_visible(self) -> None:
        """Forget which names were given: from now on they are seen where they are."""
        self._given.clear()

    def settled(self) -> None:
        """Forget the ways: nothing is in work."""
        self._known.clear()


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


def _under(number: int, intent: Intent) -> Intent:
    return intent if intent.number == number else intent._replace(number=number)
