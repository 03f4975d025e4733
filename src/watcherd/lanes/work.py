"""The work itself: the one place where a processor is called, in a thread and in a worker process alike.

Image libraries catch every OSError of their input and call it a damaged picture; so descriptors are read through a
`Stream`, which remembers what the kernel said, and that word counts more than whatever the processor made of it.
"""

from __future__ import annotations

import os
import traceback
from io import FileIO
from typing import TYPE_CHECKING, TypeVar, cast

from watcherd.lanes.slot import Cut, DraftError
from watcherd.model import Failure, FileFault

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from watcherd.model import Limits, Result
    from watcherd.processors import Process

T = TypeVar("T")


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
