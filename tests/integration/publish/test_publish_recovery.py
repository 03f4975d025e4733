"""What an earlier run left behind: taken up where it was, or cleared away, and nobody else's touched."""

# ruff: noqa: SLF001 (how strong a commit was is only seen from inside)

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.integration.conftest import failing, occupy

from watcherd import beneath, volumes
from watcherd.beneath import OURS
from watcherd.ledger.ledger import Intent
from watcherd.model import After, Draft, Failure, File, Job, Kind, Stopped, SystemFault, Version
from watcherd.publish import reveal
from watcherd.publish.inputs import custody
from watcherd.publish.recovery import recover
from watcherd.publish.roots import disk, rename
from watcherd.publish.roots.folders import Folders
from watcherd.publish.roots.root import Root
from watcherd.states import State


def intend(scene, job, draft, number=0, state=State.PUBLISHING):
    scene.ledger.intend([Intent(job, state, number, draft)])


def leave_intent(scene, path):
    """Put on record which draft is about to get its name, and die before it has."""
    job = scene.job(path)
    intend(scene, job, scene.done(job).draft)


def show(scene, path):
    """Publish a result, and die before its input is retired; return the job."""
    job = scene.job(path)
    draft = scene.done(job).draft
    intend(scene, job, draft)
    visible = scene.outbox / f"{path}.words.json"
    visible.parent.mkdir(exist_ok=True)
    os.rename(scene.outbox / ".watcherd" / draft.name, visible)
    return job


def hide(scene, job):
    """Take the input of a job into the inbox's own folder, and die."""
    (scene.inbox / ".watcherd").mkdir()
    os.rename(scene.inbox / job.file.path, scene.inbox / ".watcherd" / f"taken-{job.id}-{job.file.version.inode}")


def test_an_intention_whose_draft_is_there_becomes_visible(scene, look):
    leave_intent(scene, "a.txt")
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"a.txt.words.json"}
    assert look.tree(scene.archive) == {"a.txt"}


def edit_unseen(path):
    """Edit a text of two words so that it has the size and the time of before."""
    before = path.stat()
    path.write_bytes(b"two one\n")
    while path.stat().st_ctime_ns == before.st_ctime_ns or path.stat().st_mtime_ns != before.st_mtime_ns:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # until the clock for files has moved on


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"edited"), edit_unseen])
def test_an_intention_whose_input_has_changed_meanwhile_is_dropped_with_its_draft(scene, look, change):
    leave_intent(scene, "a.txt")
    scene.crash()
    change(scene.inbox / "a.txt")
    scene.recover()
    assert scene.settle() == []
    assert look.tree(scene.outbox) == look.drafts(scene.outbox) == set()
    assert scene.record("a.txt") is None


def test_what_is_taken_up_has_the_charges_of_its_row(scene):
    job = scene.job("a.txt", attempts=2, kills=1, alone=True)
    intend(scene, job, scene.done(job).draft)
    scene.crash()
    resumed = []
    batch = SimpleNamespace(resume=lambda hidden, _: resumed.extend(hidden))
    recover(scene.place, scene.ledger, batch, lambda: None, away=False)
    assert [it.job for it in resumed] == [job]


def test_what_is_taken_up_to_be_set_aside_is_told_with_what_was_wrong(scene):
    job = scene.job("a.txt")
    scene.ledger.note_failure(job, Failure.CORRUPT, "bad", 1)
    intend(scene, job, scene.place.failed.write_draft(job.id, b"{}"), state=State.QUARANTINING)
    scene.start_again()
    scene.batch.settle()
    assert [(it.outcome.failure, it.outcome.message) for it in scene.told()] == [(Failure.CORRUPT, "bad")]


def test_that_an_intention_is_dropped_is_on_disk_before_its_draft_is_removed(scene, monkeypatch):
    def discarded(root, name):
        strengths.append(scene.ledger._writer.execute("PRAGMA synchronous").fetchone())
        discard(root, name)

    leave_intent(scene, "a.txt")
    scene.drop("a.txt", b"edited while nobody looked")
    strengths, discard = [], Root.discard
    monkeypatch.setattr(Root, "discard", discarded)
    scene.start_again()
    assert strengths == [(2,)]  # FULL


@pytest.mark.parametrize("after", After)
def test_a_result_that_had_its_name_and_its_draft_s_when_the_run_died_is_there_once(scene_of, look, after):
    scene = scene_of(after)
    job = scene.job("a.txt")
    draft = scene.done(job).draft
    intend(scene, job, draft)
    os.link(scene.outbox / ".watcherd" / draft.name, scene.outbox / "a.txt.words.json")
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"a.txt.words.json"}
    assert look.drafts(scene.outbox) == set()


def test_a_visible_result_gets_its_input_retired(scene, look):
    show(scene, "a.txt")
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.archive) == {"a.txt"}


def test_an_archive_s_folder_that_is_closed_to_us_keeps_no_other_file_from_being_taken_up(scene, look, monkeypatch):
    def closed(root, path="", **how):
        if (root, path) == (str(scene.archive), "sub"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "sub")
        return folder(root, path, **how)

    folder = beneath.folder
    show(scene, "sub/a.txt")
    show(scene, "b.txt")
    scene.crash()
    with monkeypatch.context() as shut:
        shut.setattr(beneath, "folder", closed)
        scene.recover()
    scene.settle()
    assert look.tree(scene.archive) == {"sub/a.txt", "b.txt"}


@pytest.mark.parametrize("beyond", [False, True])
def test_an_inbox_s_folder_that_is_closed_to_us_holds_up_its_own_files_alone(scene, look, monkeypatch, beyond):
    def closed(folders, root, path):
        if path == "sub/a.txt":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "sub")
        return status(folders, root, path)

    status = Folders.status
    show(scene, "b.txt")
    leave_intent(scene, "sub/a.txt")
    if beyond:
        (replace_outbox(scene) / "b.txt.words.json").rename(scene.outbox / "b.txt.words.json")
    scene.crash()
    with monkeypatch.context() as shut:
        shut.setattr(Folders, "status", closed)
        scene.recover()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == {"sub/a.txt"}
    assert scene.record("sub/a.txt") is None
    assert look.drafts(scene.outbox) == set()


