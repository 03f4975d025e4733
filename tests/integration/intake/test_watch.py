import errno
import os
import resource
import select
import shutil
import threading
from pathlib import Path

import pytest
from tests.integration.conftest import failing, limited
from watchdog.observers.inotify_c import InotifyFD

from watcherd.intake.bell import Bell
from watcherd.intake.settle import How
from watcherd.intake.watch import Heard, Watch


@pytest.fixture
def watch():
    watch = Watch()
    yield watch
    watch.close()


def arm(watch, root, *folders):
    for folder in folders:
        descriptor = os.open(root / folder, os.O_RDONLY)
        try:
            watch.arm(descriptor, folder)
        finally:
            os.close(descriptor)


def heard(watch):
    """Hear all that there is to hear now: the kernel has queued it before the call that caused it returned."""
    everything = Heard()
    while select.select([watch], [], [], 0)[0]:
        more = watch.hear()
        everything.files += more.files
        everything.folders += more.folders
        everything.touched += more.touched
        everything.uprooted |= more.uprooted
    return everything


def kernels_watches(watch):
    """Return how many watches the kernel keeps for us, of which a user has only so many."""
    return Path(f"/proc/self/fdinfo/{watch.fileno()}").read_text().count("inotify wd:")


def test_what_a_writer_does_is_told_as_created_then_closed(watch, tmp_path):
    arm(watch, tmp_path, "")
    (tmp_path / "a").write_bytes(b"x")
    assert heard(watch).files == [("a", How.CREATED), ("a", How.CLOSED)]


def test_a_rename_into_place_is_told_as_such(watch, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "a").touch()
    arm(watch, tmp_path / "in", "")
    os.rename(tmp_path / "a", tmp_path / "in" / "b")
    assert heard(watch).files == [("b", How.RENAMED)]


def test_our_own_looks_and_renames_out_tell_nothing(watch, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"x")
    arm(watch, tmp_path / "in", "")
    (tmp_path / "in" / "a").read_bytes()
    os.stat(tmp_path / "in" / "a")
    os.listdir(tmp_path / "in")
    os.rename(tmp_path / "in" / "a", tmp_path / "a")
    assert heard(watch) == Heard()


def test_what_is_done_to_a_removed_file_that_somebody_has_open_tells_nothing(watch, tmp_path):
    with (tmp_path / "a").open("w") as writer:
        arm(watch, tmp_path, "")
        (tmp_path / "a").unlink()
        writer.write("x")
    assert heard(watch) == Heard()


def test_permission_given_back_is_told(watch, tmp_path):
    (tmp_path / "a").touch()
    arm(watch, tmp_path, "")
    (tmp_path / "a").chmod(0o600)
    assert heard(watch).files == [("a", How.SEEN)]


def test_a_folder_that_is_armed_and_touched_is_told_apart_from_one_that_may_be_new(watch, tmp_path):
    for name in ("armed", "closed"):
        (tmp_path / name).mkdir()
    arm(watch, tmp_path, "", "armed")
    for folder in (tmp_path, tmp_path / "armed", tmp_path / "closed"):
        os.utime(folder)
    assert heard(watch) == Heard(touched=["", "armed", "armed"], folders=["closed"])


def test_new_folders_are_named_for_a_scan(watch, tmp_path):
    arm(watch, tmp_path, "")
    (tmp_path / "new").mkdir()
    assert heard(watch) == Heard(folders=["new"])


def test_paths_are_those_of_the_folder_and_any_bytes(watch, tmp_path):
    (tmp_path / "sub").mkdir()
    arm(watch, tmp_path, "", "sub")
    os.close(os.open(os.fsencode(tmp_path) + b"/sub/\xff\n", os.O_CREAT | os.O_WRONLY))
    assert heard(watch).files[0] == ("sub/\udcff\n", How.CREATED)


def test_a_folder_that_moves_is_disarmed_with_all_below_it_and_named(watch, tmp_path):
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "subway").mkdir()
    arm(watch, tmp_path, "", "sub", "sub/deep", "subway")
    os.rename(tmp_path / "sub", tmp_path / "moved")
    assert heard(watch).folders == ["moved", "sub"]
    assert len(watch) == kernels_watches(watch) == 2
    (tmp_path / "moved" / "deep" / "a").touch()
    assert heard(watch) == Heard()
    arm(watch, tmp_path, "moved", "moved/deep")
    (tmp_path / "moved" / "deep" / "b").touch()
    assert heard(watch).files[0] == ("moved/deep/b", How.CREATED)


def test_folders_that_move_together_are_disarmed_with_one_look_at_all_others(watch, tmp_path):
    looks = []

    class Counted(dict):
        def __iter__(self):
            looks.append(len(self))
            return super().__iter__()

    names = [f"{number}" for number in range(20)]
    for name in names:
        (tmp_path / "in" / name).mkdir(parents=True)
    arm(watch, tmp_path / "in", "", *names)
    watch._armed = Counted(watch._armed)  # noqa: SLF001 (what it costs is seen nowhere else)
    for name in names:
        os.rename(tmp_path / "in" / name, tmp_path / name)
        (tmp_path / name / "a").touch()  # which is not there any more by the name that is known
    assert heard(watch) == Heard(folders=names)
    assert looks == [21]
    assert len(watch) == 1


