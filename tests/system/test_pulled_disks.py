"""A disk that is pulled out before all was on it, and put back: what it lost is done again, and nothing twice."""

import fcntl
import os
import shutil
import struct
import subprocess

import pytest
from tests.conftest import wait_for
from tests.system.account import hold_to_account

#: EXT4_IOC_SHUTDOWN; and its way of a disk that is pulled out: not even the journal is written.
SHUTDOWN, NO_LOG = 0x8004587D, struct.pack("I", 2)


class Disk:
    """A file system of ext4 in a file, mounted at `path`."""

    def __init__(self, path):
        self.path, self._image = path, path.with_name("disk.img")
        with self._image.open("wb") as image:
            image.truncate(64 << 20)
        subprocess.run([shutil.which("mkfs.ext4"), "-q", "-F", self._image], check=True)
        path.mkdir()

    def mount(self):
        """Put it in."""
        subprocess.run([shutil.which("mount"), "-o", "loop", self._image, self.path], check=True, capture_output=True)

    def pull(self):
        """Let all that is asked of it fail, and lose what was not synced."""
        root = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(root, SHUTDOWN, NO_LOG)
        finally:
            os.close(root)

    def put_back(self):
        """Unmount it, as soon as nothing is open there, and mount it again."""
        umount = [shutil.which("umount"), self.path]
        wait_for(lambda: not subprocess.run(umount, check=False, capture_output=True).returncode, "umount", 10)
        self.mount()


@pytest.fixture
def disk(site, lacking):
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        lacking("only root can mount a disk of ext4, made by mkfs.ext4")
    disk = Disk(site.base / "disk")
    try:
        disk.mount()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"mounting is not allowed here: {error.stderr.decode().strip()}")
    yield disk
    subprocess.run([shutil.which("umount"), "--lazy", "--quiet", disk.path], check=False)


@pytest.mark.parametrize("roots", [["outbox", "archive", "failed"], ["inbox", "outbox", "archive", "failed"]])
def test_what_a_pulled_disk_lost_is_done_again_once_it_is_back_and_charged_to_nobody(site, disk, roots):
    for name in roots:
        setattr(site, name, disk.path / name)
        (disk.path / name).mkdir()
    site.configure()
    inputs = {name: b"word " * (number + 1) for number, name in enumerate(site.texts(1000))}
    os.sync()  # which may take as long as all of the work
    daemon = site.daemon().start()
    site.wait_for(lambda: any(site.outbox.glob("*.json")), "the first result")
    disk.pull()
    daemon.wait("intake.paused")
    disk.put_back()
    site.await_empty_inbox()
    assert daemon.stop() == 0
    hold_to_account(site, inputs, "archive")
