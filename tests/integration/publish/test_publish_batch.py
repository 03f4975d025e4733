"""One batch, settled by hand: what is shown and retired, in which order, and what is left of it."""

# ruff: noqa: SLF001 (what is broken on purpose is broken from inside)

from __future__ import annotations

import errno
import os
import resource
import sqlite3
from contextlib import closing, suppress

import pytest
from tests.integration.conftest import failing, held, limited

from watcherd.model import After, Kind, SystemFault
from watcherd.publish import batch as batch_module
from watcherd.publish import stages
from watcherd.publish.inputs import retire
from watcherd.publish.roots import disk
from watcherd.states import State


def test_archive_makes_the_result_visible_and_moves_the_input(scene, look):
    scene.add("sub/a.txt")
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"sub/a.txt.words.json"}
    assert look.tree(scene.archive) == {"sub/a.txt"}
    assert look.tree(scene.inbox) == set()
    assert scene.states("sub/a.txt") == [State.PUBLISHED]


def test_delete_makes_the_result_visible_and_removes_the_input(scene_of, look):
    scene = scene_of(After.DELETE)
    scene.add("sub/a.txt")
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"sub/a.txt.words.json"}
    assert look.tree(scene.inbox) == look.tree(scene.archive) == set()
    assert look.drafts(scene.inbox) == set()


def test_keep_makes_the_result_visible_and_leaves_the_input(scene_of, look):
    scene = scene_of(After.KEEP)
    scene.add("sub/a.txt")
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"sub/a.txt.words.json"}
    assert look.tree(scene.inbox) == {"sub/a.txt"}


def test_an_image_gets_its_own_name(scene, look):
    scene.add("b.jpg", kind=Kind.IMAGE)
    scene.settle()
    assert look.tree(scene.outbox) == {"grayscale_b.jpg"}


def test_a_name_that_is_no_text_goes_the_whole_way(scene, look):
    name = os.fsdecode(b"\xff\xfe\n.txt")
    scene.add(name)
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.archive) == {name}


def test_results_and_folders_have_the_rights_that_the_umask_leaves(scene):
    before = os.umask(0o027)
    try:
        scene.add("sub/a.txt")
        scene.settle()
    finally:
        os.umask(before)
    assert os.stat(scene.outbox / "sub/a.txt.words.json").st_mode & 0o777 == 0o640
    assert os.stat(scene.outbox / "sub").st_mode & 0o777 == 0o750


# The order ----------------------------------------------------------------------------------------------------------


def test_nothing_is_visible_before_the_ledger_says_what_is_intended(scene, look, monkeypatch):
    seen = []
    real = scene.ledger.intend

    def intend(intents):
        seen.append((look.tree(scene.outbox), look.tree(scene.inbox)))
        real(intents)
        seen.append(scene.states("a.txt"))

    monkeypatch.setattr(scene.ledger, "intend", intend)
    scene.add("a.txt")
    scene.settle()
    assert seen == [(set(), {"a.txt"}), [State.PUBLISHING]]


def test_what_could_not_be_put_on_record_is_published_later_though_no_file_follows(scene):
    scene.add("a.txt")
    scene.ledger._writer.execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(scene.state / "ledger.db")) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(SystemFault, match="database is locked"):
            scene.batch.settle()
    assert scene.settle() == [State.PUBLISHED]


@pytest.mark.parametrize("fault", [False, True])
def test_the_folder_of_drafts_has_its_name_on_disk_before_the_ledger_relies_on_what_is_in_it(
    scene, monkeypatch, synced, fault
):
    def intended(intents):
        assert str(scene.outbox) in synced
        intend(intents)

    if fault:  # it is there when that is over, and is not known to be on disk
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", failing(errno.EIO))
            with pytest.raises(SystemFault):
                scene.place.outbox.check()
    intend = scene.ledger.intend
    monkeypatch.setattr(scene.ledger, "intend", intended)
    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]


