"""What an error is as the outcome of its job: the file's, the system's, or nobody's."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.lanes.slot import Cut, WorkerKilled
from watcherd.model import Failed, Failure, FileFault, Returned, Stalled, SystemFault
from watcherd.states import State

if TYPE_CHECKING:
    from watcherd.model import Job, Outcome


def failed(job: Job, error: Exception) -> Outcome:
    """Say what a slot raised as the outcome of its job."""
    match error:
        case FileFault():
            return Failed(job, error.failure, str(error), trace=error.trace)
        case WorkerKilled():
            return Failed(job, Failure.CRASHED, str(error), charged=False)
        case Cut():
            return Returned(job, State.WAITING, "stopped")
        case SystemFault():
            return Stalled(job, error)
        case MemoryError():  # in our own process, where a text takes as little as any other
            return Stalled(job, SystemFault("cannot work on a file: out of memory", root="", errno=errno.ENOMEM))
        case OSError():
            return unreadable(job, error)
    raise error


def unreadable(job: Job, error: OSError) -> Outcome:
    """Say what an error in opening or reading an input means."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return Returned(job, State.VANISHED, "removed before it was taken")
    if isinstance(error, PermissionError):
        return Returned(job, State.WAITING, "permission")
    if fault := beneath.shortage(error):
        return Stalled(job, fault)
    # Where the disk, or a mount, fails, it is looked at again less and less often, as if it had changed.
    return Returned(job, State.WAITING, f"cannot be read for now: {error.strerror}", changed=True)
