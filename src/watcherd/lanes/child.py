"""One worker process, and the daemon's end of its pipe.

Facts that forced its shape:

- The pipe is a pair of SOCK_SEQPACKET sockets: a packet is there whole or not at all, so no half frame can block a
  reader, and one `recv` with a timeout is the whole wait.
- A worker says that it has taken a request before it looks at it. Nothing else tells: the kernel delivers one even to
  a process that is about to be killed. So a worker that is killed while idle, or stopped, costs no job.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from watcherd import heap
from watcherd.lanes import wire
from watcherd.lanes.slot import WorkerKilled
from watcherd.model import Failure, FileFault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Seconds in which a job must have a worker that is ready: it imports libraries, perhaps from a slow disk.
START = 20.0

#: Seconds that a worker may take to leave when asked, and to be gone once it is killed.
LEAVE, BURY = 1.0, 5.0

#: Seconds. A socket's timeout of 0 means another thing, and one of more than 31 bits of milliseconds ends early.
SOON, _LATE = 0.001, 24 * 86_400.0

# The worker imports from where we import: that holds for a wheel, an editable install and a source tree alike, and
# -I keeps the environment and the working directory out.
_BOOT = "import sys; sys.path[:] = sys.argv[5:]; from watcherd.lanes.worker import main; main(*sys.argv[1:5])"

# By these systemd would take a worker for the daemon.
_NOT_INHERITED = {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}

# What a process does to itself. Any other signal came from outside.
_OWN_FAULTS = {
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSYS,
    signal.SIGTRAP,
}


class NotTaken(Exception):
    """No worker has taken the job; another may. Says why."""


class Worker:
    """One child process and the daemon's end of its pipe."""

    def __init__(self, module: str, memory: int, keep_open: Sequence[int]) -> None:
        self.jobs = 0
        self.is_ready = False  # it has said so, and was heard
        self._pipe, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = _spawn(theirs.fileno(), module, memory, keep_open)
            except BaseException:
                self._pipe.close()
                raise
        self.pid = self._process.pid

    def require_ready(self, by: float, now: Callable[[], float] = time.monotonic) -> None:
        """Wait until the worker says that it is ready, and see that it still is.

        Raises NotTaken where it is not, `by` that time of `now`.
        """
        if not self.is_ready:
            self._await_ready(by, now)
        self._pipe.setblocking(False)  # noqa: FBT003 (its only argument)
        with suppress(BlockingIOError, ConnectionError):
            self._pipe.recv(1, socket.MSG_PEEK)
            raise NotTaken("it was gone, or spoke out of turn")

    def _await_ready(self, by: float, now: Callable[[], float]) -> None:
        try:
            said = self._hear(by, now)
        except OSError as error:
            raise NotTaken(f"did not get ready: {error}") from error
        if said != wire.READY:
            raise NotTaken(said.decode(errors="replace") or "ended before it was ready")
        self.is_ready = True

    def ask(self, request: bytes, descriptors: Sequence[int], timeout: float, now: Callable[[], float]) -> bytes:
        """Hand over `request` and return the answer; nothing where the worker took it and is gone.

        Raises TimeoutError where it took the request and is late, `timeout` seconds of `now`; ConnectionError where
        it is gone, or late, without having taken it.
        """
        self.jobs += 1
        by = now() + timeout
        socket.send_fds(self._pipe, [request], descriptors)
        try:
            said = self._hear(by, now)
        except TimeoutError:
            self.kill()  # somebody has stopped it: nothing else keeps one that is ready from taking a request
            said = b""
        if not said:
            raise ConnectionError
        return self._hear(by, now) if said == wire.TAKEN else said

    def _hear(self, by: float, now: Callable[[], float]) -> bytes:
        while True:
            self._pipe.settimeout(min(max(SOON, by - now()), _LATE))
            try:
                return self._pipe.recv(wire.LONGEST)
            except TimeoutError:
                if now() >= by:  # the kernel also counts time that `now` does not
                    raise

    def dismiss(self) -> None:
        """Ask the worker to leave. Whoever waits for its answer is told that it is gone."""
        with suppress(OSError):  # it is gone already
            self._pipe.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """End the worker at once."""
        self._process.kill()

    @property
    def is_buried(self) -> bool:
        """Whether the end of the worker is known."""
        return self._process.returncode is not None

    def has_ended(self) -> bool:
        """Whether the worker is gone; it is buried then."""
        return self._process.poll() is not None

    def bury(self, leave: float) -> int | None:
        """Return the status of a worker that has `leave` seconds to go by itself; None: it had to be killed."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(leave)
        self._process.kill()
        # A process that hangs in the kernel (a dead disk) cannot be waited for; it goes when the disk comes back.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(BURY)
        return None

    def close(self) -> None:
        """Close the pipe; nobody may be using it."""
        self._pipe.close()


def _spawn(pipe: int, module: str, memory: int, keep_open: Sequence[int]) -> subprocess.Popen[bytes]:
    paths = [path for path in sys.path if os.path.isabs(path)]
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _BOOT, str(pipe), str(os.getpid()), str(memory), module, *paths],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # what a C library has to say would garble the daemon's log
        env=heap.tunables(memory) | {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED},
        pass_fds=(pipe, *keep_open),
        start_new_session=True,  # Ctrl-C on the terminal is the daemon's alone
    )


def verdict(status: int | None) -> FileFault | WorkerKilled:
    """Return what the end of a worker says of the file that it worked on. `status` is what `Worker.bury` returns."""
    if status is None:
        return FileFault(Failure.CRASHED, "made its worker close its pipe")
    if status >= 0:
        return FileFault(Failure.CRASHED, f"ended its worker with exit status {status}")
    if -status in _OWN_FAULTS:
        return FileFault(Failure.CRASHED, f"ended its worker with {signal_name(-status)}")
    return WorkerKilled(f"its worker was killed from outside with {signal_name(-status)}")


def signal_name(number: int) -> str:
    """Return the name of a signal; those for real time have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
