"""What is dropped into an inbox comes to its lane, complete and once."""

# ruff: noqa: SLF001 (a gate by itself is filled from inside, and an instant is caught there)

import os
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from watcherd.intake import rounds
from watcherd.intake.gate import BLOCK, Gate
from watcherd.intake.probe import Looks
from watcherd.intake.restless import LONGEST, Restless
from watcherd.intake.rules import Rules
from watcherd.intake.settle import How
from watcherd.ledger.claims import Claims
from watcherd.model import After, Failure, File, Job, Kind, SystemFault, Version
from watcherd.states import State


def rescans(events):
    return [event for event in events if event["event"] == "inbox.rescanned"]


def test_a_file_renamed_into_an_idle_inbox_is_admitted_at_once_also_right_after_another_was_archived(watching):
    with watching(settle=60.0).scanned() as inbox:
        took = []
        inbox.before_offer = lambda _: took.append(time.perf_counter())
        for number in range(20):
            began = time.perf_counter()
            inbox.renamed_in(f"{number}.txt")
            assert inbox.job(f"{number}.txt").kind is Kind.TEXT
            took[-1] -= began
            os.rename(inbox.root / f"{number}.txt", inbox.root.parent / f"archived{number}.txt")
            inbox.claims.release(f"{number}.txt")
        assert sorted(took)[10] < 0.05


def test_a_file_renamed_into_an_inbox_that_is_watched_and_not_scanned_yet_does_not_wait_for_settle(watching):
    inbox = watching(settle=60.0)
    inbox.paused = True
    with inbox:
        inbox.until(lambda: inbox.looks)
        inbox.renamed_in("a.txt")
        inbox.paused = False
        inbox.intake.wake()
        inbox.job("a.txt")


def test_files_that_were_there_before_are_found(watching, root):
    (root / "sub" / "deep").mkdir(parents=True)
    for path in ("a.txt", "sub/b.png", "sub/deep/c.txt"):
        (root / path).write_bytes(b"x")
    with watching() as inbox:
        inbox.until(lambda: sorted(inbox.paths) == ["a.txt", "sub/b.png", "sub/deep/c.txt"])
        assert inbox.job("sub/b.png").kind is Kind.IMAGE


def test_a_backlog_does_not_wait_for_settle(watching, root):
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=2.0)
    ago = os.stat(root / "a.txt").st_ctime + 2.0
    inbox.until(lambda: time.time() > ago)
    began = time.monotonic()
    with inbox:
        inbox.job("a.txt")
        assert time.monotonic() - began < 1.9


def test_a_written_file_is_admitted_after_its_quiet_time(watching):
    with watching().scanned() as inbox:
        (inbox.root / "a.txt").write_bytes(b"one two")
        assert inbox.job("a.txt").file.version.size == 7


def test_names_that_are_not_text_come_through_as_bytes(watching):
    names = ["caf\udce9.txt", "new\nline.txt", "\U0001f600 .txt", "n" * 251 + ".txt"]
    with watching().scanned() as inbox:
        for name in names:
            inbox.renamed_in(name)
            inbox.job(name)


def test_a_new_folder_and_what_was_put_there_at_once_is_seen(watching):
    with watching().scanned() as inbox:
        for number in range(20):
            folder = inbox.root / f"new{number}" / "deeper"
            folder.mkdir(parents=True)
            (folder / "a.txt").write_bytes(b"x")
        inbox.until(lambda: len(inbox.jobs) == 20)


def test_a_folder_moved_in_is_seen_whole_and_watched_from_then_on(watching, tmp_path):
    (tmp_path / "outside" / "sub").mkdir(parents=True)
    (tmp_path / "outside" / "sub" / "a.txt").write_bytes(b"x")
    with watching().scanned() as inbox:
        os.rename(tmp_path / "outside", inbox.root / "inside")
        inbox.job("inside/sub/a.txt")
        inbox.renamed_in("inside/sub/b.txt")
        inbox.job("inside/sub/b.txt")


