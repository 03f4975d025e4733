"""The bare loop with every system call that the daemon makes for a small text, and no more Python than that takes.

What it takes beyond `loop.py` is the price of trusting nothing: looks at what is there before and after each step,
and asking for writers. What the daemon takes beyond this one is Python's share, and what its threads cost each other.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from contextlib import suppress

from loop import hands, new_ledger, put_on_record

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
DRAFT = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def look(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=folder, follow_symlinks=False)


def opened(inbox: int, name: str) -> int:
    look(inbox, name)
    descriptor = os.open(name, READ, dir_fd=inbox)
    os.fstat(descriptor)
    return descriptor


def ask_for_writers(inbox: int, name: str) -> None:
    descriptor = opened(inbox, name)
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    os.fstat(descriptor)
    os.close(descriptor)


def count(inbox: int, drafts: int, name: str) -> int:
    source = opened(inbox, name)
    draft = os.open(name, DRAFT, 0o666, dir_fd=drafts)
    for descriptor in (draft, source, draft):
        os.fstat(descriptor)
    os.lseek(source, 0, os.SEEK_SET)
    text = os.read(source, 1 << 16) + os.read(source, 1 << 16)
    words = len(text.split())
    os.write(draft, json.dumps({"source": name, "words": words}).encode())
    os.fstat(draft)
    os.close(draft)
    os.close(source)
    return words


def main() -> None:
    os.mkdir("drafts")
    os.mkdir("archive")
    inbox, drafts, outbox, archive = (os.open(name, os.O_RDONLY) for name in ("inbox", "drafts", "outbox", "archive"))
    ledger = new_ledger()
    for hand in hands():
        for name in hand:
            look(inbox, name)
            look(inbox, name)
            ask_for_writers(inbox, name)
        counts = [count(inbox, drafts, name) for name in hand]
        os.sync()
        for name in hand:
            look(inbox, name)
            look(drafts, name)
            look(outbox, f"{name}.words.json")
            look(archive, name)
        put_on_record(ledger, hand, counts)
        for name in hand:
            os.rename(name, f"{name}.words.json", src_dir_fd=drafts, dst_dir_fd=outbox)
        os.fsync(outbox)
        for name in hand:
            os.rename(name, name, src_dir_fd=inbox, dst_dir_fd=archive)
            look(archive, name)
        os.fsync(archive)


if __name__ == "__main__":
    main()
