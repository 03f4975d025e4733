"""What `watcherd check` tries in the folders of the settings: reading, writing, and what no rename can cross."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from watcherd.access import how_to_write
from watcherd.beneath import FULL, OURS
from watcherd.cli import folders
from watcherd.intake import probe
from watcherd.model import After
from watcherd.settings.mounts import mounts
from watcherd.settings.units import about

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcherd.settings import Inbox, Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about this machine: which setting it concerns, what was found, and what to do about a problem."""

    subject: str
    message: str
    mend: str = ""
    is_problem: bool = True


def in_folders(settings: Settings) -> Iterator[Finding]:
    """Try each folder in every way that a run will need."""
    yield from _writable("state", settings.state, is_made=True)
    for name, inbox in settings.inbox.items():
        yield from _inbox(f"inbox.{name}", inbox)
        yield from _written_to(f"inbox.{name}", inbox)
        yield from _mounted_inside(f"inbox.{name}", inbox)
    yield from _free_space(settings)


def _inbox(name: str, inbox: Inbox) -> Iterator[Finding]:
    subject = f"{name}.path"
    if flaw := folders.flaw(inbox.path):
        yield Finding(subject, *flaw)
        return
    yield from _readable(subject, inbox.path)
    if inbox.after is not After.KEEP:
        yield from _writable(subject, inbox.path)
    yield from _mount(subject, inbox.path)


def _readable(subject: str, path: Path) -> Iterator[Finding]:
    try:
        os.lstat(f"{path}/.")  # what is in it may be looked at
        with os.scandir(path) as entries:
            next(entries, None)
    except OSError as error:
        yield Finding(subject, f"{path} cannot be read: {error.strerror}", "give this user the right to read there")


def _mount(subject: str, path: Path) -> Iterator[Finding]:
    with suppress(OSError):  # then it cannot be read either
        mount = probe.mount(str(path))
        if not mount.events:
            message = f"{path} is on {mount.name}: events may be missing, so it is scanned every few seconds"
            yield Finding(subject, message, is_problem=False)


def _written_to(name: str, inbox: Inbox) -> Iterator[Finding]:
    for key, path in _destinations(inbox).items():
        yield from _writable(f"{name}.{key}", path, is_made=key != "outbox")
        if key != "outbox" and inbox.after is not After.KEEP and _device(path) != _device(inbox.path):
            message = f"{path} is on another file system than {inbox.path}: inputs are copied, not moved"
            yield Finding(f"{name}.{key}", message, is_problem=False)


def _destinations(inbox: Inbox) -> dict[str, Path]:
    """Return the folders that files are written to, by key: the archive only where inputs go there."""
    always = {"outbox": inbox.outbox, "failed": inbox.failed}
    return always | {"archive": inbox.archive} if inbox.after is After.ARCHIVE else always


def _mounted_inside(name: str, inbox: Inbox) -> Iterator[Finding]:
    """Report mounts inside a folder that files are renamed to or from: a rename cannot cross them."""
    sources = {} if inbox.after is After.KEEP else {"path": inbox.path}
    for key, path in (sources | _destinations(inbox)).items():
        resolved = Path(os.path.realpath(path))  # `Path.resolve` raises where links go in circles
        for mount in mounts():
            if resolved in mount.point.parents:
                message = f"{mount.point} is a file system of its own inside {path}: nothing can be renamed across"
                yield Finding(f"{name}.{key}", message, "unmount it, or give it an inbox of its own")


def _device(path: Path) -> int:
    return os.stat(_existing(path)).st_dev


def _existing(path: Path) -> Path:
    """Return the folder, or the nearest around it that exists. Not by pathlib, which raises where we may not look."""
    return next(around for around in (path, *path.parents) if os.path.isdir(around))


def _writable(subject: str, path: Path, *, is_made: bool = False) -> Iterator[Finding]:
    """Report a folder that cannot be written to, or made where a run makes one that is missing (`is_made`)."""
    own = path / OURS
    place = own if os.path.lexists(own) else path
    if (flaw := folders.flaw(place)) and not (is_made and _is_free(place)):
        yield Finding(subject, *flaw)
        return
    tried = _existing(place)
    try:
        with tempfile.TemporaryFile(dir=tried, prefix=".check-", buffering=0) as trial:
            trial.write(b"?")  # into a file without a name, on most file systems, so that nothing is ever left
            os.fsync(trial.fileno())
    except OSError as error:
        what = f"{tried} cannot be written to" if os.path.isdir(path) else f"{path} cannot be made in {tried}"
        mend = "make room there" if error.errno in FULL else how_to_write(tried).removeprefix("; ")
        yield Finding(subject, f"{what}: {error.strerror}", f"{mend or 'mend that'}, or name another folder")


def _is_free(path: Path) -> bool:
    """Whether nothing is at a path, not even a link that leads nowhere."""
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENOENT
    return False


def _free_space(settings: Settings) -> Iterator[Finding]:
    written = {"state": settings.state}
    for name, inbox in settings.inbox.items():
        written |= {f"inbox.{name}.{key}": path for key, path in _destinations(inbox).items()}
    for subject, path in written.items():
        status = os.statvfs(_existing(path))
        free, wanted = status.f_bavail * status.f_frsize, settings.min_free.of(status.f_blocks * status.f_frsize)
        if free < wanted:
            message = f"{path} has {about(free)} free, less than min_free = {settings.min_free} ({about(wanted)})"
            yield Finding(subject, message, "make room, or lower min_free")
