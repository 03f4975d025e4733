"""The way back out of quarantine, cut short at each of its steps: the next start finishes it, or it has not begun."""

# ruff: noqa: SLF001 (what is cut short is cut from inside)

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tests.integration.conftest import failing, held

from watcherd import beneath
from watcherd.model import After, CameBack, SystemFault
from watcherd.publish.aside import crossing, quarantine, wayback
from watcherd.publish.inputs import carry, custody
from watcherd.publish.pruning import Pruning
from watcherd.publish.roots.root import OURS, Root
from watcherd.states import State


class Cut(BaseException):
    """The process is killed here."""


@pytest.fixture(params=["archive", "archive elsewhere", "keep"])
def aside(request, scene_of):
    """Make a scene in which a file is set aside."""
    far = {"failed": request.getfixturevalue("elsewhere") / "failed"} if "elsewhere" in request.param else {}
    scene = scene_of(After(request.param.split()[0]), **far)
    set_aside(scene, "sub/a.txt")
    return scene


def set_aside(scene, name):
    scene.add(name, state=State.QUARANTINING)
    assert [*scene.settle(), *scene.carry()] == [State.QUARANTINED]
    scene.ledger.flush()


def came_back(scene):
    record = scene.ledger.quarantined("scans")[-1]
    quarantine.clear_reason(scene.place, scene.ledger, CameBack(record, record.kind))


def put_back(scene):
    (row,) = quarantine.set_aside(scene.place, scene.ledger)
    return wayback.put_back(scene.place, scene.ledger, row)


def home_of(step):
    return crossing if hasattr(crossing, step) else wayback


def cut_short(scene, monkeypatch, step, *, done=True):
    """Put back, and be killed right behind a step; before it, where it is not `done`."""
    real = getattr(home_of(step), step)

    def cut(*what):
        if done:
            real(*what)
        raise Cut

    with monkeypatch.context() as context:
        context.setattr(home_of(step), step, cut)
        with pytest.raises(Cut):
            put_back(scene)


@pytest.fixture
def cut_between_disks(scene_of, elsewhere, monkeypatch):
    """Put a file back from another file system, be killed at a step as `cut_short` says, and return the scene."""

    def cut(step, path="a.txt", *, done=False):
        scene = scene_of(failed=elsewhere / "failed")
        set_aside(scene, path)
        cut_short(scene, monkeypatch, step, done=done)
        return scene

    return cut


def forget_what_is_gone(scene):
    """Prune as a daemon does whose rows are all old."""
    Pruning(scene.place, scene.ledger, lambda: False).prune(time.time() + 60)


def is_back(scene, look, name="sub/a.txt"):
    """Whether the file is where it came from, and nothing speaks against it any more."""
    assert look.tree(scene.inbox) == {name}
    assert look.tree(scene.failed) == set()
    assert scene.ledger.quarantined("scans") == []
    return look.drafts(scene.inbox, scene.failed) == set()


def test_a_file_is_put_back_and_its_reason_is_gone(aside, look):
    assert not put_back(aside).refused
    assert is_back(aside, look)


def test_a_file_that_a_power_cut_left_both_of_its_names_is_put_back(scene, look):
    set_aside(scene, "a.txt")
    os.link(scene.failed / "a.txt", scene.inbox / "a.txt")
    assert not put_back(scene).refused
    assert is_back(scene, look, "a.txt")


@pytest.fixture
def forgetting(monkeypatch, synced):
    """Return the list of what is synced, in which "forgotten" stands where a file is forgotten."""
    forget = wayback._forget
    monkeypatch.setattr(wayback, "_forget", lambda *what: (synced.append("forgotten"), forget(*what)))
    return synced


def test_a_file_is_on_disk_where_it_came_from_before_it_is_forgotten(scene, forgetting):
    set_aside(scene, "sub/a.txt")
    forgetting.clear()
    assert not put_back(scene).refused
    assert forgetting[:3] == [str(scene.inbox / "sub"), str(scene.failed / "sub"), "forgotten"]


def test_folders_that_are_made_for_a_file_that_comes_back_are_on_disk_before_it_is_forgotten(scene, forgetting):
    set_aside(scene, "sub/within/a.txt")
    shutil.rmtree(scene.inbox / "sub")
    forgetting.clear()
    assert not put_back(scene).refused
    before = forgetting[: forgetting.index("forgotten")]
    assert {str(scene.inbox), str(scene.inbox / "sub"), str(scene.inbox / "sub/within")} <= {*before}


