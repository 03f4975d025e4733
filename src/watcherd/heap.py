"""What a worker process does with memory that it does not need for now: glibc's heap, and when it is given back.

Pictures are large and soon gone, and each needs what the last one had. By default glibc gives that back after each,
and the kernel clears it for the next: that is up to half of the time of a grey JPEG in pages of 4 KiB, a twentieth in
pages of 2 MiB. See "Memory Allocation Tunables" in glibc's manual; other libraries ignore them.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

#: Bytes from which a block has pages of its own, which are given back as soon as it is free. By default glibc raises
#: this threshold as blocks are freed, up to the same.
LARGE = 32 << 20


def tunables(memory: int) -> dict[str, str]:
    """Return the environment by which a process of `memory` bytes of address space keeps up to an eighth of them."""
    told = {"hugetlb": 1, "mmap_threshold": LARGE, "trim_threshold": memory // 8}
    return {"GLIBC_TUNABLES": ":".join(f"glibc.malloc.{name}={value}" for name, value in told.items())}


def give_back() -> None:
    """Give the system what is free in this process's heap."""
    with suppress(AttributeError):  # another C library than glibc has its own ways
        ctypes.CDLL(None).malloc_trim(0)
