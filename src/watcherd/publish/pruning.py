"""Forgetting: rows of the ledger that are old, and whose file is gone; a reason goes with its row."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from watcherd import beneath
from watcherd.ledger.answers import LAST
from watcherd.model import After
from watcherd.publish.aside import quarantine
from watcherd.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Record
    from watcherd.publish.roots.place import Place

#: Rows that one look judges, and passes over, at most: a few milliseconds, in which the ledger answers nobody.
ROWS, STRIDE = 1000, 50_000


class Look(NamedTuple):
    """What came of a look at some rows: whether there are `more`; `in_vain` is the share of these that stay."""

    more: bool
    in_vain: float


class Pruning:
    """The pruning of one inbox's rows; `is_away` looks whether the inbox is."""

    def __init__(self, place: Place, ledger: Ledger, is_away: Callable[[], bool]) -> None:
        self._place = place
        self._ledger = ledger
        self._is_away = is_away
        self._looked_at = 0  # the last row's id

    def begin_at(self, share: float) -> None:
        """Let the next look begin behind that share of all rows."""
        self._looked_at = self._ledger.behind(share)

    def prune(self, before: float) -> Look:
        """Forget what is gone of the next rows older than `before`, Unix seconds. Raises SystemFault."""
        upto = self._ledger.ahead(self._looked_at, STRIDE)
        rows = self._ledger.older(self._place.inbox, before, after=self._looked_at, upto=upto, limit=ROWS)
        gone = [row for row in rows if not self._lasts(row)]
        # Below a root that is away nothing is to be found, and that says nothing about the files.
        for root in (self._place.outbox, self._place.failed):
            root.check()
        is_bare = self._place.after is After.KEEP and beneath.is_bare(self._place.inbox_path)
        if self._is_away() or is_bare:
            gone = []
        for row in gone:
            self._forget_reason(row)
        self._ledger.forget([row.id for row in gone])
        if len(rows) == ROWS:
            upto = rows[-1].id
        more = upto < LAST
        self._looked_at = upto if more else 0
        return Look(more, 1 - len(gone) / len(rows) if rows else 1.0)

    def _forget_reason(self, row: Record) -> None:
        """Remove a reason that is left, as its file was dragged back under a numbered name: nobody else will."""
        if row.state is State.QUARANTINED:
            with suppress(OSError):  # a reason too many does no harm
                quarantine.remove_reason(self._place, row)

    def _lasts(self, row: Record) -> bool:
        """Whether a row is still needed: for a file that is set aside, or for a kept one and its result."""
        try:
            if row.state is State.QUARANTINED:
                # By its row the next start finishes the way back of one where that was cut short.
                return bool(row.due) or self._place.failed.in_doubt() or quarantine.is_set_aside(self._place, row)
            return self._place.after is After.KEEP and self._is_kept(row)
        except OSError:
            return True  # what cannot be looked at is not known to be gone

    def _is_kept(self, row: Record) -> bool:
        latest = self._ledger.result(self._place.inbox, row.file.path)
        if latest is None or latest.id != row.id:
            return False  # the results of the others were replaced, as a rule
        # A file that is gone may be restored, and would meet its own result as somebody else's.
        return beneath.status(self._place.inbox_path, row.file.path) is not None or self._has_result(row)

    def _has_result(self, row: Record) -> bool:
        """Whether the result of a row is there, or may be in what is not mounted yet. Raises OSError."""
        visible = self._place.way_on_record(row).visible
        return self._place.outbox.in_doubt() or beneath.status(self._place.outbox.path, visible) is not None
