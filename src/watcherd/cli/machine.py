"""What `watcherd check` finds on this machine: whatever can be tried is tried."""

from __future__ import annotations

import errno
import os
import resource
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.access import how_to_write
from watcherd.beneath import FULL, OURS
from watcherd.cli import folders
from watcherd.intake import probe
from watcherd.intake.rules import Rules
from watcherd.model import After
from watcherd.processors.grayscale import bounds, turbo
from watcherd.settings import workers
from watcherd.settings.machine import memory
from watcherd.settings.mounts import mounts
from watcherd.settings.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcherd.settings import Inbox, Settings

_INOTIFY = Path("/proc/sys/fs/inotify")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about this machine: which setting it concerns, what was found, and what to do about a problem."""

    subject: str
    message: str
    mend: str = ""
    is_problem: bool = True


def examine(settings: Settings) -> Iterator[Finding]:
    """Try everything that a run will need, and yield what is wrong or worth knowing."""
    yield from _writable("state", settings.state, is_made=True)
    for name, inbox in settings.inbox.items():
        yield from _inbox(f"inbox.{name}", inbox)
        yield from _written_to(f"inbox.{name}", inbox)
        yield from _mounted_inside(f"inbox.{name}", inbox)
    yield from _free_space(settings)
    yield from _watches(settings)
    yield from _memory(settings)
    yield from _hungry(settings)
    yield from _turbojpeg()


# Folders


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
    if inbox.after is After.ARCHIVE and _device(inbox.archive) != _device(inbox.path):
        message = f"{inbox.archive} is on another file system than {inbox.path}: inputs are copied, not moved"
        yield Finding(f"{name}.archive", message, is_problem=False)


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
    """Return the folder itself, or the nearest one around it that exists.

    Not by pathlib, which raises for a folder that we may not look into.
    """
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
        _try_to_write(tried)
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


def _try_to_write(folder: Path) -> None:
    """Write a file and sync it, as a run does; on most file systems it has no name, so that nothing is ever left."""
    with tempfile.TemporaryFile(dir=folder, prefix=".check-", buffering=0) as trial:
        trial.write(b"?")
        os.fsync(trial.fileno())


# Room


def _free_space(settings: Settings) -> Iterator[Finding]:
    written = {"state": settings.state}
    for name, inbox in settings.inbox.items():
        written |= {f"inbox.{name}.{key}": path for key, path in _destinations(inbox).items()}
    for subject, path in written.items():
        status = os.statvfs(_existing(path))
        free, wanted = status.f_bavail * status.f_frsize, settings.min_free.of(status.f_blocks * status.f_frsize)
        if free < wanted:
            message = f"{path} has {_about(free)} free, less than min_free = {settings.min_free} ({_about(wanted)})"
            yield Finding(subject, message, "make room, or lower min_free")


def _about(count: int) -> str:
    return size_text(count >> 20 << 20) if count >= 1 << 20 else size_text(count)


# Kernel


def _watches(settings: Settings) -> Iterator[Finding]:
    most = _number(_INOTIFY / "max_user_watches")
    if most is not None:
        needed = sum(_folders(inbox, most) for inbox in settings.inbox.values())
        if needed > most:
            message = f"the inboxes hold over {most} folders, and fs.inotify.max_user_watches is {most}"
            yield Finding("inotify", message, f"sysctl fs.inotify.max_user_watches={2 * needed}")
    instances = _number(_INOTIFY / "max_user_instances")
    if instances is not None and instances < len(settings.inbox):
        message = f"fs.inotify.max_user_instances is {instances}, and each of {len(settings.inbox)} inboxes needs one"
        yield Finding(
            "inotify", message, f"sysctl fs.inotify.max_user_instances={2 * len(settings.inbox) + instances}"
        )


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not this kernel, or hidden in this container: a run will tell
        return None


def _folders(inbox: Inbox, most: int) -> int:
    """Count the folders to watch, no further than just beyond `most`."""
    rules = Rules({}, exclude=inbox.exclude, recursive=inbox.recursive)
    tree = beneath.tree(str(inbox.path), rules.enters, lambda _: None)
    return sum(1 for _ in islice(tree, most + 1))


# Memory


def _memory(settings: Settings) -> Iterator[Finding]:
    image = settings.image
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    if most != resource.RLIM_INFINITY and most < image.memory:
        message = f"{size_text(image.memory)} is more than a process may have here, {_about(most)}: no worker starts"
        yield Finding("image.memory", message, "lower it, or raise LimitAS (ulimit -v)")
    needed = bounds.BASE + image.max_pixels * bounds.PLAIN
    if needed > image.memory:
        fitting = max(0, (image.memory - bounds.BASE) // bounds.PLAIN)
        message = f"{size_text(image.memory)} cannot hold max_pixels = {image.max_pixels:_}"
        mend = f'memory = "{(needed >> 20) + 1}MiB"' + (f" or max_pixels = {fitting:_}" if fitting else "")
        yield Finding("image.memory", message, mend)
    count, available = image.workers or workers(), memory()
    if count * needed > available:
        message = f"{count} workers at max_pixels need {_about(count * needed)}, and there are {_about(available)}"
        fitting = available // needed
        yield Finding("image.workers", message, f"workers = {fitting}" if fitting else "lower max_pixels")


def _hungry(settings: Settings) -> Iterator[Finding]:
    """Report formats that are refused below max_pixels, as their libraries hold more than the picture."""
    image = settings.image
    rates = {name: bounds.at_worst(name) for name in bounds.BESIDE}
    most = {name: max(0, image.memory - bounds.BASE) // rate for name, rate in rates.items()}
    fewer = [f"{name} {pixels // 10**6} MP" for name, pixels in most.items() if pixels < image.max_pixels]
    if fewer:
        message = f"{size_text(image.memory)} may hold fewer than max_pixels of some formats: {', '.join(fewer)}"
        needed = (bounds.BASE + image.max_pixels * max(rates.values()) >> 20) + 1
        yield Finding("image.memory", message, f'memory = "{needed}MiB" holds them all (optional)', is_problem=False)


# Libraries


def _turbojpeg() -> Iterator[Finding]:
    if turbo.library() is None:
        message = f"{turbo.LIBRARY} is not here: grey JPEGs are decoded and encoded anew, slower and not as exact"
        yield Finding("jpeg", message, "apt install libturbojpeg0 (optional)", is_problem=False)
