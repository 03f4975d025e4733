"""What this machine is good for: the cores and the memory that we may use, less what cgroups (v1 and v2) allow."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_PROCESSORS = Path("/sys/devices/system/cpu")

#: Bytes of a text that are counted together, of those that may be chosen: the least and the most of "auto".
_LEAST_AUTO, _MOST_AUTO = 640 << 10, 1 << 20


def workers() -> int:
    """Return how many workers of a kind "auto" means: one for each core that we may use, at least 1."""
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), quota())))


def chunk() -> int:
    """Return the bytes that "auto" means for a chunk of text: three eighths of a core's second-level cache, or more.

    Counting passes over a chunk, and a mask of its size, several times, and between passes threads take turns at
    the interpreter: small chunks suit one file, where the cache holds both, and large ones two at once. Measured in
    benchmarks/README.md.
    """
    caches = (_PROCESSORS / f"cpu{min(os.sched_getaffinity(0))}/cache").glob("index*")
    sizes = (_read(cache / "size") for cache in caches if _read(cache / "level") == "2")
    known = [int(text[:-1]) << 10 for text in sizes if text[:-1].isdecimal() and text.endswith("K")]
    return max(_LEAST_AUTO, min(known[0] * 3 // 8 if known else 0, _MOST_AUTO))


def memory() -> int:
    """Return the bytes of memory that we may use: the machine's, or fewer where a cgroup says so."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_read(group / name) for group in _groups("memory") for name in ("memory.max", "memory.limit_in_bytes"))
    return min([physical, *(int(limit) for limit in limits if limit.isdecimal())])


def quota() -> float:
    """Return the cores that our cgroup and those around it allow; infinity where there is no limit."""
    return min(_quotas(), default=math.inf)


def _quotas() -> Iterator[float]:
    for group in _groups("cpu"):
        share = (
            _read(group / "cpu.max") or f"{_read(group / 'cpu.cfs_quota_us')} {_read(group / 'cpu.cfs_period_us')}"
        )
        allowed, _, period = share.partition(" ")
        if allowed.isdecimal() and period.isdecimal():  # "max", and -1 in the first version, are no limit
            yield int(allowed) / int(period)


def _groups(controller: str) -> Iterator[Path]:
    """Yield our group and all around it, in whichever hierarchy holds `controller`.

    In a container the path may be the host's, and the container's own group is what is mounted at the root: so the
    root is always among them, and what is not there reads as empty.
    """
    for line in _read(_MEMBERSHIP).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "" or controller in controllers.split(","):
            roots = (controllers, controller) if controllers else ("", "unified")
            inside = Path(path.lstrip("/"))
            yield from (_CGROUPS / root / group for root in roots for group in (inside, *inside.parents))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # no such group or controller here
        return ""
