"""One batch, settled by hand: its order, its names, and what it never touches."""

# ruff: noqa: SLF001 (what is broken on purpose is broken from inside)

from __future__ import annotations

import errno
import os
import sqlite3
import time
from contextlib import closing
from itertools import count, repeat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.integration.conftest import as_nobody, failing, held

from watcherd.beneath import OURS
from watcherd.ledger.ledger import Intent
from watcherd.model import After, Draft, Failure, Kind, SystemFault
from watcherd.publish import batch as batch_module
from watcherd.publish import disk, quarantine, rename, retire, reveal, stages, taker, unretired
from watcherd.publish.folders import Folders
from watcherd.publish.ways import Ways
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
    lax = batch_module.Batch(scene.place, scene.ledger, durable=False, carry=scene.carried.append, tell=told.append)
    for root in scene.place.roots:
        root._durable = root._ground._durable = False
    job = scene.job("a.txt")
    lax.add(job, State.PUBLISHING, scene.done(job).draft)
    monkeypatch.setattr(os, "fsync", never)
    lax.settle()
    assert [it.state for it in told] == [State.PUBLISHED]
    assert not lax._folders._touched  # which nothing would ever clear: folders are many, in time


# Names --------------------------------------------------------------------------------------------------------------


def test_a_taken_result_name_gives_result_and_archive_the_same_number(scene, look):
    (scene.outbox / "a.txt.words.json").write_text("a user's")
    scene.add("a.txt")
    scene.settle()
    assert look.tree(scene.outbox) == {"a.txt.words.json", "a.1.txt.words.json"}
    assert look.tree(scene.archive) == {"a.1.txt"}
    assert (scene.outbox / "a.txt.words.json").read_text() == "a user's"
    assert scene.record("a.txt").number == 1


def test_a_taken_archive_name_gives_result_and_archive_the_same_number(scene, look):
    (scene.archive / "b.jpg").write_text("an earlier one")
    scene.add("b.jpg", kind=Kind.IMAGE)
    scene.settle()
    assert look.tree(scene.outbox) == {"grayscale_b.1.jpg"}
    assert look.tree(scene.archive) == {"b.jpg", "b.1.jpg"}


def test_ways_that_are_remembered_are_the_plain_ones(scene):
    job = scene.job("sub/a.txt")
    ways = Ways(scene.place, Folders())
    for state in (State.PUBLISHING, State.QUARANTINING):
        for number in (0, 1):
            intent = Intent(job, state, number, Draft("draft", 1))
            assert [ways.of(intent) for _ in range(2)] == [scene.place.way(job, state, number)] * 2


def test_a_batch_remembers_no_way_once_it_is_settled(scene):
    scene.add("sub/a.txt")
    scene.settle()
    assert not scene.batch._ways._known


def test_two_inputs_of_one_name_have_two_results(scene, look):
    for _ in range(3):
        scene.add("a.txt")
        scene.settle()
        scene.claims.release("a.txt")
    assert look.tree(scene.outbox) == {"a.txt.words.json", "a.1.txt.words.json", "a.2.txt.words.json"}
    assert look.tree(scene.archive) == {"a.txt", "a.1.txt", "a.2.txt"}


def test_a_name_that_was_freed_is_given_again(scene, look):
    for _ in range(2):
        scene.add("a.txt")
        assert scene.settle() == [State.PUBLISHED]
        scene.claims.release("a.txt")
        assert look.tree(scene.outbox) == {"a.txt.words.json"}
        assert look.tree(scene.archive) == {"a.txt"}
        os.unlink(scene.outbox / "a.txt.words.json")
        os.unlink(scene.archive / "a.txt")


@pytest.mark.parametrize("order", [("a.txt", "a.1.txt"), ("a.1.txt", "a.txt")])
def test_names_that_meet_within_one_batch_are_told_apart(scene, look, order):
    (scene.outbox / "a.txt.words.json").write_text("a user's")
    scene.add(*order)
    assert scene.settle() == [State.PUBLISHED] * 2
    results = look.tree(scene.outbox) - {"a.txt.words.json"}
    assert len(results) == 2
    assert {name.removesuffix(".words.json") for name in results} == look.tree(scene.archive)


