"""Whatever happens to an inbox, its watch or its rights: it is said, survived, and nothing is lost."""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from math import inf
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.integration.conftest import failing, held, limited

from watcherd import beneath
from watcherd.intake import gate, rounds
from watcherd.intake.probe import Looks, Mount
from watcherd.intake.scan import walk
from watcherd.intake.watch import Watch
from watcherd.model import After, Kind, SystemFault
from watcherd.states import State

QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
libc = ctypes.CDLL(None, use_errno=True)


def names(events):
    return [event["event"] for event in events]


def test_a_missing_inbox_is_waited_for(watching, root, events):
    root.rmdir()
    with watching(settle=0.0) as inbox:
        inbox.until(lambda: inbox.intake.lost)
        assert not inbox.intake.drained()
        root.mkdir()
        (root / "a.txt").write_bytes(b"x")
        inbox.job("a.txt")
        assert not inbox.intake.lost
    assert inbox.found == 1
    assert names(events).count("inbox.lost") == 1
    assert names(events).count("inbox.recovered") == 1


def test_an_inbox_that_cannot_be_marked_is_a_fault_that_is_told_once_in_a_pause(watching, monkeypatch):
    monkeypatch.setattr("watcherd.intake.intake.TICK", 0.02)

    def refuse():
        looks.append("looked")
        inbox.paused = bool(inbox.faults)
        raise SystemFault("no space left on device", root="/inbox")

    looks, inbox = [], watching()
    inbox.before_found = refuse
    with inbox:
        inbox.until(lambda: len(looks) > 10)
        assert len(inbox.faults) == 1
        inbox.before_found = lambda: None
        inbox.until(lambda: not inbox.intake.lost)


def test_a_file_at_the_inboxs_path_is_no_inbox(watching, root):
    root.rmdir()
    root.touch()
    with watching() as inbox:
        inbox.until(lambda: inbox.intake.lost)


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (errno.EACCES, "chmod it"),
        (errno.ENOENT, "mount it, bring it back, or make the folder"),
        (errno.ENOTDIR, "move away the file"),
        (errno.EIO, "look after its disk"),
    ],
)
def test_an_inbox_that_is_lost_is_mended_by_what_the_error_asks_for(watching, monkeypatch, events, error, mend):
    def failing(path):
        raise OSError(error, os.strerror(error), path)

    monkeypatch.setattr("watcherd.intake.root.look", failing)
    with watching() as inbox:
        inbox.until(lambda: inbox.intake.lost)
    (lost,) = [event for event in events if event["event"] == "inbox.lost"]
    assert lost["error"] == os.strerror(error)
    assert lost["mend"].startswith(mend)


def test_an_inbox_that_is_lost_for_another_reason_by_now_is_said_again_if_that_asks_for_another_mend(
    watching, monkeypatch, events
):
    errors = [errno.ENOENT, errno.EACCES, errno.EACCES, errno.ENOENT, errno.EIO]

    def failing(path):
        error = errors.pop(0)
        raise OSError(error, os.strerror(error), path)

    monkeypatch.setattr("watcherd.intake.intake.TICK", 0.01)
    monkeypatch.setattr("watcherd.intake.root.look", failing)
    with pytest.raises(IndexError), watching() as inbox:
        inbox.until(lambda: inbox.death)
    lost = [event["error"] for event in events if event["event"] == "inbox.lost"]
    assert lost == ["No such file or directory", "Permission denied", "Input/output error"]


@pytest.mark.parametrize("fate", ["deleted", "moved away", "replaced"])
def test_an_inbox_that_is_gone_is_lost_and_recovered_with_a_scan(watching, root, tmp_path, events, fate):
    with watching(settle=0.0).scanned() as inbox:
        if fate == "deleted":
            root.rmdir()
        else:
            os.rename(root, tmp_path / "elsewhere")
        if fate != "replaced":
            inbox.until(lambda: inbox.intake.lost)
        root.mkdir()
        (root / "a.txt").write_bytes(b"x")
        inbox.job("a.txt")
        inbox.renamed_in("b.txt")
        inbox.job("b.txt")
    lost = [event for event in events if event["event"] == "inbox.lost"]
    assert [event["log_level"] for event in lost] == ["error"]
    assert "inbox.recovered" in names(events)


