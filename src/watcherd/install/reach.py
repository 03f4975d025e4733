"""What a service could not reach, or may not be given: refused before anything is written (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from shlex import quote
from typing import TYPE_CHECKING

from watcherd.install.places import lies_in
from watcherd.model import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from watcherd.install.places import Host

#: What the sandbox hides, or replaces by something empty.
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 (no files of ours)


@dataclass(frozen=True, slots=True)
class Standing:
    """Whose a file or folder is, by number, and whether the service may read the one or enter the other."""

    owner: int
    is_open: bool


#: Returns how a path stands; None where nothing is there.
Look = Callable[[str], "Standing | None"]


def require_program(paths: Iterable[str], prefix: str, look: Look) -> None:
    """Raise Refused where the service could not reach `paths`, which its program consists of.

    `prefix` is the environment that it is installed in.
    """
    for path in paths:
        _require_seen(path, "install watcherd with /usr/bin/python3 -m venv /opt/watcherd, or use --user")
        if closed := _closed(path, look):
            mend = f"chmod -R o=rX {quote(prefix)}" if lies_in(closed, prefix) else f"chmod o+x {quote(closed)}"
            raise Refused(f"the service cannot reach {path}: {closed} is closed to other users; {mend}")


def require_names(paths: Iterable[str]) -> None:
    """Raise Refused where a path cannot be written in a configuration, which is text."""
    for path in paths:
        if re.search("[\x00-\x1f\x7f\ud800-\udfff]", path):
            raise Refused(f"{path!a} cannot be named in a configuration: choose a folder whose name is plain text")


def require_folders(paths: Iterable[str], look: Look) -> None:
    """Raise Refused where the service could not reach a folder of its inboxes, or nobody may make it safely."""
    for path in paths:
        _require_seen(path, "choose another folder, or --user")
        if closed := _closed(str(PurePosixPath(path).parent), look):
            mend = f"chmod o+x {quote(closed)}"
            raise Refused(f"the service cannot reach {path}: {closed} is closed to other users; {mend}")
        if theirs := _foreign(path, look):
            mend = "choose one in a folder of root's, or `chown root` that"
            raise Refused(f"systemd sets up no {path}: {theirs} on the way to it belongs to another user; {mend}")


def require_configuration(host: Host, state: str | None, look: Look) -> None:
    """Raise Refused where the service could not read its configuration, or that names no state it may write to.

    `state` is the one that it names, None where it names none.
    """
    if closed := _closed(host.configuration, look):
        mend = f"chmod o=rX {quote(closed)}"
        raise Refused(f"the service cannot read {host.configuration}: {closed} is closed to other users; {mend}")
    if state is None or not lies_in(state, host.state):
        said = f"it says state = {state}" if state else "it names no state"
        mend = f'say state = "{host.state}", where the service may write and other commands look'
        raise Refused(f"{host.configuration}: {said}; {mend}")


def _require_seen(path: str, mend: str) -> None:
    if any(lies_in(path, folder) for folder in _HIDDEN):
        raise Refused(f"the service cannot reach {path}: a service sees nothing in there; {mend}")


def _way(path: str) -> list[str]:
    """Return the folders on the way to a path, the outermost first, and the path."""
    return [str(it) for it in (*reversed(PurePosixPath(path).parents), path)]


def _closed(path: str, look: Look) -> str | None:
    """Return the first on the way to a path that the service may not enter or read; None where there is none."""
    found = ((it, look(it)) for it in _way(path))
    return next((it for it, standing in found if standing and not standing.is_open), None)


def _foreign(path: str, look: Look) -> str | None:
    """Return a folder whose owner, not root, could replace the next on the way: systemd-tmpfiles(8) refuses that."""
    for around, inner in pairwise(_way(path)):
        outer, within = look(around), look(inner)
        if outer and outer.owner and not (within and within.owner == outer.owner):
            return around
    return None