@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
def test_a_file_that_a_user_puts_into_the_results_place_after_the_number_was_chosen_stays(
    scene_of, look, monkeypatch, after
):
    scene = scene_of(after)
    real = scene.ledger.intend

    def intend(intents):
        real(intents)
        if not look.tree(scene.outbox):
            (scene.outbox / "a.txt.words.json").write_text("a user's")

    monkeypatch.setattr(scene.ledger, "intend", intend)
    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]
    assert (scene.outbox / "a.txt.words.json").read_text() == "a user's"
    assert look.tree(scene.outbox) == {"a.txt.words.json", "a.1.txt.words.json"}
    assert scene.record("a.txt").number == 1


@pytest.mark.parametrize("link", [False, True])
def test_a_file_that_a_user_puts_into_the_archives_place_stays_and_the_result_is_renumbered(
    scene, look, monkeypatch, link
):
    real, place = scene.ledger.intend, scene.archive / "a.txt"

    def intend(intents):
        real(intents)
        if not os.path.lexists(place):
            place.symlink_to(scene.inbox / "a.txt") if link else place.write_text("a user's")

    monkeypatch.setattr(scene.ledger, "intend", intend)
    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]
    assert place.is_symlink() if link else place.read_text() == "a user's"
    assert look.tree(scene.inbox) == set()
    assert look.tree(scene.outbox) == {"a.1.txt.words.json"}
    assert look.tree(scene.archive) == {"a.txt", "a.1.txt"}
    assert scene.record("a.txt").number == 1


@pytest.mark.parametrize("happens", ["nothing", "collected", "replaced"])
def test_a_visible_result_gets_another_number_on_disk_too_unless_its_owner_has_taken_it_away(
    scene, look, synced, happens
):
    result, new = scene.outbox / "a.txt.words.json", scene.state / "new"

    def seen():  # it is asked for once the result is visible, and says no
        if not look.tree(scene.archive):
            synced.clear()
            (scene.archive / "a.txt").write_text("a user's")
            new.write_text("a user's")
            {"nothing": int, "collected": result.unlink, "replaced": lambda: new.replace(result)}[happens]()

    scene.add("a.txt")
    scene.is_away = seen
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.archive) == {"a.txt", "a.1.txt"}
    names = {"nothing": {"a.1.txt.words.json"}, "collected": set(), "replaced": {"a.txt.words.json"}}
    assert look.tree(scene.outbox) == names[happens]
    assert happens != "replaced" or result.read_text() == "a user's"
    assert happens != "nothing" or str(scene.outbox) in synced


def test_a_file_that_a_user_puts_where_a_renumbered_result_belongs_in_this_instant_has_it_renumbered_once_more(
    scene, look, monkeypatch
):
    def intend(intents):
        real(intents)
        for folder, name in ((scene.archive, "a.txt"), (scene.outbox, "a.1.txt.words.json")):
            if intents[0].number == ("1" in name):
                (folder / name).write_text("a user's")

    real = scene.ledger.intend
    monkeypatch.setattr(scene.ledger, "intend", intend)
    scene.add("a.txt")
    ended = scene.settle()
    scene.batch.release()
    assert ended + scene.settle() == ["hindered", State.PUBLISHED]
    assert look.tree(scene.outbox) == {"a.1.txt.words.json", "a.2.txt.words.json"}
    assert look.tree(scene.archive) == {"a.txt", "a.2.txt"}
    assert (scene.outbox / "a.1.txt.words.json").read_text() == "a user's"
    assert scene.record("a.txt").number == 2


@pytest.mark.parametrize("state", [State.PUBLISHING, State.QUARANTINING])
@pytest.mark.parametrize("dies", [False, True])
def test_a_file_whose_names_could_not_be_given_another_number_at_once_has_the_one_on_record_in_the_end(
    scene, monkeypatch, state, dies
):
    real, target = reveal.rename, scene.archive if state is State.PUBLISHING else scene.failed

    def fails(*_):
        os.unlink(target / "a.txt")  # its owner takes it away in this instant
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(reveal, "rename", fails)
    intend = scene.ledger.intend
    monkeypatch.setattr(scene.ledger, "intend", lambda it: (intend(it), (target / "a.txt").write_text("a user's")))
    scene.add("a.txt", state=state)
    assert scene.settle() == ["hindered"]
    monkeypatch.setattr(reveal, "rename", real)
    monkeypatch.setattr(scene.ledger, "intend", intend)
    if dies:
        scene.start_again()
    else:
        scene.batch.release()
    assert scene.settle() in ([State.PUBLISHED], [State.QUARANTINED])
    scene.ledger.flush()
    record = scene.record("a.txt")
    way = scene.place.way(record, state, record.number)
    assert (target / way.retired).read_bytes() == b"one two\n"
    assert os.path.lexists(f"{way.root.path}/{way.visible}")
    if state is State.QUARANTINING:
        assert [row.where for row in quarantine.set_aside(scene.place, scene.ledger)] == [str(target / way.retired)]


