"""Threads whose death is heard of: one that dies leaves its work undone, and nothing else would notice."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def thread(act: Callable[[], None], *, name: str, on_death: Callable[[BaseException], None]) -> Thread:
    """Return a thread that does `act` once it is started, and tells `on_death`, itself, whatever ended that early."""

    def live() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 (whatever it is, it must be heard of)
            on_death(error)

    return Thread(target=live, name=name, daemon=True)
