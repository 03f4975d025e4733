"""The work itself: the one place where a processor is called, in a thread and in a worker process alike.

Image libraries catch every OSError of their input and call it a damaged picture; so descriptors are read through a
`Stream`, which remembers what the kernel said, and that word counts more than whatever the processor made of it.
"""

from __future__ import annotations

import os
import time
import traceback
from io import FileIO
from typing import TYPE_CHECKING, TypeVar, cast

from watcherd.lanes.slot import Cut, DraftError
from watcherd.model import Failure, FileFault

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from _typeshed import WriteableBuffer

    from watcherd.model import Limits, Result
    from watcherd.processors import Process

T = TypeVar("T")

#: A read that takes more seconds is slow, and the next one is of so many bytes; each that is not, of twice as many.
SLOW, LITTLE, MOST = 0.25, 64 << 10, 64 << 20


def work(  # noqa: PLR0913, PLR0917 (what a processor needs, no more)
    process: Process, name: str, source: int, draft: int, limits: Limits, checkpoint: Callable[[], None]
) -> Result:
    """Run `process` on one descriptor, and write what comes of it to the other; both stay open.

    Raises FileFault for whatever is wrong with the file, bugs included; MemoryError; DraftError and OSError where the
    kernel refused to write or to read; and what `checkpoint` raises.
    """
    reading = Stream(source, checkpoint)
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
        trace = "".join(traceback.format_exception(error))
        raise FileFault(Failure.CRASHED, f"met a bug: {type(error).__name__}: {error}", trace) from None
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
    that is the file's fault. Over a slow network `readinto` reads little at a time, and calls `checkpoint` each time:
    a thread of which nothing is heard counts as stuck.
    """

    refusal: OSError | None = None
    _most = LITTLE  # bytes of the next read

    def __init__(self, descriptor: int, checkpoint: Callable[[], None]) -> None:
        super().__init__(descriptor, "r", closefd=False)
        self._checkpoint = checkpoint

    read = _remembering(FileIO.read)
    readall = _remembering(FileIO.readall)
    _readinto = _remembering(FileIO.readinto)

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read into `buffer` as `FileIO` does, though at most as much as is wise; return how many bytes."""
        view = memoryview(buffer)
        if view.nbytes <= LITTLE:  # as for each small text, some of whose time all else would take
            return self._readinto(view)
        return self._read_some(view)

    def _read_some(self, view: memoryview) -> int:
        began = time.monotonic()
        size = self._readinto(view[: self._most])
        is_slow = time.monotonic() - began > SLOW
        self._most = LITTLE if is_slow else min(2 * self._most, MOST)
        if is_slow:
            self._checkpoint()
        return size