def test_a_result_that_got_another_number_although_the_rename_ended_in_an_error_has_that_of_its_input(
    scene, look, monkeypatch
):
    def acts_and_fails(*names):
        move(*names)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def seen():  # it is asked for once the result is visible, and says no
        if not look.tree(scene.archive):
            (scene.archive / "a.txt").write_text("a user's")
            monkeypatch.setattr(reveal, "move", acts_and_fails)

    move = reveal.move
    scene.add("a.txt")
    scene.is_away = seen
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"a.1.txt.words.json"}
    assert look.tree(scene.archive) == {"a.txt", "a.1.txt"}


def test_keep_replaces_its_own_earlier_result(scene_of, look):
    scene = scene_of(After.KEEP)
    for content in (b"first", b"second, longer"):
        (job,) = [scene.job("a.txt", content=content)]
        scene.batch.add(job, State.PUBLISHING, scene.done(job, content).draft)
        assert scene.settle() == [State.PUBLISHED]
        scene.claims.release("a.txt")
    assert look.tree(scene.outbox) == {"a.txt.words.json"}
    assert (scene.outbox / "a.txt.words.json").read_bytes() == b"second, longer"
    assert look.drafts(scene.outbox) == set()


def test_keep_never_replaces_what_it_did_not_write(scene_of, look):
    scene = scene_of(After.KEEP)
    (scene.outbox / "a.txt.words.json").write_text("a user's")
    scene.add("a.txt")
    scene.batch.settle()
    (failed,) = scene.told()
    assert failed.failure is Failure.RESULT_OCCUPIED
    assert (scene.outbox / "a.txt.words.json").read_text() == "a user's"
    assert look.drafts(scene.outbox) == set()


@pytest.mark.parametrize("edited", ["a user's", None], ids=["to other words", "to as many bytes"])
def test_keep_does_not_replace_a_result_that_a_user_has_edited(scene_of, edited):
    scene = scene_of(After.KEEP)
    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]
    result = scene.outbox / "a.txt.words.json"
    edited = edited or result.read_text().upper()
    result.write_text(edited)
    scene.claims.release("a.txt")
    scene.add("a.txt", content=b"another version")
    scene.batch.settle()
    (failed,) = scene.told()
    assert failed.failure is Failure.RESULT_OCCUPIED
    assert result.read_text() == edited


def test_a_kept_file_s_result_is_known_by_our_clock_whatever_its_file_system_s_says(scene_of):
    scene = scene_of(After.KEEP)
    job = scene.job("a.txt")
    draft = scene.done(job).draft
    os.utime(scene.outbox / OURS / draft.name, (later := time.time() + 3600, later))  # as a server sees it
    scene.batch.add(job, State.PUBLISHING, draft)
    assert scene.settle() == [State.PUBLISHED]
    scene.claims.release("a.txt")
    scene.add("a.txt", content=b"another version")
    assert scene.settle() == [State.PUBLISHED]


def test_keep_does_not_replace_a_result_that_a_user_has_replaced(scene_of):
    scene = scene_of(After.KEEP)
    scene.add("a.txt")
    scene.settle()
    scene.claims.release("a.txt")
    (scene.outbox / "mine").write_text("a user's")
    os.rename(scene.outbox / "mine", scene.outbox / "a.txt.words.json")
    scene.add("a.txt", content=b"edited since")
    assert scene.settle() == [State.RETRYING]
    assert (scene.outbox / "a.txt.words.json").read_text() == "a user's"


def test_a_kept_result_that_was_replaced_although_the_rename_ended_in_an_error_is_published_at_once(
    scene_of, look, monkeypatch
):
    def acts_and_fails(*names):
        exchange(*names)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    scene, exchange = scene_of(After.KEEP), rename.exchange
    scene.add("a.txt")
    scene.settle()
    scene.claims.release("a.txt")
    (job,) = scene.add("a.txt", content=b"another version")
    monkeypatch.setattr(rename, "exchange", acts_and_fails)
    assert scene.settle() == [State.PUBLISHED]
    assert (scene.outbox / "a.txt.words.json").read_text() == f"a.txt {job.id}"
    assert look.drafts(scene.outbox) == set()


