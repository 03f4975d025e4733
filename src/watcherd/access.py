"""Why a folder cannot be used, and what would let us use one that is closed to us."""

from __future__ import annotations

import errno
import os
import shlex
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from watcherd.model import SystemFault

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Errors of a folder that is closed to us.
REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

#: Why an inbox is lost although its folder is there: the ledger knows its files by the folder's former path.
ELSEWHERE = "a link on the way to it leads to another folder now"

_MENDS = {
    ELSEWHERE: "let it lead where it led, or restart watcherd",
    os.strerror(errno.EACCES): "chmod it, or the folder that holds it, so that this user may read it",
    os.strerror(errno.ENOTDIR): "move away the file that is in its place",
    os.strerror(errno.ELOOP): "correct its link",
    os.strerror(errno.EIO): "look after its disk or mount",
    os.strerror(errno.ESTALE): "look after its disk or mount",
    os.strerror(errno.ENOTCONN): "look after its disk or mount",
    os.strerror(errno.ENOSPC): "make room",
    os.strerror(errno.EDQUOT): "make room",
}


def mend_of(reason: str) -> str:
    """Return how to bring back a folder that is lost for `reason`, which contains the kernel's words or ours."""
    known = (mend for words, mend in _MENDS.items() if words in reason)
    return next(known, "mount it, bring it back, or make the folder")


#: Whether the kernel can be asked for whom we act as. A container that is older than that call, faccessat2(2),
#: forbids it, which looks as if all were closed.
ASKABLE = os.access("/", os.F_OK, effective_ids=True)


def may(path: str | os.PathLike[str], mode: int) -> bool:
    """Whether we may use a path in the way that `mode` says. See `os.access`."""
    return os.access(path, mode, effective_ids=ASKABLE)


@contextmanager
def error_as_fault(path: str) -> Iterator[None]:
    """Raise an OSError as a SystemFault that names the folder."""
    try:
        yield
    except OSError as error:
        # An error of a descriptor names no file.
        named = f" ({error.filename})" if error.filename and error.filename != path else ""
        message = f"cannot use the folder {path}: {error.strerror}{named}{how_to_use(path, error)}"
        raise SystemFault(message, root=path, errno=error.errno) from error


def how_to_use(path: str, error: OSError) -> str:
    """Return how we could use a folder that refuses us, to be put behind its error; nothing for another error."""
    refused = str(error.filename or path)
    if error.errno not in REFUSALS or not os.path.isabs(refused):  # a name alone is of any folder beneath
        return ""
    # It may be closed to us in a folder around it, or to be made there.
    around = (refused, *map(str, Path(refused).parents))
    return how_to_write(next(filter(os.path.exists, around), path))


def how_to_write(*paths: str | os.PathLike[str]) -> str:
    """Return how we could write to these paths, to be put behind an error of theirs; nothing where we may."""
    with suppress(OSError):  # one that is not there, or cannot be asked
        for path in map(Path, paths):
            if not may(path, os.W_OK):
                return f"; {_opening(path)}"
    return ""


def _opening(path: Path) -> str:
    """Return what would let us write to a path that is closed to us. Raises OSError."""
    if os.statvfs(path).f_flag & os.ST_RDONLY:  # first: it is so for every user
        return f"{path} is mounted read-only: mount it for writing"
    if path.stat().st_uid == os.geteuid():
        return f"chmod u+rwX {shlex.quote(str(path))}"
    return f"{path} belongs to {_owner(path)}: let this user write there, or run watcherd as that one"


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:  # a user of another machine, or container
        return f"user {path.stat().st_uid}"