def test_the_reason_of_a_file_that_is_put_back_is_gone_on_disk_before_its_row_is(scene, synced, monkeypatch):
    set_aside(scene, "a.txt")
    (scene.failed / "a.txt").rename(scene.inbox / "a.txt")  # as its owner did, when the command was killed
    scene.ledger.send_back(scene.ledger.quarantined("scans")[0].id, 1.0)
    before, forget = [], scene.ledger.forget
    monkeypatch.setattr(scene.ledger, "forget", lambda *ids: (before.extend(synced), forget(*ids)))
    synced.clear()
    assert [back.refused for back in wayback.finish(scene.place, scene.ledger)] == [""]
    assert str(scene.failed) in before
    assert [*scene.failed.glob("*.json")] == []


def test_files_that_are_dragged_back_wait_for_no_disk_one_by_one_and_nor_do_old_reasons(scene, synced):
    set_aside(scene, "a.txt")
    set_aside(scene, "b.txt")
    synced.clear()
    (scene.failed / "b.txt").rename(scene.inbox / "b.txt")
    came_back(scene)
    (scene.failed / "a.txt").rename(scene.inbox / "a.1.txt")
    forget_what_is_gone(scene)
    assert [*scene.failed.glob("*.json")] == []
    assert synced == []


def test_a_file_from_another_file_system_is_on_disk_before_its_original_is_removed_and_shown_once_that_is_gone(
    scene_of, elsewhere, monkeypatch, synced
):
    scene = scene_of(failed=elsewhere / "failed")
    set_aside(scene, "sub/a.txt")
    steps, unlink = synced, os.unlink
    steps.clear()
    monkeypatch.setattr(os, "unlink", lambda name, **at: (steps.append(name), unlink(name, **at)))
    assert not put_back(scene).refused
    inbox, ours = str(scene.inbox / "sub"), str(scene.inbox / OURS)
    order = [ours, "a.txt", str(scene.failed / "sub"), inbox]
    assert [step for step in steps if step in order][:4] == order
    assert any(step.startswith(f"{ours}/back-") for step in steps[: steps.index("a.txt")])


def test_the_reason_of_a_file_that_was_dragged_back_is_removed(aside, look):
    if aside.after is not After.KEEP:
        shutil.move(aside.failed / "sub/a.txt", aside.inbox / "sub/a.txt")
    came_back(aside)
    assert look.tree(aside.failed) == set()


def test_of_two_of_one_name_the_reason_goes_of_the_one_that_was_dragged_back(scene, look):
    for _ in range(2):
        set_aside(scene, "a.txt")
        scene.claims.release("a.txt")
    (scene.failed / "a.txt").rename(scene.inbox / "a.txt")
    came_back(scene)
    assert look.tree(scene.failed) == {"a.1.txt", "a.1.txt.error.json"}


def test_the_reason_of_a_file_that_was_copied_back_stays_beside_the_other(scene_of, look):
    scene = scene_of(After.ARCHIVE)
    set_aside(scene, "a.txt")
    shutil.copy(scene.failed / "a.txt", scene.inbox / "a.txt")
    came_back(scene)
    assert look.tree(scene.failed) == {"a.txt", "a.txt.error.json"}


@pytest.mark.parametrize("names", [("a.txt", "a.txt"), ("a.txt", "a.txt", "a.1.txt")])
def test_what_is_set_aside_where_another_lay_that_was_carried_away_is_there_once(scene, look, names):
    for name in names[:-1]:
        set_aside(scene, name)
        scene.claims.release(name)
    for path in scene.failed.glob(names[-1] + "*"):
        path.rename(scene.outbox / path.name)  # the inode lives on, and is not given to the next reason
    set_aside(scene, names[-1])
    rows = [*quarantine.set_aside(scene.place, scene.ledger)]
    assert sorted(row.path for row in rows) == sorted({*names})
    assert not any(wayback.put_back(scene.place, scene.ledger, row).refused for row in rows)
    assert look.tree(scene.failed) == set()


def test_what_was_set_aside_before_inputs_were_kept_is_put_back_too(scene, look):
    set_aside(scene, "sub/a.txt")
    scene.place = replace(scene.place, after=After.KEEP)
    assert not put_back(scene).refused
    assert is_back(scene, look)


