"""How a path stands to the service: whose it is, and whether the service's user may read or enter it."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from contextlib import suppress

from watcherd.install.reach import Standing


def look(path: str) -> Standing | None:
    """Return how a path stands; None where nothing is there. See `reach.Look`."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return Standing(status.st_uid, is_open=_is_open(status) or _has_list(path))


def _is_open(status: os.stat_result) -> bool:
    """Whether the service's user, if there is one by now, may read this file, or enter this folder."""
    right = stat.S_IXOTH if stat.S_ISDIR(status.st_mode) else stat.S_IROTH
    with suppress(KeyError):
        if status.st_uid == pwd.getpwnam("watcherd").pw_uid:
            right <<= 6
        elif status.st_gid == grp.getgrnam("watcherd").gr_gid:
            right <<= 3
    return bool(status.st_mode & right)


def _has_list(path: str) -> bool:
    """Whether an access list says more than the mode: then the kernel decides."""
    with suppress(OSError):  # a file system that has none
        return "system.posix_acl_access" in os.listxattr(path)
    return False