@pytest.mark.parametrize("step", [(reveal, "replace"), (rename, "exchange")])
def test_an_earlier_result_that_its_owner_takes_away_in_the_instant_of_the_next_costs_no_attempt(
    scene_of, look, monkeypatch, step
):
    def taken_away(*arguments):
        (scene.outbox / "a.txt.words.json").unlink()
        return real(*arguments)

    scene, real = scene_of(After.KEEP), getattr(*step)
    scene.add("a.txt")
    scene.settle()
    scene.claims.release("a.txt")
    (job,) = scene.add("a.txt", content=b"another version")
    monkeypatch.setattr(*step, taken_away)
    assert scene.settle() == [State.PUBLISHED]
    assert (scene.outbox / "a.txt.words.json").read_text() == f"a.txt {job.id}"
    assert look.drafts(scene.outbox) == set()


# Inputs that did not wait -------------------------------------------------------------------------------------------


def test_a_user_s_file_that_changed_places_with_a_result_has_its_name_again_though_that_fails_at_first(
    scene_of, look, monkeypatch
):
    scene, exchange, calls = scene_of(After.KEEP), rename.exchange, count()
    visible = scene.outbox / "a.txt.words.json"

    def fails(*names):
        if next(calls):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        (scene.outbox / "theirs").write_text("a user's")
        (scene.outbox / "theirs").rename(visible)
        exchange(*names)

    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]
    scene.claims.release("a.txt")
    scene.add("a.txt", content=b"edited")
    monkeypatch.setattr(rename, "exchange", fails)
    assert scene.settle() == [State.RETRYING]
    assert visible.read_text() == "a user's"
    assert look.drafts(scene.outbox) == set()


def test_an_input_that_was_removed_leaves_no_result(scene, look):
    scene.add("a.txt")
    os.unlink(scene.inbox / "a.txt")
    assert scene.settle() == [State.VANISHED]
    assert look.tree(scene.outbox) == look.drafts(scene.outbox) == set()


def test_a_draft_that_cannot_be_removed_when_it_is_given_up_is_removed_once_that_is_over(scene, look, monkeypatch):
    scene.add("a.txt")
    os.unlink(scene.inbox / "a.txt")
    with monkeypatch.context() as broken:
        broken.setattr(os, "unlink", failing(errno.EIO))
        assert scene.settle() == [State.VANISHED]
    assert look.drafts(scene.outbox)
    scene.place.outbox.rest()
    assert look.drafts(scene.outbox) == set()


def test_an_input_that_was_removed_with_its_folder_leaves_no_result(scene, look):
    scene.add("sub/a.txt")
    os.rename(scene.inbox / "sub", scene.state / "elsewhere")
    (scene.inbox / "sub").write_text("a file now")
    assert scene.settle() == [State.VANISHED]
    assert look.tree(scene.outbox) == set()


@pytest.mark.parametrize("state", [State.PUBLISHING, State.QUARANTINING])
def test_an_input_whose_disk_fails_before_anything_is_on_record_is_looked_at_again_and_charged_nothing(
    scene, look, monkeypatch, state
):
    scene.add("a.txt", state=state)
    with monkeypatch.context() as broken:
        broken.setattr(Folders, "status", failing(errno.EIO, "a.txt"))
        scene.batch.settle()
    (returned,) = scene.told()
    assert (returned.to, returned.reason) == (State.WAITING, "cannot be read for now: Input/output error")
    assert look.tree(scene.outbox) == look.tree(scene.failed) == look.drafts(scene.outbox, scene.failed) == set()


def test_an_input_that_was_edited_leaves_no_result(scene, look):
    scene.add("a.txt")
    scene.drop("a.txt", b"something else")
    assert scene.settle() == [State.WAITING]
    assert look.tree(scene.outbox) == look.drafts(scene.outbox) == set()
    assert look.tree(scene.inbox) == {"a.txt"}


@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
def test_a_newer_file_that_was_renamed_over_the_input_is_put_back_and_gets_its_own_name(
    scene_of, look, monkeypatch, after
):
    scene = scene_of(after)
    real = scene.ledger.intend

    def intend(intents):
        real(intents)
        scene.drop("newer", b"a newer file")
        os.rename(scene.inbox / "newer", scene.inbox / "a.txt")

    monkeypatch.setattr(scene.ledger, "intend", intend)
    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]
    assert (scene.inbox / "a.txt").read_bytes() == b"a newer file"
    assert look.tree(scene.archive) == set()
    monkeypatch.undo()
    scene.claims.release("a.txt")
    scene.add("a.txt", content=None)
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"a.txt.words.json", "a.1.txt.words.json"}