def test_a_folder_renamed_within_the_inbox_is_known_under_its_new_name(watching, root):
    (root / "old" / "sub").mkdir(parents=True)
    with watching(settle=0.05).scanned() as inbox:
        os.rename(root / "old", root / "new")
        inbox.renamed_in("new/sub/a.txt")
        inbox.job("new/sub/a.txt")
        (root / "old").mkdir()
        inbox.renamed_in("old/b.txt")
        inbox.job("old/b.txt")


def test_a_folder_moved_out_is_watched_no_more(watching, root, tmp_path):
    (root / "sub").mkdir()
    with watching(settle=60.0).scanned() as inbox:
        os.rename(root / "sub", tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "a.txt").write_bytes(b"x")
        inbox.renamed_in("b.txt")
        inbox.job("b.txt")
        assert inbox.paths == ["b.txt"]
        assert inbox.intake.waiting() == []


@pytest.mark.parametrize(("recursive", "folder"), [(False, "sub"), (True, ".sub")])
def test_what_lies_in_a_folder_that_is_not_entered_is_not_taken_whenever_it_came(
    watching, root, events, recursive, folder
):
    (root / folder).mkdir()
    (root / folder / "a.txt").write_bytes(b"x")
    rules = Rules({Kind.TEXT: frozenset({".txt"})}, recursive=recursive)
    with watching(rules=rules, settle=0.0).scanned() as inbox:
        (root / f"{folder}-later").mkdir()
        inbox.renamed_in(f"{folder}-later/b.txt")
        inbox.intake.update(replace(inbox.inbox, settle=0.01))
        inbox.until(lambda: "update" in [event["reason"] for event in rescans(events)])
        inbox.renamed_in("c.txt")
        inbox.job("c.txt")
        assert inbox.paths == ["c.txt"]


def test_what_is_no_regular_file_is_ignored_and_never_opened(watching, root, events):
    os.mkfifo(root / "fifo.txt")
    (root / "link.txt").symlink_to("/etc/passwd")
    (root / "folder.txt").mkdir()
    (root / "linked").symlink_to("/etc")
    with watching().scanned() as inbox:
        os.mkfifo(root / "late.txt")
        (root / "late_link.txt").symlink_to("/etc/passwd")
        inbox.renamed_in("a.txt")
        inbox.job("a.txt")
        assert inbox.paths == ["a.txt"]
    reasons = {event["path"]: event["reason"] for event in events if event["event"] == "file.ignored"}
    assert reasons["fifo.txt"] == reasons["late.txt"] == "is a FIFO"
    assert reasons["link.txt"] == reasons["late_link.txt"] == reasons["linked"] == "is a symbolic link"


def test_what_no_rule_wants_stays_and_the_log_says_why(watching, root, events):
    (root / "a.xyz").write_bytes(b"x")
    with watching().scanned() as inbox:
        (root / "b.xyz").write_bytes(b"x")
        inbox.renamed_in("c.txt")
        inbox.job("c.txt")
    ignored = {event["path"] for event in events if event["event"] == "file.ignored"}
    assert ignored == {"a.xyz", "b.xyz"}


def test_our_own_folder_in_the_inbox_is_never_entered(watching, root):
    (root / ".watcherd").mkdir()
    (root / ".watcherd" / "a.txt").write_bytes(b"x")
    with watching().scanned() as inbox:
        inbox.renamed_in(".watcherd/b.txt")
        inbox.renamed_in("c.txt")
        inbox.job("c.txt")
        assert inbox.paths == ["c.txt"]


WRITER = """
import sys, time
path, pauses, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if mode == "hold":
    with open(path, "wb", buffering=0) as file:
        for _ in range(pauses):
            file.write(b"x")
            time.sleep(0.5)
else:
    for _ in range(pauses):
        with open(path, "ab") as file:
            file.write(b"x")
        time.sleep(0.1)
"""


@pytest.mark.parametrize("begins", ["before", "after"])
def test_a_writer_that_holds_a_file_open_and_pauses_is_never_overtaken(watching, root, begins):
    command = [sys.executable, "-c", WRITER, root / "a.txt", "2", "hold"]
    inbox = watching(settle=0.1)
    if begins == "before":
        with subprocess.Popen(command):
            inbox.until((root / "a.txt").exists)
            with inbox:
                assert inbox.job("a.txt").file.version.size == 2
    else:
        with inbox.scanned(), subprocess.Popen(command):
            assert inbox.job("a.txt").file.version.size == 2


