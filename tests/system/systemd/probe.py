"""Runs in the service's place: tries what its sandbox must prevent, and what it must allow, and says how it went."""

import ctypes
import fcntl
import json
import mmap
import os
import resource
import socket
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
NEW_USER_NAMESPACE, PTRACE_TRACEME, REAL_TIME = 0x10000000, 0, 2


def call(number):
    if number < 0:
        raise OSError(ctypes.get_errno(), "refused")


def write(folder):
    path = Path(folder, "written")
    path.write_text("by the probe")
    path.unlink()


def lease(path):
    with open(path, "rb") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)


def setuid():
    path = Path("/srv/watcherd/inbox/program")
    path.touch()
    path.chmod(0o4755)


TRIALS = {
    "write to a folder that is open to all": lambda: write("/open"),
    "write to one beside its own": lambda: write("/srv/open"),
    "write to its configuration": lambda: write("/etc/watcherd"),
    "read somebody's home": lambda: Path("/home/alice/public").read_text(),
    "read what others have in /tmp": lambda: Path("/tmp/public").read_text(),  # noqa: S108 (it must not be there)
    "see other processes": lambda: os.stat("/proc/1"),
    "open a disk": lambda: os.stat("/dev/vda"),
    "speak to the network": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "speak to the kernel's network": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "make a namespace": lambda: call(libc.unshare(NEW_USER_NAMESPACE)),
    "mount": lambda: call(libc.mount(b"none", b"/srv/watcherd/inbox", b"tmpfs", 0, None)),
    "trace": lambda: call(libc.ptrace(PTRACE_TRACEME, 0, 0, 0)),
    "change an owner": lambda: call(libc.chown(b"/srv/watcherd/inbox", 0, 0)),
    "make memory that is written to and run": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
    "run before all others": lambda: os.sched_setscheduler(0, REAL_TIME, os.sched_param(1)),
    "make a program that runs as its owner": setuid,
    "write where it works": lambda: [write(f"/srv/watcherd/{it}") for it in ("inbox", "outbox", "archive", "failed")],
    "write to its state": lambda: write(os.environ["STATE_DIRECTORY"]),
    "write to its runtime folder": lambda: write(os.environ["RUNTIME_DIRECTORY"]),
    "rename an input to the archive": lambda: os.rename("/srv/watcherd/inbox/a", "/srv/watcherd/archive/a"),
    "lease a file of somebody else": lambda: lease("/srv/watcherd/inbox/b"),
    "limit its memory": lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32)),
}


def tried(trial):
    try:
        trial()
    except OSError:
        return False
    return True


def status():
    lines = Path("/proc/self/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if line.startswith(("Cap", "NoNew", "Seccomp:")))


said = {
    "could": [name for name, trial in TRIALS.items() if tried(trial)],
    "status": status(),
    "network": os.readlink("/proc/self/ns/net"),
}
Path(os.environ["STATE_DIRECTORY"], "said.json").write_text(json.dumps(said))
