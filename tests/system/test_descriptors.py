"""Too many open files: intake pauses, nobody is charged, and whatever came meanwhile is found."""

import os
import resource
import signal
from contextlib import contextmanager

import pytest


@contextmanager
def few_descriptors(daemon, more):
    """Let the daemon open so many files more than it has open, and no others."""
    limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    open_now = max(map(int, os.listdir(f"/proc/{daemon.pid}/fd"))) + 1
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (open_now + more, limits[1]))
    yield
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)


def test_too_few_descriptors_pause_intake_and_charge_nobody(site, paused, picture):
    daemon = site.start()
    with few_descriptors(daemon, 0):
        names = site.texts(20)
        site.drop("a.png", picture())
        paused(daemon)
    daemon.wait("intake.resumed", 10)
    site.await_empty_inbox()
    assert [site.words(name) for name in names] == list(range(1, 21))


@pytest.mark.parametrize("more", [0, 1, 2, 3, 5, 8])
def test_what_came_in_new_folders_while_descriptors_were_few_is_found(site, picture, more):
    daemon = site.start()
    site.drop("first.png", picture())
    site.await_empty_inbox()
    with few_descriptors(daemon, more):
        for number in range(20):
            site.drop(f"{number}/deep/{number}.txt", b"word " * (number + 1))
        for worker in daemon.workers():
            os.kill(worker, signal.SIGKILL)
        for number in range(4):
            site.drop(f"{number}.png", picture(seed=number))
        site.never(lambda: daemon.process.poll() is not None, "its end", 2)
    site.await_empty_inbox()
    assert [site.words(f"{number}/deep/{number}.txt") for number in range(20)] == list(range(1, 21))
    site.drop("3/deep/late.txt")
    assert site.await_words("3/deep/late.txt") == 3
    assert not site.rows("path", "attempts > 0")
