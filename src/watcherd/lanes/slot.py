"""Where one job at a time is worked on: what a slot is, what ends a job there, and the work itself.

`work` is the one place where a processor is called, in a thread and in a worker process alike. Image libraries
catch every OSError of their input and call it a damaged picture; so descriptors are read through a `Stream`, which
remembers what the kernel said, and that word counts more than whatever the processor made of it.
"""

from __future__ import annotations

import os
import traceback
from io import FileIO
from typing import TYPE_CHECKING, TypeVar, cast

from watcherd.model import Failure, FileFault, WatcherdError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from watcherd.lanes.hand import Hand
    from watcherd.model import Job, Limits, Result
    from watcherd.processors import Process

T = TypeVar("T")


class Cut(WatcherdError):
    """The work was cut short because the daemon stops; it costs the file nothing."""


class WorkerKilled(WatcherdError):
    """Somebody outside, or the kernel for want of memory, killed the worker; that proves nothing against the file."""


class DraftError(OSError):
    """The draft could not be written. A plain OSError out of a slot is the source's."""


class Slot:
    """Works on one job at a time, for the thread that owns it. This one is always ready, and holds nothing."""

    def prepare(self) -> None:
        """Get ready for a job, which may take seconds: no part of an attempt, so it comes before that is on record.

        Raises SystemFault, and Cut where the daemon stops.
        """

    def run(self, job: Job, source: int, draft: int, limits: Limits) -> Result:
        """Process the descriptor `source` into the descriptor `draft`, both at their start; the caller closes them.

        Raises FileFault, DraftError, OSError (the source's), SystemFault, MemoryError (ours), and what is uncharged:
        WorkerKilled, Cut.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what the slot holds; no job is running."""


class Pool:
    """Where slots come from. This one has nothing to look after."""

    def slot(self, hand: Hand) -> Slot:
        """Return a slot for the thread of `hand`, where it signs that it lives, and whose time its jobs have."""
        raise NotImplementedError

    def look(self) -> None:
        """Look after what nobody works with now; called every few seconds."""

    def kill_busy(self) -> None:
        """End what is being worked on: it raises Cut."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything, in bounded time."""


def overdue(limits: Limits) -> FileFault:
    """Return what a job's deadline raises."""
    return FileFault(Failure.TIMEOUT, f"took longer than {limits.timeout:g} s")


def work(  # noqa: PLR0913, PLR0917 (what a processor needs, no more)
    process: Process, name: str, source: int, draft: int, limits: Limits, checkpoint: Callable[[], None]
) -> Result:
    """Run `process` on one descriptor, and write what comes of it to the other; both stay open.

    Raises FileFault for whatever is wrong with the file, bugs included; MemoryError; DraftError and OSError where the
    kernel refused to write or to read; and what `checkpoint` raises.
    """
    reading = Stream(source, "r", closefd=False)
    try:
        content, result = process(cast("BinaryIO", reading), name=name, limits=limits, checkpoint=checkpoint)
        _fill(draft, content)
    except MemoryError:
        pass  # first free what fills the memory: to report it takes some, and so would another clause before this
    except (FileFault, Cut):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _bug(error) from None
    else:
        return result
    finally:
        if reading.refusal:
            raise reading.refusal from None
    raise MemoryError


def _fill(draft: int, content: bytes | memoryview) -> None:
    rest = memoryview(content)
    try:
        while rest:  # a file may take a part
            rest = rest[os.write(draft, rest) :]
    except OSError as error:
        raise DraftError(error.errno, error.strerror) from error


def close_draft(draft: int) -> None:
    """Close a draft. Raises DraftError: a network's disk may find only now that it has no room for what it got."""
    try:
        os.close(draft)
    except OSError as error:
        raise DraftError(error.errno, error.strerror) from error


def _bug(error: Exception) -> FileFault:
    trace = "".join(traceback.format_exception(error))
    return FileFault(Failure.CRASHED, f"met a bug: {type(error).__name__}: {error}", trace)


def _remembering(method: Callable[..., T]) -> Callable[..., T]:
    def remembered(self: Stream, /, *given: object) -> T:
        try:
            return method(self, *given)
        except OSError as error:
            self.refusal = self.refusal or error
            raise

    return remembered


class Stream(FileIO):
    """An unbuffered file to read, which remembers the first error of the kernel's, as `refusal`.

    A seek is left out: a damaged file leads a parser to seek before its start, or beyond what its disk can hold, and
    that is the file's fault.
    """

    refusal: OSError | None = None

    read = _remembering(FileIO.read)
    readall = _remembering(FileIO.readall)
    readinto = _remembering(FileIO.readinto)