def test_what_was_set_aside_before_inputs_were_kept_is_not_forgotten_while_its_folder_is_closed_to_us(
    scene, monkeypatch
):
    def closed(root, path="", **how):
        if (root, path) == (str(scene.failed), "sub"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "sub")
        return folder(root, path, **how)

    set_aside(scene, "sub/a.txt")
    scene.after, folder = After.KEEP, beneath.folder
    scene.crash()
    with monkeypatch.context() as shut:
        shut.setattr(beneath, "folder", closed)
        forget_what_is_gone(scene)
    assert len([*quarantine.set_aside(scene.place, scene.ledger)]) == 1


def test_somebody_s_own_file_in_the_place_of_a_reason_stays(scene_of, look):
    scene = scene_of(After.ARCHIVE)
    set_aside(scene, "a.txt")
    (scene.failed / "a.txt").unlink()
    (scene.failed / "a.txt.error.json").rename(scene.failed / "away")
    (scene.failed / "a.txt.error.json").write_text("a user's")
    came_back(scene)
    assert look.tree(scene.failed) == {"a.txt.error.json", "away"}


@pytest.mark.parametrize("after", [After.ARCHIVE, After.KEEP])
def test_what_somebody_wrote_where_a_reason_was_stays_though_it_has_the_same_inode(scene_of, look, after):
    scene = scene_of(after)
    set_aside(scene, "a.txt")
    (scene.failed / "a.txt.error.json").write_text("a user's notes, in a file that was given the inode of ours")
    assert not put_back(scene).refused
    assert scene.ledger.quarantined("scans") == []
    assert look.tree(scene.failed) == {"a.txt.error.json"}


@pytest.mark.parametrize("acts_first", [False, True])
@pytest.mark.parametrize("step", ["_move", "bring", "remove_reason", "_touch"])
def test_wherever_it_is_cut_short_the_next_start_finishes_it(aside, look, monkeypatch, step, acts_first):
    real = getattr(home_of(step), step)

    def cut(*what):
        if acts_first:
            real(*what)
        raise Cut

    monkeypatch.setattr(home_of(step), step, cut)
    try:
        put_back(aside)
    except Cut:
        aside.crash()
    monkeypatch.undo()
    aside.recover()
    assert is_back(aside, look)


@pytest.mark.parametrize("acts_first", [False, True])
@pytest.mark.parametrize("step", ["_move", "bring", "show", "_remove", "remove_reason"])
def test_whatever_fails_it_has_not_begun_or_the_next_start_finishes_it(aside, look, monkeypatch, step, acts_first):
    real = getattr(home_of(step), step)

    def fails(*what):
        if acts_first:
            real(*what)
        raise OSError(errno.EIO, os.strerror(errno.EIO), "x")

    with monkeypatch.context() as context:
        context.setattr(home_of(step), step, fails)
        refused = put_back(aside).refused
    waits = [row.path for row in quarantine.set_aside(aside.place, aside.ledger)]
    if waits and look.drafts(aside.inbox) == set():
        assert look.tree(aside.inbox) == ({"sub/a.txt"} if aside.after is After.KEEP else set())
        assert not put_back(aside).refused
    else:
        assert not refused or "it is on its way" in refused
        aside.start_again()
    assert is_back(aside, look)


def test_what_is_on_its_way_back_waits_for_its_inbox_and_the_failed_folder(scene, look, monkeypatch):
    set_aside(scene, "a.txt")
    cut_short(scene, monkeypatch, "_move", done=False)
    mounted, away = scene.state / "failed", [True]
    scene.failed.rename(mounted)
    scene.failed.mkdir()  # what shows where a file system is not mounted yet
    scene.start_again()
    shutil.rmtree(scene.failed)
    mounted.rename(scene.failed)
    scene.crash()
    publisher = scene.publisher(is_away=lambda: away[0])
    publisher.start()
    look.eventually(lambda: not publisher.paused)
    assert look.tree(scene.inbox) == set()
    away[0] = False
    look.eventually(lambda: look.tree(scene.inbox))
    look.eventually(lambda: not scene.ledger.quarantined("scans"))
    assert is_back(scene, look, "a.txt")


def test_what_is_on_its_way_back_waits_for_an_inbox_that_is_missing_at_the_start(scene, look, monkeypatch):
    set_aside(scene, "a.txt")
    cut_short(scene, monkeypatch, "_move", done=False)
    scene.crash()
    scene.inbox.rename(scene.state / "unmounted")
    publisher = scene.publisher()
    publisher.start()
    look.eventually(lambda: not publisher.paused)
    (scene.state / "unmounted").rename(scene.inbox)
    look.eventually(lambda: not scene.ledger.quarantined("scans"))
    assert is_back(scene, look, "a.txt")


