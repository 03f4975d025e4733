"""The small parts below a batch: renames on file systems that know less, roots, folders, the dates of a reason."""

# ruff: noqa: SLF001 (what is broken on purpose is broken from inside)

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import shutil
import subprocess
import time
from contextlib import suppress
from unittest.mock import Mock

import pytest
from tests.integration.conftest import as_nobody, failing, limited, occupy

from watcherd import beneath
from watcherd.beneath import OURS
from watcherd.model import After, Draft, Failed, Failure, File, Job, Kind, SystemFault, Version
from watcherd.publish.aside.reason import reason
from watcherd.publish.inputs import custody
from watcherd.publish.pruning import Pruning
from watcherd.publish.roots import disk, rename
from watcherd.publish.roots.folders import Folders
from watcherd.publish.roots.root import Root
from watcherd.states import State

unknown = failing(errno.ENOSYS)


def flagless(source, name, target, new_name, flags):
    """Answer as the kernel does for a file system that knows no flags: it looks for both names before it asks."""
    os.lstat(name, dir_fd=source)
    if flags == rename._NOREPLACE and new_name in os.listdir(target):
        raise FileExistsError(errno.EEXIST, "is there", new_name)
    raise OSError(errno.EINVAL, "unknown flag")


@pytest.fixture(params=["renameat2", "links", "neither"])
def folder(tmp_path, request, monkeypatch):
    """Open a folder of a file system that knows the flags, or only hard links, or not even these."""
    if request.param != "renameat2":
        monkeypatch.setattr(rename, "_renameat2", unknown)
    if request.param == "neither":
        monkeypatch.setattr(os, "link", unknown)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield tmp_path, descriptor
    os.close(descriptor)


def test_a_move_overwrites_nothing(folder):
    path, here = folder
    (path / "a").write_text("mine")
    (path / "b").write_text("theirs")
    with pytest.raises(FileExistsError):
        rename.move(here, "a", here, "b")
    assert (path / "b").read_text() == "theirs"
    rename.move(here, "a", here, "c")
    assert (path / "c").read_text() == "mine"
    assert not (path / "a").exists()


def test_a_move_that_is_half_on_disk_is_finished(folder):
    path, here = folder
    (path / "a").write_text("mine")
    subprocess.run([shutil.which("ln"), path / "a", path / "b"], check=True)
    rename.move(here, "a", here, "b")
    assert os.listdir(path) == ["b"]


def test_a_folder_moves_as_a_file_does_and_leaves_no_trace_where_it_cannot(folder, monkeypatch):
    path, here = folder
    (path / "a").mkdir()
    (path / "a" / "inner").write_text("a user's")
    (path / "b").mkdir()
    with pytest.raises(FileExistsError):
        rename.move(here, "a", here, "b")
    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", failing(errno.EACCES))
        broken.setattr(rename, "_renameat2", unknown)
        with pytest.raises(PermissionError):
            rename.move(here, "a", here, "c")
    assert sorted(os.listdir(path)) == ["a", "b"]
    rename.move(here, "a", here, "c")
    assert (path / "c" / "inner").read_text() == "a user's"
    assert sorted(os.listdir(path)) == ["b", "c"]


