"""Files that people read, and change: whole and on disk before they have their name, or not there at all."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def draft_of(path: Path, content: bytes) -> Iterator[Path]:
    """Yield a draft beside `path`, on disk, to be renamed to it; one that was not is removed. Raises OSError.

    Its name is always the same, so that the next attempt removes what one that was killed has left.
    """
    draft = path.with_name(f".{path.name}.watcherd")
    with _alone(path.parent):
        draft.unlink(missing_ok=True)
        with draft.open("xb") as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                yield draft
            finally:
                draft.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep others that write here waiting, whose draft would have the same name; some mounts have no locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
