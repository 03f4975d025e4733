"""Working side by side, or alone: what tells a file that kills the daemon from those that were merely beside it."""

from __future__ import annotations

from threading import Condition


class Alone:
    """A readers-writer lock shared by all lanes: many work side by side, or one alone, which goes first."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._side_by_side = 0
        self._alone = False
        self._wanting = 0
        self._closed = False

    def enter(self, *, alone: bool) -> bool:
        """Wait until this work may begin; False where nothing begins any more."""
        with self._changed:
            self._wanting += alone
            self._changed.wait_for(lambda: self._closed or self._may_begin(alone=alone))
            self._wanting -= alone
            if self._closed:
                return False
            self._alone = alone
            self._side_by_side += not alone
            return True

    def leave(self, *, alone: bool) -> None:
        """Say that this work has ended."""
        with self._changed:
            if alone:
                self._alone = False
            else:
                self._side_by_side -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let nothing begin any more: who waits is turned back."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _may_begin(self, *, alone: bool) -> bool:
        if self._alone:
            return False
        return not self._side_by_side if alone else not self._wanting
