"""An archive on another file system: copied, verified, and only then is the original gone."""

# ruff: noqa: SLF001 (what is broken on purpose is broken from inside)

from __future__ import annotations

import errno
import os
import resource
import shutil
import threading
from contextlib import nullcontext
from queue import SimpleQueue
from threading import Event
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from tests.integration.conftest import failing, limited

from watcherd import lifeline
from watcherd.beneath import OURS
from watcherd.model import After, SystemFault
from watcherd.publish.inputs import carrier as carrier_module
from watcherd.publish.inputs import carry, custody, retire
from watcherd.publish.roots.root import Root
from watcherd.states import State

DEADLINE = 10.0


@pytest.fixture
def far(scene_of, elsewhere):
    return scene_of(archive=elsewhere / "archive", failed=elsewhere / "failed")


def test_an_input_is_carried_and_the_original_removed(far, look):
    far.add("sub/a.txt")
    assert far.settle() == []
    assert look.tree(far.inbox) == look.tree(far.archive) == set()
    assert far.carry() == [State.PUBLISHED]
    assert look.tree(far.archive) == {"sub/a.txt"}
    assert (far.archive / "sub/a.txt").read_bytes() == b"one two\n"
    assert look.drafts(far.inbox, far.archive, far.outbox) == set()


def test_an_input_whose_disk_lost_that_it_was_taken_is_taken_again_once_it_was_carried(far, look, monkeypatch):
    def lose(it, error):
        os.rename(far.inbox / custody.ours_of(it.job), far.inbox / "a.txt")
        carried(it, error)

    carried = far.batch.carried
    far.add("a.txt")
    far.settle()
    with monkeypatch.context() as context:
        context.setattr(far.batch, "carried", lose)
        assert far.carry() == []
    assert far.carry() == [State.PUBLISHED]
    assert look.tree(far.inbox) == set()
    assert look.tree(far.archive) == {"a.txt"}


@pytest.fixture
def carrying(far, look):
    """Carry an input as it is, and once more after a `mend`; return what came of both."""

    def twice(mend):
        reports = []
        carrier = carrier_module.Carrier(far.place, reports.append, far.deaths.append)
        carrier.take(far.carried[0])
        look.eventually(lambda: reports)
        mend()
        carrier.take(far.carried[0])
        carrier.stop(DEADLINE)
        return [type(report.error) for report in reports]

    return twice


@pytest.mark.parametrize("step", ["_fill", "_require_unchanged", "give_name"])
@pytest.mark.parametrize(("size", "again"), [(0, type(None)), (1 << 20, carry.InVain)])
def test_an_input_that_was_copied_in_vain_rests_the_longer_the_larger_it_is(far, carrying, step, size, again):
    far.add("a.txt", content=bytes(size))
    far.settle()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(carry, step, failing(errno.EIO))
        assert carrying(patch.undo) == [carry.InVain, again]


def test_an_input_larger_than_its_archive_s_disk_can_hold_any_is_its_own_fault_not_that_of_the_disk(far, carrying):
    far.add("a.txt", content=bytes(1 << 20))
    far.settle()
    with limited(resource.RLIMIT_FSIZE, 1 << 19):
        assert carrying(lambda: None) == [carry.InVain, carry.InVain]


def test_an_input_that_a_quota_has_no_room_for_rests_as_only_a_copy_tells_when_it_was_raised(
    far, carrying, monkeypatch
):
    far.add("a.txt", content=bytes(1 << 20))
    far.settle()
    full = SystemFault("quota", root=far.place.archive.path, errno=errno.EDQUOT)
    monkeypatch.setattr(carry, "_fill", Mock(side_effect=[full, None]))
    assert carrying(lambda: None) == [carry.InVain, carry.InVain]


