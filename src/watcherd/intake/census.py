"""What lies in an inbox that its rules admit, for whoever counts it and takes nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from watcherd import decide
from watcherd.intake.probe import Looks
from watcherd.intake.scan import Listener, walk
from watcherd.model import After, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from watcherd.intake.terms import Inbox
    from watcherd.model import Ended


def admitted(
    inbox: Inbox, on_refused: Callable[[str, OSError], None] = lambda *_: None
) -> Iterator[tuple[Kind, list[str]]]:
    """Yield the paths of the regular files that the inbox's rules admit, kind by kind, in blocks of at most 1,000.

    `on_refused` is told of a folder that cannot be listed.
    """
    for kind in Kind:
        for paths in walk(inbox, kind, _Listener(on_refused)):
            yield kind, paths


def undone(
    inbox: Inbox, ended: Callable[[Sequence[str]], Mapping[str, Ended]], checkpoint: Callable[[], None]
) -> Iterator[int]:
    """Yield the size of each admitted file that something is to be done about, by what is on record as `ended`.

    What cannot be looked at, or goes meanwhile, is left to the intake. `checkpoint` is called for each file.
    """
    with Looks(inbox.root) as looks:
        for _, paths in admitted(inbox):
            done = ended(paths) if inbox.after is After.KEEP else {}
            for path in paths:
                checkpoint()
                with suppress(OSError):
                    status = looks.status(path)
                    if not decide.is_done(done.get(path), status.st_size, status.st_mtime_ns):
                        yield status.st_size


class _Listener(Listener):
    """Hears of folders that cannot be listed, and of nothing else."""

    def __init__(self, on_refused: Callable[[str, OSError], None]) -> None:
        self._on_refused = on_refused

    def refused(self, folder: str, error: OSError) -> None:
        self._on_refused(folder, error)
