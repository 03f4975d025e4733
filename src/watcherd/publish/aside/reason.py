"""The reason that lies beside a quarantined file: whose it is, what was wrong, and how to try it again."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.paths import as_fields, quoted, readable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcherd.model import Failed

#: Bytes of a result or a reason that are read: what we wrote is shorter, but for the longest of paths.
_LONGEST = 64 << 10


def reason(failed: Failed, *, root: str, attempts: int, command: str, now: float) -> bytes:
    """Return the JSON of an ``error.json`` of a file in the inbox at `root`.

    `command` retries, and ends where the path follows; `now` is in Unix seconds.
    """
    file = failed.job.file
    facts: dict[str, object] = {
        "class": failed.failure,
        "message": readable(failed.message),
        "attempts": attempts,
        "failed": stamp(now),
        "modified": stamp(file.version.mtime_ns / 1e9),
        "inbox": file.inbox,
        "root": readable(root),
        **as_fields("path", file.path),
        "retry": f"{command}{quoted(file.path)}",
    }
    return json.dumps(facts, ensure_ascii=False, indent=2).encode() + b"\n"


def facts_in(root: str, path: str) -> Mapping[str, object]:
    """Return the JSON object in a file that we wrote; none where it is another's. Raises OSError."""
    with beneath.file(root, path) as (descriptor, _):
        written = os.read(descriptor, _LONGEST)
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_anothers(said: Mapping[str, object], root: str) -> bool:
    """Whether a reason is of another inbox than that at `root`, with which a failed folder is shared (pure)."""
    return said.get("root", readable(root)) != readable(root)


def stamp(seconds: float) -> str:
    """Write a time in Unix seconds, within the years that a version can have, as reasons have it: RFC 3339, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
