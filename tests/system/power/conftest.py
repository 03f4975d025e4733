"""Disks that lose their power at any instant of what was done with them."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from tests.conftest import SOAK, wait_for
from tests.system.power import history

#: How a file system is made, so that it leaves nothing to be written by and by; and in how many bytes it can be.
KINDS = {
    "ext4": (["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"], 32 << 20),
    "xfs": (["-q"], 320 << 20),
    "btrfs": (["-q"], 128 << 20),
}


class Disks:
    """Disks of one machine, each with a file system that is mounted at one of `paths` while there is power."""

    def __init__(self, base, kind, paths):
        self._base, self._paths = base, paths
        self._served = base / "served"
        self._serial = count()
        self._images = [base / f"disk-{number}" for number, _ in enumerate(paths)]
        options, size = KINDS[kind]
        for image in self._images:
            image.touch()
            os.truncate(image, size)
            _run(f"mkfs.{kind}", *options, image)
        self._served.mkdir()

    @contextmanager
    def powered(self):
        """Mount them, and unmount them in the end; yield the History of what reached them meanwhile."""
        suffix = f".before-{next(self._serial)}"
        known = history.History([_copy(image, image.with_suffix(suffix)) for image in self._images])
        record = self._base / "record"
        server = [sys.executable, "-m", "tests.system.power.recorder", record, self._served, *self._images]
        with subprocess.Popen(server, cwd=Path(__file__).parents[3]) as serving:
            try:
                wait_for(lambda: serving.poll() is not None or os.path.ismount(self._served), "the disks")
                for image, path in zip(self._images, self._paths, strict=True):
                    _run("mount", "-o", "loop", self._served / image.name, path)
                yield known
            finally:
                for path in (*self._paths, self._served):
                    wait_for(lambda path=path: _is_unmounted(path), f"the end of {path}")
        known.read(record)

    def lose_power(self, known, dice):
        """Let them be as if the power had gone at some instant of that history."""
        for image, before in zip(self._images, known.before, strict=True):
            _copy(before, image)
        opened = [image.open("r+b", buffering=0) for image in self._images]
        for write in known.cut(dice):
            opened[write.disk].seek(write.offset)
            opened[write.disk].write(write.data)
        for image in opened:
            image.close()


def _copy(image, copy):
    _run("cp", "--sparse=always", image, copy)
    return copy


def _is_unmounted(path):
    if os.path.ismount(path):
        subprocess.run([shutil.which("umount"), path], check=False, capture_output=True)
    return not os.path.ismount(path)


def _run(tool, *arguments):
    subprocess.run([shutil.which(tool), *arguments], check=True, capture_output=True)


@pytest.fixture
def disks(tmp_path, lacking):
    """Return a function that makes disks of a kind of file system, for folders that are there."""
    if os.geteuid() != 0:
        lacking("only root may mount")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("there is no FUSE here")

    def make(kind, *paths):
        if shutil.which(f"mkfs.{kind}") is None:
            lacking(f"there is no mkfs.{kind}")
        return Disks(tmp_path, kind, paths)

    return make


def pytest_collection_modifyitems(items):
    """Give each of these tests the time for all its cuts."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(7200 if SOAK else 240))