def test_appending_again_and_again_within_settle_is_never_overtaken(watching, root):
    command = [sys.executable, "-c", WRITER, root / "a.txt", "10", "append"]
    with watching(settle=1.5).scanned() as inbox, subprocess.Popen(command):
        assert inbox.job("a.txt").file.version.size == 10


def test_what_is_being_written_is_listed_and_does_not_hold_up_a_drain(watching, root):
    with (root / "a.txt").open("wb") as writer:
        writer.write(b"x")
        writer.flush()
        with watching(settle=0.05) as inbox:
            inbox.until(inbox.intake.drained)
            assert inbox.intake.waiting() == [("a.txt", "being written")]
            assert inbox.jobs == []


def test_a_retry_that_is_being_written_does_not_hold_up_a_drain_and_one_that_is_not_due_does(watching, root):
    (root / "a.txt").write_bytes(b"x")
    (root / "b.txt").write_bytes(b"x")
    inbox = watching(settle=0.05)
    for path, due in (("a.txt", 0.0), ("b.txt", time.time() + 1.0)):
        inbox.record(path, State.RETRYING, due=due)
    with (root / "a.txt").open("ab"), inbox.scanned():
        inbox.until(lambda: inbox.intake.drained() or inbox.jobs)
        assert inbox.paths == ["b.txt"]
        inbox.claims.release("b.txt")
        inbox.until(inbox.intake.drained)
        assert inbox.intake.waiting() == [("a.txt", "being written")]


def test_a_retry_is_not_hidden_by_as_many_that_wait_as_are_asked_for(watching, root, monkeypatch):
    monkeypatch.setattr("watcherd.intake.retries.MOST", 1)
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=0.05)
    inbox.record("a.txt", State.RETRYING)
    with (root / "a.txt").open("ab"), inbox.scanned():
        inbox.until(inbox.intake.drained)
        inbox.dues["gone.txt"] = 1.0
        inbox.intake.wake()
        inbox.until(lambda: inbox.dropped == ["gone.txt"])


def test_a_file_that_changed_under_us_again_and_again_does_not_hold_up_a_drain(watching, monkeypatch):
    monkeypatch.setattr("watcherd.intake.settle.LONGEST_SETTLE", 2.0)
    with watching(settle=0.2).scanned() as inbox:
        inbox.renamed_in("a.txt")
        for times, reason in ((1, "settling"), (2, "changing")):
            inbox.until(lambda: inbox.paths.count("a.txt") == times)  # noqa: B023 (called at once)
            inbox.claims.release("a.txt", changed=True)  # as one that the disk fails to read
            inbox.until(inbox.intake.waiting)
            assert inbox.intake.waiting() == [("a.txt", reason)]
        inbox.until(inbox.intake.drained)
        assert inbox.paths == ["a.txt", "a.txt"]


def test_a_file_that_goes_while_the_ledger_cannot_be_asked_of_it_does_not_hold_up_a_drain(watching, root):
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=1.5)  # the file is younger at the first look, also on a busy machine

    def fail_once():
        inbox.before_lookup = lambda: None
        (root / "a.txt").unlink()
        raise SystemFault("database is locked", root="/state")

    with inbox:
        inbox.until(inbox.intake.waiting)
        inbox.before_lookup = fail_once
        inbox.until(lambda: inbox.faults)
        inbox.until(inbox.intake.drained)
        assert inbox.intake.waiting() == []


def test_a_file_in_flight_holds_up_a_drain(watching, root):
    (root / "a.txt").write_bytes(b"x")
    with watching(settle=0.0) as inbox:
        inbox.job("a.txt")
        inbox.until(lambda: inbox.intake._quiet)
        assert not inbox.intake.drained()
        inbox.claims.release("a.txt")
        inbox.until(inbox.intake.drained)


