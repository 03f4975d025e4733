"""Memory, descriptors and threads are bounded, whatever the backlog."""

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.conftest import SOAK

FEW, MANY = 1_000, 1_000_000 if SOAK else 50_000

#: Bytes by which a backlog may make the daemon grow.
GROWTH = 40 << 20

#: Descriptors that it may have open at any time; one for each of the 50 or more folders of the large backlog would be
#: too many, beside some 20 that it needs in any case.
DESCRIPTORS = 60


def resident(daemon):
    """Return the bytes of memory that the daemon's own process holds."""
    status = Path(f"/proc/{daemon.pid}/status").read_text("ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


def held(daemon):
    """Return how many descriptors and threads it has."""
    return len(os.listdir(f"/proc/{daemon.pid}/fd")), len(os.listdir(f"/proc/{daemon.pid}/task"))


def fill(site, count):
    """Drop so many small texts, a thousand to a folder."""
    for number in range(count):
        if number % 1000 == 0:
            folder = site.inbox / f"{number // 1000:04}"
            folder.mkdir()
        (folder / f"{number:07}.txt").write_bytes(b"a few words\n")
    os.sync()  # the daemon's first sync is not to wait for these on their way to the disk


def most_while_draining(site, count):
    """Run over a backlog; return the most memory, descriptors and threads, and seconds to the first result."""
    fill(site, count)
    daemon = site.daemon().start()
    ready = time.monotonic()
    site.wait_for(lambda: any(site.outbox.rglob("*.json")), "the first result")
    first = time.monotonic() - ready
    memory, (descriptors, threads) = resident(daemon), held(daemon)
    for name in sorted(os.listdir(site.inbox)):
        folder = site.inbox / name
        while folder.name[0] != "." and os.listdir(folder):
            memory = max(memory, resident(daemon))
            now = held(daemon)
            descriptors, threads = max(descriptors, now[0]), max(threads, now[1])
            with suppress(subprocess.TimeoutExpired):  # between two samples
                daemon.process.wait(0.005)
    assert daemon.stop(seconds=60) == 0
    return memory, descriptors, threads, first


@pytest.mark.timeout(3 * 3600 if SOAK else 300)
def test_a_large_backlog_takes_no_more_than_a_small_one(site):
    little = most_while_draining(site, FEW)
    for root in (site.inbox, site.outbox, site.archive):
        root.rename(site.base / f"before-{root.name}")
        root.mkdir()
    large = most_while_draining(site, MANY)
    assert large[0] < little[0] + GROWTH
    assert large[1] <= DESCRIPTORS
    assert large[2] <= little[2]
    assert large[3] < 3
    assert len(site.rows("id", "state = 'published'")) == FEW + MANY


FOLDERS = 60_000 if SOAK else 15_000


@pytest.mark.timeout(900 if SOAK else 180)
def test_many_folders_take_no_more_than_a_few(site):
    few = most_while_scanning(site, 10)
    many = most_while_scanning(site, FOLDERS)
    assert many < few + GROWTH
    site.start()
    site.drop(f"{FOLDERS - 1}/a.txt")
    assert site.await_words(f"{FOLDERS - 1}/a.txt") == 3


def most_while_scanning(site, folders):
    """Run over so many folders, each with a file that is not taken; return the most memory until all were seen."""
    for number in range(folders):
        (site.inbox / f"{number}").mkdir(exist_ok=True)
        (site.inbox / f"{number}/other.bin").touch()
    daemon, most = site.daemon().start(), 0

    def look():
        nonlocal most
        most = max(most, resident(daemon))
        return daemon.events("inbox.rescanned")

    site.wait_for(look, "the scan", 300)
    assert daemon.stop() == 0
    return most
