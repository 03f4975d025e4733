"""Which folders the settings name, those that follow from others, and which may not be where they are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watcherd.settings.layers import DEFAULT, ROLES, Keys, Layer, Layers, home
from watcherd.settings.mounts import Mount, location, mount_of, mounts
from watcherd.settings.problems import Problem
from watcherd.volumes import is_distant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def derived(layers: Layers, environ: Mapping[str, str], *, by_flags: bool) -> Layer:
    """Return the weakest layer: folders that follow from others, with where they come from."""
    values: dict[str, Any] = {"inbox": {name: _beside_outbox(layers, name) for name in layers.inboxes()}}
    base, place = _state_base(environ)
    inbox = layers.find("inbox", "inbox", "path")
    if by_flags and isinstance(inbox, Path):
        name = sha256(os.fsencode(os.path.realpath(inbox))).hexdigest()[:16]
        base, place = base / name, f"{place}, for this inbox"
    places: dict[Keys, str] = {("state",): place}
    places |= {("inbox", name): f"{DEFAULT}, beside the outbox" for name in layers.inboxes()}
    return Layer(DEFAULT, values | {"state": base}, places)


def _beside_outbox(layers: Layers, name: str) -> dict[str, Path]:
    outbox = layers.find("inbox", name, "outbox")
    return {role: outbox.parent / role for role in ("archive", "failed")} if isinstance(outbox, Path) else {}


def _state_base(environ: Mapping[str, str]) -> tuple[Path, str]:
    # systemd gives several, with colons between, to a unit that asks for several.
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given).absolute(), "$STATE_DIRECTORY"
    if os.geteuid() == 0:
        return Path("/var/lib/watcherd"), DEFAULT
    chosen = Path(environ.get("XDG_STATE_HOME", ""))
    if chosen.is_absolute():  # a relative one is to be ignored, says the XDG base directory specification
        return chosen / "watcherd", "$XDG_STATE_HOME"
    return home(environ).absolute() / ".local/state/watcherd", DEFAULT


@dataclass(frozen=True, slots=True)
class Named:
    """A folder of the settings, with the keys that name it, and the marks by which it is known.

    `own` are its marks: its resolved path; its place on its file system, which all bind mounts share; and its inode,
    if it exists. `around` are these, and the marks of each folder around it.
    """

    keys: Keys
    path: Path
    own: frozenset[object]
    around: frozenset[object]

    @property
    def name(self) -> str:
        """The key as people write it."""
        return ".".join(self.keys)

    def lies_in(self, other: Named) -> bool:
        """Whether it is `other` or lies in it."""
        return not other.own.isdisjoint(self.around)


def _used(layers: Layers) -> Iterator[tuple[Keys, object]]:
    """Yield every folder that is used: an archive only where inputs go there."""
    yield ("state",), layers.find("state")
    for name in layers.inboxes():
        for role in ROLES:
            if role != "archive" or layers.find("inbox", name, "after") in (None, "archive"):
                yield ("inbox", name, role), layers.find("inbox", name, role)


def _named(keys: Keys, path: Path, table: list[Mount]) -> Named:
    resolved = Path(os.path.realpath(path))  # `Path.resolve` raises where links go in circles
    device, inside = location(resolved, table)
    paths = (resolved, *resolved.parents)
    locations = [(device, it) for it in (inside, *inside.parents)]
    identities = [_identity(it) for it in paths]
    own = frozenset({paths[0], locations[0], identities[0]} - {None})
    return Named(keys, path, own, frozenset({*paths, *locations, *identities} - {None}))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:  # missing, or not for our eyes: then path and mount must do
        return None
    return status.st_dev, status.st_ino


def problems(layers: Layers) -> Iterator[Problem]:
    """Find folders that lie in each other, and a state folder that another machine holds."""
    table = mounts()
    folders = [_named(keys, path, table) for keys, path in _used(layers) if isinstance(path, Path)]
    yield from _overlaps(layers, folders)
    yield from _distant_state(layers, table)


def _distant_state(layers: Layers, table: list[Mount]) -> Iterator[Problem]:
    state = layers.find("state")
    mount = mount_of(Path(os.path.realpath(state)), table) if isinstance(state, Path) else None
    if mount and is_distant(mount.kind):
        message = f"{state} is on a network mount ({mount.kind}), where SQLite's locks do not hold"
        yield Problem(layers.place("state"), "state", message, "choose a folder on a local disk")


def _overlaps(layers: Layers, folders: list[Named]) -> Iterator[Problem]:
    found = [pair for one, other in combinations(folders, 2) if (pair := _overlap(one, other))]
    misplaced = {inner.keys for inner, _ in found}
    for inner, outer in found:
        # The outbox that it follows from has to move anyway, and takes it along.
        moves_along = _is_derived(layers, inner) and (*inner.keys[:-1], "outbox") in misplaced
        if not moves_along:
            relation = "is the same folder as" if outer.lies_in(inner) else "lies in"
            message = f"{inner.name} = {inner.path} {relation} {outer.name} = {outer.path}"
            mend = f"choose another folder for {inner.name}, beside the other and not in it"
            yield Problem(_place(layers, inner, outer), inner.name, message, mend)


def _overlap(one: Named, other: Named) -> tuple[Named, Named] | None:
    if one.lies_in(other):
        return one, other
    return (other, one) if other.lies_in(one) else None


def _is_derived(layers: Layers, folder: Named) -> bool:
    return layers.place(*folder.keys).startswith(DEFAULT)


def _place(layers: Layers, inner: Named, outer: Named) -> str:
    # Of the two, the one that somebody wrote has to change, not the one that follows from it.
    written = [folder for folder in (inner, outer) if not _is_derived(layers, folder)]
    return layers.place(*(written or [inner])[0].keys)
