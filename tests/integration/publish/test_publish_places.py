"""What cannot be placed: it costs its own file something, or waits, or is a fault of the system."""

# ruff: noqa: SLF001 (what is broken on purpose is broken from inside)

from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.integration.conftest import as_nobody, failing

from watcherd.beneath import OURS
from watcherd.model import After, Failure, Returned, SystemFault
from watcherd.publish import unretired
from watcherd.publish.inputs import retire
from watcherd.publish.roots import rename
from watcherd.publish.roots.folders import Folders
from watcherd.states import State


def test_a_result_whose_folder_is_a_file_is_unplaceable_and_the_others_are_published(scene, look):
    (scene.outbox / "sub").write_text("a user's file")
    scene.add("sub/a.txt", "b.txt")
    scene.batch.settle()
    news = {it.job.file.path: it for it in scene.told()}
    assert news["b.txt"].state is State.PUBLISHED
    assert news["sub/a.txt"].failure is Failure.UNPLACEABLE
    assert news["sub/a.txt"].message == f"Not a directory: {scene.outbox}/sub"
    assert scene.states("sub/a.txt") == [State.WORKING]
    assert look.tree(scene.inbox) == {"sub/a.txt"}
    assert look.drafts(scene.outbox) == set()


MEND = ": collect results from its folder, or raise the quota"


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.EIO, ""),
        (errno.ESTALE, ""),
        (errno.ENOTCONN, ""),
        (errno.ETIMEDOUT, ""),
        (errno.EDQUOT, MEND),
        (errno.ENOSPC, MEND),
    ],
)
def test_a_result_whose_folder_a_disk_fails_costs_its_file_nothing_and_holds_up_no_other(
    scene, look, monkeypatch, number, mend
):
    def renamed(source, name, target, new_name, flags):
        if new_name == "a.txt.words.json":
            raise OSError(number, os.strerror(number))
        real(source, name, target, new_name, flags)

    real = rename._renameat2
    scene.add("a.txt", "b.txt")
    with monkeypatch.context() as context:
        context.setattr(rename, "_renameat2", renamed)
        scene.batch.settle()
    news = {it.job.file.path: it for it in scene.told()}
    assert news["b.txt"].state is State.PUBLISHED
    reason = f"cannot be placed for now: {os.strerror(number)}{mend}"
    assert news["a.txt"] == Returned(news["a.txt"].job, State.WAITING, reason, changed=True)
    assert look.tree(scene.inbox) == {"a.txt"}
    assert look.drafts(scene.outbox) == set()


def test_a_result_whose_name_a_server_refuses_as_if_it_were_missing_is_unplaceable(scene, look, monkeypatch):
    def renamed(source, name, target, new_name, flags):
        if new_name == "a:b.txt.words.json":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        real(source, name, target, new_name, flags)

    real = rename._renameat2
    scene.add("a:b.txt", "b.txt")
    monkeypatch.setattr(rename, "_renameat2", renamed)
    scene.batch.settle()
    news = {it.job.file.path: it for it in scene.told()}
    assert news["b.txt"].state is State.PUBLISHED
    assert news["a:b.txt"].failure is Failure.UNPLACEABLE
    assert look.drafts(scene.outbox) == set()


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_that_its_collector_removes_empty_meanwhile_is_made_anew_for_its_results(
    scene, look, monkeypatch, made
):
    """Who takes results away, and the folders that are empty then, may be as quick as we are."""

    def renamed(source, name, target, new_name, flags):
        if OURS in os.readlink(f"/proc/self/fd/{source}") and len(moved) < 3:
            moved.append(name)
            os.rmdir(scene.outbox / "sub/sub")
            os.rmdir(scene.outbox / "sub")
        real(source, name, target, new_name, flags)

    moved, real = [], rename._renameat2
    monkeypatch.setattr(rename, "_renameat2", renamed)
    if made:
        (scene.outbox / "sub/sub").mkdir(parents=True)
    scene.add("sub/sub/a.txt", "sub/sub/b.txt")
    assert scene.settle() == [State.PUBLISHED] * 2
    assert len(moved) == 3
    assert look.tree(scene.outbox) == {"sub/sub/a.txt.words.json", "sub/sub/b.txt.words.json"}


def test_a_result_whose_folder_is_a_file_system_of_its_own_says_what_to_do_as_check_does(scene, monkeypatch):
    def renamed(*_):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), "a.txt.words.json")

    monkeypatch.setattr(rename, "_renameat2", renamed)
    scene.add("sub/a.txt")
    scene.batch.settle()
    (news,) = scene.told()
    assert news.message.endswith(": unmount it, or give it an inbox of its own")


