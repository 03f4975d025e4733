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
NEW_USER_NAMESPACE, PTRACE_TRACEME = 0x10000000, 0


def call(number):
    if number < 0:
        raise OSError(ctypes.get_errno(), "refused")


def write(folder):
    path = Path(folder, "written")
    path.write_text("by the probe")
    path.unlink()


def rename(one, other):
    os.rename(one, other)
    os.rename(other, one)


def lease(path):
    with open(path, "rb") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)


def sync(folder):
    call(libc.syncfs(os.open(folder, os.O_RDONLY)))  # closed with the process that tries it


def mount():
    call(libc.mount(b"none", b"/srv/open", b"tmpfs", 0, None))
    call(libc.umount2(b"/srv/open", 0))


def chown():
    path = Path("/srv/watcherd/inbox/owned")
    path.touch()
    os.chown(path, 1, 1)
    path.unlink()


def setuid():
    path = Path("/srv/watcherd/inbox/program")
    path.touch()
    path.chmod(0o4755)
    path.unlink()


MUST_NOT = {
    "write to a folder that is open to all": lambda: write("/open"),
    "write to one beside its own": lambda: write("/srv/open"),
    "write to the system": lambda: [write(folder) for folder in ("/usr", "/opt/watcherd", "/var/lib")],
    "write to its configuration": lambda: write("/etc/watcherd"),
    "read somebody's home": lambda: Path("/home/alice/public").read_text(),
    "read what others have in /tmp": lambda: Path("/tmp/public").read_text(),  # noqa: S108 (it must not be there)
    "see other processes": lambda: os.stat("/proc/1"),
    "see a device": lambda: os.stat("/dev/of-this-test"),
    "speak to the network": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "speak to the kernel's network": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "make a namespace": lambda: call(libc.unshare(NEW_USER_NAMESPACE)),
    "mount": mount,
    "trace": lambda: call(libc.ptrace(PTRACE_TRACEME, 0, 0, 0)),
    "change an owner": chown,
    "make memory that is written to and run": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
    "run before all others": lambda: os.nice(-5),
    "make a program that runs as its owner": setuid,
}
MUST = {
    "write where it works": lambda: [write(f"/srv/watcherd/{it}") for it in ("inbox", "outbox", "archive", "failed")],
    "write to its state": lambda: write(os.environ["STATE_DIRECTORY"]),
    "write to its runtime folder": lambda: write(os.environ["RUNTIME_DIRECTORY"]),
    "rename an input to the archive": lambda: rename("/srv/watcherd/inbox/a", "/srv/watcherd/archive/a"),
    "lease a file of somebody else": lambda: lease("/srv/watcherd/inbox/b"),
    "sync a file system": lambda: sync("/srv/watcherd/outbox"),
    "read how many watches there are": lambda: int(Path("/proc/sys/fs/inotify/max_user_watches").read_text()),
    "limit its memory": lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32)),
}


def tried(trial):
    """Try it in a process of its own, so that it changes nothing for the next."""
    child = os.fork()
    if not child:
        try:
            trial()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def status():
    lines = Path("/proc/self/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if line.startswith(("Cap", "NoNew", "Seccomp:")))


said = {
    "may_not": [name for name, trial in MUST_NOT.items() if tried(trial)],
    "cannot": [name for name, trial in MUST.items() if not tried(trial)],
    "tried": len(MUST_NOT),
    "status": status(),
    "network": os.readlink("/proc/self/ns/net"),
}
Path(os.environ["STATE_DIRECTORY"], "said.json").write_text(json.dumps(said))
