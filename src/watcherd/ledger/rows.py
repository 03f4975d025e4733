"""Rows of the table `file`, both ways (pure but for the names of paths)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from watcherd.model import Draft, Ended, Failure, File, Kind, Record, Version, signed
from watcherd.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcherd.model import Job

# To look a member up takes a fifth of the time of calling its enum, and a scan does so for each file.
_KINDS = {kind.value: kind for kind in Kind}
_STATES = {state.value: state for state in State}

#: The bits of an inode, which a column holds with a sign.
_ALL = (1 << 64) - 1

#: What `record` expects, in this order.
COLUMNS = """id, path, size, mtime_ns, ctime_ns, inode, kind, state,
    attempts, kills, alone, due, failure, message, number, draft, result, result_size, result_mtime_ns, at"""


def record(inbox: str, row: tuple[Any, ...], retired: Mapping[int, State]) -> Record:
    """Return what a row says, unless `retired` knows a later state of it."""
    number, path, size, mtime_ns, ctime_ns, inode, kind, state, *rest = row
    attempts, kills, alone, due, failure, message, taken, draft, result, result_size, result_mtime_ns, at = rest
    return Record(
        id=number,
        file=File(inbox, os.fsdecode(path), Version(size, mtime_ns, ctime_ns, inode & _ALL)),
        kind=_KINDS[kind],
        state=retired.get(number) or _STATES[state],
        attempts=attempts,
        kills=kills,
        alone=bool(alone),
        due=due or 0.0,
        failure=Failure(failure) if failure else None,
        message=message or "",
        number=taken,
        result=Draft(draft or "", (result or 0) & _ALL, result_size or 0, result_mtime_ns or 0),
        at=at,
    )


#: The path, and what `ended` expects, in this order.
ENDED = "path, size, mtime_ns, state"


def ended(size: int, mtime_ns: int, state: str) -> Ended:
    """Return how a version ended."""
    return Ended(size, mtime_ns, _STATES[state])


#: What `attempt` returns, in this order.
ATTEMPT = "id, inbox, path, size, mtime_ns, ctime_ns, inode, kind, attempts, kills, alone, at"


def attempt(job: Job, inbox: int, at: int) -> tuple[object, ...]:
    """Return an attempt at a file of the inbox with that number, begun `at`, Unix seconds."""
    size, mtime_ns, ctime_ns, inode = job.file.version
    version = size, mtime_ns, ctime_ns, signed(inode)
    return job.id, inbox, os.fsencode(job.file.path), *version, job.kind, job.attempts, job.kills, job.alone, at


#: What `ending` returns, in this order.
ENDING = "state, number, result, result_size, result_mtime_ns, failure, message"


def ending(it: Record) -> tuple[object, ...]:
    """Return how a file ended."""
    _, inode, size, mtime_ns = it.result
    return it.state, it.number, signed(inode), size, mtime_ns, it.failure, it.message or None


def marks(number: int) -> str:
    """Return the place holders of so many values."""
    return ",".join("?" * number)