def test_a_retry_that_was_cut_short_is_finished_though_its_row_is_old_enough_to_be_forgotten(cut_between_disks, look):
    scene = cut_between_disks("_remove", done=True)
    forget_what_is_gone(scene)
    scene.start_again()
    assert is_back(scene, look, "a.txt")


def test_a_retry_that_is_killed_leaves_our_folder_in_its_inbox_which_tells_it_from_a_mount_point(
    scene, look, monkeypatch
):
    set_aside(scene, "a.txt")
    cut_short(scene, monkeypatch, "_move", done=False)
    assert (scene.inbox / OURS).is_dir()
    scene.recover()
    assert is_back(scene, look, "a.txt")


def test_what_was_mended_once_more_after_a_retry_was_cut_short_is_put_back(cut_between_disks, look):
    scene = cut_between_disks("_remove", path="sub/a.txt")
    (scene.failed / "sub/a.txt").write_bytes(b"mended once more")
    scene.start_again()
    assert (scene.inbox / "sub/a.txt").read_bytes() == b"mended once more"
    assert is_back(scene, look)


@pytest.mark.parametrize("how", ["replaced", "edited"])
def test_what_was_mended_while_its_copy_was_on_its_way_back_is_not_removed(
    scene_of, elsewhere, look, monkeypatch, how
):
    scene = scene_of(failed=elsewhere / "failed")
    set_aside(scene, "a.txt")
    remove = crossing._remove

    def mended(*what):
        if how == "replaced":
            (scene.failed / "mended").write_bytes(b"mended")
            (scene.failed / "mended").rename(scene.failed / "a.txt")
        else:
            (scene.failed / "a.txt").write_bytes(b"mended")
        remove(*what)

    monkeypatch.setattr(crossing, "_remove", mended)
    assert "changed while it was copied" in put_back(scene).refused
    assert (scene.failed / "a.txt").read_bytes() == b"mended"
    assert look.tree(scene.inbox) == look.drafts(scene.inbox) == set()


def publish_and_start_again(scene, content):
    """Have `a.txt` published, as a daemon does that found it in the inbox, and what was cut short taken up."""
    scene.claims.release("a.txt")
    scene.add("a.txt", content=content)
    assert scene.settle() == [State.PUBLISHED]
    scene.ledger.flush()
    scene.start_again()


def test_what_a_daemon_took_and_deleted_after_a_retry_was_cut_short_is_not_put_back_again(
    scene_of, elsewhere, look, monkeypatch
):
    scene = scene_of(After.DELETE, failed=elsewhere / "failed")
    set_aside(scene, "a.txt")
    cut_short(scene, monkeypatch, "show")
    publish_and_start_again(scene, content=None)
    assert look.tree(scene.inbox) == look.tree(scene.failed) == look.drafts(scene.inbox) == set()


def test_what_was_copied_and_not_shown_is_put_back_though_another_had_its_name_meanwhile(
    scene_of, elsewhere, look, monkeypatch
):
    scene = scene_of(After.DELETE, failed=elsewhere / "failed")
    set_aside(scene, "a.txt")
    cut_short(scene, monkeypatch, "show", done=False)
    publish_and_start_again(scene, content=b"another")
    assert (scene.inbox / "a.txt").read_bytes() == b"one two\n"
    assert is_back(scene, look, "a.txt")


def test_what_is_on_its_way_back_goes_on_though_another_of_its_name_was_set_aside(scene, look, monkeypatch):
    set_aside(scene, "a.txt")
    cut_short(scene, monkeypatch, "_move", done=False)
    scene.claims.release("a.txt")
    set_aside(scene, "a.txt")
    scene.start_again()
    assert look.tree(scene.inbox) == {"a.txt"}
    assert look.tree(scene.failed) == {"a.1.txt", "a.1.txt.error.json"}


def test_the_reason_goes_of_what_was_published_after_a_retry_was_cut_short(scene, look, monkeypatch):
    set_aside(scene, "a.txt")
    cut_short(scene, monkeypatch, "_move")
    publish_and_start_again(scene, content=None)
    assert look.tree(scene.failed) == set()


def test_the_folder_that_a_file_came_from_is_made_again_where_it_is_gone(aside, look):
    if aside.after is not After.KEEP:
        (aside.inbox / "sub").rmdir()
    assert not put_back(aside).refused
    assert is_back(aside, look)