@pytest.mark.parametrize("dangling", [False, True])
@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
def test_a_link_that_took_the_inputs_name_is_put_back(scene_of, look, monkeypatch, after, dangling):
    scene = scene_of(after)
    real, moved = scene.ledger.intend, scene.state / "a.txt"

    def intend(intents):
        real(intents)
        os.rename(scene.inbox / "a.txt", moved)
        (scene.inbox / "a.txt").symlink_to("nothing" if dangling else moved)

    monkeypatch.setattr(scene.ledger, "intend", intend)
    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]
    assert (scene.inbox / "a.txt").is_symlink()
    assert look.tree(scene.archive) == look.drafts(scene.inbox) == set()


def test_a_newer_file_is_put_back_beside_a_still_newer_one(scene, look, monkeypatch):
    real = taker.move
    arrivals = iter([b"newer", b"still newer"])

    def move(source, name, target, new_name):
        if name == "a.txt" and (content := next(arrivals, None)):
            scene.drop("arriving", content)
            if content == b"newer":
                os.rename(scene.inbox / "arriving", scene.inbox / "a.txt")
        real(source, name, target, new_name)
        if name == "a.txt" and new_name == "a.txt":
            content = next(arrivals, None)
            if content:
                scene.drop("a.txt", content)

    monkeypatch.setattr(retire, "take", move)
    monkeypatch.setattr(taker, "move", move)
    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]
    assert (scene.inbox / "a.txt").read_bytes() == b"still newer"
    assert (scene.inbox / "a.1.txt").read_bytes() == b"newer"
    assert look.tree(scene.archive) == set()


@pytest.mark.parametrize("happens", ["removed", "a link"])
def test_a_newer_file_is_put_back_though_its_folder_goes_in_that_instant(scene, look, monkeypatch, tmp_path, happens):
    sub, outside = scene.inbox / "sub", tmp_path / "outside"
    outside.mkdir()
    real, calls = taker.move, count()

    def move(*names):
        match next(calls):
            case 0:  # the input is taken, and it is a newer one
                scene.drop("sub/a.txt", b"newer")
                real(*names)
                sub.rename(scene.inbox / "elsewhere")
                if happens == "a link":
                    sub.symlink_to(outside)
            case 1 if happens == "removed":  # it is given back into a folder that was made for it
                sub.rmdir()
                real(*names)
            case _:
                real(*names)

    monkeypatch.setattr(retire, "take", move)
    monkeypatch.setattr(taker, "move", move)
    scene.add("sub/a.txt")
    assert scene.settle() == [State.PUBLISHED]
    back = sub / "a.txt" if happens == "removed" else scene.inbox / "a.txt"
    assert back.read_bytes() == b"newer"
    assert look.tree(scene.archive) == look.tree(outside) == set()


@pytest.mark.parametrize("errors", [[errno.EACCES], repeat(errno.ENOTDIR)], ids=["forbidden", "no folder at all"])
def test_a_newer_file_waits_to_be_given_back_to_its_own_folder_while_nothing_can_be_put_there(
    scene, look, monkeypatch, errors
):
    def take(*names):
        scene.drop("sub/a.txt", b"newer")
        real(*names)

    def move(*names):
        if number := next(its, None):
            raise OSError(number, os.strerror(number), names[-1])
        real(*names)

    real, its = retire.take, iter(errors)
    scene.add("sub/a.txt")
    with monkeypatch.context() as context:
        context.setattr(retire, "take", take)
        context.setattr(taker, "move", move)
        assert scene.settle() == ["hindered"]
    scene.batch.release()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == {"sub/a.txt"}
    assert (scene.inbox / "sub/a.txt").read_bytes() == b"newer"
    assert look.tree(scene.archive) == set()


def test_a_newer_file_waits_to_be_given_back_while_its_inbox_is_gone(scene, look, monkeypatch):
    def take(*names):
        scene.drop("a.txt", b"newer")
        real(*names)
        os.rename(scene.inbox, scene.state / "away")

    real = retire.take
    scene.add("a.txt")
    with monkeypatch.context() as context:
        context.setattr(retire, "take", take)
        scene.batch.settle()
    (hindered,) = scene.told()
    assert hindered.reason == f"{os.strerror(errno.ENODEV)}: {scene.inbox}"
    os.rename(scene.state / "away", scene.inbox)
    scene.batch.release()
    assert scene.settle() == [State.PUBLISHED]
    assert (scene.inbox / "a.txt").read_bytes() == b"newer"
    assert look.tree(scene.archive) == set()


