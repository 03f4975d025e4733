"""A damaged ledger is set aside, and a new one made of what the folders prove."""

import json
import os
import shutil
import sqlite3
from contextlib import closing

import pytest
from tests.conftest import QUARANTINED


def overwritten(ledger):
    with ledger.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (ledger.stat().st_size - 4096))


def truncated(ledger):
    os.truncate(ledger, ledger.stat().st_size - 5000)


def emptied(ledger):
    os.truncate(ledger, 0)


def no_database(ledger):
    ledger.write_bytes(b"these are notes, and no database\n" * 300)


DAMAGES = [overwritten, truncated, emptied, no_database]


def damage(site, how):
    """Damage the ledger of a daemon that has ended; what was in its log of changes is in the file first."""
    path = site.state / "ledger.db"
    with closing(sqlite3.connect(path)) as ledger:
        ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ledger.execute("PRAGMA journal_mode = DELETE")
    how(path)


@pytest.mark.parametrize("how", DAMAGES)
def test_it_is_set_aside_with_a_warning_and_work_goes_on(site, how):
    site.drop("before.txt")
    site.run_until_empty()
    damage(site, how)
    damaged = (site.state / "ledger.db").read_bytes()
    site.drop("after.txt")
    daemon = site.run_until_empty()
    aside = daemon.wait("ledger.damaged")["moved_to"]
    with open(aside, "rb") as file:
        assert file.read() == damaged
    assert daemon.events("ledger.rebuilt", inbox="scans")
    assert site.words("after.txt") == 3
    site.audit()


def test_kept_files_whose_results_match_are_not_processed_again(site, picture):
    site.configure(inbox={"after": "keep"})
    site.drop("sub/a.txt")
    site.drop("b.png", picture())
    site.drop("bad.txt", bytes(3000))
    daemon = site.start()
    site.await_words("sub/a.txt")
    for name in ("outbox/grayscale_b.png", "failed/bad.txt.error.json"):
        site.wait_for((site.base / name).exists, name)
    assert daemon.stop() == 0
    damage(site, overwritten)
    daemon = site.start()
    assert daemon.events("ledger.rebuilt", kept=2, quarantined=1)
    site.drop("new.txt")
    daemon.wait("file.published", path="new.txt")
    assert [event["path"] for event in daemon.events("file.published")] == ["new.txt"]
    assert not daemon.events("file.quarantined")
    assert daemon.stop() == 0
    site.audit()


def test_what_was_copied_with_its_times_is_known_by_a_ledger_that_was_emptied(site):
    site.configure(inbox={"after": "keep"})
    site.drop("sub/a.txt", b"one")
    site.drop("bad.txt", bytes(3000))
    assert site.command("drain").returncode == QUARANTINED
    for folder in (site.inbox, site.outbox, site.base / "failed"):
        before = folder.rename(site.base / "before")
        shutil.copytree(before, folder)
        shutil.rmtree(before)
    damage(site, emptied)
    assert json.loads(site.command("drain", "--json").stdout)["published"] == {}
    assert [row["path"] for row in json.loads(site.command("failures", "--json").stdout)] == ["bad.txt"]
    site.audit()
    site.drop("sub/a.txt", b"one two")
    assert json.loads(site.command("drain", "--json").stdout)["published"] == {"text": 1}
    assert site.words("sub/a.txt") == 2


def test_a_command_leaves_an_emptied_one_for_the_start_that_makes_it_anew(site):
    site.drop("bad.txt", bytes(3000))
    site.run_until_empty()
    damage(site, emptied)
    for command in ("failures", "audit"):
        done = site.command(command)
        assert done.returncode == 1
        assert b"is damaged (it is empty)" in done.stderr
    daemon = site.start()
    assert daemon.events("ledger.rebuilt", quarantined=1)
    assert daemon.stop() == 0


def test_an_outbox_that_is_away_while_a_new_one_is_made_is_to_be_brought_back_and_not_made_anew(site, other):
    site.run_until_empty()
    damage(site, emptied)
    (other / "out").rename(other / "away")
    told = site.command("drain")
    assert told.returncode == 1
    assert told.stderr.decode().endswith(f"{other}/out: it is missing: mount it, or bring it back\n")
    (other / "away").rename(other / "out")
    assert site.command("drain").returncode == 0


def test_a_kept_text_that_changed_meanwhile_is_not_taken_for_done(site):
    site.configure(inbox={"after": "keep"})
    site.drop("a.txt")
    assert site.command("drain").returncode == 0
    damage(site, overwritten)
    path = site.drop("a.txt", b"not the same words")
    os.utime(path, (1, 1))
    daemon = site.start()
    # Nothing proves the result ours now: it is left, as somebody's own would be.
    assert daemon.wait("file.quarantined")["class"] == "result-occupied"


def test_what_was_set_aside_can_still_be_retried(site):
    site.drop("sub/bad.txt", bytes(3000))
    site.run_until_empty()
    damage(site, no_database)
    assert site.start().stop() == 0
    assert site.command("retry", "sub/bad.txt").returncode == 0
    assert site.has("sub/bad.txt")


def test_what_was_set_aside_is_known_where_its_file_system_holds_coarser_times(site):
    site.drop("bad.txt", bytes(3000))
    site.run_until_empty()
    bad = site.failed / "bad.txt"
    held = int(bad.stat().st_mtime) // 2 * 2
    os.utime(bad, (held, held))
    damage(site, no_database)
    daemon = site.start()
    assert daemon.events("ledger.rebuilt", quarantined=1)
    assert daemon.stop() == 0


