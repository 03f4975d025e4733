"""Which files an inbox takes, and which kind each one is.

Pure: names and modes in, a kind or a reason out. Nothing here looks at a file.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from watcherd.patterns import compiled, in_one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pathspec import GitIgnoreSpec

    from watcherd.model import Kind

#: What programs write beside the file that they mean: half of something, a lock, a note to themselves.
NEVER_TAKEN_PREFIXES = (".", "~$")
NEVER_TAKEN_SUFFIXES = (
    "~", ".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".download", ".swp",
)  # fmt: skip
NEVER_TAKEN = frozenset({"thumbs.db", "desktop.ini"})
NEVER_ENTERED = frozenset({"@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information"})


@dataclass(frozen=True, slots=True)
class Ignored:
    """A file that stays where it is: `reason` says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rules:
    """An inbox's rules.

    `extensions` are those of each kind, with their dot, in any case; `include` and `exclude` are gitignore patterns
    on the relative path. An empty `include` takes all that a processor claims; `exclude` beats `include`. Unless they
    are `recursive`, only what lies in the root itself is taken.
    """

    extensions: Mapping[Kind, frozenset[str]]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    recursive: bool = True
    _kinds: dict[str, Kind] = field(init=False, repr=False, compare=False)
    _included: GitIgnoreSpec | None = field(init=False, repr=False, compare=False)
    _excluded: GitIgnoreSpec | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kinds = {extension.lower(): kind for kind, claimed in self.extensions.items() for extension in claimed}
        object.__setattr__(self, "_kinds", kinds)
        object.__setattr__(self, "_included", compiled(self.include) if self.include else None)
        object.__setattr__(self, "_excluded", compiled(self.exclude) if self.exclude else None)

    def kind(self, path: str) -> Kind | Ignored:
        """Return the kind of the file at `path`, or why it is not taken."""
        if not self.recursive and "/" in path:
            return Ignored("lies in a folder of the inbox, which is not recursive")
        name = path[path.rfind("/") + 1 :].lower()
        if name.startswith(NEVER_TAKEN_PREFIXES) or name.endswith(NEVER_TAKEN_SUFFIXES) or name in NEVER_TAKEN:
            return Ignored("is a name that programs use for unfinished or private files")
        _, dot, extension = name.rpartition(".")
        kind = self._kinds.get(dot + extension)
        if kind is None:
            return Ignored("no processor claims its extension")
        if self._excluded is not None and self._excluded.match_file(in_one_line(path)):
            return Ignored("matches a pattern of exclude")
        if self._included is not None and not self._included.match_file(in_one_line(path)):
            return Ignored("matches no pattern of include")
        return kind

    def enters(self, folder: str) -> bool:
        """Whether the folder at `folder`, relative to the root, is looked into. Its parents are not considered."""
        name = folder[folder.rfind("/") + 1 :]
        if not self.recursive or name.startswith(".") or name.lower() in NEVER_ENTERED:
            return False
        return self._excluded is None or not self._excluded.match_file(in_one_line(folder + "/"))


def what_it_is(mode: int) -> str:
    """Return, for people, what something of this `st_mode` is, if it is no regular file."""
    names = {
        stat.S_IFLNK: "is a symbolic link",
        stat.S_IFIFO: "is a FIFO",
        stat.S_IFSOCK: "is a socket",
        stat.S_IFCHR: "is a device",
        stat.S_IFBLK: "is a device",
        stat.S_IFDIR: "is a folder",
    }
    return names.get(stat.S_IFMT(mode), "is no regular file")