def test_a_retry_holds_up_a_drain_also_while_whoever_puts_it_on_record_has_not_rung_yet(watching, root):
    (root / "a.txt").write_bytes(b"x")
    with watching(settle=0.0) as inbox:
        inbox.job("a.txt")
        inbox.claims.wake = lambda: None
        inbox.record("a.txt", State.RETRYING, due=time.time() + 60.0)
        inbox.claims.release("a.txt", again=True)
        inbox.until(inbox.claims.idle)
        before = inbox.intake.progressed
        inbox.until(lambda: inbox.intake.progressed > before)
        assert not inbox.intake.drained()


def test_a_file_that_settles_holds_up_a_drain(watching, root):
    (root / "a.txt").write_bytes(b"x")
    with watching(settle=60.0).scanned() as inbox:
        inbox.until(lambda: inbox.intake.waiting() == [("a.txt", "settling")])
        assert not inbox.intake.drained()


def test_a_file_that_vanishes_while_it_settles_is_forgotten(watching, root):
    (root / "a.txt").write_bytes(b"x")
    with watching(settle=1.0) as inbox:
        inbox.until(inbox.intake.waiting)
        (root / "a.txt").unlink()
        inbox.until(inbox.intake.drained)
        assert inbox.jobs == []
        assert inbox.intake.waiting() == []


def test_a_file_in_flight_is_not_admitted_again_until_it_is_free(watching):
    with watching(settle=60.0).scanned() as inbox:
        inbox.renamed_in("a.txt")
        inbox.job("a.txt")
        inbox.renamed_in("a.txt", b"another")
        inbox.renamed_in("b.txt")
        inbox.job("b.txt")
        assert inbox.paths == ["a.txt", "b.txt"]
        os.utime(inbox.root / "a.txt")
        inbox.intake.update(replace(inbox.inbox, settle=0.05))
        inbox.claims.release("a.txt")
        inbox.until(lambda: inbox.paths.count("a.txt") == 2)
        assert inbox.jobs[-1].file.version.size == 7
        inbox.renamed_in("c.txt")
        inbox.job("c.txt")
        assert inbox.paths == ["a.txt", "b.txt", "a.txt", "c.txt"]


def test_a_file_that_changed_under_us_waits_twice_as_long_each_time(watching, root):
    with watching(settle=0.2).scanned() as inbox:
        inbox.renamed_in("log.txt")
        inbox.job("log.txt")
        waits = []
        for times in (2, 3):
            with (root / "log.txt").open("ab") as log:
                log.write(b"more")
            began = time.monotonic()
            inbox.claims.release("log.txt", changed=True)
            inbox.until(lambda: inbox.paths.count("log.txt") == times)  # noqa: B023 (called at once)
            waits.append(time.monotonic() - began)
        assert waits[0] >= 0.9  # twice half a second, the least that is doubled
        assert waits[1] >= 1.9


def test_a_file_that_changed_under_us_long_ago_waits_no_longer_than_others(watching, root, monkeypatch):
    quiet, passed = Restless.quiet, 0.0
    monkeypatch.setattr(Restless, "quiet", lambda self, path, inode, now: quiet(self, path, inode, now + passed))
    with watching(settle=0.05, after=After.KEEP).scanned() as inbox:
        inbox.renamed_in("log.txt")
        inbox.job("log.txt")
        inbox.claims.release("log.txt", changed=True)
        inbox.until(lambda: inbox.paths == ["log.txt"] * 2)
        inbox.claims.release("log.txt")
        passed = LONGEST
        began = time.monotonic()
        (root / "log.txt").write_bytes(b"and calm")
        inbox.until(lambda: len(inbox.jobs) == 3)
        assert time.monotonic() - began < 0.9


def test_a_full_lane_loses_nothing_and_does_not_delay_the_other_kind(watching, root):
    for number in range(600):
        (root / f"{number}.png").write_bytes(b"x")
    inbox = watching(settle=0.0)
    inbox.capacity[Kind.IMAGE] = 3
    with inbox:
        inbox.until(lambda: len(inbox.jobs) == 3)
        inbox.renamed_in("a.txt")
        inbox.job("a.txt")
        assert len(inbox.claims) <= 4 + BLOCK  # what is parked is bounded
        inbox.capacity[Kind.IMAGE] = 10**9
        inbox.intake.wake()
        inbox.until(lambda: len(inbox.jobs) == 601)
    assert len(set(inbox.paths)) == 601


