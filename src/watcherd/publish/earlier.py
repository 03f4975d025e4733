"""What an earlier run left in one inbox, taken up once: what it had on record, and retries that were cut short."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from watcherd.model import Stopped
from watcherd.publish import recovery
from watcherd.publish.aside import wayback
from watcherd.publish.said import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.ledger.ledger import Ledger
    from watcherd.publish.batch import Batch
    from watcherd.publish.roots.place import Place


class EarlierRun:
    """What an earlier run left for a `batch` to finish. One thread uses it.

    `is_away` looks whether the inbox is gone for now; `checkpoint` is called before each file, and may raise Stopped.
    """

    def __init__(
        self,
        place: Place,
        ledger: Ledger,
        batch: Batch,
        *,
        is_away: Callable[[], bool],
        checkpoint: Callable[[], None],
    ) -> None:
        self._place = place
        self._ledger = ledger
        self._batch = batch
        self._is_away = is_away
        self._checkpoint = checkpoint
        self._is_recovered = False  # what was on record is taken up
        self._is_over = False  # so are retries, which need their inbox

    def take_up(self) -> None:
        """Take up what is left, as far as can be. Raises SystemFault, and Stopped; then it can be called again."""
        if self._is_over:
            return
        # `is_away` knows nothing of one never seen.
        away = self._is_away() or not os.path.isdir(self._place.inbox_path)
        if not self._is_recovered:
            recovery.recover(self._place, self._ledger, self._batch, self._checkpoint, away=away)
            self._is_recovered = True
        if not away:
            with suppress(Stopped):  # a large file takes minutes: what the lanes finished is settled all the same
                self._finish_retries()
                self._is_over = True

    def _finish_retries(self) -> None:
        for it in wayback.finish(self._place, self._ledger, self._checkpoint):
            if it.refused:
                say("warning", "retry.refused", it.row.record, reason=it.refused)
