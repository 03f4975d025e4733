"""Names that are taken, or taken in this very instant: which number a result and its input get, and whose stays."""

from __future__ import annotations

import errno
import os
import shutil
import time
from itertools import count

import pytest
from tests.integration.conftest import occupy

from watcherd import volumes
from watcherd.beneath import OURS
from watcherd.model import After, Draft, Failure, File, Kind, Record, Version
from watcherd.publish import reveal
from watcherd.publish.aside import quarantine
from watcherd.publish.roots import rename
from watcherd.states import State


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
    way = scene.place.way_on_record(record)
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
        scene.publish(job, content)
        assert scene.settle() == [State.PUBLISHED]
        scene.claims.release("a.txt")
    assert look.tree(scene.outbox) == {"a.txt.words.json"}
    assert (scene.outbox / "a.txt.words.json").read_bytes() == b"second, longer"
    assert look.drafts(scene.outbox) == set()


def test_keep_replaces_its_own_result_also_where_a_later_one_of_its_file_went_elsewhere(scene_of, look):
    scene = scene_of(After.KEEP)
    first, second = scene.outbox, scene.outbox.with_name("second")
    second.mkdir()
    for scene.after, scene.outbox in ((After.KEEP, first), (After.DELETE, first), (After.KEEP, second)):
        scene.crash()
        scene.add("a.txt", content=f"for {scene.outbox}".encode())
        assert scene.settle() == [State.PUBLISHED]
        scene.ledger.flush()
    scene.outbox = first
    scene.crash()
    (job,) = scene.add("a.txt", content=b"edited")
    assert scene.settle() == [State.PUBLISHED]
    assert (first / "a.txt.words.json").read_text() == f"a.txt {job.id}"
    assert look.tree(first) == {"a.txt.words.json", "a.1.txt.words.json"}


def test_keep_does_not_replace_what_has_no_more_than_the_inode_of_a_result_before_the_last(scene_of):
    scene = scene_of(After.KEEP)
    (theirs := scene.outbox / "a.txt.words.json").write_text("a user's")
    file = File("scans", "a.txt", Version(1, 2, 3, 4))
    inodes = theirs.stat().st_ino, 1
    scene.ledger.remember([Record(0, file, Kind.TEXT, State.PUBLISHED, result=Draft("", inode)) for inode in inodes])
    scene.add("a.txt")
    scene.batch.settle()
    (failed,) = scene.told()
    assert failed.failure is Failure.RESULT_OCCUPIED
    assert theirs.read_text() == "a user's"


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
    if not os.major(result.stat().st_dev):  # as on tmpfs, where an edit within seconds is not told by its time
        os.utime(result, (later := time.time() + 60, later))
    scene.claims.release("a.txt")
    scene.add("a.txt", content=b"another version")
    scene.batch.settle()
    (failed,) = scene.told()
    assert failed.failure is Failure.RESULT_OCCUPIED
    assert result.read_text() == edited


def test_a_kept_file_s_result_is_known_by_our_clock_whatever_its_file_system_s_says(scene_of):
    scene = scene_of(After.KEEP)
    done = scene.done(scene.job("a.txt"))
    os.utime(scene.outbox / OURS / done.draft.name, (later := time.time() + 3600, later))  # as a server sees it
    scene.batch.add(done, done.draft)
    assert scene.settle() == [State.PUBLISHED]
    scene.claims.release("a.txt")
    scene.add("a.txt", content=b"another version")
    assert scene.settle() == [State.PUBLISHED]


def test_a_kept_file_s_result_is_replaced_where_inodes_do_not_last(scene_of, look, monkeypatch):
    scene = scene_of(After.KEEP)
    scene.publish_and_edit()
    result = scene.outbox / "a.txt.words.json"
    shutil.copy2(result, scene.outbox / "renumbered").replace(result)
    monkeypatch.setattr(volumes, "renumbers", lambda _: True)
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"a.txt.words.json"}


def test_the_file_system_is_not_asked_about_a_result_that_is_known_by_its_inode(scene_of, monkeypatch):
    scene = scene_of(After.KEEP)
    scene.publish_and_edit()
    monkeypatch.setattr(volumes, "renumbers", pytest.fail)
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
    job = scene.publish_and_edit()
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
    job = scene.publish_and_edit()
    monkeypatch.setattr(*step, taken_away)
    assert scene.settle() == [State.PUBLISHED]
    assert (scene.outbox / "a.txt.words.json").read_text() == f"a.txt {job.id}"
    assert look.drafts(scene.outbox) == set()


def test_a_user_s_newer_file_that_changes_places_as_theirs_is_given_its_name_again_is_not_lost(
    scene_of, look, monkeypatch
):
    def occupied(*names):
        occupy(visible, f"a user's {next(calls)}")
        exchange(*names)

    scene, exchange, calls = scene_of(After.KEEP), rename.exchange, count()
    visible = scene.outbox / "a.txt.words.json"
    scene.publish_and_edit()
    monkeypatch.setattr(rename, "exchange", occupied)
    assert scene.settle() == [State.RETRYING]
    assert visible.read_text() == "a user's 0"
    assert (scene.outbox / "a.txt.words.1.json").read_text() == "a user's 1"
    assert look.drafts(scene.outbox) == set()


def test_a_user_s_file_that_changed_places_with_a_result_whose_folder_is_a_file_in_this_instant_is_not_lost(
    scene_of, look, monkeypatch
):
    def occupied(*names):
        if visible.parent.is_dir():
            occupy(visible, "a user's")
            exchange(*names)
            shutil.rmtree(visible.parent)
            visible.parent.touch()
        else:
            exchange(*names)

    scene, exchange = scene_of(After.KEEP), rename.exchange
    visible = scene.outbox / "sub" / "a.txt.words.json"
    scene.publish_and_edit("sub/a.txt")
    monkeypatch.setattr(rename, "exchange", occupied)
    assert scene.settle() == [State.RETRYING]
    assert (scene.outbox / "a.txt.words.json").read_text() == "a user's"
    assert look.drafts(scene.outbox) == set()


def test_a_user_s_file_that_changed_places_with_a_result_has_its_name_again_though_that_fails_at_first(
    scene_of, look, monkeypatch
):
    scene, exchange, calls = scene_of(After.KEEP), rename.exchange, count()
    visible = scene.outbox / "a.txt.words.json"

    def fails(*names):
        if next(calls):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        occupy(visible, "a user's")
        exchange(*names)

    scene.publish_and_edit()
    monkeypatch.setattr(rename, "exchange", fails)
    assert scene.settle() == [State.WAITING]
    assert visible.read_text() == "a user's"
    assert look.drafts(scene.outbox) == set()