def test_what_a_scan_found_has_its_share_while_more_is_hinted_at_than_the_lane_takes(watching, root):
    inbox = watching(settle=0.0)
    inbox.capacity[Kind.TEXT] = 0
    for name in ("a.txt", *(f"hinted-{number}.txt" for number in range(BLOCK))):
        (root / name).write_bytes(b"x")
        os.utime(root / name, (1, 1))  # else it may be younger than a tick of the kernel's clock
        assert name == "a.txt" or inbox.intake._gates[Kind.TEXT].pending.hint(name, How.RENAMED)
    with inbox:
        inbox.until(lambda: inbox.claims.holds("a.txt"))
        assert len(inbox.claims) <= BLOCK


def test_claims_bound_what_is_in_flight(watching, root):
    for number in range(50):
        (root / f"{number}.txt").write_bytes(b"x")
    inbox = watching(settle=0.0)
    inbox.claims.limit = 10
    with inbox:
        done = 0
        while done < 50:
            inbox.until(lambda: len(inbox.jobs) > done)  # noqa: B023 (called at once)
            assert len(inbox.claims) <= 10
            path = inbox.paths[done]
            os.unlink(root / path)
            inbox.claims.release(path)
            done += 1
        inbox.until(inbox.intake.drained)


def test_nothing_is_admitted_while_paused_and_everything_after(watching, root):
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=0.0)
    inbox.paused = True
    with inbox:
        inbox.until(lambda: inbox.looks)
        inbox.renamed_in("b.txt")
        before = inbox.looks
        inbox.until(lambda: inbox.looks > before + 2)
        assert not inbox.intake.drained()
        assert inbox.jobs == []
        inbox.paused = False
        inbox.intake.wake()
        inbox.until(lambda: sorted(inbox.paths) == ["a.txt", "b.txt"])


def test_an_inbox_that_began_in_a_pause_is_drained_as_soon_as_that_is_over(watching, monkeypatch):
    monkeypatch.setattr("watcherd.intake.retries.SOON", 600.0)  # were it asked for retries in the pause
    inbox = watching()
    inbox.paused = True
    with inbox:
        inbox.until(lambda: inbox.looks)
        inbox.paused = False
        inbox.intake.wake()
        inbox.until(inbox.intake.drained)


@pytest.mark.parametrize("after", [After.ARCHIVE, After.KEEP])
def test_each_file_that_is_led_through_is_a_sign_of_life_as_a_slow_mount_takes_minutes_for_a_block(
    watching, root, monkeypatch, after
):
    names = [f"{number}.txt" for number in range(5)]
    inbox = watching(settle=0.0, after=after)
    for name in names:
        (root / name).write_bytes(b"x")
        os.utime(root / name, (1, 1))
        if after is After.KEEP:
            inbox.record(name, State.PUBLISHED)
    alive, status = [], Looks.status

    def slow(looks, path):
        alive.append(inbox.intake.progressed)
        return status(looks, path)

    monkeypatch.setattr(Looks, "status", slow)
    with inbox.scanned():
        pass
    assert len(set(alive)) == len(alive) >= len(names)


def test_a_stop_waits_for_one_file_and_not_for_the_block_that_is_led_through(watching, root, monkeypatch):
    looked, status, inbox = [], Looks.status, watching(settle=0.0)

    def stopping(looks, path):
        looked.append(path)
        inbox.intake.stop()
        return status(looks, path)

    monkeypatch.setattr(Looks, "status", stopping)
    for number in range(5):
        (root / f"{number}.txt").touch()
    with inbox:
        inbox.until(lambda: inbox.intake.join(0))
    assert len(looked) == 1


def test_a_stop_while_the_ledger_is_asked_does_not_wait_for_what_it_says_of_a_block(watching, root):
    inbox = watching(settle=0.0)
    inbox.before_lookup = inbox.intake.stop
    for number in range(5):
        (root / f"{number}.txt").touch()
    with inbox:
        inbox.until(lambda: inbox.intake.join(0))
    assert inbox.jobs == []