def test_an_inbox_that_is_made_again_is_another_one_also_where_it_has_the_number_of_the_one_before(watching, root):
    number = os.stat(root).st_ino

    def make_again():
        inbox.before_due = lambda: None
        root.rmdir()
        for other in others:  # each takes a number that is free
            other.mkdir()
            if os.stat(other).st_ino == number:
                other.rename(root)
                return
        pytest.skip("numbers are not used again on this file system")

    others = [root.with_name(f"other-{count}") for count in range(64)]
    with watching(settle=60.0).scanned() as inbox:
        scanned = inbox.intake.last_scan
        inbox.before_due, inbox.dues["a.txt"] = make_again, time.time() + 3600.0
        inbox.claims.ask("a.txt")
        inbox.until(lambda: inbox.found and inbox.intake.last_scan > scanned)  # else it may not be watched yet
        inbox.renamed_in("b.txt")
        inbox.job("b.txt")


def test_an_inbox_is_away_once_it_was_there_and_is_gone(watching, root):
    inbox = watching()
    assert not inbox.intake.is_away()
    with inbox.scanned():
        assert not inbox.intake.is_away()
        root.rmdir()
        assert inbox.intake.is_away()


def test_an_inbox_that_is_there_is_not_lost_for_want_of_descriptors(watching, events, monkeypatch):
    opened = beneath.open_folder

    def fail_once(*_):
        monkeypatch.setattr(beneath, "open_folder", opened)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(beneath, "open_folder", fail_once)
    with watching().scanned():
        assert beneath.open_folder is opened
    assert "inbox.lost" not in names(events)


def test_a_retry_below_a_lost_inbox_is_not_dropped(watching, root, tmp_path):
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=0.0)
    inbox.record("a.txt", State.RETRYING, attempts=1)
    inbox.before_due = lambda: root.exists() and os.rename(root, tmp_path / "elsewhere")
    with inbox:
        inbox.until(lambda: inbox.intake.lost)
        assert inbox.dropped == []
        inbox.before_due = lambda: None
        os.rename(tmp_path / "elsewhere", root)
        assert inbox.job("a.txt").attempts == 1


def test_a_retry_that_is_put_on_record_while_the_inbox_is_lost_is_not_forgotten(watching, root, tmp_path):
    with watching(settle=0.0).scanned() as inbox:
        inbox.renamed_in("a.txt")
        inbox.job("a.txt")
        inbox.record("a.txt", State.RETRYING, attempts=1, due=time.time() + 3.0)
        os.rename(root, tmp_path / "elsewhere")
        inbox.until(lambda: inbox.intake.lost)
        scanned = inbox.intake.last_scan
        inbox.claims.release("a.txt", again=True)
        os.rename(tmp_path / "elsewhere", root)
        inbox.until(lambda: inbox.intake.last_scan > scanned)  # which met it before it was due
        assert not inbox.intake.drained()
        inbox.until(lambda: inbox.paths == ["a.txt", "a.txt"])


def test_what_is_missed_at_a_bare_mount_point_is_not_dropped_and_does_not_hold_up_a_drain(watching):
    inbox = watching(settle=0.0)
    inbox.doubted = True
    inbox.dues["a.txt"], inbox.suspects = 0.0, ["b.txt"]
    with inbox:
        inbox.until(inbox.intake.drained)
        assert inbox.dropped == []
        inbox.doubted = False
        inbox.until(lambda: inbox.dropped == ["a.txt"])


def test_nothing_stays_open_in_an_idle_inbox(watching, root):
    (root / "sub").mkdir()
    with watching(settle=0.0).scanned() as inbox:
        inbox.renamed_in("sub/a.txt")
        inbox.job("sub/a.txt")
        inbox.until(lambda: held(root) == [])