@pytest.mark.parametrize(
    ("free", "rest", "again"),
    [
        ((9, (1 << 20) - 1), 60.0, [SystemFault, 1]),
        ((9, 1 << 20), 60.0, [type(None), 2]),
        ((2 << 20, 2 << 20), 60.0, [type(None), 2]),
        ((9, 9), 0.0, [type(None), 2]),
    ],
    ids=["too little still", "as much as it needs", "as much all along", "after the longest rest"],
)
def test_an_input_larger_than_the_room_on_its_disk_is_copied_again_once_it_has_that_room_or_after_a_rest(  # noqa: PLR0913, PLR0917 (fixtures and cases)
    far, carrying, monkeypatch, free, rest, again
):
    monkeypatch.setattr(carrier_module, "LONGEST_REST", rest)
    far.add("a.txt", content=bytes(1 << 20))
    far.settle()
    left = iter(free)
    monkeypatch.setattr(Root, "free", lambda _: (next(left), 1 << 30))
    full = SystemFault("full", root=far.place.archive.path, errno=errno.ENOSPC)
    filling = Mock(side_effect=[full, None])
    monkeypatch.setattr(carry, "_fill", filling)
    monkeypatch.setattr(carry, "_equal", lambda *_: True)
    _, came = carrying(lambda: None)
    assert [came, filling.call_count] == again


def test_an_input_that_cannot_be_carried_is_tried_again_at_once_where_nothing_was_copied(far, carrying):
    far.add("sub/a.txt", content=bytes(1 << 20))
    far.settle()
    in_the_way = far.archive / "sub"
    in_the_way.rmdir()
    in_the_way.touch()
    assert carrying(in_the_way.unlink) == [NotADirectoryError, type(None)]


def test_an_input_is_on_disk_in_our_own_folder_before_it_is_carried(far, synced):
    far.add("sub/a.txt")
    far.settle()
    assert {str(far.inbox / OURS), str(far.inbox / "sub")} <= {*synced}


def test_an_original_is_gone_on_disk_too_before_its_input_is_published(far, synced):
    far.add("a.txt")
    far.settle()
    synced.clear()
    assert far.carry() == [State.PUBLISHED]
    assert str(far.inbox / OURS) in synced


def test_an_input_that_somebody_removed_from_our_own_folder_once_it_was_carried_is_published(far, look):
    (job,) = far.add("a.txt")
    far.settle()
    ours = far.inbox / custody.ours_of(job)
    far.is_away = lambda: ours.unlink(missing_ok=True)  # it is asked for after the carrying, and says no
    assert far.carry() == [State.PUBLISHED]
    assert look.tree(far.archive) == {"a.txt"}


@pytest.mark.parametrize("collected", [False, True])
def test_what_is_written_into_an_input_after_it_was_copied_is_carried_too(far, look, collected):
    def write():  # it is asked for after the carrying, and says no
        if not writer.closed:
            writer.write(b"more")
            writer.close()
            if collected:
                (far.archive / "a.txt").unlink()

    far.add("a.txt")
    with (far.inbox / "a.txt").open("ab") as writer:
        far.settle()
        far.is_away = write
        assert far.carry() == []
    while far.batch or far.carried:
        ended = far.carry()
    assert ended == [State.PUBLISHED]
    assert b"one two\nmore" in {path.read_bytes() for path in far.archive.glob("*.txt")}
    assert look.tree(far.inbox) == look.drafts(far.inbox, far.archive) == set()
    numbers = {path.name.removesuffix(".words.json") for path in far.outbox.glob("*.json")}
    assert numbers <= look.tree(far.archive)


def test_what_is_written_into_an_input_after_it_was_copied_is_carried_too_where_its_size_and_time_hardly_change(far):
    def write():  # it is asked for after the carrying, and says no
        if not writer.closed:
            os.pwrite(writer.fileno(), b"TWO", 4)
            os.utime(writer.fileno(), ns=(time_ns, time_ns))
            writer.close()

    far.add("a.txt")
    time_ns = os.stat(far.inbox / "a.txt").st_mtime_ns + 10**9
    with (far.inbox / "a.txt").open("r+b") as writer:
        far.settle()
        far.is_away = write
        ended = far.carry()
    while far.batch or far.carried:
        ended = far.carry()
    assert ended == [State.PUBLISHED]
    assert b"one TWO\n" in {path.read_bytes() for path in far.archive.glob("*.txt")}