def test_a_stop_waits_for_the_walk_of_one_kind_and_not_for_that_of_the_other(watching, monkeypatch):
    took, take, inbox = [], rounds.Rounds.take, watching()

    def stopping(its, kind, most):
        took.append(kind)
        inbox.intake.stop()
        return take(its, kind, most)

    monkeypatch.setattr(rounds.Rounds, "take", stopping)
    with inbox:
        inbox.until(lambda: inbox.intake.join(0))
    assert len(took) == 1


def test_a_retry_is_admitted_when_it_is_due_with_the_charges_that_it_carries(watching, root):
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=0.0)
    inbox.record("a.txt", State.RETRYING, attempts=2, due=time.time() + 0.5)
    with inbox.scanned():
        assert not inbox.intake.drained()
        assert inbox.job("a.txt").attempts == 2
        assert time.time() >= inbox.records["a.txt"].due


def test_a_retry_that_had_to_settle_and_did_so_before_it_was_due_is_admitted_when_it_is(watching, root):
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=0.2)
    inbox.record("a.txt", State.RETRYING, attempts=1, due=time.time() + 1.0)
    with inbox:
        inbox.job("a.txt")


def test_a_retry_that_was_put_on_record_meanwhile_is_noticed_by_its_release(watching):
    with watching(settle=60.0).scanned() as inbox:
        inbox.renamed_in("a.txt")
        inbox.job("a.txt")
        inbox.record("a.txt", State.RETRYING, attempts=1, due=time.time())
        inbox.claims.release("a.txt", again=True)
        inbox.until(lambda: inbox.paths == ["a.txt", "a.txt"] or inbox.intake.waiting())


def test_what_is_in_flight_stays_on_record_though_a_reload_excludes_it(watching):
    with watching(settle=60.0).scanned() as inbox:
        inbox.renamed_in("a.txt")
        inbox.job("a.txt")
        inbox.suspects = ["a.txt", "b.txt"]  # both at work by their rows, and one of them is not
        inbox.intake.update(replace(inbox.inbox, rules=replace(inbox.inbox.rules, exclude=("*.txt",))))
        inbox.until(lambda: "b.txt" in inbox.dropped)
        assert inbox.dropped == ["b.txt"]


def test_an_inbox_is_not_drained_in_the_instant_in_which_what_is_left_gets_in_flight(watching, root):
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=0.0)
    inbox.paused = True
    answer = inbox.claims.idle

    def answer_late(besides):
        idle = answer(besides)
        inbox.paused = False
        inbox.intake.wake()
        inbox.job("a.txt")
        inbox.until(lambda: inbox.intake._quiet)
        return idle

    inbox.claims.idle = answer_late
    with inbox:
        inbox.until(lambda: inbox.looks)
        assert not inbox.intake.drained()


def test_a_retry_whose_file_is_gone_or_unwanted_is_dropped(watching):
    inbox = watching()
    inbox.dues = {"gone.txt": 0.0, "unwanted.xyz": 0.0}
    with inbox:
        inbox.until(lambda: sorted(inbox.dropped) == ["gone.txt", "unwanted.xyz"])
        inbox.until(inbox.intake.drained)


def test_a_retry_whose_name_a_folder_has_by_now_is_dropped_and_holds_up_no_drain(watching, root):
    (root / "a.txt").mkdir()
    inbox = watching()
    inbox.dues = {"a.txt": 0.0}
    with inbox:
        inbox.until(lambda: inbox.dropped == ["a.txt"])
        inbox.until(inbox.intake.drained)


def test_a_retry_in_a_folder_that_is_not_entered_any_more_is_dropped(watching, root):
    (root / "sub").mkdir()
    (root / "sub/a.txt").write_text("one")
    inbox = watching(rules=Rules({Kind.TEXT: frozenset({".txt"})}, recursive=False))
    inbox.dues = {"sub/a.txt": 0.0}
    with inbox:
        inbox.until(lambda: inbox.dropped == ["sub/a.txt"] or inbox.jobs)
    assert inbox.jobs == []


