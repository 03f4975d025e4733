"""Files that people read, and change: whole and on disk before they have their name, or not there at all."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def draft_of(path: Path, content: bytes) -> Iterator[Path]:
    """Yield a draft beside `path`, on disk, to be renamed to it; one that was not is removed. Raises OSError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with draft.open("xb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            yield draft
        finally:
            draft.unlink(missing_ok=True)