def test_a_result_whose_folder_is_a_link_is_not_put_where_it_leads(scene, look, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (scene.outbox / "sub").symlink_to(tmp_path / "elsewhere")
    scene.add("sub/a.txt")
    assert scene.settle() == [State.RETRYING]
    assert look.tree(tmp_path / "elsewhere") == set()


def test_an_outbox_that_was_well_when_one_file_failed_is_looked_at_again_before_the_next_is_charged(
    scene, monkeypatch
):
    def intend(intents):
        real(intents)
        os.rename(scene.outbox, scene.state / "unmounted")

    real = scene.ledger.intend
    (scene.outbox / "sub").write_text("a user's file")
    scene.add("sub/a.txt")
    assert scene.settle() == [State.RETRYING]
    scene.add("sub/b.txt")
    with monkeypatch.context() as context:
        context.setattr(scene.ledger, "intend", intend)
        with pytest.raises(SystemFault, match="No such file or directory"):
            scene.batch.settle()
    assert scene.told() == []
    os.rename(scene.state / "unmounted", scene.outbox)
    os.unlink(scene.outbox / "sub")
    assert scene.settle() == [State.PUBLISHED]


def test_a_draft_that_somebody_removed_is_made_anew_and_costs_nobody_anything(scene, look):
    job, _ = scene.add("a.txt", "b.txt")
    os.unlink(scene.outbox / ".watcherd" / scene.place.outbox.name_of(job.id))
    scene.batch.settle()
    news = {it.job.file.path: it for it in scene.told()}
    assert isinstance(news["a.txt"], Returned)
    assert news["b.txt"].state is State.PUBLISHED
    assert look.tree(scene.inbox) == {"a.txt"}


def test_a_draft_whose_content_its_disk_lost_is_made_anew(scene, look):
    (job,) = scene.add("a.txt")
    os.truncate(scene.outbox / ".watcherd" / scene.place.outbox.name_of(job.id), 0)
    assert scene.settle() == ["stalled"]
    assert look.tree(scene.outbox) == look.drafts(scene.outbox) == set()


def test_an_input_that_cannot_be_archived_waits_is_said_once_and_goes_when_it_can(scene, look):
    (scene.archive / "sub").write_text("a user's file")
    scene.add("sub/a.txt", "b.txt")
    assert sorted(scene.settle()) == ["hindered", State.PUBLISHED]
    assert look.tree(scene.inbox) == {"sub/a.txt"}
    scene.batch.release()
    assert scene.settle() == []
    os.unlink(scene.archive / "sub")
    scene.batch.release()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.archive) == {"b.txt", "sub/a.txt"}
    assert look.tree(scene.outbox) == {"b.txt.words.json", "sub/a.txt.words.json"}