def test_suspects_come_first_and_alone(watching, root):
    for name in ("a.txt", "b.txt", "z.txt"):
        (root / name).write_bytes(b"x")
    inbox = watching(settle=0.0)
    inbox.record("z.txt", State.WORKING)
    inbox.suspects = ["z.txt"]
    with inbox:
        inbox.until(lambda: len(inbox.jobs) == 3)
    assert (inbox.paths[0], inbox.jobs[0].alone) == ("z.txt", True)
    assert not any(job.alone for job in inbox.jobs[1:])


def test_a_suspect_that_is_gone_is_dropped_also_where_a_reload_forgot_what_was_hinted_at(watching):
    inbox = watching()
    inbox.suspects, inbox.paused = ["gone.txt"], True
    with inbox:
        inbox.until(lambda: inbox.looks)
        inbox.intake.update(replace(inbox.inbox, rescan=60.0))
        inbox.paused = False
        inbox.until(lambda: inbox.dropped == ["gone.txt"])


def test_a_suspect_that_was_charged_often_enough_is_condemned_and_waits_no_more(watching, root):
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=0.2)
    inbox.record("a.txt", State.WORKING, attempts=2, alone=True)
    with inbox:
        inbox.until(lambda: inbox.condemned)
        (failed,) = inbox.condemned
        assert inbox.intake.waiting() == []
    assert (failed.failure, failed.job.attempts, failed.charged) == (Failure.CRASHED, 2, True)
    assert inbox.claims.holds("a.txt")


def test_a_suspect_is_condemned_also_where_the_ledger_could_not_be_told_at_first(watching, root):
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=0.0)
    inbox.record("a.txt", State.WORKING, attempts=2, alone=True)

    def fail_once():
        inbox.before_condemn = lambda: None
        raise SystemFault("database is locked", root="/state")

    inbox.before_condemn = fail_once
    with inbox:
        inbox.until(lambda: inbox.condemned)
    assert [str(fault) for fault in inbox.faults] == ["database is locked"]


@pytest.mark.parametrize(("state", "told"), [(State.PUBLISHED, 0), (State.QUARANTINED, 1)])
def test_a_done_file_that_comes_back_is_new_where_none_are_kept_and_told_if_it_was_set_aside(
    watching, root, state, told
):
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=0.0)
    inbox.record("a.txt", state)
    done = os.stat(root / "a.txt")
    inbox.renamed_in("a.txt", b"x")  # with the same size and time
    os.utime(root / "a.txt", ns=(done.st_atime_ns, done.st_mtime_ns))
    with inbox:
        assert inbox.job("a.txt").attempts == 0
    assert inbox.came_back == [inbox.records["a.txt"]] * told


def test_a_kept_file_that_is_done_is_left_alone_until_it_changes(watching, root, events):
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=0.0, after=After.KEEP)
    inbox.record("a.txt", State.PUBLISHED)
    with inbox:
        inbox.until(inbox.intake.drained)
        assert inbox.jobs == []
        told = [event["reason"] for event in events if event["event"] == "file.ignored"]
        assert set(told) == {"is published already"}
        inbox.renamed_in("a.txt", b"changed")
        inbox.job("a.txt")
    assert [event["reason"] for event in events if event["event"] == "file.ignored"] == told


def test_a_kept_file_that_is_again_what_it_was_waits_no_more(watching, root):
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=60.0, after=After.KEEP)
    inbox.record("a.txt", State.PUBLISHED)
    with inbox:
        before = (root / "a.txt").stat().st_mtime_ns
        (root / "a.txt").write_bytes(b"y")
        os.utime(root / "a.txt", ns=(before, before + 1))
        inbox.until(inbox.intake.waiting)
        os.utime(root / "a.txt", ns=(before, before))
        inbox.until(inbox.intake.drained)


def test_rescans_come_by_themselves_and_only_others_are_news(watching, events):
    with watching(rescan=0.05).scanned() as inbox:
        before = inbox.intake.last_scan
        inbox.until(lambda: inbox.intake.last_scan > before)
    assert {(event["reason"], event["log_level"]) for event in rescans(events)} == {
        ("start", "info"),
        ("period", "debug"),
    }