def test_an_input_is_carried_once_to_where_times_are_not_held(far, look, monkeypatch):
    (job,) = far.add("a.txt")
    far.settle()
    taken = far.inbox / custody.ours_of(job)
    os.utime(taken, ns=(1, 1))  # its owner may write into it before it is carried, too
    monkeypatch.setattr(os, "utime", failing(errno.EPERM))
    assert far.carry() == [State.PUBLISHED]
    assert look.tree(far.archive) == {"a.txt"}
    assert not taken.exists()


def test_a_linked_input_that_is_written_into_for_ever_is_there_once_and_ends(scene_of, look, monkeypatch):
    scene = scene_of()
    monkeypatch.setattr(retire, "take", failing(errno.EINVAL))
    scene.add("a.txt")
    with (scene.inbox / "a.txt").open("ab", buffering=0) as writer:
        scene.settle()
        scene.is_away = lambda: writer.write(b"more") and False  # it is asked for after the carrying
        assert scene.carry() == [State.PUBLISHED]
    assert look.tree(scene.archive) == {"a.txt"}
    assert (scene.archive / "a.txt").read_bytes() == b"one two\nmore"


@pytest.fixture
def carried_on_disk(synced, monkeypatch):
    """Return a function that carries what waits, and returns what was synced before the original was removed."""

    def carry(scene):
        before, unlink = [], os.unlink
        monkeypatch.setattr(os, "unlink", lambda name, **at: (before.extend(synced), unlink(name, **at)))
        assert scene.carry() == [State.PUBLISHED]
        return before

    return carry


def test_a_link_by_which_an_input_is_archived_is_on_disk_before_the_original_is_removed(
    scene, carried_on_disk, monkeypatch
):
    monkeypatch.setattr(retire, "take", failing(errno.EINVAL))
    scene.add("sub/a.txt")
    assert scene.settle() == []
    assert str(scene.archive / "sub") in carried_on_disk(scene)


def test_a_copy_and_its_name_are_on_disk_before_the_original_is_removed(far, carried_on_disk):
    (job,) = far.add("sub/a.txt")
    assert far.settle() == []
    draft = far.archive / OURS / far.place.archive.name_of(job.id)
    assert {str(draft), str(far.archive / "sub")} <= {*carried_on_disk(far)}


def test_a_copy_that_cannot_be_given_its_name_is_removed(far, look, monkeypatch):
    far.add("a.txt")
    far.settle()
    monkeypatch.setattr(carry, "move", failing(errno.EIO))
    assert far.carry() == ["hindered"]
    assert look.drafts(far.archive) == set()


def test_a_quarantined_input_is_carried_too(far, look):
    far.add("a.txt", state=State.QUARANTINING)
    assert far.settle() == []
    assert far.carry() == [State.QUARANTINED]
    assert look.tree(far.failed) == {"a.txt", "a.txt.error.json"}


@pytest.mark.parametrize("size", [0, 10, 8192, (1 << 20) * 2 + 17])
def test_a_copy_keeps_content_mode_times_and_attributes(far, size):
    source = far.drop("a.txt", os.urandom(size))
    content = source.read_bytes()
    os.chmod(source, 0o4640)
    os.setxattr(source, "user.origin", b"a scanner")
    os.utime(source, ns=(1_000_000_001, 2_000_000_002))
    far.add("a.txt", content=None)
    far.settle()
    far.carry()
    copied = far.archive / "a.txt"
    assert copied.read_bytes() == content
    status = os.stat(copied)
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o4640, 2_000_000_002)
    assert os.getxattr(copied, "user.origin") == b"a scanner"


def test_a_name_that_was_taken_meanwhile_renumbers_both(far, look):
    far.add("a.txt")
    far.settle()
    (far.archive / "a.txt").write_text("a user's")
    assert far.carry() == []
    assert look.tree(far.outbox) == {"a.1.txt.words.json"}
    assert far.carry() == [State.PUBLISHED]
    assert look.tree(far.archive) == {"a.txt", "a.1.txt"}
    assert (far.archive / "a.txt").read_text() == "a user's"