def test_a_name_that_is_taken_leaves_no_copy_from_another_file_system_and_nothing_open(scene_of, elsewhere, look):
    scene = scene_of(failed=elsewhere / "failed")
    set_aside(scene, "sub/a.txt")
    scene.drop("sub/a.txt", b"a user's")
    assert "is there again" in put_back(scene).refused
    assert look.drafts(scene.inbox) == set()
    assert held(scene.inbox) == []


@pytest.mark.parametrize("on_record", [False, True])
@pytest.mark.parametrize("far", [False, True])
def test_what_was_set_aside_anew_after_a_retry_was_cut_short_stays_so(  # noqa: PLR0913, PLR0917 (fixtures and cases)
    request, scene_of, look, monkeypatch, far, on_record
):
    scene = scene_of(**({"failed": request.getfixturevalue("elsewhere") / "failed"} if far else {}))
    set_aside(scene, "a.txt")
    cut_short(scene, monkeypatch, "remove_reason")
    scene.claims.release("a.txt")
    scene.add("a.txt", state=State.QUARANTINING)  # it came back as bad as it was, and a daemon ran
    assert [*scene.settle(), *scene.carry()] == [State.QUARANTINED]
    if on_record:
        scene.ledger.flush()
    scene.start_again()
    scene.settle()
    scene.ledger.flush()
    assert look.tree(scene.inbox) == set()
    assert look.tree(scene.failed) == {"a.txt", "a.txt.error.json"}
    (row,) = quarantine.set_aside(scene.place, scene.ledger)
    assert not row.record.due


def test_what_was_set_aside_after_a_retry_was_cut_short_stays_so_though_another_of_its_name_was_published(
    scene, look, monkeypatch
):
    set_aside(scene, "a.txt")
    cut_short(scene, monkeypatch, "remove_reason")
    scene.claims.release("a.txt")
    set_aside(scene, "a.txt")  # by the same name, as the one before it is back
    publish_and_start_again(scene, content=b"another")
    assert look.tree(scene.inbox) == set()
    assert look.tree(scene.failed) == {"a.txt", "a.txt.error.json"}
    (row,) = quarantine.set_aside(scene.place, scene.ledger)
    assert not row.record.due


def test_the_reason_of_what_is_set_aside_anew_in_the_instant_of_its_retry_stays(scene, look, monkeypatch):
    def meanwhile(*what):
        if not (scene.failed / "a.txt").exists():  # it is back, as bad as it was, and a daemon has had it
            (scene.failed / "a.txt").write_bytes(b"one two\n")
            (scene.failed / "anew").write_bytes(b"{}")
            (scene.failed / "anew").rename(scene.failed / "a.txt.error.json")
        return is_anothers(*what)

    set_aside(scene, "a.txt")
    is_anothers = quarantine.is_anothers
    monkeypatch.setattr(quarantine, "is_anothers", meanwhile)
    assert not put_back(scene).refused
    assert look.tree(scene.failed) == {"a.txt", "a.txt.error.json"}


@pytest.mark.parametrize("after", [After.ARCHIVE, After.KEEP])
def test_what_cannot_be_set_aside_yet_is_held_and_not_put_back_until_it_is(scene_of, after):
    scene = scene_of(after)
    (scene.failed / "sub").write_text("a user's file")
    scene.add("sub/a.txt", state=State.QUARANTINING)
    scene.settle()
    (row,) = quarantine.held(scene.place, scene.ledger)
    assert row.where == f"{scene.inbox}/sub/a.txt"
    assert wayback.put_back(scene.place, scene.ledger, row).refused == row.held
    os.unlink(scene.failed / "sub")
    scene.batch.release()
    assert scene.settle() == [State.QUARANTINED]
    assert [*quarantine.held(scene.place, scene.ledger)] == []  # which is not on record yet
    scene.ledger.flush()
    assert len([*quarantine.set_aside(scene.place, scene.ledger)]) == 1


def test_what_is_held_lies_where_it_was_taken_to_whatever_has_its_name(scene_of, elsewhere):
    scene = scene_of(failed=elsewhere / "failed")
    (job,) = scene.add("a.txt", state=State.QUARANTINING)
    assert scene.settle() == []
    scene.drop("a.txt", b"a newer file")
    (row,) = quarantine.held(scene.place, scene.ledger)
    assert row.where == f"{scene.inbox}/{custody.ours_of(job)}"


