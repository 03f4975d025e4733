"""What tests of a room in its real surroundings share: what it syncs, has open and says, and how these refuse it."""

import os
import resource
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from structlog.testing import capture_logs


@pytest.fixture
def events():
    """Collect what is logged, as data."""
    with capture_logs() as logged:
        yield logged


@pytest.fixture
def synced(monkeypatch):
    """Return the list of what is synced from now on, by its paths."""
    paths, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (paths.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    return paths


@pytest.fixture
def elsewhere(tmp_path):
    """Make a folder on another file system."""
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:  # noqa: S108 (asked for by name)
        pytest.skip("there is no second file system")
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def held(*folders):
    """Return what this process has open beneath these folders."""
    links = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile, as the one that lists them
            links.append(os.readlink(f"/proc/self/fd/{number}"))
    return [link for link in links if link.startswith(tuple(map(str, folders)))]


def occupy(name, content):
    """Put somebody's own file in the place of what has a name."""
    theirs = name.with_name("theirs")
    theirs.write_text(content)
    theirs.rename(name)


def failing(number, *names):
    """Return a call that ends in this error of the kernel's, whatever it is given."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number), *names)

    return fail


@contextmanager
def limited(number, most):
    """Be refused more than this of a resource (`resource.RLIMIT_…`) for the time of the block."""
    before, compiles = resource.getrlimit(number), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # a module that is compiled within a limit of files is cut short, and stays so
    resource.setrlimit(number, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(number, before)
        sys.dont_write_bytecode = compiles


@contextmanager
def as_nobody():
    """Be a user who may do little for the time of the block, where we are root, who may do everything."""
    uid = os.geteuid()
    os.seteuid(uid or 65534)
    try:
        yield
    finally:
        os.seteuid(uid)