def test_a_taken_name_of_the_same_size_and_time_is_not_taken_for_the_copy(far):
    source = far.drop("a.txt", b"x" * (2 << 20))
    far.add("a.txt", content=None)
    times = os.stat(source)
    far.settle()
    (far.archive / "a.txt").write_bytes(b"x" * ((2 << 20) - 1) + b"y")
    os.utime(far.archive / "a.txt", ns=(times.st_atime_ns, times.st_mtime_ns))
    far.carry()
    assert far.carry() == [State.PUBLISHED]
    assert (far.archive / "a.1.txt").read_bytes() == b"x" * (2 << 20)


def test_a_crash_after_the_take_is_finished_by_the_next_start(far, look):
    far.add("a.txt")
    far.settle()
    far.carried.clear()
    far.start_again()
    far.settle()
    assert far.carry() == [State.PUBLISHED]
    assert look.tree(far.archive) == {"a.txt"}


@pytest.mark.parametrize("unit", [1, 100, 10**9, 2 * 10**9])
def test_a_crash_after_the_copy_leaves_one_archive_however_coarse_its_times_are(far, look, monkeypatch, unit):
    utime = os.utime
    monkeypatch.setattr(
        os, "utime", lambda file, ns, **where: utime(file, ns=tuple(time - time % unit for time in ns), **where)
    )
    (job,) = far.add("a.txt")
    far.settle()
    far.carried.clear()
    carry.carry(str(far.inbox), custody.ours_of(job), far.place.archive, "a.txt", job.id, lambda: None)
    far.start_again()
    far.settle()
    assert far.carry() == [State.PUBLISHED]
    assert look.tree(far.archive) == {"a.txt"}
    assert look.drafts(far.inbox) == set()


def test_the_same_file_by_a_name_of_other_case_is_kept_as_well_where_an_archive_does_not_tell_them_apart(
    far, look, monkeypatch
):
    (job,) = far.add("A.TXT")
    far.settle()
    shutil.copy2(far.inbox / custody.ours_of(job), far.archive / "A.TXT")  # what is seen of `a.txt` by that name
    with monkeypatch.context() as context:
        context.setattr(os, "scandir", lambda _: nullcontext([SimpleNamespace(name="a.txt")]))
        far.carry()
    assert far.carry() == [State.PUBLISHED]
    assert look.tree(far.archive) == {"A.TXT", "A.1.TXT"}


def test_a_copy_that_is_there_already_is_on_disk_before_its_original_is_removed(far, synced):
    (job,) = far.add("a.txt")
    far.settle()
    for _ in range(2):
        synced.clear()
        carry.carry(str(far.inbox), custody.ours_of(job), far.place.archive, "a.txt", job.id, lambda: None)
    assert {*synced} == {str(far.archive / "a.txt"), str(far.archive)}


def test_a_crash_after_the_original_was_removed_needs_nothing_more(far, look):
    far.add("a.txt")
    far.settle()
    far.carry()
    far.start_again()
    assert far.settle() == [State.PUBLISHED]
    assert look.tree(far.archive) == {"a.txt"}
    assert look.tree(far.outbox) == {"a.txt.words.json"}


def test_a_crash_within_the_copy_leaves_no_draft(far, look, monkeypatch):
    class Cut(BaseException):
        pass

    def dies(*_):
        raise Cut

    (job,) = far.add("a.txt")
    far.settle()
    far.carried.clear()
    monkeypatch.setattr(carry, "_finish", dies)
    monkeypatch.setattr(type(far.place.archive), "discard", lambda *_: None)
    with pytest.raises(Cut):
        carry.carry(str(far.inbox), custody.ours_of(job), far.place.archive, "a.txt", job.id, lambda: None)
    monkeypatch.undo()
    assert look.drafts(far.archive)
    far.start_again()
    far.settle()
    assert far.carry() == [State.PUBLISHED]
    assert look.drafts(far.archive, far.outbox) == set()