def test_what_lies_there_without_its_reason_is_not_set_aside(scene):
    set_aside(scene, "a.txt")
    (scene.failed / "a.txt.error.json").unlink()
    assert [*quarantine.set_aside(scene.place, scene.ledger)] == []


def test_a_copy_that_was_cut_short_is_not_taken_for_a_file_whose_original_was_carried_away(
    scene_of, elsewhere, look, monkeypatch
):
    def cut(_, copy, *__):
        os.write(copy, b"one")
        raise Cut

    scene = scene_of(failed=elsewhere / "failed")
    set_aside(scene, "sub/a.txt")
    with monkeypatch.context() as context:
        context.setattr(carry, "_fill", cut)
        context.setattr(Root, "discard", lambda *_: None)
        with pytest.raises(Cut):
            put_back(scene)
    assert look.drafts(scene.inbox)
    (scene.failed / "sub/a.txt").unlink()
    scene.start_again()
    assert look.tree(scene.inbox) == look.tree(scene.failed) == look.drafts(scene.inbox) == set()
    assert scene.ledger.quarantined("scans") == []


def test_a_file_that_was_carried_away_once_its_copy_was_on_disk_is_back_all_the_same(cut_between_disks, look):
    scene = cut_between_disks("_remove", path="sub/a.txt")
    (scene.failed / "sub/a.txt").unlink()
    scene.start_again()
    assert is_back(scene, look)


def test_a_file_whose_original_is_gone_is_back_also_where_its_file_system_has_another_number_since(
    cut_between_disks, look, monkeypatch
):
    scene = cut_between_disks("_remove", done=True)
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_fsid=1))
    scene.start_again()
    assert is_back(scene, look, "a.txt")


@pytest.mark.parametrize("of_the_old_name", [True, False])
def test_a_file_whose_original_is_gone_is_back_though_another_of_its_name_was_set_aside_meanwhile(
    cut_between_disks, look, of_the_old_name
):
    scene = cut_between_disks("show")
    if of_the_old_name:
        came_back(scene)  # as it seems to a daemon that runs: the reason goes, and its name is free
    scene.claims.release("a.txt")
    set_aside(scene, "a.txt")
    scene.start_again()
    assert look.tree(scene.inbox) == {"a.txt"}
    name = "a.txt" if of_the_old_name else "a.1.txt"
    assert look.tree(scene.failed) == {name, f"{name}.error.json"}
    assert look.drafts(scene.inbox) == set()


@pytest.mark.parametrize("reason", [None, b'{"root": "another inbox"}'])
def test_a_file_whose_original_is_gone_is_back_though_somebody_s_has_its_name_where_it_was_set_aside(
    cut_between_disks, look, reason
):
    scene = cut_between_disks("show")
    (scene.failed / "a.txt").write_bytes(b"somebody's")
    (scene.failed / "a.txt.error.json").unlink()
    if reason:  # the failed folder is shared with that inbox
        (scene.failed / "a.txt.error.json").write_bytes(reason)
    scene.start_again()
    assert (scene.inbox / "a.txt").read_bytes() == b"one two\n"
    assert (scene.failed / "a.txt").read_bytes() == b"somebody's"
    assert scene.ledger.quarantined("scans") == []
    assert look.drafts(scene.inbox) == set()


def test_a_file_whose_original_is_gone_is_back_though_its_inbox_is_another_folder_by_now(cut_between_disks, look):
    scene = cut_between_disks("show")
    scene.inbox.rename(scene.state / "former")
    shutil.copytree(scene.state / "former", scene.inbox)  # as onto a larger disk
    scene.start_again()
    assert (scene.inbox / "a.txt").read_bytes() == b"one two\n"
    assert is_back(scene, look, "a.txt")


def test_a_file_whose_original_is_gone_is_not_forgotten_where_its_inbox_is_a_bare_mount_point(
    cut_between_disks, look
):
    scene = cut_between_disks("show")
    scene.inbox.rename(scene.state / "unmounted")
    scene.inbox.mkdir()
    scene.crash()
    (back,) = wayback.finish(scene.place, scene.ledger)
    assert "is missing" in back.refused
    scene.inbox.rmdir()
    (scene.state / "unmounted").rename(scene.inbox)
    scene.recover()
    assert is_back(scene, look, "a.txt")