@pytest.mark.parametrize("shown", [True, False])
def test_a_result_whose_name_the_run_that_died_had_not_synced_is_on_disk_before_its_input_is_taken(
    scene, monkeypatch, shown
):
    synced, real = set(), os.fsync

    def sync(descriptor):
        if (scene.inbox / "sub/a.txt").exists():
            synced.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    if shown:
        show(scene, "sub/a.txt")
    else:  # killed when it had made its folder
        leave_intent(scene, "sub/a.txt")
        (scene.outbox / "sub").mkdir()
    scene.start_again()
    monkeypatch.setattr(os, "fsync", sync)
    assert scene.settle() == [State.PUBLISHED]
    assert {str(scene.outbox / "sub"), str(scene.outbox)} <= synced


@pytest.mark.parametrize("newer", [False, True])
def test_an_input_whose_taking_the_run_that_died_had_not_synced_is_gone_on_disk_before_it_is_published(
    scene, monkeypatch, synced, newer
):
    def finished(ids, state):
        assert folders <= {*synced}
        finish(ids, state)

    folders = {str(scene.inbox / "sub"), str(scene.archive / "sub"), str(scene.archive)}
    show(scene, "sub/a.txt")
    (scene.archive / "sub").mkdir()
    (scene.inbox / "sub/a.txt").rename(scene.archive / "sub/a.txt")
    if newer:
        scene.drop("sub/a.txt", b"a newer file")
    scene.start_again()
    finish = scene.ledger.finish
    synced.clear()
    monkeypatch.setattr(scene.ledger, "finish", finished)
    assert scene.settle() == [State.PUBLISHED]


def test_an_outbox_s_folder_that_is_closed_to_us_since_goes_to_disk_with_all_else(scene, look, monkeypatch):
    def closed(root, path, **how):
        if path == "sub" and os.readlink(f"/proc/self/fd/{root}") == str(scene.outbox):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "sub")
        return within(root, path, **how)

    within, whole, sync_all = beneath.open_within, set(), disk.sync_all
    show(scene, "sub/a.txt")
    scene.start_again()
    monkeypatch.setattr(beneath, "open_within", closed)
    monkeypatch.setattr(disk, "sync_all", lambda fd: (whole.add(os.readlink(f"/proc/self/fd/{fd}")), sync_all(fd)))
    assert scene.settle() == [State.PUBLISHED]
    assert whole == {str(scene.outbox)}
    assert look.tree(scene.archive) == {"sub/a.txt"}


def test_a_result_that_has_the_number_on_record_is_not_looked_for_under_all_before_it(scene, monkeypatch):
    job = show(scene, "a.txt")
    shown = scene.outbox / "a.txt.words.json"
    intend(scene, job, Draft(scene.record("a.txt").result.name, shown.stat().st_ino), 100_000)
    shown.rename(scene.outbox / "a.100000.txt.words.json")
    scene.crash()
    monkeypatch.setattr(reveal, "rename", lambda *_: 1 // 0)
    scene.recover()
    assert scene.settle() == [State.PUBLISHED]


@pytest.mark.parametrize("state", [State.PUBLISHING, State.QUARANTINING])
def test_a_result_that_was_to_have_another_number_when_the_run_died_gets_that_of_its_input(scene, look, state):
    scene.add("a.txt", state=state)
    root, into = (scene.outbox, scene.archive) if state is State.PUBLISHING else (scene.failed, scene.failed)
    real = scene.ledger.intend

    def intend_and_die(intents):
        real(intents)
        if intents[0].number:
            raise KeyboardInterrupt
        (into / "a.txt").write_text("a user's")

    scene.ledger.intend = intend_and_die
    with pytest.raises(KeyboardInterrupt):
        scene.settle()
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED if state is State.PUBLISHING else State.QUARANTINED]
    ending = ".words.json" if state is State.PUBLISHING else ".error.json"
    assert look.tree(root) | look.tree(into) == {"a.txt", "a.1.txt", f"a.1.txt{ending}"}
    assert (into / "a.txt").read_text() == "a user's"


def test_a_result_that_was_to_have_another_number_and_whose_folder_is_a_file_by_now_holds_up_no_start(scene, look):
    job = show(scene, "sub/a.txt")
    inode = (scene.outbox / "sub/a.txt.words.json").stat().st_ino
    intend(scene, job, scene.record("sub/a.txt").result._replace(inode=inode), 1)
    shutil.rmtree(scene.outbox / "sub")
    (scene.outbox / "sub").write_text("a user's")
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.archive) == {"sub/a.1.txt"}


def test_a_result_that_was_to_have_another_number_has_it_also_where_what_has_that_cannot_be_looked_at(
    scene, look, monkeypatch
):
    job = show(scene, "a.txt")
    intend(scene, job, Draft(scene.record("a.txt").result.name, os.stat(scene.outbox / "a.txt.words.json").st_ino), 1)
    scene.crash()
    status = beneath.status

    def look_elsewhere(root, path):
        return failing(errno.EIO)() if root == str(scene.outbox) else status(root, path)

    monkeypatch.setattr(beneath, "status", look_elsewhere)
    scene.recover()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"a.1.txt.words.json"}


def replace_outbox(scene):
    """Put another folder in the place of the outbox, as a change of the configuration or a missing mount does."""
    scene.outbox.rename(scene.state / "outbox of before")
    scene.outbox.mkdir()
    return scene.state / "outbox of before"