def test_a_folder_armed_under_its_new_name_before_its_move_was_heard_is_named_again(watch, tmp_path):
    (tmp_path / "old").mkdir()
    arm(watch, tmp_path, "", "old")
    os.rename(tmp_path / "old", tmp_path / "new")
    arm(watch, tmp_path, "new")
    assert len(watch) == 2
    assert heard(watch).folders == ["new", "new"]
    arm(watch, tmp_path, "new")
    (tmp_path / "new" / "a").touch()
    assert heard(watch).files[0] == ("new/a", How.CREATED)


def test_a_folder_in_the_place_of_one_that_somebody_has_open_is_armed_with_what_is_below_it(watch, tmp_path):
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    arm(watch, tmp_path, "", "sub", "sub/deep")
    shell = os.open(tmp_path / "sub" / "deep", os.O_RDONLY)  # as one that works there
    shutil.rmtree(tmp_path / "sub")
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    heard(watch)
    arm(watch, tmp_path, "sub", "sub/deep")
    (tmp_path / "sub" / "deep" / "a").touch()
    assert heard(watch).files[0] == ("sub/deep/a", How.CREATED)
    os.close(shell)
    assert heard(watch) == Heard()
    assert len(watch) == 3


def test_a_deleted_folder_is_disarmed(watch, tmp_path):
    (tmp_path / "sub").mkdir()
    arm(watch, tmp_path, "", "sub")
    (tmp_path / "sub").rmdir()
    assert heard(watch).folders == ["sub"]
    assert len(watch) == 1


def test_a_deleted_folder_is_disarmed_without_a_look_at_all_others(watch, tmp_path):
    class Unlisted(dict):
        def __iter__(self):
            raise AssertionError

    (tmp_path / "sub" / "deep").mkdir(parents=True)
    arm(watch, tmp_path, "", "sub", "sub/deep")
    watch._armed = Unlisted(watch._armed)  # noqa: SLF001 (what it costs is seen nowhere else)
    shutil.rmtree(tmp_path / "sub")
    assert heard(watch).folders[-2:] == ["sub/deep", "sub"]
    assert len(watch) == 1


@pytest.mark.parametrize("fate", ["moved", "deleted"])
def test_the_root_itself_is_told_when_it_goes(watch, tmp_path, fate):
    (tmp_path / "in").mkdir()
    arm(watch, tmp_path / "in", "")
    if fate == "moved":
        os.rename(tmp_path / "in", tmp_path / "out")
    else:
        (tmp_path / "in").rmdir()
    assert heard(watch).uprooted


def test_arming_again_does_nothing(watch, tmp_path):
    arm(watch, tmp_path, "", "")
    (tmp_path / "a").touch()
    assert heard(watch).files.count(("a", How.CREATED)) == 1


def test_only_a_folder_can_be_armed(watch, tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(NotADirectoryError):
        arm(watch, tmp_path, "a")
    assert len(watch) == 0


def test_a_closed_watch_leaves_nothing_open():
    before = os.listdir("/proc/self/fd")
    Watch().close()
    assert os.listdir("/proc/self/fd") == before


def test_a_watch_that_cannot_be_made_for_want_of_descriptors_leaves_nothing_open():
    before = os.listdir("/proc/self/fd")
    os.close(free := os.dup(0))
    enough = free + 1  # for inotify, and too few for its pipe
    with limited(resource.RLIMIT_NOFILE, enough), pytest.raises(OSError, match="Too many open files"):
        Watch()
    assert os.listdir("/proc/self/fd") == before


def test_a_watch_that_could_not_be_read_leaves_nothing_open(monkeypatch):
    before = os.listdir("/proc/self/fd")
    watch = Watch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", failing(errno.EIO))
        patch.setattr(InotifyFD, "_check_inotify_fd", lambda _: True)
        with pytest.raises(OSError, match="Input/output error"):
            watch.hear()
    watch.close()
    assert os.listdir("/proc/self/fd") == before


def test_rings_are_heard_once_and_wake_who_waits():
    bell = Bell()
    ringing = threading.Timer(0.05, bell.ring)
    ringing.start()
    assert bell.wait(None, 10.0) is False
    bell.ring()
    assert bell.rung
    for _ in range(2):
        bell.hush()
        assert not bell.rung
    ringing.join()
    bell.close()


def test_a_bell_that_is_rung_after_its_end_wakes_nobody_not_even_who_has_its_descriptor_s_number_by_then():
    bell = Bell()
    bell.close()
    other = os.eventfd(0, os.EFD_NONBLOCK)
    bell.ring()
    with pytest.raises(BlockingIOError):
        os.eventfd_read(other)
    os.close(other)