def test_of_a_copy_that_was_cut_short_nothing_is_left_where_the_reason_is_gone(cut_between_disks, look):
    scene = cut_between_disks("_remove")
    (scene.failed / "a.txt.error.json").unlink()
    scene.start_again()
    assert look.tree(scene.failed) == {"a.txt"}
    assert look.tree(scene.inbox) == look.drafts(scene.inbox) == set()


def test_a_file_of_which_only_a_copy_is_left_loses_it_to_no_other_that_stays_aside(cut_between_disks, look):
    scene = cut_between_disks("show")
    set_aside(scene, "b.txt")
    (only,) = look.drafts(scene.inbox)
    other = scene.ledger.quarantined("scans")[-1]
    copies = {only, f"{crossing.BACK}ffffffff-{other.id}-{other.file.version.ctime_ns}"}  # of a ledger that was lost
    for name in copies:
        (scene.inbox / OURS / name).touch()
    scene.drop("b.txt", b"a user's")
    assert "is there again" in put_back(scene).refused
    assert look.drafts(scene.inbox) == copies


def test_a_file_of_which_only_a_copy_is_left_loses_it_to_no_other_that_gets_its_id_from_an_older_ledger(
    scene_of, elsewhere, look, monkeypatch
):
    scene = scene_of(failed=elsewhere / "failed")
    ledger = scene.state / "ledger.db"
    scene.ledger.close()
    shutil.copy(ledger, scene.state / "backup.db")
    scene.open()
    set_aside(scene, "a.txt")
    cut_short(scene, monkeypatch, "show", done=False)
    only = look.drafts(scene.inbox)
    scene.ledger.close()
    shutil.copy(scene.state / "backup.db", ledger)
    scene.start_again()
    set_aside(scene, "b.txt")
    assert not put_back(scene).refused
    assert look.tree(scene.inbox) == {"b.txt"}
    assert look.drafts(scene.inbox) == only


def test_a_name_that_is_taken_while_a_file_is_copied_leaves_it_where_it_is(scene_of, elsewhere, look, monkeypatch):
    def copied(*what):
        scene.drop("a.txt", b"a user's")
        return real(*what)

    scene, real = scene_of(failed=elsewhere / "failed"), carry.copied
    set_aside(scene, "a.txt")
    monkeypatch.setattr(carry, "copied", copied)
    assert put_back(scene).refused.endswith("retry this one once that has left its inbox")
    assert look.tree(scene.failed) == {"a.txt", "a.txt.error.json"}
    assert look.drafts(scene.inbox) == set()


def test_what_gets_the_name_of_a_file_whose_original_is_gone_stays_and_the_file_is_back_once_that_is_free(
    scene_of, elsewhere, look, monkeypatch
):
    def taken(it):
        scene.drop("a.txt", b"a user's")
        show(it)

    scene, show = scene_of(failed=elsewhere / "failed"), crossing.show
    set_aside(scene, "a.txt")
    with monkeypatch.context() as context:
        context.setattr(crossing, "show", taken)
        assert "it is on its way" in put_back(scene).refused
    scene.start_again()
    assert (scene.inbox / "a.txt").read_bytes() == b"a user's"
    os.unlink(scene.inbox / "a.txt")
    scene.start_again()
    assert (scene.inbox / "a.txt").read_bytes() == b"one two\n"
    assert is_back(scene, look, "a.txt")


def test_a_file_of_which_a_fault_hides_how_far_it_came_is_on_its_way_back_and_a_start_finishes_that(
    scene_of, elsewhere, look, monkeypatch
):
    scene = scene_of(failed=elsewhere / "failed")
    set_aside(scene, "a.txt")
    with monkeypatch.context() as context:
        context.setattr(crossing, "show", failing(errno.EIO))  # its original is gone by then
        context.setattr(crossing, "is_carried", failing(errno.EIO))
        assert "it is on its way" in put_back(scene).refused
    scene.start_again()
    assert is_back(scene, look, "a.txt")


def test_a_start_that_copies_a_large_file_back_is_seen_to_get_on(cut_between_disks, look, monkeypatch):
    def fill(*what):
        publisher.progressed = 0.0  # as long ago as can be
        real(*what)
        seen.append(publisher.progressed)

    scene = cut_between_disks("bring")
    scene.crash()
    publisher, seen, real = scene.publisher(), [], carry._fill
    monkeypatch.setattr(carry, "_fill", fill)
    publisher.start()
    look.eventually(lambda: not publisher.paused)
    assert is_back(scene, look, "a.txt")
    assert seen > [0.0]


