"""Whether what is found is the file that is known: what to ask for depends on what may have been done to it.

    a file that                                  still has                         is told by
    nothing was done to                          size, mtime, inode, ctime         `is_still`, `stood_still`
    was renamed, or linked                       size, mtime, inode                `is_unwritten`
    we wrote, maybe to a server                  size, inode, about its mtime      `is_as_written`
    was restored from a backup, or mounted anew  size, mtime                       `looks_like`, `resembles`
    may be written into, as a taken input is     inode, if only we gave its name   its `st_ino`, at the place

Another file may get an inode that is free, so that alone proves nothing of a name that others give too. The ctime of
a file with several names says nothing: a rename of any of them sets it.

Pure: whoever asks has looked. What is not there (None) is no file that is known.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from watcherd.model import signed

if TYPE_CHECKING:
    from watcherd.model import Ended, Record, Version

#: Seconds by which a result may look younger than its row, whose times are whole seconds.
ROUNDING = 2


def is_still(found: os.stat_result | None, known: Version) -> bool:
    """Whether nothing was done to a file."""
    if found is None or not is_unwritten(found, known):
        return False
    return found.st_nlink > 1 or signed(found.st_ctime_ns) == known.ctime_ns


def stood_still(seen: Version, known: Version, *, linked: bool) -> bool:
    """Whether nothing was done to a file from one look to the next; `linked`: it has several names."""
    return seen == (known._replace(ctime_ns=seen.ctime_ns) if linked else known)


def is_unwritten(found: os.stat_result | None, known: Version) -> bool:
    """Whether nobody wrote into a file, or put another in its place, wherever it is by now."""
    return found is not None and found.st_ino == known.inode and looks_like(found, known)


def looks_like(found: os.stat_result | None, known: Version | Ended | None) -> bool:
    """Whether a file has the size and the time of the one that is known."""
    if found is None or known is None:
        return False
    return (found.st_size, signed(found.st_mtime_ns)) == (known.size, known.mtime_ns)


def resembles(seen: Version, known: Version) -> bool:
    """Whether a version looks like another."""
    return (seen.size, seen.mtime_ns) == (known.size, known.mtime_ns)


def is_as_written(found: os.stat_result, record: Record) -> bool:
    """Whether a file is the result of a record, or its reason, as we wrote it.

    A disk of this machine keeps times as they were written, where a server may date a file later.
    """
    if (found.st_ino, found.st_size) != (record.inode, record.result_size or found.st_size):
        return False
    mtime_ns = signed(found.st_mtime_ns)
    if record.result_mtime_ns and os.major(found.st_dev):
        return mtime_ns == record.result_mtime_ns
    return mtime_ns <= (record.at + ROUNDING) * 10**9