def test_a_c_library_that_does_not_offer_the_call_is_a_kernel_that_does_not_know_it(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("mine")
    monkeypatch.setattr(rename, "_libc", object())  # as musl's
    here = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(OSError, match="Function not implemented"):
        rename.take(here, "a", here, "b")
    rename.move(here, "a", here, "b")
    os.close(here)
    assert (tmp_path / "b").read_text() == "mine"


def forbidding(*there):
    """Return a C library whose `renameat2` answers EPERM: to whatever it is asked, or for what is `there` alone."""

    def renameat2(_, name, *__):
        ctypes.set_errno(errno.EPERM if not there or name in there else errno.ENOENT)
        return -1

    return Mock(renameat2=renameat2)


def test_a_call_that_a_container_forbids_is_one_that_the_kernel_does_not_know(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("mine")
    monkeypatch.setattr(rename, "_libc", forbidding())
    here = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(OSError, match="Function not implemented"):
        rename.take(here, "a", here, "b")
    rename.move(here, "a", here, "b")
    os.close(here)
    assert os.listdir(tmp_path) == ["b"]


def test_a_file_that_may_not_be_renamed_is_not_linked_instead(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("immutable")
    monkeypatch.setattr(rename, "_libc", forbidding(b"a"))
    here = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(PermissionError):
        rename.move(here, "a", here, "b")
    os.close(here)
    assert os.listdir(tmp_path) == ["a"]


def test_a_move_of_what_is_gone_says_so(folder):
    _, here = folder
    with pytest.raises(FileNotFoundError):
        rename.move(here, "missing", here, "b")


def test_a_replacement_takes_the_place_of_the_file_that_it_names_and_of_no_other(folder):
    path, here = folder
    (path / "new").write_text("new")
    (path / "old").write_text("old")
    inode = os.stat(path / "old").st_ino
    assert not rename.replace(here, "new", here, "old", lambda there: there.st_ino == inode + 1)
    assert (path / "old").read_text() == "old"
    assert rename.replace(here, "new", here, "old", lambda there: there.st_ino == inode)
    assert (path / "old").read_text() == "new"
    assert not (path / "new").exists()


def test_what_comes_out_of_an_exchange_and_is_somebody_elses_goes_back(tmp_path, monkeypatch):
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    inode = os.stat(tmp_path / "old").st_ino
    real = rename._renameat2

    def exchange(*names):
        monkeypatch.setattr(rename, "_renameat2", real)
        os.rename(tmp_path / "old", tmp_path / "away")
        (tmp_path / "old").write_text("a user's")
        real(*names)

    monkeypatch.setattr(rename, "_renameat2", exchange)
    here = os.open(tmp_path, os.O_RDONLY)
    assert not rename.replace(here, "new", here, "old", lambda there: there.st_ino == inode)
    os.close(here)
    assert (tmp_path / "old").read_text() == "a user's"
    assert (tmp_path / "new").read_text() == "new"


def test_other_errors_of_an_exchange_are_told(tmp_path, monkeypatch):
    (tmp_path / "old").write_text("old")
    monkeypatch.setattr(rename, "_renameat2", failing(errno.EIO))
    here = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(OSError, match="Input/output error"):
        rename.replace(here, "new", here, "old", lambda _: True)
    os.close(here)


def test_a_sync_of_what_is_no_descriptor_says_so():
    with pytest.raises(OSError, match="Bad file descriptor"):
        disk.sync_all(-1)


@pytest.mark.parametrize(("size", "durable", "begun"), [(1 << 20, True, 1), (1 << 20, False, 0), (1000, True, 0)])
def test_the_disk_begins_with_a_large_draft_before_it_is_synced(tmp_path, monkeypatch, size, durable, begun):
    calls = []
    real = disk.begin
    monkeypatch.setattr(disk, "begin", lambda descriptor: calls.append(real(descriptor)))
    root = Root(str(tmp_path), "me", durable=durable)
    name, descriptor = root.new_draft(1)
    with open(descriptor, "wb") as file:
        file.write(bytes(size))
        file.flush()
        root.written(name, descriptor)
    assert len(calls) == begun


@pytest.fixture(params=["flagless", "links", "neither"])
def less(request):
    """Let file systems know no flags of a rename, or the kernel not the call, and no hard links either."""
    with pytest.MonkeyPatch.context() as kernel:
        kernel.setattr(rename, "_renameat2", flagless if request.param == "flagless" else unknown)
        if request.param == "neither":
            kernel.setattr(os, "link", unknown)
        yield


@pytest.mark.usefixtures("less")
@pytest.mark.parametrize("after", After)
def test_a_whole_batch_works_where_the_flags_are_unknown(scene_of, look, after):
    scene = scene_of(after)
    for content in (b"first", b"second"):
        scene.add("a.txt", content=content)
        assert [*scene.settle(), *scene.carry()] == [State.PUBLISHED]
        scene.claims.release("a.txt")
    assert len(look.tree(scene.outbox)) == (1 if after is After.KEEP else 2)
    archived = {"a.txt": "first", "a.1.txt": "second"} if after is After.ARCHIVE else {}
    assert {name: (scene.archive / name).read_text() for name in look.tree(scene.archive)} == archived
    assert look.drafts(scene.inbox, scene.outbox, scene.archive) == set()


@pytest.mark.usefixtures("less")
@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
def test_a_newer_file_is_given_back_where_the_flags_are_unknown(scene_of, look, monkeypatch, after):
    scene, rename_it = scene_of(after), custody._rename

    def replaced(*names):
        scene.drop("newer", b"newer")
        os.rename(scene.inbox / "newer", scene.inbox / "a.txt")
        rename_it(*names)

    monkeypatch.setattr(custody, "_rename", replaced)
    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]
    assert (scene.inbox / "a.txt").read_text() == "newer"
    assert look.tree(scene.archive) == set()


@pytest.mark.usefixtures("less")
@pytest.mark.parametrize("carried", [False, True])
def test_a_crash_between_two_names_leaves_one_where_the_flags_are_unknown(scene, look, monkeypatch, carried):
    scene.add("a.txt")
    scene.settle()
    if carried:
        monkeypatch.setattr(custody.Custody, "discard", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            scene.carry()
        monkeypatch.undo()
    scene.carried.clear()
    scene.start_again()
    assert [*scene.settle(), *scene.carry()] == [State.PUBLISHED]
    assert look.tree(scene.archive) == {"a.txt"}
    assert look.tree(scene.outbox) == {"a.txt.words.json"}
    assert look.drafts(scene.inbox, scene.outbox, scene.archive) == set()


# Roots --------------------------------------------------------------------------------------------------------------


def test_a_root_that_is_gone_is_a_fault_that_names_it(tmp_path):
    (tmp_path / "outbox").mkdir()
    root = Root(str(tmp_path / "outbox"), "0123abcd")
    os.rmdir(tmp_path / "outbox")
    for ask in (root.check, root.probe, root.free, root.ours, lambda: root.new_draft(1)):
        with pytest.raises(SystemFault, match="outbox") as fault:
            ask()
        assert fault.value.root == root.path


def test_a_root_that_is_removed_while_we_run_is_a_fault_that_says_what_to_do(tmp_path):
    (tmp_path / "archive").mkdir()
    root = Root(str(tmp_path / "archive"), "cafe")
    os.rmdir(root.path)
    with pytest.raises(SystemFault, match=r"archive: No such file or directory: .*; if it is lost, make it"):
        root.probe()


@pytest.mark.parametrize("since", ["a moment", "the start"])
def test_no_row_of_a_kept_file_is_forgotten_while_the_disk_of_its_result_is_away(scene_of, tmp_path, since):
    scene = scene_of(After.KEEP)
    scene.add("a.txt", "b.txt")
    scene.settle()
    scene.ledger.flush()
    (scene.inbox / "a.txt").unlink()
    scene.outbox.rename(tmp_path / "unmounted")
    scene.outbox.mkdir()
    if since == "the start":
        scene.crash()
    with suppress(SystemFault):
        Pruning(scene.place, scene.ledger, lambda: False).prune(time.time() + 60)
    assert scene.states("a.txt") == [State.PUBLISHED]


def test_a_link_in_place_of_our_own_folder_is_not_followed(tmp_path):
    (tmp_path / "outbox").mkdir()
    (tmp_path / "outbox" / OURS).symlink_to(tmp_path)
    with pytest.raises(SystemFault):
        Root(str(tmp_path / "outbox"), "0123abcd").write_draft(1, b"{}")
    assert os.listdir(tmp_path) == ["outbox"]


def test_our_own_folder_is_made_again_where_somebody_removed_it(tmp_path):
    root = Root(str(tmp_path), "0123abcd")
    root.discard(root.write_draft(0, b"{}").name)
    root.rest()
    os.rmdir(tmp_path / OURS)
    root.write_draft(1, b"{}")
    root.rest()
    assert os.listdir(tmp_path / OURS) == [root.name_of(1)]


def test_a_draft_that_takes_the_place_of_one_leaves_the_result_alone_that_was_linked_from_that(tmp_path):
    root = Root(str(tmp_path), "0123abcd")
    os.link(tmp_path / OURS / root.write_draft(1, b"{}").name, tmp_path / "a.txt.words.json")
    root.write_draft(1, b"[]")
    root.rest()
    assert (tmp_path / "a.txt.words.json").read_bytes() == b"{}"


def test_a_draft_that_is_not_there_is_not_ours_and_is_removed_without_complaint(tmp_path):
    root = Root(str(tmp_path), "0123abcd")
    assert root.seen(Draft("0123abcd-1", 1)) is None
    root.discard("0123abcd-1")
    root.rest()


def test_what_somebody_put_in_the_place_of_a_draft_is_not_vouched_for(tmp_path):
    root = Root(str(tmp_path), "owner")
    draft = root.write_draft(1, b"ours")
    occupy(tmp_path / OURS / draft.name, "them")
    assert root.vouched(draft) is None
    root.rest()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("ours_to_write", [False, True])
def test_a_draft_that_shows_as_another_user_s_and_has_a_server_s_time_is_vouched_for_all_the_same(
    tmp_path, ours_to_write
):
    root = Root(str(tmp_path), "0123abcd")
    draft = root.write_draft(1, b"")
    later = time.time() + 60
    os.utime(tmp_path / OURS / draft.name, (later, later))
    os.chmod(tmp_path / OURS / draft.name, 0o666 if ours_to_write else 0o644)
    os.chmod(tmp_path / OURS, 0o711)  # noqa: S103 (who is somebody else is to come to it)
    with as_nobody():
        assert root.vouched(draft)
    root.rest()
    assert (os.stat(tmp_path / OURS / draft.name).st_mtime <= time.time()) is ours_to_write


def test_a_draft_that_cannot_be_written_is_a_fault_of_its_root(tmp_path, monkeypatch):
    root = Root(str(tmp_path), "0123abcd")
    monkeypatch.setattr(os, "fdopen", failing(errno.ENOSPC))
    with pytest.raises(SystemFault, match="No space left"):
        root.write_draft(1, b"{}")
    root.rest()


def test_a_folder_that_was_removed_needs_no_sync_and_one_that_fails_is_not_forgotten(tmp_path, monkeypatch, synced):
    (tmp_path / "gone").mkdir()
    (tmp_path / "here").mkdir()
    with Folders() as folders:
        folders.touch(str(tmp_path), "gone/a")
        folders.touch(str(tmp_path), "here/a")
        os.rmdir(tmp_path / "gone")
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", failing(errno.EIO))
            with pytest.raises(OSError, match="here"):
                folders.sync()
        folders.sync()
        assert synced == [str(tmp_path / "here")]


@pytest.mark.parametrize(("root", "named"), [("", "/sub/inner"), ("/gone", "/gone")])
def test_a_folder_that_cannot_be_entered_is_told_with_its_whole_path_and_a_root_with_its_own(tmp_path, root, named):
    (tmp_path / "sub").write_text("a user's")
    with Folders() as folders, pytest.raises(OSError) as raised:  # noqa: PT011 (of either kind)
        folders.parent(f"{tmp_path}{root}", "sub/inner/a.txt", make=True)
    assert raised.value.filename == f"{tmp_path}{named}"


def test_a_folder_that_is_made_is_synced_with_those_around_it_and_one_that_is_there_alone(tmp_path, synced):
    with Folders() as folders:
        for name in ("a/b/c.txt", "a/b/d.txt"):
            folders.parent(str(tmp_path), name, make=True)
            folders.touch(str(tmp_path), name)
        folders.sync()
        assert sorted(synced) == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a/b")]
    synced.clear()
    with Folders() as folders:
        folders.parent(str(tmp_path), "a/b/e.txt", make=True)
        folders.touch(str(tmp_path), "a/b/e.txt")
        folders.sync()
    assert synced == [str(tmp_path / "a/b")]


# Reasons ------------------------------------------------------------------------------------------------------------


def test_a_reason_bears_any_time_that_a_file_may_claim():
    file = File("scans", "a.txt", Version(1, (1 << 62), 0, 0))
    failed = Failed(Job(1, file, Kind.TEXT), Failure.CORRUPT, "bad")
    told = json.loads(reason(failed, root="/in\udcff", attempts=3, command="watcherd retry", now=0.0))
    assert told["failed"] == "1970-01-01T00:00:00Z"
    assert told["attempts"] == 3
    assert told["modified"]
    assert told["root"] == "/in\ufffd"


def test_a_batch_stays_beneath_the_roots_that_it_began_with(tmp_path):
    (tmp_path / "root").mkdir()
    with Folders() as folders:
        folders.parent(str(tmp_path / "root"), "a.txt")
        (tmp_path / "root").rename(tmp_path / "mounted")
        (tmp_path / "root").mkdir()  # what shows where a file system was unmounted
        folders.parent(str(tmp_path / "root"), "sub/b.txt", make=True)
    assert os.listdir(tmp_path / "root") == []
    assert os.listdir(tmp_path / "mounted") == ["sub"]


def test_a_reason_of_which_nothing_can_be_told_is_closed_and_removed(tmp_path, monkeypatch):
    root = Root(str(tmp_path), "owner")
    root.ours()
    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as broken:
        broken.setattr(os, "fstat", failing(errno.ESTALE))
        with pytest.raises(SystemFault, match="Stale file handle"):
            root.write_draft(1, b"a reason")
    assert os.listdir("/proc/self/fd") == before
    assert not os.listdir(tmp_path / OURS)


def test_a_draft_whose_making_fails_once_it_is_there_is_removed_once_that_is_over(tmp_path, monkeypatch):
    def make_and_fail(*names, **how):
        os.close(real(*names, **how))
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    root, real = Root(str(tmp_path), "owner"), os.open
    root.ours()
    with monkeypatch.context() as broken:
        broken.setattr(os, "open", make_and_fail)
        with pytest.raises(SystemFault, match="Stale file handle"):
            root.new_draft(1)
    assert os.listdir(tmp_path / OURS)
    root.rest()
    assert not os.listdir(tmp_path / OURS)


def test_a_draft_that_is_made_anew_is_no_stray_of_before(tmp_path, monkeypatch):
    root = Root(str(tmp_path), "owner")
    name = root.write_draft(1, b"what was there before").name
    with monkeypatch.context() as broken:
        broken.setattr(os, "unlink", failing(errno.EIO))
        with pytest.raises(SystemFault):
            root.discard(name)
    draft = root.write_draft(1, b"new")
    root.rest()
    assert root.vouched(draft)
    assert (tmp_path / OURS / name).read_bytes() == b"new"
    root.rest()


def test_a_reason_that_cannot_be_written_leaves_no_draft(tmp_path):
    root = Root(str(tmp_path), "owner")
    with limited(resource.RLIMIT_FSIZE, 0), pytest.raises(SystemFault, match=r"File too large: raise .*LimitFSIZE"):
        root.write_draft(1, b"reason")
    assert not os.listdir(tmp_path / OURS)
    root.rest()


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM])
def test_a_folder_that_was_closed_is_synced_with_all_file_systems_where_syncfs_is_not_offered(
    tmp_path, monkeypatch, error
):
    synced = []
    monkeypatch.setattr(disk, "_libc", Mock(syncfs=lambda _: ctypes.set_errno(error) or True))
    monkeypatch.setattr(os, "sync", lambda: synced.append(True))
    with Folders() as folders:
        folders.touch(str(tmp_path), "closed/a.txt")
        monkeypatch.setattr(beneath, "open_within", failing(errno.EACCES))
        folders.sync()
    assert synced
