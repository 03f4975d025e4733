"""What runs inside a worker process: take a request, work on its descriptors, answer; until the pipe is closed.

A worker opens nothing: it is handed descriptors. It dies with the daemon (the kernel sees to that), leaves Ctrl-C
and SIGTERM to it, is the first that the kernel takes when memory is short, and can only harm itself.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from watcherd import beneath, heap
from watcherd.lanes import wire
from watcherd.lanes.work import close_draft, work
from watcherd.model import Failure, FileFault
from watcherd.processors import load

if TYPE_CHECKING:
    from watcherd.model import Limits, Result
    from watcherd.processors import Process

#: Seconds without a request after which a worker rests.
SOON = 0.5

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # linux/prctl.h


def main(pipe: str, parent: str, memory: str, module: str) -> None:
    """Be the worker at the descriptor `pipe`, of the process `parent`, with `memory` bytes of address space."""
    _die_with(int(parent))
    _leave_signals_to_the_daemon()
    _go_first_when_memory_is_short()
    with socket.socket(fileno=int(pipe)) as connection, suppress(ConnectionError):
        process = _prepare(connection, module, int(memory))
        connection.send(wire.READY)
        while _serve(connection, process):
            pass
    os._exit(0)  # to end the interpreter properly takes time, for nothing


def _die_with(parent: int) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NAME, b"watcherd-worker")
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked to be told
        os._exit(0)


def _leave_signals_to_the_daemon() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _go_first_when_memory_is_short() -> None:
    # Some containers forbid it, and then the kernel chooses by size.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write("1000")


def _prepare(connection: socket.socket, module: str, memory: int) -> Process:
    try:
        process = load(module)
        _limit(memory)
    except Exception as error:
        # Nobody reads our standard error; the daemon tells what we could not start for.
        connection.send(f"{type(error).__name__}: {error}".encode(errors="replace")[: wire.LONGEST])
        raise
    return process


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in ("AS", "DATA"):  # data are in the address space; with room for less of them a file would be blamed
        number = getattr(resource, f"RLIMIT_{name}")
        try:
            resource.setrlimit(number, (memory, memory))
        except ValueError:
            has = f"image.memory is {memory:,} bytes, and this process may have {resource.getrlimit(number)[1]:,}"
            raise ValueError(f"{has}: lower it, or raise Limit{name}") from None


def _rest(connection: socket.socket) -> None:
    """Wait for a request; where none comes soon, give back the memory that the last pictures were in."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    if not poll.poll(SOON * 1000):
        heap.give_back()


def _serve(connection: socket.socket, process: Process) -> bool:
    """Work on one request; False where the daemon has closed the pipe."""
    _rest(connection)
    packet, descriptors, _, _ = socket.recv_fds(connection, wire.LONGEST, 2)
    if not packet:
        return False
    connection.send(wire.TAKEN)
    job, limits = wire.read_request(packet)
    source, draft = descriptors
    connection.send(wire.answer(job, _carry_out(process, source, draft, limits)))
    return True


def _carry_out(process: Process, source: int, draft: int, limits: Limits) -> Result | FileFault | OSError:
    try:
        try:
            return work(process, "", source, draft, limits, lambda: None)
        finally:
            beneath.let_go(source)
            close_draft(draft)  # before the daemon does: the first to close hears the errors of a network's disk
    except (FileFault, OSError) as error:
        return error
    except MemoryError:
        return FileFault(Failure.MEMORY, "needs more memory than one worker may have")