@pytest.mark.parametrize("there", ["other", "sub", "sub/a.txt.words.json"])
def test_a_result_on_its_way_in_the_outbox_of_before_retires_no_input_and_is_made_again(scene, look, there):
    leave_intent(scene, "sub/a.txt")
    replace_outbox(scene)
    (scene.outbox / there).parent.mkdir(exist_ok=True)
    (scene.outbox / there).write_text("a user's")
    scene.start_again()
    assert scene.settle() == []
    assert look.tree(scene.inbox) == {"sub/a.txt"}
    assert look.tree(scene.outbox) == {there}
    assert scene.record("sub/a.txt") is None


@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
def test_a_result_in_the_outbox_of_before_retires_no_input_that_got_another_mode_since(scene_of, look, after):
    scene = scene_of(after)
    leave_intent(scene, "a.txt")
    replace_outbox(scene)
    (scene.inbox / "a.txt").chmod(0o640)
    scene.start_again()
    assert scene.settle() == []
    assert look.tree(scene.inbox) == {"a.txt"}
    assert scene.record("a.txt") is None


@pytest.mark.parametrize("newer", [(), ("sub/a.txt",)], ids=["alone", "beside a newer one"])
def test_a_file_on_its_way_to_the_failed_folder_of_before_is_judged_anew_to_lie_beside_its_reason(
    scene_of, elsewhere, look, newer
):
    scene = scene_of(failed=elsewhere / "failed")
    scene.add("sub/a.txt", state=State.QUARANTINING)
    assert scene.settle() == []  # its reason is visible, and it lies in our own folder
    scene.failed = elsewhere / "another"
    scene.failed.mkdir()
    for name in newer:
        scene.drop(name, b"newer")
    scene.start_again()
    assert scene.settle() == []
    assert look.tree(scene.inbox) == {*newer, "sub/a.1.txt" if newer else "sub/a.txt"}
    assert look.drafts(scene.inbox) == set()
    assert scene.record("sub/a.txt") is None


def test_where_only_an_outbox_could_tell_and_its_disk_fails_to_read_that_is_a_fault_of_the_system(scene, monkeypatch):
    leave_intent(scene, "a.txt")
    replace_outbox(scene)
    scene.crash()
    with monkeypatch.context() as context:
        context.setattr(beneath, "status", failing(errno.EIO))
        with pytest.raises(SystemFault, match="Input/output error"):
            scene.recover()
    assert scene.states("a.txt") == [State.PUBLISHING]


def test_a_result_in_the_outbox_of_before_retires_no_input_that_comes_back_with_its_inbox(scene, look):
    leave_intent(scene, "a.txt")
    replace_outbox(scene)
    scene.crash()
    os.rename(scene.inbox, scene.state / "unmounted")
    with pytest.raises(SystemFault, match="mount both"):
        recover(scene.place, scene.ledger, scene.batch, lambda: None, away=True)
    os.rename(scene.state / "unmounted", scene.inbox)
    scene.recover()
    assert scene.settle() == []
    assert look.tree(scene.inbox) == {"a.txt"}
    assert scene.record("a.txt") is None


def test_a_result_in_the_outbox_of_before_retires_no_input_whose_inbox_is_missing_at_the_start(scene, look):
    leave_intent(scene, "a.txt")
    replace_outbox(scene)
    scene.crash()
    os.rename(scene.inbox, scene.state / "unmounted")
    publisher = scene.publisher()
    publisher.start()
    look.eventually(lambda: "mount both" in publisher.paused)
    os.rename(scene.state / "unmounted", scene.inbox)
    look.eventually(lambda: not publisher.paused)
    assert look.tree(scene.inbox) == {"a.txt"}
    assert scene.record("a.txt") is None


def test_an_input_that_was_being_carried_is_not_forgotten_while_its_inbox_and_its_outbox_are_missing(
    scene_of, elsewhere, look
):
    scene = scene_of(archive=elsewhere / "archive")
    scene.add("a.txt")
    assert scene.settle() == []  # its result is visible, and it lies in our own folder
    scene.carried.clear()
    mounted = replace_outbox(scene)
    os.rename(scene.inbox, scene.state / "unmounted")
    scene.crash()
    with pytest.raises(SystemFault, match="mount both"):
        recover(scene.place, scene.ledger, scene.batch, lambda: None, away=True)
    shutil.rmtree(scene.outbox)
    mounted.rename(scene.outbox)
    os.rename(scene.state / "unmounted", scene.inbox)
    scene.start_again()
    assert [*scene.settle(), *scene.carry()] == [State.PUBLISHED]
    assert look.tree(scene.archive) == {"a.txt"}
    assert look.drafts(scene.inbox) == set()


def test_a_result_on_its_way_on_another_disk_than_is_mounted_now_is_made_again(scene_of, look, monkeypatch):
    scene = scene_of(After.DELETE)
    job = scene.job("a.txt")
    draft = scene.done(job).draft
    intend(scene, job, draft)
    (scene.outbox / ".watcherd" / draft.name).unlink()
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_fsid=1))  # its root may have the same inode
    scene.start_again()
    assert scene.settle() == []
    assert look.tree(scene.inbox) == {"a.txt"}
    assert scene.record("a.txt") is None


def number_anew(path):
    """Give a file another inode, as on FAT, whose inodes are numbered anew when it is mounted."""
    shutil.copy2(path, path.with_name("copy")).replace(path)


@pytest.mark.parametrize("after", [After.DELETE, After.KEEP])
def test_a_result_on_its_way_that_has_another_inode_since_is_made_again(scene_of, look, after):
    scene = scene_of(after)
    job = scene.job("a.txt")
    draft = scene.place.outbox.vouched(scene.done(job).draft)
    intend(scene, job, draft)
    number_anew(scene.outbox / OURS / draft.name)
    scene.start_again()
    assert scene.settle() == []
    assert look.tree(scene.inbox) == {"a.txt"}
    assert look.tree(scene.outbox) == look.drafts(scene.outbox) == set()