def test_a_reason_that_is_not_ours_or_speaks_of_what_cannot_be_is_nothing_to_it_and_ends_no_start(site):
    nonsense = [{"attempts": 10**30}, {"attempts": [1]}, {"message": "\ud800"}, {"path": "\ud800.txt"}]
    names = [f"bad-{number}.txt" for number in range(len(nonsense) + 1)]
    for name in names:
        site.drop(name, bytes(3000))
    site.run_until_empty()
    damage(site, emptied)
    for name, facts in zip(names, nonsense, strict=False):
        site.write(f"{name}.error.json", json.dumps(site.failure(name) | facts).encode(), root=site.failed)
    for name, content in {"x": b"[1]", "y": b'{"path": "../../etc/passwd", "inbox": "scans"}', "z": b"{"}.items():
        site.write(f"{name}.error.json", content, root=site.failed)
    daemon = site.start()
    assert daemon.events("ledger.rebuilt", quarantined=2)  # the sound one, and one whose message alone is odd
    assert daemon.stop() == 0


def test_a_start_that_is_killed_while_a_new_one_is_made_leaves_it_to_the_next(site, strace):
    site.configure(inbox={"after": "keep"})
    names = site.texts(1500)
    daemon = site.start()
    site.wait_for(lambda: len(daemon.events("file.published")) == len(names), "all results")
    assert daemon.stop() == 0
    damage(site, no_database)
    # It stops at the latest as the damaged one is set aside, however long the kill takes.
    endless = strace("-o", "/dev/null", "-e", "inject=?link,linkat:signal=SIGSTOP")
    for _ in range(2):
        daemon = site.daemon(prefix=endless).spawn()
        daemon.wait("ledger.damaged")
        daemon.kill()
    daemon = site.start()
    assert daemon.events("ledger.damaged")
    assert daemon.events("ledger.rebuilt", kept=len(names))
    assert not daemon.events("file.quarantined")
    assert daemon.stop() == 0
    site.audit()
    assert {path.name.partition(".damaged")[0] for path in site.state.iterdir()} == {"ledger.db", "lock"}


def test_a_closed_folder_in_the_way_of_a_result_proves_nothing_and_ends_no_start(site, as_nobody):
    site.configure(inbox={"after": "keep"})
    daemon = site.start(prefix=as_nobody)
    for name in ("sub/a.txt", "b.txt"):
        site.drop(name)
        site.await_words(name)
    assert daemon.stop() == 0
    damage(site, no_database)
    (site.outbox / "sub").chmod(0)
    daemon = site.start(prefix=as_nobody)
    assert daemon.events("ledger.rebuilt", kept=1)
    assert daemon.stop() == 0


def test_drafts_that_nobody_remembers_are_removed(site, heavy):
    site.drop("slow.webp", heavy)
    daemon = site.start()
    site.wait_for(site.drafts, "a draft")
    daemon.kill()
    damage(site, emptied)
    assert site.drafts()
    site.run_until_empty()
    assert not site.drafts()
    site.audit()


def test_damage_that_is_met_while_running_ends_the_daemon_and_the_next_start_mends_it(site):
    site.drop("before.txt")
    daemon = site.start()
    site.await_empty_inbox()
    overwritten(site.state / "ledger.db")
    emptied(site.state / "ledger.db-wal")
    site.texts(300)
    assert daemon.process.wait(30) == 1
    assert daemon.events("room.died")
    daemon = site.run_until_empty()
    assert daemon.events("ledger.damaged")
    site.audit()


def test_one_that_the_disk_fails_to_read_is_not_taken_for_damaged(site, strace):
    site.configure(inbox={"after": "keep"})
    site.texts(50)
    assert site.command("drain").returncode == 0
    ledger = site.state / "ledger.db"
    failing = strace("-o", "/dev/null", "-P", ledger, "-e", "inject=read,pread64:error=EIO:when=2+")
    told = site.command("drain", prefix=failing)
    assert told.returncode == 1
    assert f"the ledger {ledger} cannot be used: Input/output error\n".encode() in told.stderr
    assert sorted(os.listdir(site.state)) == ["ledger.db", "lock"]
    assert json.loads(site.command("drain", "--json").stdout)["published"] == {}


def test_one_that_is_removed_beside_a_running_daemon_pauses_intake_until_it_is_put_back(site):
    daemon = site.start()
    ledger = site.state / "ledger.db"
    ledger.rename(aside := site.state / "aside.db")
    assert f"the ledger {ledger} was removed" in daemon.wait("intake.paused")["reason"]
    site.drop("a.txt")
    site.never(lambda: not site.has("a.txt"), "a result that no later run would know of")
    aside.rename(ledger)
    site.await_empty_inbox()
    daemon.wait("intake.resumed")
    assert daemon.stop() == 0
    site.audit()


def test_one_of_a_newer_version_is_refused_and_left_alone(site):
    assert site.start().stop() == 0
    with closing(sqlite3.connect(site.state / "ledger.db")) as ledger:
        ledger.execute("PRAGMA user_version = 99")
    before = sorted(os.listdir(site.state))
    done = site.command("run")
    assert done.returncode == 1
    assert b"newer watcherd" in done.stderr
    assert sorted(os.listdir(site.state)) == before