def test_an_input_whose_rename_a_disk_fails_waits_in_its_inbox(scene, look, monkeypatch):
    scene.add("a.txt")
    with monkeypatch.context() as context:
        context.setattr(retire, "take", failing(errno.EIO))
        assert scene.settle() == ["hindered"]
    assert look.tree(scene.inbox) == {"a.txt"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_result_whose_archive_s_folder_is_closed_to_us_is_there_and_its_input_waits(scene_of, look):
    with TemporaryDirectory() as base:
        scene = scene_of(base=Path(base))
        (scene.archive / "sub").mkdir(mode=0)
        (scene.inbox / "sub").mkdir()
        for root in scene.place.roots:
            root.check()  # makes our own folder
        for path in {Path(base), *Path(base).rglob("*")} - {scene.archive / "sub"}:
            os.chown(path, 65534, -1)
        scene.add("sub/a.txt")
        with as_nobody():
            assert scene.settle() == ["hindered"]
        assert look.tree(scene.outbox) == {"sub/a.txt.words.json"}
        scene.batch.release()
        assert scene.settle() == [State.PUBLISHED]
        assert look.tree(scene.archive) == {"sub/a.txt"}


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
def test_where_a_fault_of_the_system_hides_which_numbers_are_free_it_is_met_once_and_nothing_is_shown(
    scene, look, monkeypatch, number
):
    def fails(_, *name):
        asked.append(name)
        raise OSError(number, os.strerror(number))

    asked = []
    scene.add("a.txt", "b.txt")
    scene.place.archive.check()  # makes our own folder
    in_the_way = scene.archive / OURS / scene.place.archive.name_of("probe")
    in_the_way.mkdir()
    with monkeypatch.context() as broken:
        broken.setattr(Folders, "has", fails)
        with pytest.raises(SystemFault):
            scene.batch.settle()
    assert (len(asked), look.tree(scene.outbox)) == (1, set())
    in_the_way.rmdir()
    assert scene.settle() == [State.PUBLISHED] * 2


def test_want_of_descriptors_while_inputs_are_looked_for_makes_no_result_anew(scene, look, monkeypatch):
    def fails(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    scene.add("a.txt")
    with monkeypatch.context() as broken:
        broken.setattr(Folders, "status", fails)
        with pytest.raises(SystemFault):
            scene.batch.settle()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"a.txt.words.json"}


def test_too_many_inputs_that_cannot_be_archived_are_the_system_s_fault_and_all_go_in_the_end(scene, monkeypatch):
    monkeypatch.setattr(unretired, "MOST", 2)
    (scene.archive / "sub").write_text("a user's file")
    scene.add("sub/a.txt", "sub/b.txt", "sub/c.txt")
    with pytest.raises(SystemFault, match="2 inputs cannot be taken out of"):
        scene.batch.settle()
    os.unlink(scene.archive / "sub")
    scene.told()
    scene.batch.release()
    assert scene.settle() == [State.PUBLISHED] * 3


def test_a_root_that_is_another_folder_than_at_the_start_gets_nothing(scene, look):
    scene.add("a.txt")
    scene.place.outbox.rest()
    os.rename(scene.outbox, scene.state / "unmounted")
    scene.outbox.mkdir()
    with pytest.raises(SystemFault, match="not the folder that watcherd started with"):
        scene.batch.settle()
    assert look.tree(scene.outbox) == look.drafts(scene.outbox) == set()
    os.rmdir(scene.outbox)
    os.rename(scene.state / "unmounted", scene.outbox)
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"a.txt.words.json"}


def test_an_archive_that_became_another_folder_while_drafts_were_synced_gets_nothing(scene, look, monkeypatch):
    real = scene.place.outbox.to_disk

    def to_disk(drafts):
        real(drafts)
        scene.place.archive.rest()
        os.rename(scene.archive, scene.state / "unmounted")
        scene.archive.mkdir()

    monkeypatch.setattr(scene.place.outbox, "to_disk", to_disk)
    scene.add("a.txt")
    with pytest.raises(SystemFault, match="not the folder that watcherd started with"):
        scene.batch.settle()
    assert look.tree(scene.archive) == look.tree(scene.outbox) == set()
    assert look.tree(scene.inbox) == {"a.txt"}


def test_what_waited_aside_does_not_go_into_an_archive_that_is_another_folder_by_now(scene, look):
    (scene.archive / "sub").write_text("a user's file")
    scene.add("sub/a.txt")
    scene.settle()
    scene.place.archive.rest()
    os.rename(scene.archive, scene.state / "unmounted")
    scene.archive.mkdir()
    scene.batch.release()
    with pytest.raises(SystemFault, match="not the folder"):
        scene.batch.settle()
    assert look.tree(scene.archive) == set()
    assert look.tree(scene.inbox) == {"sub/a.txt"}


@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
def test_an_input_is_not_missed_nor_looked_for_while_its_inbox_is_away(scene_of, look, after):
    scene = scene_of(after)
    scene.add("a.txt")
    unmounted = scene.state / "unmounted"

    def unmount():
        if not unmounted.exists():
            scene.inbox.rename(unmounted)
            scene.inbox.mkdir()  # the bare mount point
        return True

    scene.is_away = unmount
    assert scene.settle() == ["hindered"]
    scene.batch.release()
    assert scene.settle() == []
    assert os.listdir(scene.inbox) == []
    scene.inbox.rmdir()
    unmounted.rename(scene.inbox)
    scene.is_away = lambda: False
    scene.batch.release()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == set()


@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
def test_an_input_is_not_missed_in_an_inbox_that_goes_while_it_is_looked_for(scene_of, look, after):
    scene = scene_of(after)
    scene.add("a.txt")
    looks = iter([False, True])

    def is_away():
        if not (away := next(looks)):
            (scene.inbox / "a.txt").rename(scene.state / "a.txt")
        return away

    scene.is_away = is_away
    assert scene.settle() == ["hindered"]
    (scene.state / "a.txt").rename(scene.inbox / "a.txt")
    scene.is_away = lambda: False
    scene.batch.release()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.archive) == ({"a.txt"} if after is After.ARCHIVE else set())
    assert look.tree(scene.inbox) == set()