def test_an_input_that_somebody_still_writes_into_is_not_lost(far, monkeypatch):
    far.add("a.txt")
    writer = open(far.inbox / "a.txt", "ab", buffering=0)  # noqa: SIM115 (held across the copy)
    far.settle()
    real = carry._fill
    monkeypatch.setattr(carry, "_fill", lambda *what: (real(*what), writer.write(b"more")))
    assert far.carry() == ["hindered"]
    assert far.batch.unretired.reasons() == {"a.txt": "changed while it was copied"}
    monkeypatch.undo()
    writer.close()
    far.batch.release()
    far.settle()
    assert far.carry() == [State.PUBLISHED]
    assert (far.archive / "a.txt").read_bytes() == b"one two\nmore"


def test_an_input_that_cannot_be_carried_is_told_by_the_path_at_which_it_lies_now(far):
    (job,) = far.add("a.txt")
    far.settle()
    taken = far.inbox / custody.ours_of(job)
    taken.rename(far.inbox / "aside")
    taken.symlink_to(far.inbox / "aside")
    assert far.carry() == ["hindered"]
    assert far.batch.unretired.reasons() == {"a.txt": f"not a regular file: {taken}"}


def test_an_input_that_was_not_carried_for_want_of_descriptors_is_the_systems_fault(far, look):
    far.add("a.txt")
    far.settle()
    (it,) = far.carried
    with pytest.raises(SystemFault, match="Too many open files"):
        far.batch.carried(it, OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a.txt"))
    assert far.told() == []
    assert far.carry() == [State.PUBLISHED]  # once it is put again
    assert look.tree(far.archive) == {"a.txt"}


def test_a_full_archive_is_the_systems_fault_and_the_original_stays(far, look, monkeypatch):
    far.add("a.txt")
    far.settle()
    (it,) = far.carried
    monkeypatch.setattr(os, "write", failing(errno.ENOSPC))
    with pytest.raises(SystemFault, match="No space left"):
        carry.carry(str(far.inbox), custody.ours_of(it.job), far.place.archive, "a.txt", it.job.id, lambda: None)
    monkeypatch.undo()
    assert look.drafts(far.archive) == set()
    assert len(look.drafts(far.inbox)) == 1


def test_a_copy_that_differs_is_not_believed(far, look, monkeypatch):
    far.add("a.txt")
    far.settle()
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, block: real(fd, bytes(block).upper()))
    (it,) = far.carried
    with pytest.raises(SystemFault, match="differs"):
        carry.carry(str(far.inbox), custody.ours_of(it.job), far.place.archive, "a.txt", it.job.id, lambda: None)
    assert look.tree(far.archive) == set()


@pytest.mark.parametrize("unknown", [errno.ENOTSUP, errno.ENOSYS])
def test_what_a_file_system_refuses_to_hold_is_left_out(far, monkeypatch, unknown):
    far.add("a.txt")
    far.settle()
    for call in ("listxattr", "fchown", "fchmod", "utime"):
        monkeypatch.setattr(os, call, failing(unknown))
    assert far.carry() == [State.PUBLISHED]


def test_a_copy_that_shows_as_another_user_s_is_archived_without_the_time_of_its_original(far, look, monkeypatch):
    far.add("a.txt")
    far.settle()
    monkeypatch.setattr(os, "utime", failing(errno.EPERM))
    assert far.carry() == [State.PUBLISHED]
    assert look.tree(far.archive) == {"a.txt"}


def test_a_quota_of_an_input_s_owner_that_is_full_in_the_archive_holds_up_no_other(far, monkeypatch):
    far.add("a.txt")
    far.settle()
    monkeypatch.setattr(os, "fchown", failing(errno.EDQUOT))
    assert far.carry() == ["hindered"]
    assert far.batch.unretired.reasons() == {"a.txt": f"{os.strerror(errno.EDQUOT)}: {far.archive}"}


