"""What each file of an installation holds (pure): the package's own, with this service's command and folders."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from watcherd.install.places import lies_in, of_system

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from watcherd.install.places import Folders, Host

MARK = "# Written by `watcherd service install`, and replaced by the next. Without this line it is yours, and kept.\n"

#: The command and folders in the package's files, to be replaced by those of this service.
_COMMAND = "/opt/watcherd/bin/watcherd"
_USUAL = of_system().folders

#: Folders of the system: too wide to be opened for writing as a whole.
_WIDE = frozenset(
    """
    / /boot /dev /etc /home /lib /lib64 /media /mnt /opt /proc /root /run /srv /sys /usr /usr/lib /usr/local
    /usr/share /var /var/cache /var/lib /var/local /var/log /var/mail /var/opt /var/spool /var/www
    """.split()  # noqa: SIM905 (as one reads them)
)


def wanted(host: Host, command: str, inboxes: Sequence[Folders]) -> dict[str, str]:
    """Return what each file shall hold, a configuration where there is none; `command` is the path of `watcherd`."""
    contents = {path: packed(_name_of(host, path)) for path in host.common}
    if not host.is_user:
        contents[host.tmpfiles] = _tmpfiles(inboxes)
        if outside := [path for folders in inboxes for path in _outside(host, folders)]:
            contents[host.drop_in] = _drop_in(list(dict.fromkeys(outside)))
    ours = {path: MARK + content.replace(_COMMAND, _quoted(command)) for path, content in contents.items()}
    return {host.configuration: configuration(inboxes[0], host.state), **ours}


def _name_of(host: Host, path: str) -> str:
    """Return which of the package's files becomes the one at `path`."""
    name = PurePosixPath(path).name
    if path == host.sysusers:
        return f"sysusers.d/{name}"
    return f"user/{name}" if host.is_user else name


def packed(name: str) -> str:
    """Return one of the files that come with the package."""
    return (resources.files("watcherd") / "units" / name).read_text("utf-8")


def is_ours(content: str | None) -> bool:
    """Whether this is in a file that we wrote."""
    return content is not None and content.startswith(MARK)


def effective(content: str) -> list[str]:
    """Return the lines of a file, without comments and empty ones."""
    return [line for line in content.splitlines() if line and not line.startswith("#")]


# As systemd reads it


def _quoted(path: str) -> str:
    """Write a path as systemd's files take it: %% for a %, and quotes around what would part or escape."""
    path = path.replace("%", "%%")
    return path if re.fullmatch(r"[\w%@+,.:/~-]+", path) else '"' + re.sub(r'(["\\])', r"\\\1", path) + '"'


def _as_pattern(path: str) -> str:
    """Write a path where tmpfiles.d(5) takes a pattern, so that it stands for itself."""
    return _quoted(re.sub(r"([*?\[\\])", r"\\\1", path))


def _tmpfiles(inboxes: Sequence[Folders]) -> str:
    """Return who may do what in the folders of each inbox; the words about it once."""
    text = packed("tmpfiles.d/watcherd.conf")
    lines = [_placed(line, folders) for folders in inboxes for line in text.splitlines()]
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


def _placed(line: str, folders: Folders) -> str:
    write = _quoted if re.match("#?d ", line) else _as_pattern
    chosen = {usual: write(path) for usual, path in zip(_USUAL, folders, strict=True)}
    return re.sub("|".join(map(re.escape, _USUAL)), lambda found: chosen[found[0]], line)


# The sandbox


def _outside(host: Host, folders: Folders) -> Collection[str]:
    """Return the folders that must be opened for writing besides the usual ones: if possible, one around all of them.

    Nothing can be renamed between two folders that are opened separately.
    """
    usual = str(PurePosixPath(host.folders.inbox).parent)
    outside = [path for path in folders if not lies_in(path, usual)]
    around = {str(PurePosixPath(path).parent) for path in folders}
    can_be_one = len(around) == 1 and around.isdisjoint(_WIDE)
    return around if outside and can_be_one else outside


def _drop_in(paths: Iterable[str]) -> str:
    # A missing folder may be ignored (-): the daemon reports it, and serves the other inboxes meanwhile.
    opened = "".join(f"ReadWritePaths={_quoted(f'-{path}')}\n" for path in paths)
    mounted = "".join(f"RequiresMountsFor={_quoted(path)}\n" for path in paths)
    return f"[Unit]\n{mounted}\n[Service]\n{opened}"


# The configuration


def configuration(folders: Folders, state: str) -> str:
    """Return the commented example, with these folders and this state in it."""
    text = resources.files("watcherd").joinpath("watcherd.toml").read_text("utf-8")
    named = {"state": state, "path": folders.inbox, "outbox": folders.outbox}
    named |= {"archive": folders.archive, "failed": folders.failed}
    for key, path in named.items():
        line = f"{key} = {json.dumps(path, ensure_ascii=False)}".replace("\\", r"\\")  # which `sub` takes for escapes
        text = re.sub(rf"(?m)^(# )?{key} = .*$", line, text)
    return text