def test_where_folders_know_no_sync_files_are_published_and_set_aside_all_the_same(scene, look, monkeypatch):
    def fileonly(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", fileonly)
    scene.add("sub/a.txt")
    scene.add("sub/bad.txt", state=State.QUARANTINING)
    assert {*scene.settle()} == {State.PUBLISHED, State.QUARANTINED}
    assert look.tree(scene.archive) == {"sub/a.txt"}


def test_no_input_is_taken_before_its_result_and_its_folder_are_on_disk(scene, monkeypatch, synced):
    take, before = retire.take, []
    monkeypatch.setattr(retire, "take", lambda *names: (before.extend(synced), synced.clear(), take(*names)))
    scene.add("a.txt")
    synced.clear()  # our own folder is there by now
    assert scene.settle() == [State.PUBLISHED]
    assert any(path.startswith(f"{scene.outbox}/.watcherd/") for path in before)
    assert str(scene.outbox) in before
    assert {str(scene.inbox), str(scene.archive)} <= {*synced}


@pytest.mark.parametrize("many", [False, True])
def test_a_draft_that_the_disk_failed_to_take_is_not_believed_when_it_takes_the_next(scene, look, monkeypatch, many):
    names = {f"{n}.txt" for n in range(20 if many else 1)}
    scene.add(*names)
    scene.add("bad.txt", state=State.QUARANTINING)
    scene.place.archive.check()  # which makes our own folder in it, and syncs that
    with monkeypatch.context() as broken:
        broken.setattr(*((disk, "sync_all") if many else (os, "fsync")), failing(errno.EIO))
        with pytest.raises(SystemFault, match="Input/output error"):
            scene.batch.settle()
    assert scene.settle() == [State.WAITING] * (len(names) + 1)
    assert look.tree(scene.inbox) == {*names, "bad.txt"}
    assert look.tree(scene.outbox) == look.tree(scene.failed) == look.drafts(scene.outbox, scene.failed) == set()


def test_an_input_that_its_owner_links_to_where_it_belongs_in_that_instant_has_that_name_on_disk_before_its_own_goes(
    scene, monkeypatch, synced, look
):
    def linked(*names):
        with suppress(FileExistsError):
            os.link(scene.inbox / "a.txt", scene.archive / "a.txt")
            synced.clear()
        take(*names)

    def unlinked(name, **at):
        if str(name).startswith("taken-"):
            assert str(scene.archive) in synced
        unlink(name, **at)

    take, unlink = retire.take, os.unlink
    scene.add("a.txt")
    monkeypatch.setattr(retire, "take", linked)
    monkeypatch.setattr(os, "unlink", unlinked)
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == look.drafts(scene.inbox) == set()
    assert look.tree(scene.archive) == {"a.txt"}


def test_a_draft_that_could_not_be_opened_to_be_synced_is_whole_and_published_once_it_can(scene, look):
    scene.add("a.txt")
    scene.add("bad.txt", state=State.QUARANTINING)
    scene.place.archive.check()  # which makes our own folder in it, and leaves it open
    with limited(resource.RLIMIT_NOFILE, 0), pytest.raises(SystemFault, match="Too many open files"):
        scene.batch.settle()
    assert not scene.news
    assert scene.settle() == [State.PUBLISHED, State.QUARANTINED]
    assert not look.tree(scene.inbox)


def test_a_stage_with_nothing_to_do_waits_for_nobody_s_turn(scene, monkeypatch):
    turns, real = [], stages.turn
    monkeypatch.setattr(stages, "turn", lambda: (turns.append("taken"), real())[1])
    scene.add("a.txt", "b.txt")
    assert scene.settle() == [State.PUBLISHED] * 2
    assert len(turns) == 3  # checked, shown, retired


def test_without_durability_nothing_is_synced(scene, monkeypatch):
    def never(_):
        raise AssertionError

    told = []
    for root in scene.place.roots:
        root.durable = root._ground._durable = False
    lax = batch_module.Batch(
        scene.place,
        scene.ledger,
        carry=scene.carried.append,
        tell=told.append,
        is_away=lambda: False,
        alive=lambda: None,
    )
    done = scene.done(scene.job("a.txt"))
    lax.add(done, done.draft)
    monkeypatch.setattr(os, "fsync", never)
    lax.settle()
    assert [it.state for it in told] == [State.PUBLISHED]
    assert not lax._folders._touched  # which nothing would ever clear: folders are many, in time


# Quarantine ---------------------------------------------------------------------------------------------------------


def test_a_quarantined_input_goes_to_the_failed_folder_with_its_reason_beside_it(scene, look):
    scene.add("sub/a.txt", state=State.QUARANTINING)
    assert scene.settle() == [State.QUARANTINED]
    assert look.tree(scene.failed) == {"sub/a.txt", "sub/a.txt.error.json"}
    assert look.tree(scene.inbox) == look.tree(scene.outbox) == look.tree(scene.archive) == set()


@pytest.mark.parametrize("taken", ["a.txt", "a.txt.error.json"])
def test_a_quarantine_takes_a_number_that_is_free_for_both_names(scene, look, taken):
    (scene.failed / taken).write_text("an earlier one")
    scene.add("a.txt", state=State.QUARANTINING)
    scene.settle()
    assert look.tree(scene.failed) == {taken, "a.1.txt", "a.1.txt.error.json"}


def test_keep_leaves_a_quarantined_input_and_writes_only_the_reason(scene_of, look):
    scene = scene_of(After.KEEP)
    scene.add("a.txt", state=State.QUARANTINING)
    assert scene.settle() == [State.QUARANTINED]
    assert look.tree(scene.failed) == {"a.txt.error.json"}
    assert look.tree(scene.inbox) == {"a.txt"}


def test_a_kept_input_s_reason_takes_a_number_where_its_name_is_taken(scene_of, look):
    scene = scene_of(After.KEEP)
    (scene.failed / "a.txt.error.json").write_text("an earlier one")
    scene.add("a.txt", state=State.QUARANTINING)
    assert scene.settle() == [State.QUARANTINED]
    assert look.tree(scene.failed) == {"a.txt.error.json", "a.1.txt.error.json"}


def test_a_quarantine_that_cannot_be_placed_waits_until_it_can(scene, look):
    (scene.failed / "sub").write_text("a user's file")
    scene.add("sub/a.txt", state=State.QUARANTINING)
    assert scene.settle() == ["hindered"]
    assert look.tree(scene.inbox) == {"sub/a.txt"}
    os.unlink(scene.failed / "sub")
    scene.batch.release()
    assert scene.settle() == [State.QUARANTINED]
    assert look.tree(scene.failed) == {"sub/a.txt", "sub/a.txt.error.json"}


# Size and end -------------------------------------------------------------------------------------------------------


def test_more_than_one_batch_is_settled_at_once_by_syncing_the_file_system(scene, look, monkeypatch):
    sizes, real = [], scene.ledger.intend
    monkeypatch.setattr(scene.ledger, "intend", lambda its: (sizes.append(len(its)), real(its)))
    names = [f"{n % 7}/{n}.txt" for n in range(batch_module.BATCH * 2 + 3)]
    scene.add(*names)
    assert scene.settle() == [State.PUBLISHED] * len(names)
    assert sizes == [batch_module.BATCH, batch_module.BATCH, 3]
    assert look.tree(scene.archive) == set(names)
    assert not scene.batch


def test_more_folders_than_may_be_open_at_once_are_no_hindrance(scene, look):
    names = [f"folder {n}/a.txt" for n in range(150)]
    scene.add(*names)
    assert scene.settle() == [State.PUBLISHED] * 150
    assert look.tree(scene.archive) == set(names)


def test_what_is_not_on_record_is_given_up_with_its_draft(scene, look):
    jobs = scene.add("a.txt", "b.txt")
    assert scene.batch.abandon() == jobs
    assert look.drafts(scene.outbox) == set()
    assert look.tree(scene.inbox) == {"a.txt", "b.txt"}


def test_no_descriptor_stays_open_in_any_root_after_it_rests(scene):
    scene.add("sub/a.txt")
    scene.settle()
    for root in scene.place.roots:
        root.rest()
    assert held(scene.inbox, scene.outbox, scene.archive, scene.failed) == []
