"""The steps that install the service, and those that take it away again, by what is there (pure).

Files that we wrote are known by their first line, and only these are replaced or removed; one without it is somebody
else's, and kept. A configuration, a ledger and people's folders are made where they are missing, and never touched.
The services of a machine share their units and their account, which go with the last of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from watcherd.install import unit_files
from watcherd.install.places import lies_in
from watcherd.install.unit_files import is_ours

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from watcherd.install.places import Folders, Host


@dataclass(frozen=True, slots=True)
class _At:
    path: str


@dataclass(frozen=True, slots=True)
class Write(_At):
    """Write a file, for all to read."""

    content: str


class Make(_At):
    """Make a folder."""


class Remove(_At):
    """Remove a file that we wrote; of a folder of drop-ins, also the folder, if nothing else is in there."""


class Keep(_At):
    """Leave alone what is there."""


@dataclass(frozen=True, slots=True)
class Run:
    """Run a command; with a status other than 0 and `tolerated`, no further step is taken."""

    command: tuple[str, ...]
    tolerated: int = 0


Step = Write | Make | Remove | Keep | Run

#: How systemctl(1) ends for a unit that it does not know (any more), if it is to be stopped.
_NOT_LOADED = 5


@dataclass(frozen=True, slots=True)
class Facts:
    """What is there now.

    `files`: what is in each of `Host.files`, None where there is none. `enabled`: units of ours that start by
    themselves, as every installed one does. `there`: which of the configuration, the state and the folders of inboxes
    are.
    """

    files: Mapping[str, str | None]
    enabled: Collection[str]
    there: Collection[str]


# Install


def install(host: Host, command: str, inboxes: Sequence[Folders], facts: Facts) -> list[Step]:
    """Return the steps that install and start the service, or bring up to date what is installed.

    `command` is the path of `watcherd`; `inboxes` are those of the configuration that is there, or the one of a new
    one. The units come last: a failed attempt then leaves a change for the next one to find.
    """
    files = list(_files(unit_files.wanted(host, command, inboxes), facts))
    units = [step for step in files if lies_in(step.path, host.units)]
    others = [step for step in files if step not in units]
    changed = {step.path for step in files if isinstance(step, Write | Remove)}
    return [*others, *_places(host, inboxes, facts), *units, *_started(host, changed, facts)]


def _files(wanted: Mapping[str, str], facts: Facts) -> Iterator[Write | Remove | Keep]:
    for path, there in facts.files.items():
        if path in wanted:
            is_due = there is None or (is_ours(there) and there != wanted[path])
            yield Write(path, wanted[path]) if is_due else Keep(path)
        elif is_ours(there):
            yield Remove(path)


def _places(host: Host, inboxes: Sequence[Folders], facts: Facts) -> Iterator[Step]:
    if not host.is_user:
        yield Run(("systemd-sysusers", host.sysusers))
        yield Run(("systemd-tmpfiles", "--create", host.tmpfiles))
        return
    for path in chain.from_iterable(inboxes):
        yield Keep(path) if path in facts.there else Make(path)


def _started(host: Host, changed: Collection[str], facts: Facts) -> Iterator[Step]:
    yield _systemctl(host, "daemon-reload")
    yield _systemctl(host, "enable", host.unit)
    others = _others(host, facts)
    if others and not set(host.common).isdisjoint(changed):
        yield _systemctl(host, "try-restart", *others)
    yield _systemctl(host, "restart" if changed else "start", host.unit)


def _systemctl(host: Host, verb: str, *units: str, tolerated: int = 0) -> Run:
    manager = ("--user",) if host.is_user else ()
    return Run(("systemctl", *manager, verb, *(f"{unit}.service" for unit in units)), tolerated)


def _others(host: Host, facts: Facts) -> list[str]:
    return sorted(set(facts.enabled) - {host.unit})


# Uninstall


def uninstall(host: Host, facts: Facts) -> list[Step]:
    """Return the steps that stop the service and take away what was installed: none where nothing is. Data stays."""
    own, common = ([path for path in paths if is_ours(facts.files[path])] for paths in (host.own, host.common))
    is_last = not _others(host, facts)
    leftover = host.unit == "watcherd" and is_last and common
    if not (own or leftover or host.unit in facts.enabled):
        return []
    removed = [*own, *(common if is_last else ())]
    kept = [path for path in (host.configuration, host.state) if path in facts.there]
    return [*_stopped(host, facts), *map(Remove, removed), *_forgotten(host), *map(Keep, kept)]


def _stopped(host: Host, facts: Facts) -> Iterator[Step]:
    strays = () if host.is_user or _others(host, facts) else ("watcherd@*",)  # started, and never enabled
    yield _systemctl(host, "stop", host.unit, *strays, tolerated=_NOT_LOADED)
    if host.unit in facts.enabled:
        yield _systemctl(host, "disable", host.unit)


def _forgotten(host: Host) -> Iterator[Step]:
    yield _systemctl(host, "daemon-reload")
    # Otherwise a unit that had failed would be listed for ever. For one that had not, the status is 1.
    yield _systemctl(host, "reset-failed", host.unit, tolerated=1)
