"""The way back out of quarantine to another file system.

A file goes into our own folder of its inbox first, as a copy, and gets its name once the original is gone: a daemon
that runs may take it as soon as it has that, and an original that is still there would be put back once more.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from watcherd import beneath, sameness
from watcherd.beneath import OURS, Doubt, version_of
from watcherd.model import SystemFault
from watcherd.publish.aside.quarantine import is_set_aside
from watcherd.publish.inputs import carry
from watcherd.publish.roots.root import Root

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Record, Version
    from watcherd.publish.aside.quarantine import SetAside
    from watcherd.publish.roots.place import Place, Way

#: How the names of copies on their way back begin: they are others than the daemon's drafts.
BACK = "back-"


@dataclass(frozen=True, slots=True)
class WayBack:
    """One file's way back: its `row`, the `way` that it went, and what is called `between` the blocks of a copy."""

    place: Place
    ledger: Ledger
    row: SetAside
    way: Way
    between: Callable[[], None]

    @property
    def record(self) -> Record:
        """What the ledger has of it."""
        return self.row.record


def bring(it: WayBack, source: int, name: str) -> None:
    """Bring a file from the folder `source` into our own folder of its inbox. Raises SystemFault, and OSError."""
    inbox = Root(it.place.inbox_path, f"{BACK}{it.ledger.id}")
    try:
        _require_free(it)
        original = version_of(os.lstat(name, dir_fd=source))
        copy = carry.copied(it.way.root.path, it.way.retired, inbox, it.record.id, it.between)
        _require_free(it)  # again: that takes as long as the file is large
        with inbox.faults():
            os.rename(copy.name, _whole(it), src_dir_fd=inbox.ours(), dst_dir_fd=inbox.ours())
            beneath.sync_names(inbox.ours())
        _remove(it, source, name, original)
    except (OSError, SystemFault):
        if is_aside(it):
            discard_copies(it)
        raise
    finally:
        inbox.rest()


def show(it: WayBack) -> None:
    """Give a file its name that has come as far as our own folder, if it has. Raises OSError: EEXIST if taken."""
    if is_carried(it):
        carry.give_name(it.place.inbox_path, _whole(it), it.record.file.path)
    elif Doubt(it.place.inbox_path).holds():  # it may be in what is not mounted yet
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), it.place.inbox_path)


def is_carried(it: WayBack) -> bool:
    """Whether it has come as far as our own folder. Raises OSError."""
    return _copy(it) is not None


def _copy(it: WayBack) -> os.stat_result | None:
    return beneath.status(it.place.inbox_path, f"{OURS}/{_whole(it)}")


def discard_copies(it: WayBack) -> None:
    """Remove a file's copies, whole or cut short. Raises OSError."""
    with suppress(FileNotFoundError), beneath.folder(it.place.inbox_path, OURS) as ours:
        for name in os.listdir(ours):
            if is_copy(name, it.ledger, it.record):
                os.unlink(name, dir_fd=ours)


def is_copy(name: str, ledger: Ledger, record: Record) -> bool:
    """Whether a name in our own folder of an inbox is that of a copy of a record's file, whole or cut short."""
    return name.startswith(f"{BACK}{ledger.id}-") and name.endswith(f"-{record.id}")


def is_aside(it: WayBack) -> bool:
    """Whether the file lies where it was set aside: by its reason, or by its whole copy, if it has one.

    What else has its name there is somebody's, and the copy is all that there is. Raises OSError.
    """
    there, copy = beneath.status(it.way.root.path, it.way.retired), _copy(it)
    if there is None or copy is None:
        return there is not None
    return sameness.is_copy(copy, there) or is_set_aside(it.place, it.record)


def _whole(it: WayBack) -> str:
    """Return the name of a copy that is whole and on disk: where the original is gone, it is the file.

    It is that also where its file system has another number by then, as after a restart of the machine, or where its
    inbox was moved to another.
    """
    return f"{BACK}{it.ledger.id}-{it.record.id}"


def _require_free(it: WayBack) -> None:
    """Raise FileExistsError where the file's name is taken: that shows before all of it is copied."""
    if beneath.status(it.place.inbox_path, it.record.file.path) is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), it.record.file.path)


def _remove(it: WayBack, source: int, name: str, original: Version) -> None:
    """Remove what was copied. Raises OSError where its owner wrote into it since, or put another in its place."""
    if not sameness.is_unwritten(os.lstat(name, dir_fd=source), original):
        raise OSError(errno.EBUSY, "changed while it was copied", it.row.where)
    os.unlink(name, dir_fd=source)
    beneath.sync_names(source)