def test_a_newer_file_that_a_fault_of_the_system_kept_from_being_given_back_is_given_back_once_that_is_over(
    scene, look, monkeypatch
):
    def take(*names):
        scene.drop("a.txt", b"newer")
        real(*names)
        for root in (scene.inbox, scene.outbox):  # they are on one disk, which goes in this instant
            root.rename(scene.state / root.name)

    real = retire.take
    scene.add("a.txt")
    with monkeypatch.context() as context:
        context.setattr(retire, "take", take)
        with pytest.raises(SystemFault):
            scene.batch.settle()
    for root in (scene.inbox, scene.outbox):
        (scene.state / root.name).rename(root)
    assert scene.settle() == [State.PUBLISHED]
    assert (scene.inbox / "a.txt").read_bytes() == b"newer"
    assert look.tree(scene.archive) == set()


@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
@pytest.mark.parametrize("newest", [False, True])
def test_a_newer_file_that_cannot_be_given_back_is_told_and_given_back_when_it_can(
    scene_of, look, monkeypatch, after, newest
):
    scene = scene_of(after)
    real = scene.ledger.intend

    def intend(intents):
        real(intents)
        scene.drop("a.txt", b"newer")

    def fail(*names):
        raise OSError(errno.EIO, os.strerror(errno.EIO), names[-1])

    scene.add("a.txt")
    with monkeypatch.context() as context:
        context.setattr(scene.ledger, "intend", intend)
        context.setattr(taker, "move", fail)
        scene.batch.settle()
        (hindered,) = scene.told()
        assert hindered.reason == f"{os.strerror(errno.EIO)}: a.txt"
        scene.batch.release()
        assert scene.settle() == []
    scene.is_away = lambda: True
    scene.batch.release()
    assert scene.settle() == []
    scene.is_away = lambda: False
    if newest:
        scene.drop("a.txt", b"newest")
    scene.batch.release()
    assert scene.settle() == [State.PUBLISHED]
    texts = {(scene.inbox / name).read_bytes() for name in look.tree(scene.inbox)}
    assert texts == ({b"newer", b"newest"} if newest else {b"newer"})
    assert look.tree(scene.archive) == look.drafts(scene.inbox) == set()


def test_an_input_that_is_removed_after_its_result_is_visible_is_published(scene, look, monkeypatch):
    real = scene.ledger.intend
    monkeypatch.setattr(scene.ledger, "intend", lambda its: (real(its), os.unlink(scene.inbox / "a.txt")))
    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"a.txt.words.json"}


def test_an_input_is_not_called_gone_because_its_archive_went(scene, look, monkeypatch):
    real = taker.Taker.take

    def take(*what):
        os.rmdir(scene.archive / "sub")
        return real(*what)

    monkeypatch.setattr(taker.Taker, "take", take)
    scene.add("sub/a.txt")
    assert scene.settle() == ["hindered"]
    monkeypatch.undo()
    scene.batch.release()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.archive) == {"sub/a.txt"}


# What cannot be placed ----------------------------------------------------------------------------------------------


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


def test_a_draft_that_somebody_removed_costs_its_file_a_retry_and_the_others_nothing(scene, look):
    job, _ = scene.add("a.txt", "b.txt")
    os.unlink(scene.outbox / ".watcherd" / scene.place.outbox.name_of(job.id))
    scene.batch.settle()
    news = {it.job.file.path: it for it in scene.told()}
    assert news["a.txt"].failure is Failure.UNPLACEABLE
    assert news["b.txt"].state is State.PUBLISHED
    assert look.tree(scene.inbox) == {"a.txt"}


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
    in_the_way = scene.archive / OURS / f"{scene.ledger.id}-probe"
    in_the_way.mkdir()
    with monkeypatch.context() as broken:
        broken.setattr(Folders, "has", fails)
        with pytest.raises(SystemFault):
            scene.batch.settle()
    assert (len(asked), look.tree(scene.outbox)) == (1, set())
    in_the_way.rmdir()
    assert scene.settle() == [State.PUBLISHED] * 2


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
