import os
import subprocess
import sys

import pytest

from watcherd.intake import probe
from watcherd.intake.probe import Looks, Mount, mount, writer
from watcherd.intake.settle import Pace, Writer


@pytest.fixture
def path(tmp_path):
    if not mount(str(tmp_path)).lease:
        pytest.skip("the file system of the tests cannot be asked for writers")
    (tmp_path / "a").write_bytes(b"x")
    return tmp_path / "a"


def ask(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return writer(descriptor)
    finally:
        os.close(descriptor)


def test_a_file_that_nobody_has_open_is_free(path):
    assert ask(path) is Writer.FREE


def test_a_file_that_readers_have_open_is_free(path):
    with path.open("rb"):
        assert ask(path) is Writer.FREE


@pytest.mark.parametrize("mode", ["ab", "r+b"])
def test_a_file_that_somebody_has_open_for_writing_is_written_though_nothing_is_written(path, mode):
    with path.open(mode):
        assert ask(path) is Writer.WRITTEN
    assert ask(path) is Writer.FREE


def test_what_was_written_before_nobody_wrote_any_more_is_seen(path, monkeypatch):
    def once_its_writer_is_done(descriptor):
        path.write_bytes(b"more")
        return writer(descriptor)

    monkeypatch.setattr(probe, "writer", once_its_writer_is_done)
    with Looks(str(path.parent)) as looks:
        status, answer = looks.writer(path.name)
    assert (status.st_size, answer) == (4, Writer.FREE)


def test_a_writer_in_another_process_is_seen(path):
    with subprocess.Popen(["/bin/sh", "-c", 'exec 3>>"$0"; echo; read wait', path], stdin=-1, stdout=-1) as writing:
        writing.stdout.readline()
        assert ask(path) is Writer.WRITTEN
        writing.stdin.close()


def test_what_cannot_be_asked_is_unknown():
    with open("/dev/null", "rb") as device:
        assert writer(device.fileno()) is Writer.UNKNOWN


def test_the_lease_is_given_back_at_once(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert writer(descriptor) is Writer.FREE
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # fails while a lease is held
    finally:
        os.close(descriptor)


COLLIDING = """
import fcntl, os, sys
from watcherd.intake.probe import writer
path, ask = sys.argv[1], fcntl.fcntl
def collide(descriptor, command, argument):
    if argument == fcntl.F_UNLCK:
        try:
            os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except BlockingIOError:
            print("collided", flush=True)
    return ask(descriptor, command, argument)
fcntl.fcntl = collide
print(writer(os.open(path, os.O_RDONLY)).value)
"""


def test_a_writer_that_opens_in_the_instant_of_the_lease_does_not_kill_us(path):
    done = subprocess.run([sys.executable, "-c", COLLIDING, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "collided\nfree\n")


def test_local_mounts_are_believed_and_others_polled():
    assert mount("/proc") == Mount("0x9fa0", events=False, lease=False, coarse=True)
    assert mount("/proc").rescan(None) == 5.0
    assert mount("/dev/shm").rescan(None) == 600.0  # noqa: S108 (a tmpfs, which is only asked what it is)


@pytest.mark.parametrize(("number", "name"), [(0x0BD00BD0, "lustre"), (0x01161970, "gfs2"), (0x6B414653, "afs")])
def test_mounts_on_which_no_ledger_may_lie_are_called_by_name_where_they_are_polled(monkeypatch, number, name):
    monkeypatch.setattr("watcherd.volumes.number_of", lambda _: number)
    assert mount("/") == Mount(name, events=False, lease=False, coarse=True)


def test_a_mount_that_is_not_there_cannot_be_asked():
    with pytest.raises(FileNotFoundError):
        mount("/nowhere")


def test_settle_follows_from_the_mount_unless_the_operator_says():
    asked = Mount("ext4", events=True, lease=True, coarse=False)
    unasked = Mount("nfs", events=False, lease=False, coarse=True)
    assert asked.pace(None) == Pace(1.0, 10.0)
    assert unasked.pace(None) == Pace(10.0, 10.0, coarse=True)
    assert asked.pace(0.25) == Pace(0.25, 0.25)
    assert unasked.rescan(60.0) == 60.0


@pytest.mark.parametrize(
    ("release", "version"), [("6.18.44-generic", (6, 18)), ("6.9-rc1", (6, 9)), ("5.10.0+", (5, 10)), ("7", (7, 0))]
)
def test_the_kernel_says_whether_two_writes_may_share_a_timestamp(monkeypatch, release, version):
    monkeypatch.setattr("platform.release", lambda: release)
    assert probe._kernel() == version  # noqa: SLF001 (the rest is this machine's)


def test_looks_open_a_folder_once_and_leave_nothing_open(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a", "b", "sub/c"):
        (tmp_path / name).write_bytes(b"xyz")
    before = os.listdir("/proc/self/fd")
    with Looks(str(tmp_path)) as looks:
        assert looks.status("a").st_size == looks.fresh("b").st_size == looks.fresh("sub/c").st_size == 3
        with pytest.raises(FileNotFoundError):
            looks.status("gone/d")
        with pytest.raises(OSError, match="not a regular file"):
            looks.fresh("sub")
    assert os.listdir("/proc/self/fd") == before