def test_the_dearer_a_scan_the_later_the_next(watching, monkeypatch):
    monkeypatch.setattr(rounds, "SCAN_SHARE", 10**9)
    with watching(rescan=0.05).scanned() as inbox:
        assert inbox.intake._rounds.next > time.monotonic() + 1000


def test_new_rules_hold_from_now_on_and_for_what_was_there(watching, root):
    (root / "a.log").write_bytes(b"x")
    with watching(settle=0.0).scanned() as inbox:
        (root / "sub").mkdir()
        rules = Rules({Kind.TEXT: frozenset({".log"}), Kind.IMAGE: frozenset()})
        inbox.intake.update(replace(inbox.inbox, rules=rules))
        inbox.job("a.log")
        inbox.renamed_in("sub/b.log")
        inbox.job("sub/b.log")


def test_a_fault_of_the_ledger_is_told_and_nothing_is_lost(watching, root):
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=0.0)

    def fail_once():
        inbox.before_lookup = lambda: None
        raise SystemFault("the ledger's disk is full", root="/state")

    inbox.before_lookup = fail_once
    with inbox:
        inbox.job("a.txt")
    assert [str(fault) for fault in inbox.faults] == ["the ledger's disk is full"]


def test_a_bug_ends_the_thread_and_is_handed_over(watching, root):
    (root / "a.txt").write_bytes(b"x")
    inbox = watching(settle=0.0)

    def fail(_):
        raise ZeroDivisionError

    inbox.before_offer = fail
    with pytest.raises(ZeroDivisionError), inbox:  # noqa: PT012 (it is raised again at the end)
        inbox.until(lambda: inbox.intake.join(0))
        assert not inbox.intake.drained()
        inbox.intake.wake()  # does no harm any more


def test_the_log_says_how_an_inbox_is_watched(watching, events):
    with watching(settle=None).scanned() as inbox:
        pass
    (said,) = [event for event in events if event["event"] == "inbox.watching"]
    assert said["path"] == str(inbox.root)
    assert {"file_system", "events", "lease", "settle", "rescan"} <= said.keys()


def test_the_log_says_how_many_files_of_all_kinds_a_scan_found_and_once_what_it_left(watching, root, events):
    for name in ("a.txt", "sub/b.txt", "c.png", "d.bin"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    with watching(settle=0.0) as inbox:
        inbox.until(lambda: sorted(inbox.paths) == ["a.txt", "c.png", "sub/b.txt"])
        inbox.until(lambda: inbox.intake.last_scan)
    assert [event["files"] for event in rescans(events)] == [3]
    assert [event["path"] for event in events if event["event"] == "file.ignored"] == ["d.bin"]
    assert sorted(event["path"] for event in events if event["event"] == "file.queued") == sorted(inbox.paths)


# The gate by itself -------------------------------------------------------------------------------------------------


@pytest.fixture
def gate():
    """Make a gate before a lane that takes as many as `gate.lane.taken` says."""
    lane = SimpleNamespace(taken=0)
    desk = SimpleNamespace(offer=lambda jobs: min(lane.taken, len(jobs)))
    gate = Gate("scans", Kind.TEXT, None, Claims(2), desk, rounds=None, checkpoint=lambda: None, drop=None)
    gate.lane = lane
    return gate


def parked(gate, *paths):
    """Park jobs, as if their files were led through."""
    for number, path in enumerate(paths):
        gate._admit(Job(number, File("scans", path, Version(1, 1, 1, number)), Kind.TEXT), None)


def test_a_gate_is_blocked_by_what_its_lane_does_not_take_and_where_as_much_is_in_flight_as_may_be(gate):
    assert not gate.blocked
    parked(gate, "a.txt")
    gate.flush()
    assert gate.blocked
    gate.lane.taken = 1
    gate.flush()
    assert not gate.blocked
    parked(gate, "b.txt")
    gate.flush()
    assert gate.room() == 0
    assert gate.blocked
