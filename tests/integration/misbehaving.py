"""A processor that does what its file says: the first word is the deed, the rest is what the deed needs."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from watcherd.model import Failure, FileFault, Picture

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.model import Limits, Result

PICTURE = Picture(format="PNG", mode="L", width=3, height=2)


def process(source: BinaryIO, *, name: str, limits: Limits, checkpoint: Callable[[], None]) -> tuple[bytes, Result]:
    deed, _, rest = source.read().decode().partition(" ")
    checkpoint()
    did = DEEDS[deed](rest)
    checkpoint()
    return f"{name!r} {limits.max_pixels} {did}".encode(), PICTURE


def _session(_: str) -> str:
    return f"{os.getsid(0) == os.getpid()} {resource.getrlimit(resource.RLIMIT_AS)} {signal.pthread_sigmask(0, ())}"


def _descriptors(_: str) -> str:
    return " ".join(sorted(os.readlink(link) for link in Path("/proc/self/fd").iterdir() if os.path.lexists(link)))


def _shrug_off(_: str) -> str:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
    return "survived"


def _hang(_: str) -> NoReturn:
    while True:
        threading.Event().wait()


def _tell(fifo: str) -> NoReturn:
    """Say in a FIFO that the work has begun, then hang."""
    Path(fifo).write_text(str(os.getpid()), encoding="ascii")
    _hang("")


def _eat(_: str) -> NoReturn:
    held = []
    while True:
        held.append(bytes(1 << 22))


def _eat_crumbs(_: str) -> NoReturn:
    held: list[object] = []
    while True:
        held = [held, [held] * 50]


def _leave_holes(_: str) -> str:
    """Fill 40 MB of the heap and let them go, but for what lies above them and keeps the heap from shrinking."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [libc.malloc(100_000) for _ in range(400)]
    for block in blocks:
        ctypes.memset(block, 1, 100_000)
    libc.malloc(100_000)
    for block in blocks:
        libc.free(block)
    return f"{os.getpid()} {Path('/proc/self/statm').read_text(encoding='ascii').split()[1]}"


def _fill(_: str) -> str:
    """Fill 72 MB of the heap in three blocks, as a JPEG of 4:4:4 does, and let them go; tell the faults it took."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [libc.malloc(24 << 20) for _ in range(3)]
    for block in blocks:
        ctypes.memset(block, 1, 24 << 20)
    for block in reversed(blocks):
        libc.free(block)
    return str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)


def _fault(failure: str) -> NoReturn:
    raise FileFault(Failure(failure), "as it was told")


def _pipe() -> socket.socket:
    """Find the worker's end of its pipe, as a hostile file could that has taken over its process."""
    links = [link for link in Path("/proc/self/fd").iterdir() if os.path.lexists(link)]
    descriptors = [int(link.name) for link in links if os.readlink(link).startswith("socket:")]
    return socket.socket(fileno=os.dup(descriptors[0]))


def _babble(_: str) -> NoReturn:
    pipe = _pipe()
    while True:
        pipe.send(b"x" * 50_000)


def _close_pipe(_: str) -> NoReturn:
    _pipe().shutdown(socket.SHUT_RDWR)
    _hang("")


def _fail_to_close(path: str) -> None:
    """Let a file's close end in an error, as a network's does that has no room for what it took, or is gone."""
    close = os.close

    def fail(descriptor: int) -> None:
        is_it = os.readlink(f"/proc/self/fd/{descriptor}") == path
        close(descriptor)
        if is_it:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    os.close = fail


DEEDS: dict[str, Callable[[str], object]] = {
    "good": lambda _: "done",
    "pid": lambda _: os.getpid(),
    "read": lambda path: Path(path).read_text(encoding="ascii"),
    "environment": lambda _: " ".join(f"{name}={value}" for name, value in os.environ.items()),
    "session": _session,
    "descriptors": _descriptors,
    "shrug-off": _shrug_off,
    "exit": lambda status: os._exit(int(status)),
    "raise": lambda number: signal.raise_signal(int(number)),
    "segfault": lambda _: ctypes.string_at(0),
    "hang": _hang,
    "hang-in-c": lambda _: ctypes.PyDLL(None).pause(),  # and holds the interpreter's lock
    "tell": _tell,
    "eat": _eat,
    "eat-crumbs": _eat_crumbs,
    "leave-holes": _leave_holes,
    "fill": _fill,
    "fault": _fault,
    "divide": lambda by: 1 // int(by),
    "say": lambda what: _pipe().send(what.encode()),
    "shout": lambda _: _pipe().send(b"[" * 150_000),
    "babble": _babble,
    "close-pipe": _close_pipe,
    "fail-to-close": _fail_to_close,
}
