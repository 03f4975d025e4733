"""What `watcherd check` finds on this machine: whatever can be tried is tried."""

from __future__ import annotations

import resource
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.cli.trials import Finding, in_folders
from watcherd.intake.rules import Rules
from watcherd.processors.grayscale import bounds, turbo
from watcherd.settings import workers
from watcherd.settings.machine import memory
from watcherd.settings.units import about, size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcherd.settings import Inbox, Settings

_INOTIFY = Path("/proc/sys/fs/inotify")


def examine(settings: Settings) -> Iterator[Finding]:
    """Try everything that a run will need, and yield what is wrong or worth knowing."""
    yield from in_folders(settings)
    yield from _watches(settings)
    yield from _memory(settings)
    yield from _hungry(settings)
    yield from _turbojpeg()


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


def _memory(settings: Settings) -> Iterator[Finding]:
    image = settings.image
    for name, option in (("AS", "-v"), ("DATA", "-d")):
        most = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
        if most != resource.RLIM_INFINITY and most < image.memory:
            message = f"{size_text(image.memory)} is more than a process may have here, {about(most)}"
            mend = f"lower it, or raise Limit{name} (ulimit {option})"
            yield Finding("image.memory", f"{message}: no worker starts", mend)
    needed = bounds.BASE + image.max_pixels * bounds.PLAIN
    if needed > image.memory:
        fitting = max(0, (image.memory - bounds.BASE) // bounds.PLAIN)
        message = f"{size_text(image.memory)} cannot hold max_pixels = {image.max_pixels:_}"
        mend = f'memory = "{(needed >> 20) + 1}MiB"' + (f" or max_pixels = {fitting:_}" if fitting else "")
        yield Finding("image.memory", message, mend)
    count, available = image.workers or workers(), memory()
    if count * needed > available:
        message = f"max_pixels with workers = {count} need {about(count * needed)}, and there are {about(available)}"
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


def _turbojpeg() -> Iterator[Finding]:
    if turbo.library() is None:
        message = f"{turbo.LIBRARY} is not here: grey JPEGs are decoded and encoded anew, slower and not as exact"
        yield Finding("jpeg", message, "apt install libturbojpeg0 (optional)", is_problem=False)