def test_a_result_on_its_way_is_not_taken_for_that_of_before_where_it_is_known_by_size_and_time_alone(
    scene_of, look, monkeypatch
):
    monkeypatch.setattr(volumes, "renumbers", lambda _: True)
    scene = scene_of(After.KEEP)
    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]
    scene.claims.release("a.txt")
    job = scene.job("a.txt", content=b"edited in the same two seconds")
    draft = scene.done(job).draft
    hidden = scene.outbox / OURS / draft.name
    shutil.copystat(scene.outbox / "a.txt.words.json", hidden)
    intend(scene, job, scene.place.outbox.vouched(draft))
    number_anew(hidden)
    scene.start_again()
    assert scene.settle() == []
    assert scene.record("a.txt").id < job.id
    assert look.drafts(scene.outbox) == set()


def mount_anew(scene, monkeypatch):
    """Die, and begin again with all files numbered anew, as on FAT that was mounted in between."""
    monkeypatch.setattr(volumes, "renumbers", lambda _: True)
    for root in (scene.inbox, scene.outbox, scene.archive, scene.failed):
        before = root.with_name("before")
        shutil.copytree(root.rename(before), root)  # their own numbers stay taken meanwhile
        shutil.rmtree(before)
    scene.start_again()


def vouch(scene, path):
    """Make a result that is about to be shown, and die; return its job and its draft."""
    job = scene.job(path)
    draft = scene.place.outbox.vouched(scene.done(job).draft)
    intend(scene, job, draft)
    return job, draft


@pytest.mark.parametrize("after", After)
@pytest.mark.parametrize("taken", [False, True])
def test_a_file_whose_result_was_visible_when_the_run_died_is_not_done_twice_where_inodes_do_not_last(
    scene_of, look, monkeypatch, after, taken
):
    scene = scene_of(after)
    job, draft = vouch(scene, "a.txt")
    (scene.outbox / OURS / draft.name).rename(scene.outbox / "a.txt.words.json")
    if taken:
        hide(scene, job)
    mount_anew(scene, monkeypatch)
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"a.txt.words.json"}
    assert look.tree(scene.inbox) == ({"a.txt"} if after is After.KEEP else set())
    assert look.tree(scene.archive) == ({"a.txt"} if after is After.ARCHIVE else set())
    assert look.drafts(scene.inbox) == look.drafts(scene.outbox) == set()


@pytest.mark.parametrize("after", After)
def test_a_file_whose_result_was_not_visible_when_the_run_died_waits_for_another_where_inodes_do_not_last(
    scene_of, look, monkeypatch, after
):
    scene = scene_of(after)
    vouch(scene, "a.txt")
    mount_anew(scene, monkeypatch)
    assert scene.settle() == []
    assert scene.record("a.txt") is None
    assert look.tree(scene.inbox) == {"a.txt"}
    assert look.tree(scene.outbox) == look.drafts(scene.outbox) == set()


def test_a_bad_file_that_was_being_copied_beside_its_reason_has_no_second_one_where_inodes_do_not_last(
    scene, look, monkeypatch
):
    job = scene.job("bad.txt")
    draft = scene.place.failed.vouched(scene.place.failed.write_draft(job.id, b"{}"))
    intend(scene, job, draft, state=State.QUARANTINING)
    (scene.failed / OURS / draft.name).rename(scene.failed / "bad.txt.error.json")
    hide(scene, job)
    (scene.failed / OURS / draft.name).write_bytes(b"the half of a copy")
    mount_anew(scene, monkeypatch)
    assert scene.settle() == [State.QUARANTINED]
    assert look.tree(scene.failed) == {"bad.txt", "bad.txt.error.json"}
    assert look.tree(scene.inbox) == look.drafts(scene.failed) == set()


def test_an_input_that_a_recovery_took_and_that_died_is_found_again_where_inodes_do_not_last(
    scene_of, look, monkeypatch
):
    scene = scene_of(After.DELETE)
    job, draft = vouch(scene, "a.txt")
    (scene.outbox / OURS / draft.name).rename(scene.outbox / "a.txt.words.json")
    number_anew(scene.inbox / "a.txt")
    hide(scene, job._replace(file=job.file._replace(version=beneath.version_of((scene.inbox / "a.txt").stat()))))
    mount_anew(scene, monkeypatch)
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == look.drafts(scene.inbox) == set()


def test_an_input_that_was_retired_before_its_outbox_was_replaced_needs_nothing_more(scene, look):
    scene.add("a.txt")
    scene.settle()
    replace_outbox(scene)
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.archive) == {"a.txt"}


def test_an_input_that_was_taken_before_its_outbox_was_replaced_has_its_result_there_and_no_other(scene_of, look):
    scene = scene_of(After.DELETE)
    hide(scene, show(scene, "a.txt"))
    replace_outbox(scene)
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == look.drafts(scene.inbox) == set()


def test_a_visible_result_that_was_moved_to_a_new_outbox_gets_its_input_retired(scene, look):
    job = scene.job("a.txt")
    draft = scene.done(job).draft
    intend(scene, job, draft)
    (replace_outbox(scene) / ".watcherd" / draft.name).rename(scene.outbox / "a.txt.words.json")
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.archive) == {"a.txt"}


def test_an_input_is_not_called_gone_because_its_inbox_is_away(scene, look):
    show(scene, "sub/a.txt")
    scene.crash()
    os.rename(scene.inbox, scene.state / "unmounted")
    scene.recover()
    assert scene.settle() == ["hindered"]
    os.rename(scene.state / "unmounted", scene.inbox)
    scene.batch.release()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.archive) == {"sub/a.txt"}


def test_an_input_whose_folder_is_a_file_by_now_is_gone(scene, look):
    show(scene, "sub/a.txt")
    os.rename(scene.inbox / "sub", scene.state / "elsewhere")
    scene.drop("sub", b"a file now")
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == {"sub"}


def test_a_retired_input_needs_nothing_more_and_what_took_its_name_is_left_alone(scene, look):
    scene.add("a.txt")
    scene.settle()
    scene.drop("a.txt", b"a newer file, dropped while the daemon was down")
    scene.crash()
    assert scene.states("a.txt") == [State.PUBLISHING]
    scene.recover()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"a.txt.words.json"}
    assert look.tree(scene.archive) == {"a.txt"}
    assert look.tree(scene.inbox) == {"a.txt"}


