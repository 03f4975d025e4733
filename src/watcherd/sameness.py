"""Whether what is found is the file that is known: what to ask for depends on what may have been done to it.

    a file that                                  still has                   is told by           of two versions
    nothing was done to                          size, mtime, inode, ctime   `is_still`           `stood_still`
    was renamed, or has another mode             size, mtime, inode          `is_unwritten`
    was restored from a backup, or mounted anew  size, mtime                 `looks_like`         `resembles`
    was copied to another file system            size, about its mtime       `is_copy`
    was set aside, by the word of its reason     about its mtime             `has_time`
    we wrote, maybe to a server                  size, inode, maybe mtime    `is_as_written`
    we wrote where inodes do not last            size, mtime                 `looks_like`
    anybody may write into by now                inode                       `has_inode`
    has another name as well                     disk, inode, two names      `are_names_of_one`

The ctime of a file with several names says nothing: a rename of any of them sets it. An inode says nothing once its
file is gone: the next one may get it. `==` of two versions asks for all four, also of a file with several names.

Pure: whoever asks has looked. What is not there (None) is no file that is known.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from watcherd.model import signed

if TYPE_CHECKING:
    from watcherd.model import Draft, Ended, Record, Version

#: Nanoseconds by which the time of a copy may be off: some file systems hold only every second one.
_COARSE = 2 * 10**9

#: Seconds by which a result may look younger than its row, whose times are whole seconds.
ROUNDING = 2


def is_still(found: os.stat_result, known: Version) -> bool:
    """Whether nothing was done to a file."""
    return is_unwritten(found, known) and (found.st_nlink > 1 or signed(found.st_ctime_ns) == known.ctime_ns)


def stood_still(seen: Version, known: Version, *, linked: bool) -> bool:
    """Whether nothing was done to a file from one look to the next; `linked`: it has several names."""
    return seen == (known._replace(ctime_ns=seen.ctime_ns) if linked else known)


def is_unwritten(found: os.stat_result | None, known: Version) -> bool:
    """Whether nobody wrote into a file, or put another in its place, wherever it is by now."""
    return found is not None and found.st_ino == known.inode and looks_like(found, known)


def looks_like(found: os.stat_result | None, known: Version | Ended | Draft) -> bool:
    """Whether a file has the size and the time of the one that is known."""
    return found is not None and (found.st_size, signed(found.st_mtime_ns)) == (known.size, known.mtime_ns)


def resembles(seen: Version, known: Version) -> bool:
    """Whether a version looks like another."""
    return (seen.size, seen.mtime_ns) == (known.size, known.mtime_ns)


def has_inode(found: os.stat_result | None, known: Version | Draft) -> bool:
    """Whether a file, or a draft, is that very one, whatever is in it and whatever its name."""
    return found is not None and found.st_ino == known.inode


def are_names_of_one(found: os.stat_result | None, other: os.stat_result | None) -> bool:
    """Whether two names are of one file: it has several, as some file systems give several files one number."""
    return found is not None and other is not None and found.st_nlink > 1 and os.path.samestat(found, other)


def is_copy(copy: os.stat_result, original: os.stat_result) -> bool:
    """Whether a copy has the size and the time of its original, as far as its file system can hold the time."""
    return copy.st_size == original.st_size and abs(copy.st_mtime_ns - original.st_mtime_ns) < _COARSE


def has_time(found: os.stat_result | None, seconds: float) -> bool:
    """Whether a file is of that time, Unix seconds, as far as its file system can hold it."""
    return found is not None and abs(seconds - signed(found.st_mtime_ns) / 1e9) < _COARSE / 1e9


def is_as_written(found: os.stat_result, record: Record) -> bool:
    """Whether a file is the result of a record, or its reason, as we wrote it.

    A disk of this machine keeps times as they were written, where a server may date a file later. What has a major
    number is such a disk; servers have none, nor have btrfs, overlays and tmpfs.
    """
    result, mtime_ns = record.result, signed(found.st_mtime_ns)
    if not has_inode(found, result) or found.st_size != (result.size or found.st_size):
        return False
    if result.mtime_ns and os.major(found.st_dev):
        return mtime_ns == result.mtime_ns
    return mtime_ns <= (record.at + ROUNDING) * 10**9
