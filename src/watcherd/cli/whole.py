"""Files that people read and change: whole and on disk before they have their name, or not there at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
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
    draft.unlink(missing_ok=True)
    with draft.open("xb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            yield draft
        finally:
            draft.unlink(missing_ok=True)