def test_a_taken_input_that_was_to_be_deleted_is_deleted(scene_of, look):
    scene = scene_of(After.DELETE)
    hide(scene, show(scene, "a.txt"))
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == look.drafts(scene.inbox) == set()


def test_a_result_that_a_power_cut_left_its_draft_s_name_is_visible(scene_of, look):
    scene = scene_of(After.DELETE)
    job = show(scene, "a.txt")
    os.link(scene.outbox / "a.txt.words.json", scene.outbox / ".watcherd" / scene.record("a.txt").result.name)
    hide(scene, job)
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"a.txt.words.json"}
    assert look.tree(scene.inbox) == look.drafts(scene.inbox, scene.outbox) == set()


@pytest.mark.parametrize("after", After)
def test_an_input_of_which_a_power_cut_left_both_names_is_retired_with_either(scene_of, look, after):
    scene = scene_of(after)
    job = show(scene, "a.txt")
    taken = scene.archive / "a.txt" if after is After.ARCHIVE else scene.inbox / custody.ours_of(job)
    taken.parent.mkdir(exist_ok=True)
    os.link(scene.inbox / "a.txt", taken)
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.drafts(scene.inbox) == set()
    assert look.tree(scene.inbox) == ({"a.txt"} if after is After.KEEP else set())
    assert look.tree(scene.archive) == ({"a.txt"} if after is After.ARCHIVE else set())


@pytest.mark.parametrize("newer", [False, True])
@pytest.mark.parametrize("state", [State.PUBLISHING, State.QUARANTINING])
def test_of_an_input_that_was_taken_and_linked_to_where_it_belongs_when_the_run_died_no_name_is_left_over(
    scene, look, newer, state
):
    into = scene.archive if state is State.PUBLISHING else scene.failed
    if state is State.PUBLISHING:
        job = show(scene, "a.txt")
    else:
        job = scene.job("a.txt")
        draft = scene.place.failed.write_draft(job.id, b"{}")
        intend(scene, job, draft, state=State.QUARANTINING)
        (scene.failed / OURS / draft.name).rename(scene.failed / "a.txt.error.json")
    hide(scene, job)
    os.link(scene.inbox / custody.ours_of(job), into / "a.txt")
    if newer:
        scene.drop("a.txt", b"newer")
    scene.start_again()
    assert [*scene.settle(), *scene.carry()] == [State.PUBLISHED if state is State.PUBLISHING else State.QUARANTINED]
    assert look.tree(scene.inbox) == ({"a.txt"} if newer else set())
    assert look.drafts(scene.inbox) == set()
    assert (into / "a.txt").read_bytes() == b"one two\n"


def test_a_newer_file_that_has_the_number_of_a_taken_one_is_another_where_neither_has_two_names(
    scene_of, look, monkeypatch
):
    scene = scene_of(After.KEEP)
    hide(scene, show(scene, "a.txt"))
    scene.drop("a.txt", b"a newer file")
    scene.crash()
    monkeypatch.setattr(os.path, "samestat", lambda *_: True)
    scene.recover()
    assert scene.settle() == [State.PUBLISHED]
    assert {(scene.inbox / name).read_bytes() for name in look.tree(scene.inbox)} == {b"a newer file", b"one two\n"}


@pytest.mark.parametrize("what", ["a link", "a file", "closed to us"])
def test_a_taken_input_is_deleted_whatever_its_folder_in_the_inbox_is_by_now(scene_of, look, monkeypatch, what):
    def closed(folders, root, path):
        if path == "sub/a.txt" and what == "closed to us":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "sub")
        return status(folders, root, path)

    scene, status = scene_of(After.DELETE), Folders.status
    hide(scene, show(scene, "sub/a.txt"))
    folder = scene.inbox / "sub"
    folder.rmdir()
    folder.symlink_to(scene.archive) if what == "a link" else folder.write_text("a user's")
    scene.crash()
    monkeypatch.setattr(Folders, "status", closed)
    scene.recover()
    assert scene.settle() == [State.PUBLISHED]
    assert look.drafts(scene.inbox) == set()


def test_a_taken_input_that_was_written_to_in_that_instant_is_given_back_and_not_deleted(scene_of, look):
    scene = scene_of(After.DELETE)
    job = show(scene, "a.txt")
    taken = scene.inbox / ".watcherd" / f"taken-{job.id}-{job.file.version.inode}"
    taken.parent.mkdir()
    os.rename(scene.drop("a.txt", b"one two three\n"), taken)
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert (scene.inbox / "a.txt").read_bytes() == b"one two three\n"
    assert look.drafts(scene.inbox) == set()


@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
@pytest.mark.parametrize("newest", [False, True])
def test_a_newer_file_that_was_taken_and_not_looked_at_is_given_back(scene_of, look, after, newest):
    scene = scene_of(after)
    job = show(scene, "sub/a.txt")
    scene.drop("newer", b"a newer file")
    ours = scene.inbox / ".watcherd" / f"taken-{job.id}-{job.file.version.inode}"
    taken = scene.archive / "sub/a.txt" if after is After.ARCHIVE else ours
    taken.parent.mkdir(parents=True, exist_ok=True)
    os.rename(scene.inbox / "newer", taken)
    (scene.inbox / "sub/a.txt").unlink()
    if newest:
        scene.drop("sub/a.txt", b"the newest")
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    texts = {(scene.inbox / name).read_bytes() for name in look.tree(scene.inbox)}
    assert texts == ({b"a newer file", b"the newest"} if newest else {b"a newer file"})
    assert look.tree(scene.archive) == set()