def test_a_disk_that_fails_as_a_copy_is_given_to_its_owner_is_a_fault_of_the_archive(far, monkeypatch):
    far.add("a.txt")
    far.settle()
    monkeypatch.setattr(os, "fchown", failing(errno.EIO))
    far.carry()
    assert far.batch.unretired.reasons() == {"a.txt": f"{far.archive}: {os.strerror(errno.EIO)}"}


def test_a_descriptor_is_not_named_by_its_number(far, monkeypatch):
    far.add("a.txt")
    far.settle()
    monkeypatch.setattr(os, "listxattr", failing(errno.EIO, 31))
    assert far.carry() == ["hindered"]
    assert far.batch.unretired.reasons() == {"a.txt": os.strerror(errno.EIO)}


@pytest.mark.parametrize("call", ["listxattr", "getxattr"])
def test_an_input_whose_attributes_cannot_be_read_is_no_fault_of_the_archive(far, look, monkeypatch, call):
    far.drop("a.txt")
    monkeypatch.setattr(os, "listxattr", lambda _: ["user.note"])
    monkeypatch.setattr(os, call, failing(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        carry.carry(str(far.inbox), "a.txt", far.place.archive, "a.txt", 1, lambda: None)
    assert look.tree(far.archive) == look.drafts(far.archive) == set()


def test_an_attribute_that_is_too_large_for_the_archive_s_file_system_is_left_out(scene_of, elsewhere, look):
    scene = scene_of(inbox=elsewhere / "inbox")
    source = scene.drop("a.txt")
    try:
        os.setxattr(source, "user.icon", bytes(32 << 10))  # ext4 has room for 4 KiB, and says that the disk is full
    except OSError:
        pytest.skip("this memory's file system holds no attributes")
    scene.add("a.txt", content=None)
    assert scene.settle() == []
    assert scene.carry() == [State.PUBLISHED]
    assert look.tree(scene.archive) == {"a.txt"}


def test_an_attribute_that_a_full_archive_has_no_room_for_is_the_systems_fault(far, monkeypatch):
    os.setxattr(far.drop("a.txt"), "user.origin", b"a scanner")
    far.add("a.txt", content=None)
    far.settle()
    (it,) = far.carried
    monkeypatch.setattr(os, "setxattr", failing(errno.ENOSPC))
    monkeypatch.setattr(os, "fstatvfs", lambda _: Mock(f_bavail=1, f_frsize=4096))
    with pytest.raises(SystemFault, match="No space left"):
        carry.carry(str(far.inbox), custody.ours_of(it.job), far.place.archive, "a.txt", it.job.id, lambda: None)


def test_to_delete_an_input_needs_no_carrying(scene_of, elsewhere, look):
    scene = scene_of(After.DELETE, outbox=elsewhere / "outbox")
    scene.add("a.txt")
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == set()


# The thread ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def carrier(far):
    """Return a carrier of `far`, and the queue into which it puts the paths that it carried, and what it died of."""
    said = SimpleQueue()
    carrier = carrier_module.Carrier(far.place, lambda carried: said.put(carried.leaving.job.file.path), said.put)
    yield carrier, said
    carrier.stop(DEADLINE)


@pytest.fixture
def while_carrying(monkeypatch):
    """Have something done while the input of one job is carried. Inputs of 3 MiB are long ones."""
    real = carrier_module.carry
    monkeypatch.setattr(carrier_module, "LONG", 3 << 20)

    def arrange(it, act):
        def carry_and_act(inbox, source, *others):
            if source == custody.ours_of(it.job):
                act()
            return real(inbox, source, *others)

        monkeypatch.setattr(carrier_module, "carry", carry_and_act)

    return arrange


def test_short_ones_do_not_wait_for_a_long_one_that_is_on_its_way(far, carrier, while_carrying):
    far.add("long.txt", content=bytes(3 << 20))
    far.add("short.txt")
    far.settle()
    long, short = far.carried
    carrier, said = carrier
    while_carrying(long, lambda: carrier.take(short))
    carrier.take(long)
    assert [said.get(timeout=DEADLINE) for _ in far.carried] == ["short.txt", "long.txt"]


def test_long_ones_are_carried_one_after_the_other_as_they_came(far, carrier, while_carrying):
    for name in ("1.txt", "2.txt", "3.txt"):
        far.add(name, content=bytes(3 << 20))
    far.settle()
    first, *others = far.carried
    carrier, said = carrier
    while_carrying(first, lambda: [carrier.take(other) for other in others])
    carrier.take(first)
    assert [said.get(timeout=DEADLINE) for _ in far.carried] == ["1.txt", "2.txt", "3.txt"]


def test_a_stop_begins_no_long_one(far, carrier, while_carrying):
    far.add("short.txt")
    far.add("long.txt", content=bytes(3 << 20))
    far.settle()
    short, long = far.carried
    carrier, said = carrier
    begun, go_on = Event(), Event()
    while_carrying(short, lambda: begun.set() or go_on.wait(DEADLINE))
    carrier.take(short)
    assert begun.wait(DEADLINE)
    carrier.take(long)
    carrier.stop(0)
    go_on.set()
    carrier.stop(DEADLINE)
    assert said.get_nowait() == "short.txt"
    assert said.empty()


def test_what_is_to_be_carried_when_all_stops_starts_no_thread_that_nobody_waits_for(far, look, monkeypatch):
    begun, real = [], carrier_module.carry
    monkeypatch.setattr(carrier_module, "carry", lambda *what: begun.append(what) or real(*what))
    publishing = far.publisher()
    publishing.put(far.done(far.job("a.txt")))
    publishing.close()
    publishing.start()
    assert publishing.stop(DEADLINE)
    assert not [it.name for it in threading.enumerate() if it.name.startswith("carrier-")]
    assert not begun
    far.start_again()
    far.settle()
    assert far.carry() == [State.PUBLISHED]
    assert look.tree(far.archive) == {"a.txt"}


def test_with_nothing_to_carry_no_processor_time_is_spent(far, carrier):
    waits = SimpleQueue()

    class Noted(SimpleQueue):
        def get(self, *how, **ever):
            waits.put((how, ever))
            return super().get(*how, **ever)

    far.add("a.txt")
    far.settle()
    carrier, _ = carrier
    carrier._orders = Noted()
    carrier.take(far.carried[0])
    until_asked, at_once = ((), {"block": True}), ((), {"block": False})
    assert [waits.get(timeout=DEADLINE) for _ in range(3)] == [until_asked, at_once, until_asked]


def test_where_no_thread_can_be_started_the_next_input_has_one_started(far, carrier, monkeypatch):
    far.add("a.txt")
    far.settle()
    carrier, said = carrier
    with monkeypatch.context() as refused:
        refused.setattr(lifeline.Thread, "start", Mock(side_effect=SystemFault("no more threads", root="")))
        with pytest.raises(SystemFault):
            carrier.take(far.carried[0])
    carrier.take(far.carried[0])
    assert said.get(timeout=DEADLINE) == "a.txt"


def test_a_bug_ends_the_carrier_and_is_handed_over(far, carrier, monkeypatch):
    far.add("a.txt")
    far.settle()
    carrier, said = carrier
    bug = RuntimeError("a bug")
    monkeypatch.setattr(carrier_module, "carry", Mock(side_effect=bug))
    carrier.take(far.carried[0])
    assert said.get(timeout=DEADLINE) is bug


def test_a_copy_is_synced_on_its_way_and_not_at_once_in_the_end(far, monkeypatch):
    far.add("a.txt", content=bytes(5 << 20))
    far.settle()
    synced = []
    monkeypatch.setattr(carry, "_SYNC", 2 << 20)
    monkeypatch.setattr(carry.os, "fdatasync", lambda copied: synced.append(os.fstat(copied).st_size))
    assert far.carry() == [State.PUBLISHED]
    assert synced == [2 << 20, 4 << 20]
