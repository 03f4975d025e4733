"""Files that people read and change: whole and on disk before they have their name, or not there at all."""

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
    """Yield a draft beside `path`, on disk, to be renamed to it; it is removed if it was not. Raises OSError.

    Its name is always the same, so that the next attempt removes what a killed one left.
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
    """Make others that write here wait, as their draft has the same name; some mounts have no locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
