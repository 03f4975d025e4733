"""What it takes to install the systemd service, and to take it away again: decided here, done by the command.

Files that we wrote are known by their first line, and only these are replaced or removed: without it they are
somebody else's, and kept. A configuration, a ledger and people's folders are made where they are missing, and never
touched.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from watcherd.model import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

MARK = "# Written by `watcherd service install`, and replaced by the next. Without this line it is yours, and kept.\n"

#: What the files that come with the package say about a command and folders that are ours to choose.
_COMMAND = "/opt/watcherd/bin/watcherd"

#: What the sandbox hides, or replaces by something empty.
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 (no files of ours)

#: Folders of the system: too wide to be opened for writing as a whole.
_WIDE = frozenset("/ /boot /dev /etc /lib /media /mnt /opt /proc /run /srv /sys /usr /var".split())  # noqa: SIM905 (as one reads them)


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of the only inbox that a new configuration has."""

    inbox: str
    outbox: str
    archive: str
    failed: str

    def all(self) -> tuple[str, str, str, str]:
        """Return each of them."""
        return self.inbox, self.outbox, self.archive, self.failed

    @classmethod
    def under(cls, folder: str) -> Folders:
        """Return those of the usual names."""
        return cls(*(f"{folder}/{name}" for name in ("inbox", "outbox", "archive", "failed")))


@dataclass(frozen=True, slots=True)
class Host:
    """Where this machine, or this user, keeps what belongs to a service.

    `unit` is its name: watcherd, or watcherd@NAME for a further one; `folders` are those that it has if none are
    chosen; `systemctl` is how its manager is spoken to.
    """

    unit: str
    units: str
    configuration: str
    state: str
    folders: Folders
    systemctl: tuple[str, ...] = ("systemctl",)
    is_user: bool = False

    @property
    def drop_in(self) -> str:
        """Where it is said which folders outside of the usual ones may be written to."""
        return f"{self.units}/{self.unit}.service.d/folders.conf"

    @property
    def sysusers(self) -> str:
        """Where its account is described."""
        return "/etc/sysusers.d/watcherd.conf"

    @property
    def tmpfiles(self) -> str:
        """Where its folders are described."""
        return f"/etc/tmpfiles.d/{self.unit}.conf"


def of_system(name: str = "") -> Host:
    """Return where the machine keeps what belongs to its service, or to one of several."""
    within = f"/{name}" if name else ""
    return Host(
        unit=f"watcherd@{name}" if name else "watcherd",
        units="/etc/systemd/system",
        configuration=f"/etc/watcherd/{name or 'watcherd'}.toml",
        state=f"/var/lib/watcherd{within}",
        folders=Folders.under(f"/srv/watcherd{within}"),
    )


def of_user(environ: Mapping[str, str]) -> Host:
    """Return where a user keeps things, as the XDG base directory specification has it."""
    home = environ["HOME"]
    config = _absolute(environ.get("XDG_CONFIG_HOME")) or f"{home}/.config"
    state = _absolute(environ.get("XDG_STATE_HOME")) or f"{home}/.local/state"
    return Host(
        unit="watcherd",
        units=f"{config}/systemd/user",
        configuration=f"{config}/watcherd/watcherd.toml",
        state=f"{state}/watcherd",
        folders=Folders.under(f"{home}/watcherd"),
        systemctl=("systemctl", "--user"),
        is_user=True,
    )


def _absolute(path: str | None) -> str | None:
    return path if path and os.path.isabs(path) else None


# Steps


@dataclass(frozen=True, slots=True)
class Write:
    """Write a file, for all to read."""

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class Make:
    """Make a folder."""

    path: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file that we wrote; of a folder of drop-ins, also the folder, if nothing else is in there."""

    path: str


@dataclass(frozen=True, slots=True)
class Keep:
    """Leave alone what is there."""

    path: str


@dataclass(frozen=True, slots=True)
class Run:
    """Run a command; nothing further is done where it fails."""

    command: tuple[str, ...]


Step = Write | Make | Remove | Keep | Run


# Install


def install(
    host: Host,
    command: str,
    inboxes: Sequence[Folders],
    found: Mapping[str, str | None],
    is_there: Callable[[str], bool] = os.path.isdir,
) -> list[Step]:
    """Return the steps that install and start the service, or bring up to date what is installed.

    `command` is the path of `watcherd`; `inboxes` are those of the configuration that is there, or the one of the
    new; `found` has what is in each of `files(host)` now, None where nothing is.
    """
    settled = [*_files(_wanted(host, command, inboxes), found), _configured(host, inboxes[0], found)]
    changed = any(isinstance(step, Write) for step in settled)
    return [*settled, *_places(host, inboxes, is_there), *_started(host, changed=changed)]


def files(host: Host) -> tuple[str, ...]:
    """Return the path of every file that an installation may write."""
    own = (host.configuration,) if host.is_user else (host.drop_in, host.tmpfiles, host.configuration)
    return (*_shared(host), *own)


def _shared(host: Host) -> tuple[str, ...]:
    """Return the path of every file that all services of this host have in common."""
    if host.is_user:
        return (f"{host.units}/watcherd.service",)
    return (f"{host.units}/watcherd.service", f"{host.units}/watcherd@.service", host.sysusers)


def _wanted(host: Host, command: str, inboxes: Sequence[Folders]) -> dict[str, str]:
    """Return what each file of ours shall hold."""
    if host.is_user:
        wanted = {f"{host.units}/watcherd.service": packed("user/watcherd.service")}
    else:
        wanted = {f"{host.units}/{name}": packed(name) for name in ("watcherd.service", "watcherd@.service")}
        wanted |= {host.sysusers: packed("sysusers.d/watcherd.conf"), host.tmpfiles: _tmpfiles(inboxes)}
        if outside := [path for folders in inboxes for path in _outside(host, folders)]:
            wanted[host.drop_in] = _drop_in(outside)
    return {path: MARK + content.replace(_COMMAND, _quoted(command)) for path, content in wanted.items()}


def packed(name: str) -> str:
    """Return one of the files that come with the package."""
    return (resources.files("watcherd") / "units" / name).read_text("utf-8")


def _quoted(path: str) -> str:
    """Write a path as systemd's files take it: %% for a %, and quotes around what would part or escape."""
    path = path.replace("%", "%%")
    return path if re.fullmatch(r"[\w%@+,.:/~-]+", path) else '"' + re.sub(r'(["\\])', r"\\\1", path) + '"'


