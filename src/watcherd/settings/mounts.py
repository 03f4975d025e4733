"""What is mounted where, as /proc/self/mountinfo tells it (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount: the folder `root` of file system `device` (major:minor) of type `kind` shows at `point`."""

    device: str
    root: Path
    point: Path
    kind: str


def mounts() -> list[Mount]:
    """Return all mounts that this process sees, in the order they were made; none where /proc does not tell."""
    try:
        table = os.fsdecode(_TABLE.read_bytes())
    except OSError:
        return []
    # Not `splitlines`: that also splits at form feeds and their like, which are not escaped in a name.
    return [_mount(line) for line in table.split("\n") if line]


def _mount(line: str) -> Mount:
    before, _, after = line.partition(" - ")
    device, root, point = before.split(" ")[2:5]
    return Mount(device, _path(root), _path(point), after.split(" ")[0])


def _path(field: str) -> Path:
    return Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field))


def mount_of(path: Path, table: list[Mount]) -> Mount | None:
    """Return the mount on which the resolved `path` lies, or would lie once it is made."""
    around = (mount for mount in reversed(table) if path.is_relative_to(mount.point))  # the latest hides the others
    return max(around, key=lambda mount: len(mount.point.parts), default=None)


def location(path: Path, table: list[Mount]) -> tuple[str, Path]:
    """Return where the resolved `path` really lies: its file system, and its path there. Bind mounts share it."""
    mount = mount_of(path, table)
    return (mount.device, mount.root / path.relative_to(mount.point)) if mount else ("", path)
