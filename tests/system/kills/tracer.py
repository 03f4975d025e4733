"""Runs a command, and kills it before one of those system calls that change what a crash leaves behind.

    tracer.py BASE TRACE CALL N COMMAND…

A call is told as its name and its file, relative to the folder BASE and with # for numbers: `fsync outbox/.watcherd`.
All that were met are written to TRACE, a line each; before the N-th that is told as CALL, the command is killed. All
threads and processes are counted together. strace would count those of each thread for itself: of two that sync the
same, it cuts the first one's calls and never the other's.

It is done as strace does it: a filter of system calls stops a process that is traced (seccomp(2), ptrace(2)).
"""

import ctypes
import os
import platform
import re
import signal
import struct
import sys
from collections import Counter
from contextlib import suppress

#: The numbers of the calls on x86_64 and aarch64; the second has none without a folder's descriptor.
NUMBERS = {
    "write": (1, 64),
    "pwrite64": (18, 68),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "syncfs": (306, 267),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, None),
    "linkat": (265, 37),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
}
COLUMN = {"x86_64": 0, "aarch64": 1}[platform.machine()]
NAMES = {numbers[COLUMN]: name for name, numbers in NUMBERS.items() if numbers[COLUMN] is not None}

#: Those that are given a path, and those that are given a path beneath a folder; the others are given an open file.
PATHS = {"rename", "link", "unlink", "mkdir"}
BENEATH = {"renameat", "renameat2", "linkat", "unlinkat", "mkdirat"}

_TRACEME, _CONT, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 7, 0x4200, 0x420E
_FORK, _VFORK, _CLONE, _EXEC, _SECCOMP, _EXITKILL = 2, 4, 8, 16, 128, 1 << 20
_SECCOMP_STOP = 7
_SET_SECCOMP, _NO_NEW_PRIVS, _FILTER = 22, 38, 2
_WALL = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(request, pid, address=0, data=0):
    if _libc.ptrace(request, pid, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def stop_at(numbers):
    """Have this process, and all that come of it, stopped before each call of these numbers."""
    load, equal, answer = 0x20, 0x15, 0x06
    lines = [(load, 0, 0, 0)]
    lines += [(equal, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    lines += [(answer, 0, 0, 0x7FFF0000), (answer, 0, 0, 0x7FF00000)]  # let it pass; stop it
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(lines), ctypes.addressof(program)))
    _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _libc.prctl(_SET_SECCOMP, _FILTER, head, 0, 0):
        sys.exit("no filter of system calls can be set here")


class Tracer:
    """The traced ones, and what was met of them."""

    def __init__(self, base, trace, last):
        self.base, self.trace, self.last = base, trace, last
        self.met = Counter()
        self.child = 0
        self.known = set()

    def run(self, command):
        """Run the command to its end; return what waitpid(2) says of it."""
        self.child = os.fork()
        if self.child == 0:
            ptrace(_TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            stop_at(sorted(NAMES))
            os.execvp(command[0], command)  # noqa: S606 (there is no shell to be feared)
        os.waitpid(self.child, 0)
        self.known.add(self.child)
        ptrace(_SETOPTIONS, self.child, 0, _FORK | _VFORK | _CLONE | _EXEC | _SECCOMP | _EXITKILL)
        ptrace(_CONT, self.child)
        return self.attend()

    def attend(self):
        """Let everybody go on, until nobody is left."""
        ended = 0
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, _WALL)
                if os.WIFSTOPPED(status):
                    with suppress(ProcessLookupError):  # it was killed meanwhile
                        self.go_on(pid, status)
                elif pid == self.child:
                    ended = status
        return ended

    def go_on(self, pid, status):
        """Let a stopped thread go on, with the signal that it was to have; or kill all where it is time."""
        if status >> 16 == _SECCOMP_STOP and (call := self.told(pid)):
            self.met[call] += 1
            self.trace.write(f"{call}\n")
            if (call, self.met[call]) == self.last:
                os.kill(self.child, signal.SIGKILL)
        ours = status >> 16 or pid not in self.known  # we stopped it, or it is new
        self.known.add(pid)
        ptrace(_CONT, pid, 0, 0 if ours else os.WSTOPSIG(status))

    def told(self, pid):
        """Say the call before which a thread stopped; nothing where it is about no file of ours, or the log."""
        info = ctypes.create_string_buffer(96)
        ptrace(_GET_SYSCALL_INFO, pid, len(info), ctypes.addressof(info))
        number, first, second = struct.unpack_from("QQQ", info, 24)
        name = NAMES[number]
        if name in PATHS:
            path = self.string(pid, first)
        else:
            path = self.path(pid, first)
            path = os.path.join(path, self.string(pid, second)) if name in BENEATH else path
        if not path.startswith(self.base + "/") or (name == "write" and first <= 2):
            return ""
        return f"{name} {re.sub(r'[0-9]{9,}|[0-9a-f]{8}|[0-9]+', '#', path[len(self.base) + 1 :])}"

    def path(self, pid, descriptor):
        """Return what a thread has open as a descriptor; nothing where there is none."""
        with suppress(FileNotFoundError):
            return os.readlink(f"/proc/{pid}/fd/{descriptor & 0xFFFFFFFF}")
        return ""

    def string(self, pid, address):
        """Return a path of a thread's memory."""
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return os.fsdecode(memory.read(4096 - address % 4096).partition(b"\0")[0])


def main(base, trace, call, number, *command):
    """Run the command, and end as it does."""
    with open(trace, "w", encoding="utf-8", errors="replace") as file:
        status = Tracer(base, file, (call, int(number))).run(command)
    sys.exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


if __name__ == "__main__":
    main(*sys.argv[1:])