@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
def test_a_newer_file_of_which_a_cut_left_both_names_as_it_was_given_back_has_one(scene_of, look, after):
    scene = scene_of(after)
    job = show(scene, "a.txt")
    scene.drop("newer", b"a newer file").rename(scene.inbox / "a.txt")
    taken = scene.archive / "a.txt" if after is After.ARCHIVE else scene.inbox / custody.ours_of(job)
    taken.parent.mkdir(exist_ok=True)
    os.link(scene.inbox / "a.txt", taken)
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == {"a.txt"}
    assert look.tree(scene.archive) == look.drafts(scene.inbox) == set()


def test_a_newer_file_that_was_taken_and_not_looked_at_waits_for_its_inbox_to_be_given_back(scene, look):
    show(scene, "a.txt")
    scene.drop("newer", b"a newer file").rename(scene.inbox / "a.txt")
    os.rename(scene.inbox / "a.txt", scene.archive / "a.txt")
    scene.crash()
    scene.inbox.rename(scene.state / "unmounted")
    with pytest.raises(SystemFault, match=str(scene.inbox)):
        scene.recover()
    (scene.state / "unmounted").rename(scene.inbox)
    scene.recover()
    assert scene.settle() == [State.PUBLISHED]
    assert (scene.inbox / "a.txt").read_bytes() == b"a newer file"
    assert look.tree(scene.archive) == set()


def test_a_copy_of_an_input_that_was_carried_on_one_file_system_when_the_run_died_is_not_given_back(scene, look):
    job = show(scene, "a.txt")
    hide(scene, job)
    (taken,) = (scene.inbox / OURS).iterdir()
    shutil.copy2(taken, scene.archive / "a.txt")  # where there are no links
    scene.start_again()
    assert [*scene.settle(), *scene.carry()] == [State.PUBLISHED]
    assert look.tree(scene.inbox) == look.drafts(scene.inbox) == set()
    assert look.tree(scene.archive) == {"a.txt"}


@pytest.mark.parametrize("before", [After.ARCHIVE, After.KEEP, After.DELETE])
def test_what_somebody_else_archived_where_the_input_was_to_go_stays_there(scene_of, look, before):
    scene = scene_of(before)
    show(scene, "a.txt")
    (scene.archive / "a.txt").write_bytes(b"from another daemon, or from before inputs were kept")
    scene.after = After.ARCHIVE
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == set()
    assert look.tree(scene.archive) == {"a.txt", "a.1.txt"}
    assert (scene.archive / "a.txt").read_bytes().startswith(b"from another")


def test_what_was_archived_long_before_an_input_was_deleted_stays_there(scene_of, look, monkeypatch):
    scene = scene_of(After.DELETE)
    (scene.archive / "a.txt").write_bytes(b"from before inputs were deleted")
    monkeypatch.setattr("time.time", lambda: os.stat(scene.archive / "a.txt").st_ctime + 60)
    show(scene, "a.txt")
    (scene.inbox / "a.txt").unlink()
    scene.after = After.ARCHIVE
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == set()
    assert look.tree(scene.archive) == {"a.txt"}


def test_an_input_that_was_taken_to_be_deleted_is_given_back_where_inputs_are_kept_since(scene_of, look):
    scene = scene_of(After.DELETE)
    hide(scene, show(scene, "a.txt"))
    scene.after = After.KEEP
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == {"a.txt"}
    assert look.drafts(scene.inbox) == set()


def test_an_input_that_was_taken_to_be_deleted_is_archived_since_beside_a_newer_one(scene_of, look):
    scene = scene_of(After.DELETE)
    hide(scene, show(scene, "a.txt"))
    scene.drop("a.txt", b"newer")
    scene.after = After.ARCHIVE
    scene.start_again()
    assert scene.settle() == []
    assert scene.carry() == [State.PUBLISHED]
    assert (scene.inbox / "a.txt").read_bytes() == b"newer"
    assert (scene.archive / "a.txt").read_bytes() == b"one two\n"
    assert look.drafts(scene.inbox) == set()


def test_a_newer_file_that_was_taken_to_be_deleted_is_given_back_where_inputs_are_archived_since(scene_of, look):
    scene = scene_of(After.DELETE)
    job = show(scene, "a.txt")
    scene.drop("newer", b"a newer file").rename(scene.inbox / "a.txt")
    hide(scene, job)
    scene.after = After.ARCHIVE
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert (scene.inbox / "a.txt").read_bytes() == b"a newer file"
    assert look.tree(scene.archive) == look.drafts(scene.inbox) == set()


@pytest.mark.parametrize("after", After)
def test_a_newer_file_that_was_taken_to_be_deleted_is_given_back_on_disk_too(scene_of, synced, after):
    scene = scene_of(After.DELETE)
    job = show(scene, "a.txt")
    scene.drop("newer", b"a newer file").rename(scene.inbox / "a.txt")
    hide(scene, job)
    scene.after = after
    scene.start_again()
    synced.clear()
    assert scene.settle() == [State.PUBLISHED]
    assert {str(scene.inbox), str(scene.inbox / ".watcherd")} <= {*synced}


@pytest.mark.parametrize("what", ["a link", "a folder"])
def test_what_is_no_file_in_the_archives_place_is_not_given_back(scene, look, what):
    show(scene, "a.txt")
    (scene.archive / "theirs").write_text("a user's")
    place = scene.archive / "a.txt"
    place.symlink_to("theirs") if what == "a link" else place.mkdir()
    scene.start_again()
    assert os.path.lexists(place)
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == set()
    assert (scene.archive / "a.1.txt").read_bytes() == b"one two\n"


def die_once_a_result_has_changed_places(scene, monkeypatch, before=lambda: None, path="a.txt"):
    """Publish a kept file, and again once it is edited, up to the instant after the exchange; first act `before`."""

    class Cut(BaseException):
        pass

    def cut(*names):
        before()
        exchange(*names)
        raise Cut

    exchange = rename.exchange
    scene.publish_and_edit(path)
    with monkeypatch.context() as context:
        context.setattr(rename, "exchange", cut)
        with pytest.raises(Cut):
            scene.settle()