def _tmpfiles(inboxes: Sequence[Folders]) -> str:
    """Return who may do what in the folders of each inbox; the words about it once."""
    text = packed("tmpfiles.d/watcherd.conf")
    lines = [_placed(line, folders) for folders in inboxes for line in text.splitlines()]
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


def _placed(line: str, folders: Folders) -> str:
    for usual, path in zip(of_system().folders.all(), folders.all(), strict=True):
        line = line.replace(usual, _quoted(path))
    return line


def _outside(host: Host, folders: Folders) -> list[str]:
    """Return what has to be opened for writing besides: where it can be, one folder around all.

    Nothing can be renamed from one that is opened to another.
    """
    outside = [path for path in folders.all() if not _lies_in(path, [os.path.dirname(host.folders.inbox)])]
    around = os.path.commonpath(folders.all())
    return [around] if outside and around not in _WIDE else outside


def _drop_in(paths: Iterable[str]) -> str:
    return "[Service]\n" + "".join(f"ReadWritePaths={_quoted(path)}\n" for path in dict.fromkeys(paths))


def _files(wanted: Mapping[str, str], found: Mapping[str, str | None]) -> Iterator[Step]:
    for path, content in wanted.items():
        there = found[path]
        replaced = there is None or (is_ours(there) and there != content)
        yield Write(path, content) if replaced else Keep(path)


def is_ours(content: str | None) -> bool:
    """Whether this is in a file that we wrote."""
    return content is not None and content.startswith(MARK)


def _configured(host: Host, folders: Folders, found: Mapping[str, str | None]) -> Step:
    if found[host.configuration] is not None:
        return Keep(host.configuration)
    return Write(host.configuration, configuration(folders, host.state))


def configuration(folders: Folders, state: str) -> str:
    """Return the commented example, with these folders and this state in it."""
    text = resources.files("watcherd").joinpath("watcherd.toml").read_text("utf-8")
    named = {"state": state, "path": folders.inbox, "outbox": folders.outbox}
    named |= {"archive": folders.archive, "failed": folders.failed}
    for key, path in named.items():
        text = re.sub(rf"(?m)^(# )?{key} = .*$", f"{key} = {json.dumps(path)}".replace("\\", r"\\"), text)
    return text


def _places(host: Host, inboxes: Sequence[Folders], is_there: Callable[[str], bool]) -> Iterator[Step]:
    if not host.is_user:
        yield Run(("systemd-sysusers", host.sysusers))
        yield Run(("systemd-tmpfiles", "--create", host.tmpfiles))
        return
    for path in (path for folders in inboxes for path in folders.all()):
        yield Keep(path) if is_there(path) else Make(path)


def _started(host: Host, *, changed: bool) -> Iterator[Step]:
    yield Run((*host.systemctl, "daemon-reload"))
    yield Run((*host.systemctl, "enable", f"{host.unit}.service"))
    yield Run((*host.systemctl, "restart" if changed else "start", f"{host.unit}.service"))


# What the service could not reach


def require_reachable(command: Iterable[str], folders: Iterable[str], closed: Callable[[str], str | None]) -> None:
    """Raise Refused where the system's service could not reach its program, or folders that were chosen.

    `command` are all the paths that the program consists of; `closed` returns the folder on the way to a path that
    not everybody may enter, or None.
    """
    unseen = "a service sees nothing in there"
    for path in command:
        if _lies_in(path, _HIDDEN):
            mend = "install watcherd with /usr/bin/python3 -m venv /opt/watcherd, or use --user"
            raise Refused(f"the service cannot reach {path}: {unseen}; {mend}")
        if around := closed(path):
            raise Refused(f"the service cannot reach {path}: {around} is closed to other users; chmod o+x {around}")
    for path in folders:
        if _lies_in(path, _HIDDEN):
            raise Refused(f"the service cannot reach {path}: {unseen}; choose another folder, or --user")


def _lies_in(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


# Uninstall


def uninstall(host: Host, found: Mapping[str, str | None]) -> list[Step]:
    """Return the steps that stop the service and take away what was installed: none where nothing is. Data stays.

    What services have in common goes with the one that has no name of its own, and stops them all.
    """
    last = host.unit == "watcherd"
    ours = [path for path in files(host) if is_ours(found[path])]
    if not ours:
        return []
    stopped = ("watcherd.service", "watcherd@*.service") if last else (f"{host.unit}.service",)
    disabled = ("watcherd.service", "watcherd@.service") if last else stopped
    return [
        Run((*host.systemctl, "stop", *stopped)),
        Run((*host.systemctl, "disable", *disabled)),
        *(Remove(path) for path in ours if last or path not in _shared(host)),
        Run((*host.systemctl, "daemon-reload")),
        Keep(host.configuration),
        Keep(host.state),
    ]