def test_nothing_stays_open_in_an_inbox_that_is_lost_while_it_is_scanned(watching, root, tmp_path):
    (root / "a.txt").touch()
    inbox = watching(settle=0.0)
    inbox.capacity[Kind.TEXT] = 0
    inbox.before_offer = lambda _: root.is_dir() and root.rename(tmp_path / "elsewhere")
    with inbox:
        inbox.until(lambda: inbox.intake.lost)
        assert held(tmp_path / "elsewhere") == []


def test_an_inbox_can_be_unmounted_and_what_shows_below_is_not_taken(watching, root, events):
    if libc.mount(b"tmpfs", os.fsencode(root), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip("may not mount")
    (root / "a.txt").write_bytes(b"x")
    try:
        with watching(settle=0.0) as inbox:
            inbox.job("a.txt")
            inbox.until(lambda: held(root) == [])
            inbox.until(lambda: libc.umount2(os.fsencode(root), 0) == 0)
            inbox.until(lambda: inbox.intake.lost)
            (root / "below.txt").write_bytes(b"x")
            assert libc.mount(b"tmpfs", os.fsencode(root), b"tmpfs", 0, b"size=1m") == 0
            (root / "b.txt").write_bytes(b"x")
            inbox.job("b.txt")
            assert inbox.paths == ["a.txt", "b.txt"]
    finally:
        libc.umount2(os.fsencode(root), 2)
    assert names(events).count("inbox.lost") == 1


def test_lost_events_are_made_good_by_a_scan(watching, root, events):
    """Hold the intake while the kernel's queue overflows; a file then delivered leaves no event."""
    if QUEUE > 100_000:
        pytest.skip("the queue is too long to fill")
    (root / "x").touch()
    (root / "y").touch()
    (root / "sub").mkdir()

    def flood(_):
        inbox.before_offer = lambda _: None
        for number in range(QUEUE + 10):
            os.chmod(root / "xy"[number % 2], 0o600 + number // 2 % 2)
        inbox.renamed_in("unheard.txt")
        (root / "sub" / "new").mkdir()
        inbox.renamed_in("sub/new/unheard.txt")

    inbox = watching(settle=0.0)
    with inbox.scanned():
        inbox.before_offer = flood
        inbox.renamed_in("a.txt")
        inbox.job("unheard.txt")
        inbox.job("sub/new/unheard.txt")
        inbox.renamed_in("sub/new/b.txt")
        inbox.job("sub/new/b.txt")
    assert names(events).count("inbox.overflowed") == 1


def test_a_scan_that_is_asked_for_during_another_ends_though_a_pause_cuts_that_one_short(watching, root):
    (root / "a.txt").touch()

    def interrupt(_):
        inbox.before_offer = lambda _: None
        inbox.intake.update(replace(inbox.inbox, rescan=60.0))  # which is a reason to scan the whole
        inbox.paused = True

    inbox = watching(settle=0.0)
    inbox.before_offer = interrupt
    with inbox:
        inbox.until(lambda: inbox.looks > 1)
        assert not inbox.intake.last_scan
        assert held(root) == []
        inbox.paused = False
        inbox.intake.wake()
        inbox.until(lambda: inbox.intake.last_scan)


def test_more_hints_than_fit_are_made_good_by_a_scan(watching, monkeypatch):
    monkeypatch.setattr("watcherd.intake.pending.MOST_HINTS", 5)

    def deliver(_):
        inbox.before_offer = lambda _: None
        for number in range(100):
            inbox.renamed_in(f"{number}.txt")

    inbox = watching(settle=0.0)
    with inbox.scanned():
        inbox.before_offer = deliver
        inbox.renamed_in("a.txt")
        inbox.until(lambda: len(inbox.jobs) == 101)


def test_more_files_than_may_settle_are_made_good_by_a_scan(watching, root, monkeypatch):
    monkeypatch.setattr("watcherd.intake.pending.MOST_WAITING", 5)
    with watching(settle=0.1).scanned() as inbox:
        for number in range(100):
            (root / f"{number}.txt").write_bytes(b"x")
        inbox.until(lambda: len(inbox.jobs) == 100)


def test_what_is_kept_and_done_takes_no_new_file_s_place_where_nobody_can_be_asked_for_writers(
    watching, root, monkeypatch
):
    monkeypatch.setattr("watcherd.intake.pending.MOST_WAITING", 2)
    monkeypatch.setattr("watcherd.intake.root.mount", lambda _: Mount("nfs", events=False, lease=False, coarse=False))
    inbox = watching(after=After.KEEP, settle=0.1)
    for number in range(5):
        (root / f"{number}.txt").write_bytes(b"x")
        inbox.record(f"{number}.txt", State.PUBLISHED)
    (root / "new.txt").write_bytes(b"x")
    with inbox:
        assert inbox.job("new.txt")
    assert inbox.paths == ["new.txt"]


def test_many_that_cannot_be_read_take_no_new_file_s_place_where_nobody_can_be_asked_for_writers(
    unprivileged, monkeypatch
):
    monkeypatch.setattr("watcherd.intake.pending.MOST_WAITING", 4)
    monkeypatch.setattr("watcherd.intake.root.mount", lambda _: Mount("nfs", events=False, lease=False, coarse=False))
    for number in range(6):
        path = unprivileged.root / f"{number}.txt"
        path.write_bytes(b"x")
        path.chmod(0)
    with unprivileged:
        (unprivileged.root / "new.txt").write_bytes(b"x")
        (unprivileged.root / "newer.txt").write_bytes(b"x")
        assert unprivileged.job("new.txt")
        assert unprivileged.job("newer.txt")
        assert len(unprivileged.intake.waiting()) == 2


def test_a_file_that_is_touched_again_and_again_is_remembered_once(watching, root, monkeypatch):
    monkeypatch.setattr("watcherd.intake.pending.MOST_WAITING", 2)
    (root / "a.txt").write_bytes(b"x")
    with watching(settle=60.0).scanned() as inbox:
        pending = inbox.intake._gates[Kind.TEXT].pending  # noqa: SLF001 (memory does not show otherwise)
        for number in range(50):
            known = pending._alarms[-1]  # noqa: SLF001
            (root / "a.txt").chmod(0o600 + number % 2)
            inbox.until(lambda: pending._alarms[-1] != known)  # noqa: B023, SLF001 (called at once)
        assert len(pending._alarms) <= 8  # noqa: SLF001


def test_more_folders_than_fit_are_made_good_by_a_scan(watching, root, monkeypatch):
    monkeypatch.setattr("watcherd.intake.scan.MOST_FOLDERS", 2)
    with watching(settle=0.0).scanned() as inbox:
        for number in range(30):
            (root / f"{number}").mkdir()
            (root / f"{number}" / "a.txt").write_bytes(b"x")
        inbox.until(lambda: len(inbox.jobs) == 30)


def test_a_watch_that_cannot_be_read_is_begun_anew(watching, events, monkeypatch):
    hear = Watch.hear

    def fail_once(_):
        monkeypatch.setattr(Watch, "hear", hear)
        raise OSError(5, "Input/output error")

    with watching(settle=0.0).scanned() as inbox:
        monkeypatch.setattr(Watch, "hear", fail_once)
        inbox.renamed_in("a.txt")
        inbox.job("a.txt")
        inbox.renamed_in("b.txt")
        inbox.job("b.txt")
    assert "inbox.blind" in names(events)


@pytest.fixture
def starved(monkeypatch):
    """Have no inotify instance left, and an inbox polled in little time; return what ends that."""
    monkeypatch.setattr(rounds, "BLIND_RESCAN", 0.1)
    make = Watch.__init__
    with limited(resource.RLIMIT_NOFILE, 0), pytest.raises(OSError, match="limit") as refused:  # of all threads
        Watch()
    monkeypatch.setattr(Watch, "__init__", failing(refused.value.errno))
    return lambda: monkeypatch.setattr(Watch, "__init__", make)


def test_without_an_inotify_instance_the_inbox_is_polled_and_the_log_says_how_to_mend_it(watching, events, starved):
    with watching(settle=0.0).scanned() as inbox:
        inbox.renamed_in("a.txt")
        inbox.job("a.txt")
        starved()
        inbox.until(lambda: not inbox.intake._root.blind)  # noqa: SLF001 (elsewhere only the log shows it)
    (blind,) = [event for event in events if event["event"] == "inbox.blind"]
    assert "max_user_instances" in blind["mend"]


@pytest.mark.usefixtures("starved")
def test_where_nothing_is_watched_a_kind_that_waits_for_its_lane_hides_no_new_file_of_the_other(
    watching, root, events
):
    (root / "a.png").touch()
    inbox = watching(settle=0.0)
    inbox.capacity[Kind.IMAGE] = 0
    wants = inbox.intake._rounds.wants  # noqa: SLF001 (nothing shows that all texts were found)
    with inbox:
        inbox.until(lambda: inbox.claims.holds("a.png"))
        for name in ("a.txt", "b.txt"):
            inbox.until(lambda: not wants(Kind.TEXT))
            inbox.renamed_in(name)
            inbox.job(name)
        inbox.capacity[Kind.IMAGE] = 1
        inbox.intake.wake()
        inbox.until(lambda: inbox.intake.last_scan)
    scan = next(event for event in events if event["event"] == "inbox.rescanned")
    assert (scan["reason"], scan["files"]) == ("start", 1)  # that of the start, which was never begun anew


@pytest.mark.usefixtures("starved")
def test_an_inbox_that_is_not_watched_is_scanned_no_less_often_than_it_was_to_be(watching, events):
    with watching(rescan=0.05).scanned():
        (told,) = [event["rescan"] for event in events if event["event"] == "inbox.watching"]
    assert told == 0.05


LIMITED = """
import json, runpy, sys
from structlog.testing import capture_logs
from watcherd.intake import gate, rounds
from watcherd.intake.probe import Mount
harness = runpy.run_path(sys.argv[1])
rounds.BLIND_RESCAN = 0.1
with capture_logs() as events, harness["Watching"](sys.argv[2], settle=0.05).scanned() as inbox:
    for number in range(5):
        (inbox.root / f"{number}").mkdir(exist_ok=True)
    inbox.until(lambda: inbox.intake._root.blind)
    for number in range(5):
        inbox.renamed_in(f"{number}/a.txt")
        inbox.job(f"{number}/a.txt")
print(json.dumps([event for event in events if event["event"] == "inbox.blind"]))
"""


@pytest.mark.parametrize("before", [5, 0])
def test_folders_beyond_the_limit_of_watches_are_polled_and_the_log_says_how_to_mend_it(root, before):
    for number in range(before):
        (root / f"{number}").mkdir()
    limit = 'echo 3 > /proc/sys/user/max_inotify_watches && exec "$@"'
    command = ["unshare", "-Ur", "sh", "-c", limit, "sh", sys.executable, "-c", LIMITED]
    harness = Path(__file__).with_name("conftest.py")
    done = subprocess.run([*command, harness, root], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip("may not make a user namespace")
    assert done.returncode == 0, done.stderr
    (blind,) = json.loads(done.stdout.splitlines()[-1])
    assert "max_user_watches" in blind["mend"]


@pytest.mark.parametrize(("before", "once"), [(True, False), (True, True), (False, False)])
def test_a_folder_that_cannot_be_opened_for_want_of_descriptors_is_a_fault_of_the_system_is_named_and_hides_nothing(  # noqa: PLR0913, PLR0917 (fixtures and cases)
    watching, root, events, monkeypatch, before, once
):
    opened, short = beneath.folder, [before]

    def folder(root, path, **how):
        if path == "sub" and short[0]:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(root, path, **how)

    monkeypatch.setattr(beneath, "folder", folder)
    if before:
        (root / "sub").mkdir()
    inbox = watching(settle=0.0, once=once)
    with inbox if before else inbox.scanned():
        if not before:
            short[0] = True
            (root / "sub").mkdir()
        inbox.until(lambda: [fault.errno for fault in inbox.faults] == [errno.EMFILE])
        assert {it["path"] for it in events if it["event"] == "file.waiting"} == {"sub"}
        (root / "sub" / "a.txt").touch()
        short[0] = False
        inbox.job("sub/a.txt")


def test_a_shortage_of_descriptors_is_told_once_a_second_however_many_files_meet_it(watching, root, monkeypatch):
    looked, short, status = [], [True], Looks.status

    def look(looks, path):
        looked.append(time.monotonic())
        if short[0]:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return status(looks, path)

    monkeypatch.setattr(Looks, "status", look)
    for number in range(5):
        (root / f"{number}.txt").touch()
    with watching(settle=0.0) as inbox:  # whose publisher hangs, and does not pause it
        inbox.until(lambda: len(inbox.faults) > 1)
        assert looked[1] - looked[0] > 0.9
        short[0] = False
        inbox.until(lambda: len(inbox.jobs) == 5)


def test_a_kept_file_that_is_done_and_cannot_be_looked_at_waits_with_the_reason(watching, root, monkeypatch):
    (root / "a.txt").touch()
    inbox = watching(settle=0.0, after=After.KEEP)
    inbox.record("a.txt", State.PUBLISHED)
    for look in ("status", "fresh"):
        monkeypatch.setattr(Looks, look, failing(errno.EACCES))
    with inbox:
        inbox.until(lambda: inbox.intake.waiting() == [("a.txt", "permission")])


def test_which_file_meets_a_shortage_can_be_asked_for_as_it_may_be_one_alone(watching, root, events, monkeypatch):
    status = Looks.status

    def look(looks, path):
        if path == "b.txt":
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return status(looks, path)

    monkeypatch.setattr(Looks, "status", look)
    for name in "abc":
        (root / f"{name}.txt").touch()
    with watching(settle=0.0) as inbox:
        inbox.until(lambda: inbox.faults)
    told = {(it["log_level"], it["path"], it["reason"]) for it in events if it["event"] == "file.waiting"}
    assert told == {("debug", "b.txt", "cannot open files: Cannot allocate memory")}


def test_a_drain_lists_a_folder_that_fails_only_once_and_takes_nothing_that_comes_later(watching, root, monkeypatch):
    opened = beneath.folder

    def folder(root, path, **how):
        if path == "sub":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(root, path, **how)

    monkeypatch.setattr(beneath, "folder", folder)
    (root / "sub").mkdir()
    with watching(once=True) as inbox:
        inbox.until(inbox.intake.drained)
        assert inbox.intake.waiting() == [("sub", "Input/output error")]
        assert inbox.intake._rounds.next == inf  # noqa: SLF001 (a scan would take all that is there by then)


@pytest.fixture
def dying(root, monkeypatch):
    """Have a folder that takes 10 s to fail; return the clock of those who wait for it."""
    opened, late = beneath.folder, [0.0]

    def folder(root, path, **how):
        if path == "sub":
            late[0] += 10
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(root, path, **how)

    clock = SimpleNamespace(**{name: getattr(time, name) for name in ("time", "thread_time")})
    clock.monotonic = lambda: time.monotonic() + late[0]
    monkeypatch.setattr(rounds, "time", clock)
    monkeypatch.setattr(beneath, "folder", folder)
    (root / "sub").mkdir()
    return clock.monotonic


def test_a_folder_that_takes_long_to_fail_is_listed_less_often(watching, dying):
    with watching().scanned() as inbox:
        assert inbox.intake._rounds.next > dying() + 60  # noqa: SLF001 (in 5 s it would fail once more)


def test_a_folder_that_takes_long_to_fail_is_listed_less_often_also_while_the_other_kind_is_scanned(
    watching, root, dying
):
    (root / "a.png").touch()
    inbox = watching(settle=0.0)
    inbox.capacity[Kind.IMAGE] = 0
    with inbox:
        inbox.until(lambda: inbox.claims.holds("a.png"))
        part = inbox.intake._rounds._round.parts[Kind.TEXT]  # noqa: SLF001 (in 5 s it would fail once more)
        inbox.until(lambda: part.again)
        assert part.again > dying() + 60


def test_a_folder_that_appears_and_can_be_watched_is_no_reason_to_scan_the_whole(watching, root):
    with watching(settle=0.0).scanned() as inbox:
        (root / "sub").mkdir()
        inbox.renamed_in("sub/a.txt")
        inbox.job("sub/a.txt")
        assert 100 < inbox.intake._rounds.next - time.monotonic() < 600  # noqa: SLF001 (it would only be dear)


def test_an_unreadable_file_waits_for_permission_and_is_taken_when_it_is_given(unprivileged):
    with unprivileged as inbox:
        secret = inbox.root / "a.txt"
        secret.touch(0)
        inbox.until(lambda: inbox.intake.waiting() == [("a.txt", "permission")])
        inbox.until(inbox.intake.drained)
        secret.chmod(0o600)
        inbox.job("a.txt")


def test_what_cannot_be_read_is_said_once_and_again_when_it_is_closed_anew(unprivileged, events, monkeypatch):
    def said():
        return [(it["event"], it["path"], it["reason"]) for it in events if it["event"].endswith(".unreadable")]

    def rescans():
        return sum(it["event"] == "inbox.rescanned" for it in events)

    of_folder, of_file = ("folder.unreadable", "sub", "Permission denied"), ("file.unreadable", "a.txt", "permission")
    monkeypatch.setattr(gate, "UNREADABLE", 0.01)  # so often the file is tried
    folder, secret = unprivileged.root / "sub", unprivileged.root / "a.txt"
    with unprivileged as inbox:
        inbox.intake.update(replace(inbox.inbox, rescan=0.02))  # and so often all is scanned
        folder.mkdir(0)
        secret.touch(0)
        inbox.until(lambda: len(said()) == 2)
        before = rescans()
        inbox.until(lambda: rescans() > before + 2)
        assert sorted(said()) == [of_file, of_folder]
        folder.chmod(0o700)
        inbox.until(lambda: ("sub", "Permission denied") not in inbox.intake.waiting())
        before = rescans()
        inbox.until(lambda: rescans() > before + 1)
        folder.chmod(0)
        inbox.until(lambda: said()[2:] == [of_folder])


def test_an_unreadable_folder_is_listed_and_entered_when_it_is_given(unprivileged):
    folder = unprivileged.root / "sub"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"x")
    folder.chmod(0)
    with unprivileged as inbox:
        assert inbox.intake.waiting() == [("sub", "Permission denied")]
        folder.chmod(0o700)
        inbox.job("sub/a.txt")
        inbox.until(lambda: inbox.intake.waiting() == [])


@pytest.mark.parametrize("mode", [0, 0o400])
def test_a_watched_folder_whose_rights_are_taken_and_given_back_is_scanned(unprivileged, mode):
    folder = unprivileged.root / "sub"
    folder.mkdir()
    with unprivileged as inbox:
        folder.chmod(mode)
        inbox.until(lambda: inbox.intake.waiting() == [("sub", "Permission denied")])
        folder.chmod(0o700)
        (folder / "a.txt").touch()
        inbox.until(lambda: inbox.intake.waiting() == [])
        inbox.job("sub/a.txt")


def test_a_folder_with_a_new_time_alone_is_not_scanned_but_for_what_was_refused_in_it(watching, root, monkeypatch):
    opened, tops = beneath.folder, []

    def folder(root, path, **how):
        if path == "closed":
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(root, path, **how)

    def walking(inbox, kind, listener, top):
        tops.append(top)
        return walk(inbox, kind, listener, top)

    monkeypatch.setattr(rounds, "walk", walking)
    monkeypatch.setattr(beneath, "folder", folder)
    for name in ("sub", "closed"):
        (root / name).mkdir()
    with watching(settle=0.0).scanned() as inbox:
        for folder in (root, root / "sub"):
            os.utime(folder, (1, 1))
        inbox.renamed_in("sub/a.txt")
        inbox.job("sub/a.txt")
    assert set(tops) == {"", "closed"}
    assert tops.count("") == len(Kind)


def test_a_folder_that_one_kind_s_walk_was_refused_and_the_other_s_not_is_scanned_when_it_is_touched(
    watching, root, monkeypatch
):
    opened, refusals = beneath.folder, [errno.EACCES]

    def folder(root, path, **how):
        if path == "sub" and refusals:
            number = refusals.pop()
            raise OSError(number, os.strerror(number))
        return opened(root, path, **how)

    monkeypatch.setattr(beneath, "folder", folder)
    (root / "sub").mkdir()
    for name in ("a.txt", "a.png"):
        (root / "sub" / name).touch()
    with watching(settle=0.0).scanned() as inbox:
        assert inbox.paths == ["sub/a.png"]
        os.utime(root / "sub")
        inbox.job("sub/a.txt")


def test_an_unreadable_folder_that_is_gone_is_not_listed_any_more(unprivileged):
    folder = unprivileged.root / "sub"
    folder.mkdir(0)
    with unprivileged as inbox:
        assert inbox.intake.waiting() == [("sub", "Permission denied")]
        folder.rmdir()
        inbox.intake.update(replace(inbox.inbox, rescan=60.0))  # a reload: it is scanned
        inbox.until(lambda: inbox.intake.waiting() == [])


def test_a_folder_swapped_for_a_link_leads_nowhere(watching, root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.txt").write_bytes(b"secret")
    (root / "sub").mkdir()
    (root / "sub" / "a.txt").write_bytes(b"x")
    inbox = watching(settle=1.0)
    with inbox:
        inbox.until(inbox.intake.waiting)
        os.rename(root / "sub", tmp_path / "was")
        (root / "sub").symlink_to(outside)
        inbox.until(inbox.intake.drained)
        assert inbox.jobs == []


def test_a_mapping_counts_as_a_writer(watching, root):
    path = root / "a.txt"
    path.write_bytes(b"x" * 4096)
    with path.open("r+b") as file:
        mapping = mmap.mmap(file.fileno(), 0)
    with watching(settle=0.05) as inbox:
        inbox.until(lambda: inbox.intake.waiting() == [("a.txt", "being written")])
        mapping.close()
        inbox.job("a.txt")


def test_a_file_on_which_another_has_a_lease_is_being_written(watching, root, events):
    lent = os.open(root / "a.txt", os.O_RDWR | os.O_CREAT)
    fcntl.fcntl(lent, fcntl.F_SETSIG, signal.SIGURG)  # which is ignored: it is not given back at once
    fcntl.fcntl(lent, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    with watching(settle=0.05) as inbox:
        inbox.until(lambda: inbox.intake.waiting() == [("a.txt", "being written")])
        os.close(lent)
        inbox.job("a.txt")
    assert "file.unreadable" not in names(events)


def test_a_file_that_is_locked_is_no_less_complete(watching, root):
    with (root / "a.txt").open("w+b") as file:
        file.write(b"x")
    with (root / "a.txt").open("rb") as reader, watching(settle=0.0) as inbox:
        fcntl.flock(reader, fcntl.LOCK_EX)
        inbox.job("a.txt")


@pytest.fixture
def overlaid(root, tmp_path):
    """Put an overlay on the inbox: local, with events, but its files' writers are unseen."""
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    if libc.mount(b"overlay", os.fsencode(root), b"overlay", 0, options.encode()) != 0:
        pytest.skip("may not mount an overlay")
    yield root
    libc.umount2(os.fsencode(root), 2)


def test_where_the_kernel_cannot_be_asked_a_file_waits_for_its_close(watching, overlaid):
    with watching(settle=0.1).scanned() as inbox, (overlaid / "a.txt").open("wb") as writer:
        writer.write(b"x")
        writer.flush()
        inbox.until(lambda: inbox.intake.waiting() == [("a.txt", "not closed yet")])
        inbox.until(inbox.intake.drained)
        writer.close()
        inbox.job("a.txt")


def test_where_the_kernel_cannot_be_asked_even_a_renamed_file_settles(watching, overlaid):
    (overlaid / "draft").write_bytes(b"x")
    with watching(settle=1.0).scanned() as inbox:
        os.rename(overlaid / "draft", overlaid / "a.txt")
        inbox.until(lambda: inbox.intake.waiting() == [("a.txt", "settling")])
        inbox.job("a.txt")