@pytest.mark.parametrize("newest", [False, True])
def test_somebody_s_file_that_changed_places_with_a_result_when_the_run_died_has_its_name_again(
    scene_of, look, monkeypatch, newest
):
    scene = scene_of(After.KEEP)
    visible = scene.outbox / "a.txt.words.json"
    die_once_a_result_has_changed_places(scene, monkeypatch, before=lambda: occupy(visible, "a user's"))
    if newest:
        scene.drop("a.txt", b"edited again")
    scene.start_again()
    assert scene.settle() == ([] if newest else [State.RETRYING])
    assert visible.read_text() == "a user's"
    assert look.drafts(scene.outbox) == set()


def leave(visible):
    """Let it have its name."""


def collect(visible):
    visible.unlink()


def replace(visible):
    occupy(visible, "their newer one")


def remove_folder(visible):
    shutil.rmtree(visible.parent)


def make_folder_a_file(visible):
    shutil.rmtree(visible.parent)
    visible.parent.touch()


def make_folder_a_link(visible):
    visible.parent.rename(visible.parent.with_name("moved"))
    visible.parent.symlink_to("moved")


@pytest.mark.parametrize(
    ("since", "where"),
    [
        (collect, "sub/a.txt.words.json"),
        (replace, "sub/a.txt.words.1.json"),
        (remove_folder, "sub/a.txt.words.json"),
        (make_folder_a_file, "a.txt.words.json"),
        (make_folder_a_link, "a.txt.words.json"),
    ],
)
def test_somebody_s_file_that_changed_places_when_the_run_died_is_lost_by_nothing_done_since(
    scene_of, look, monkeypatch, since, where
):
    scene = scene_of(After.KEEP)
    visible = scene.outbox / "sub" / "a.txt.words.json"
    die_once_a_result_has_changed_places(scene, monkeypatch, lambda: occupy(visible, "a user's"), "sub/a.txt")
    since(visible)
    scene.start_again()
    scene.settle()
    assert (scene.outbox / where).read_text() == "a user's"
    assert look.drafts(scene.outbox) == set()


def test_somebody_s_file_that_changed_places_when_the_run_died_is_not_lost_where_results_are_not_replaced_any_more(
    scene_of, look, monkeypatch
):
    scene = scene_of(After.KEEP)
    visible = scene.outbox / "a.txt.words.json"
    die_once_a_result_has_changed_places(scene, monkeypatch, before=lambda: occupy(visible, "a user's"))
    collect(visible)
    scene.after = After.DELETE
    scene.start_again()
    assert visible.read_text() == "a user's"
    assert look.drafts(scene.outbox) == set()


