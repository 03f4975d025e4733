"""What of the settings can change in a running daemon, and what needs a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from watcherd.settings.shape import Settings

    Table = TypeVar("Table", bound=BaseModel)

#: The keys that can, by table; every other one needs a restart.
LIVE = {
    "log": ("level",),
    "ledger": ("history",),
    "retry": ("attempts", "backoff", "max_backoff"),
    "text": ("timeout", "max_bytes", "encoding", "chunk", "extensions"),
    "image": ("timeout", "max_pixels", "extensions"),
}
LIVE_AT_TOP = ("stop_timeout", "min_free")
LIVE_OF_INBOX = ("include", "exclude", "settle", "rescan", "recursive")


def effective(running: Settings, wanted: Settings) -> Settings:
    """Return what a daemon is to run with from now on: of the `wanted` settings those that can change live."""
    tables = {name: _with(getattr(running, name), getattr(wanted, name), keys) for name, keys in LIVE.items()}
    inboxes = {
        name: _with(inbox, wanted.inbox.get(name, inbox), LIVE_OF_INBOX) for name, inbox in running.inbox.items()
    }
    return _with(running, wanted, LIVE_AT_TOP).model_copy(update={**tables, "inbox": inboxes})


def changed(before: Settings, after: Settings) -> list[str]:
    """Return the keys, dotted, in which the two differ."""
    old, new = flat(before.model_dump(mode="json")), flat(after.model_dump(mode="json"))
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _with(table: Table, other: Table, keys: Iterable[str]) -> Table:
    return table.model_copy(update={key: getattr(other, key) for key in keys})


def flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return the values of all tables, their keys dotted."""
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