def test_a_stop_ends_the_copying_of_a_large_file_back_settles_what_is_done_and_leaves_the_copy_to_the_next_start(
    cut_between_disks, look, monkeypatch
):
    def fill(*what):
        publisher.close()
        real(*what)

    monkeypatch.setattr("watcherd.publish.publisher.RECOVERING", -1.0)
    scene = cut_between_disks("bring")
    scene.crash()
    publisher, real = scene.publisher(), carry._fill
    publisher.put(scene.done(scene.job("b.txt")))
    monkeypatch.setattr(carry, "_fill", fill)
    publisher.start()
    assert publisher.stop(10)
    assert look.tree(scene.failed) == {"a.txt", "a.txt.error.json"}
    assert look.drafts(scene.inbox) == set()
    assert look.tree(scene.outbox) == {"b.txt.words.json"}
    monkeypatch.setattr(carry, "_fill", real)
    scene.start_again()
    assert is_back(scene, look, "a.txt")


def test_a_start_that_has_no_descriptor_left_to_finish_a_retry_with_waits_for_one(scene, look, monkeypatch):
    def none_left(path, flags, *mode, **where):
        if path == str(scene.state) and not flags & os.O_RDWR:  # as it is not opened for a probe
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        return opened(path, flags, *mode, **where)

    set_aside(scene, "a.txt")
    cut_short(scene, monkeypatch, "_move", done=False)
    scene.crash()
    opened = os.open
    with monkeypatch.context() as short:
        short.setattr(os, "open", none_left)
        publisher = scene.publisher()
        publisher.start()
        look.eventually(lambda: "Too many open files" in publisher.paused or scene.deaths)
    look.eventually(lambda: not publisher.paused or scene.deaths)
    assert scene.deaths == []
    assert is_back(scene, look, "a.txt")


def test_a_fault_on_the_way_back_leaves_it_where_it_is_to_be_asked_for_again(scene_of, elsewhere, look, monkeypatch):
    def full(*_):
        raise SystemFault("the inbox is full", root="")

    scene = scene_of(failed=elsewhere / "failed")
    set_aside(scene, "sub/a.txt")
    with monkeypatch.context() as context:
        context.setattr(carry, "copied", full)
        assert put_back(scene).refused == "the inbox is full"
    (row,) = quarantine.set_aside(scene.place, scene.ledger)
    assert not row.record.due
    assert not put_back(scene).refused
    assert is_back(scene, look)


def test_a_failed_folder_that_is_in_the_way_of_a_reason_s_end_stops_nothing(scene):
    set_aside(scene, "sub/a.txt")
    (scene.failed / "sub").rename(scene.state / "sub")
    (scene.failed / "sub").write_text("a user's file")
    came_back(scene)
    assert (scene.failed / "sub").read_text() == "a user's file"


def test_a_command_waits_for_another_that_puts_files_back(scene, monkeypatch):
    set_aside(scene, "a.txt")
    asked, real = [], fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lambda lock, how: (asked.append(how), real(lock, how)))
    assert not put_back(scene).refused
    assert asked == [fcntl.LOCK_EX]


def test_where_there_are_no_links_a_file_comes_back_from_another_file_system_too(
    scene_of, elsewhere, look, monkeypatch
):
    scene = scene_of(failed=elsewhere / "failed")
    set_aside(scene, "sub/a.txt")

    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    assert not put_back(scene).refused
    assert is_back(scene, look)


def test_while_a_command_puts_files_back_a_start_does_not(scene, look, monkeypatch):
    set_aside(scene, "a.txt")
    real, finished = wayback._move, []

    def begin(*what):
        finished.append(wayback.finish(scene.place, scene.ledger))
        real(*what)

    monkeypatch.setattr(wayback, "_move", begin)
    assert not put_back(scene).refused
    assert finished == [[]]
    assert is_back(scene, look, "a.txt")


def test_a_name_that_is_taken_meanwhile_leaves_it_where_it_is_to_be_asked_for_again(scene, look, monkeypatch):
    set_aside(scene, "a.txt")
    cut_short(scene, monkeypatch, "_move", done=False)
    scene.drop("a.txt", b"a user's")
    scene.start_again()
    assert look.tree(scene.failed) == {"a.txt", "a.txt.error.json"}
    os.unlink(scene.inbox / "a.txt")
    assert not put_back(scene).refused
    assert is_back(scene, look, "a.txt")
