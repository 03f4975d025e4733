"""Inputs that did not wait: removed, edited, or a newer one by their name, which is given back."""

from __future__ import annotations

import errno
import os
from itertools import count, repeat

import pytest
from tests.integration.conftest import failing

from watcherd.model import After, SystemFault
from watcherd.publish.inputs import retire, taker
from watcherd.publish.roots import rename
from watcherd.publish.roots.folders import Folders
from watcherd.states import State


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


@pytest.mark.parametrize("content", [b"a newer file", b"one TWO\n"], ids=["", "of one size and time"])
@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
def test_a_newer_file_that_was_renamed_over_the_input_is_put_back_and_gets_its_own_name(
    scene_of, look, monkeypatch, after, content
):
    scene = scene_of(after)
    real = scene.ledger.intend

    def intend(intents):
        real(intents)
        newer, status = scene.drop("newer", content), os.stat(scene.inbox / "a.txt")
        os.utime(newer, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.rename(newer, scene.inbox / "a.txt")

    monkeypatch.setattr(scene.ledger, "intend", intend)
    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]
    assert (scene.inbox / "a.txt").read_bytes() == content
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


@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
def test_a_folder_that_took_the_inputs_name_is_put_back_where_no_rename_spares_what_is_there(
    scene_of, look, monkeypatch, after
):
    def intend(intents):
        real(intents)
        os.unlink(scene.inbox / "a.txt")
        scene.drop("a.txt/inner", b"a user's")

    scene = scene_of(after)
    scene.add("a.txt")
    real = scene.ledger.intend
    monkeypatch.setattr(scene.ledger, "intend", intend)
    monkeypatch.setattr(rename, "_renameat2", failing(errno.ENOSYS))
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == {"a.txt/inner"}
    assert look.drafts(scene.inbox) == set()


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


@pytest.mark.parametrize("state", [State.PUBLISHING, State.QUARANTINING])
def test_an_input_that_is_collected_in_the_instant_it_is_archived_is_not_looked_for_in_its_inbox(
    scene, look, monkeypatch, state
):
    """As one that is dragged back as quickly as that: it is a new arrival there."""

    def take(source, name, target, new_name):
        rename.take(source, name, target, new_name)
        os.rename(new_name, name, src_dir_fd=target, dst_dir_fd=source)

    monkeypatch.setattr(retire, "take", take)
    (job,) = scene.add("a.txt", state=state)
    (ended,) = scene.settle()
    assert ended in {State.PUBLISHED, State.QUARANTINED}
    assert look.tree(scene.inbox) == {job.file.path}


def test_what_has_an_inputs_name_in_its_archive_and_is_collected_as_that_is_looked_at_hinders_nothing(
    scene, monkeypatch
):
    def take(source, name, target, new_name):
        try:
            rename.take(source, name, target, new_name)
        except FileExistsError:
            os.unlink(new_name, dir_fd=target)
            raise

    def intend(intents, real=scene.ledger.intend):
        real(intents)
        scene.archive.mkdir(exist_ok=True)
        (scene.archive / "a.txt").write_text("somebody's")

    monkeypatch.setattr(scene.ledger, "intend", intend)
    monkeypatch.setattr(retire, "take", take)
    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]


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