@pytest.mark.parametrize("since", [collect, leave])
def test_somebody_s_file_has_its_name_again_on_disk_before_what_is_on_record_of_its_result_goes(
    scene_of, synced, monkeypatch, since
):
    scene = scene_of(After.KEEP)
    visible = scene.outbox / "sub" / "a.txt.words.json"
    die_once_a_result_has_changed_places(scene, monkeypatch, lambda: occupy(visible, "a user's"), "sub/a.txt")
    since(visible)
    scene.crash()
    synced.clear()
    monkeypatch.setattr(scene.ledger, "forget", failing(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        scene.recover()
    assert str(visible.parent) in synced


def test_somebody_s_file_that_changed_places_when_the_run_died_has_its_own_name_again_though_that_fails_at_first(
    scene_of, monkeypatch
):
    scene = scene_of(After.KEEP)
    visible = scene.outbox / "a.txt.words.json"
    die_once_a_result_has_changed_places(scene, monkeypatch, before=lambda: occupy(visible, "a user's"))
    scene.crash()
    with monkeypatch.context() as context:
        context.setattr(reveal, "exchange", failing(errno.EIO))
        with pytest.raises(SystemFault, match="Input/output error"):
            scene.recover()
    scene.recover()
    assert visible.read_text() == "a user's"


def test_somebody_s_file_that_has_since_replaced_what_had_changed_places_when_the_run_died_stays(
    scene_of, monkeypatch
):
    scene = scene_of(After.KEEP)
    visible = scene.outbox / "a.txt.words.json"
    die_once_a_result_has_changed_places(scene, monkeypatch, before=lambda: occupy(visible, "a user's"))
    occupy(visible, "their newer one")
    scene.start_again()
    scene.settle()
    assert visible.read_text() == "their newer one"


@pytest.mark.parametrize("newest", [False, True])
def test_somebody_s_newer_file_that_changes_places_as_theirs_is_given_its_name_again_is_not_lost(
    scene_of, look, monkeypatch, newest
):
    scene, exchange = scene_of(After.KEEP), rename.exchange
    visible = scene.outbox / "a.txt.words.json"
    die_once_a_result_has_changed_places(scene, monkeypatch, before=lambda: occupy(visible, "a user's"))
    monkeypatch.setattr(reveal, "exchange", lambda *names: (occupy(visible, "their newer one"), exchange(*names)))
    if newest:
        scene.drop("a.txt", b"edited again")
    scene.start_again()
    scene.settle()
    assert visible.read_text() == "a user's"
    assert (scene.outbox / "a.txt.words.1.json").read_text() == "their newer one"
    assert look.drafts(scene.outbox) == set()


def test_a_kept_result_that_took_the_place_of_the_one_before_when_the_run_died_and_was_collected_is_not_made_again(
    scene_of, look, monkeypatch
):
    scene = scene_of(After.KEEP)
    die_once_a_result_has_changed_places(scene, monkeypatch)
    (scene.outbox / "a.txt.words.json").unlink()
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == look.drafts(scene.outbox) == set()


def test_a_kept_result_that_changed_places_with_the_next_when_the_run_died_and_is_numbered_anew_is_not_shown_again(
    scene_of, look, monkeypatch
):
    scene = scene_of(After.KEEP)
    visible = scene.outbox / "a.txt.words.json"
    die_once_a_result_has_changed_places(scene, monkeypatch)
    number_anew(scene.outbox / OURS / scene.ledger.unfinished("scans", State.PUBLISHING)[0].result.name)
    number_anew(visible)
    scene.start_again()
    scene.settle()
    assert look.tree(scene.outbox) == {visible.name}
    assert look.drafts(scene.outbox) == set()


@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
def test_a_file_that_was_on_its_way_to_a_failed_folder_elsewhere_when_the_run_died_lies_beside_its_reason(
    scene_of, elsewhere, look, after
):
    scene = scene_of(after, failed=elsewhere / "failed")
    (job,) = scene.add("sub/a.txt", state=State.QUARANTINING)
    scene.settle()
    _, copy = scene.place.failed.new_draft(job.id)
    os.write(copy, b"one")
    os.close(copy)
    scene.carried.clear()
    scene.start_again()
    assert [*scene.settle(), *scene.carry()] == [State.QUARANTINED]
    assert (scene.failed / "sub/a.txt.error.json").read_bytes() == b"{}"
    assert (scene.failed / "sub/a.txt").read_bytes() == b"one two\n"
    assert look.drafts(scene.inbox, scene.failed) == set()


def test_what_another_ledger_has_taken_is_not_taken_for_ours(scene_of, look):
    scene = scene_of(After.DELETE)
    (scene.inbox / ".watcherd").mkdir()
    (scene.inbox / ".watcherd" / "taken-1-7").write_text("theirs")
    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == set()
    assert look.drafts(scene.inbox) == {"taken-1-7"}


def test_drafts_of_an_earlier_run_that_nothing_refers_to_are_removed_and_a_strangers_stay(scene, look):
    job = scene.job("a.txt")
    scene.done(job)
    theirs = {"cafecafe-00000000-1", "notes.txt"}  # another daemon's, and a user's
    for name in theirs:
        (scene.outbox / ".watcherd" / name).touch()
    scene.start_again()
    assert look.drafts(scene.outbox) == theirs


def test_a_draft_of_an_earlier_version_that_nothing_refers_to_is_removed(scene, look):
    job = scene.job("a.txt")
    draft = scene.outbox / ".watcherd" / scene.done(job).draft.name
    draft.rename(draft.with_name(f"{scene.ledger.id}-{job.id}"))  # which does not say in what folder it was made
    scene.start_again()
    assert look.drafts(scene.outbox) == set()


@pytest.mark.parametrize("state", [State.PUBLISHING, State.QUARANTINING])
def test_a_draft_on_record_of_another_inbox_stays_in_a_folder_that_the_two_share(scene, look, state):
    scene.ledger.register("others", str(scene.state))
    job = Job(scene.ledger.next_id(), File("others", "a.txt", Version(1, 2, 3, 4)), Kind.TEXT)
    draft = scene.place.way(job, state, 0).root.write_draft(job.id, b"{}")
    scene.ledger.hand_over([job])
    intend(scene, job, draft, state=state)
    scene.start_again()
    assert look.drafts(scene.outbox, scene.failed) == {draft.name}


def test_what_a_probe_left_that_was_cut_short_is_removed(scene, look, monkeypatch):
    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(os, "unlink", die)
        for root in scene.place.roots:
            with pytest.raises(KeyboardInterrupt):
                root.probe()
    left = {root.name_of("probe") for root in scene.place.roots}
    assert look.drafts(scene.outbox, scene.archive, scene.failed) == left
    scene.start_again()
    assert look.drafts(scene.outbox, scene.archive, scene.failed) == set()


def test_drafts_of_this_run_are_not_taken_for_leftovers(scene, look):
    job = scene.job("a.txt")
    draft = scene.done(job).draft
    scene.recover()
    assert look.drafts(scene.outbox) == {draft.name}


def test_a_recovery_that_a_fault_cut_short_can_begin_again(scene, look, monkeypatch):
    leave_intent(scene, "a.txt")
    scene.crash()
    real = Root.leftovers

    def fails(*_):
        raise SystemFault("not now", root="")

    monkeypatch.setattr(Root, "leftovers", fails)
    with pytest.raises(SystemFault):
        scene.recover()
    monkeypatch.setattr(Root, "leftovers", real)
    scene.recover()
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.outbox) == {"a.txt.words.json"}


def test_a_recovery_that_is_stopped_before_whichever_file_can_begin_again(scene, look):
    leave_intent(scene, "hidden.txt")
    show(scene, "visible.txt")
    scene.done(scene.job("worked on.txt"))
    stops = 0
    while is_stopped(scene, after=stops):
        stops += 1
    assert stops == 3  # two that are on record, and a draft to be removed
    assert scene.settle() == [State.PUBLISHED] * 2
    assert look.tree(scene.outbox) == {"hidden.txt.words.json", "visible.txt.words.json"}
    assert look.drafts(scene.outbox) == set()


def is_stopped(scene, after):
    """Crash, and recover until so many checkpoints are passed; return whether that was too few."""

    def checkpoint():
        if next(left, None) is None:
            raise Stopped

    left = iter(range(after))
    scene.crash()
    try:
        recover(scene.place, scene.ledger, scene.batch, checkpoint, away=False)
    except Stopped:
        return True
    return False


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_an_inbox_that_cannot_be_looked_into_is_the_systems_fault_and_nothing_is_forgotten(
    scene, monkeypatch, number
):
    def fails(folders, root, *_):
        if root == str(scene.inbox):
            raise OSError(number, "broken", root)
        return real(folders, root)

    real = Folders.root

    leave_intent(scene, "a.txt")
    scene.crash()
    monkeypatch.setattr(Folders, "status", fails)
    monkeypatch.setattr(Folders, "root", fails)
    with pytest.raises(SystemFault, match="broken"):
        scene.recover()
    monkeypatch.undo()
    scene.recover()
    assert scene.settle() == [State.PUBLISHED]


def test_an_id_is_never_used_again_also_when_its_row_is_gone(scene):
    job = scene.job("a.txt")
    scene.ledger.forget([job.id])
    scene.crash()
    assert scene.ledger.next_id() > job.id
