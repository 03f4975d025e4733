"""`watcherd audit` holds ledger and folders against each other, and says what is wrong."""

import json
import os
import shutil
import signal
import sqlite3
import time
from contextlib import closing

import pytest
from tests.conftest import QUARANTINED


@pytest.fixture
def done(site, picture):
    """Have two files done and one set aside, and nothing wrong."""
    site.drop("sub/a.txt")
    site.drop("b.png", picture())
    site.drop("bad.txt", bytes(3000))
    site.run_until_empty()
    assert site.audit() == {"running": False, "finished": 3, "collected": 0, "wrong": []}
    return site


def wrong(site):
    """Return what an audit finds wrong, as (what, the path within the site)."""
    return [(it["what"], os.path.relpath(it["path"], site.base)) for it in site.audit(status=1)["wrong"]]


def test_what_somebody_took_away_is_collected_and_no_error(done):
    (done.outbox / "sub/a.txt.words.json").unlink()
    (done.archive / "b.png").unlink()
    shutil.rmtree(done.failed)
    done.failed.mkdir()
    assert done.audit() == {"running": False, "finished": 3, "collected": 3, "wrong": []}


def test_what_lies_set_aside_and_is_not_on_record_as_of_an_older_ledger_is_told_until_it_is_put_back(done):
    with closing(sqlite3.connect(done.state / "ledger.db")) as ledger, ledger:
        ledger.execute("DELETE FROM file WHERE state = 'quarantined'")
    assert wrong(done) == [("unaccounted", "failed/bad.txt")]
    (done.failed / "bad.txt").rename(done.inbox / "bad.txt")
    done.run_until_empty()
    done.audit()


def test_what_was_set_aside_under_a_longer_path_than_the_kernel_takes_whole_is_accounted_for(done, deep):
    bottom = deep(done.base, "d" * 200, 25)
    with os.fdopen(os.open("bad.txt", os.O_CREAT | os.O_WRONLY, dir_fd=bottom), "wb") as bad:
        bad.write(bytes(3000))
    (done.base / ("d" * 200)).rename(done.inbox / ("d" * 200))
    assert done.command("drain").returncode == QUARANTINED
    assert done.audit() == {"running": False, "finished": 4, "collected": 0, "wrong": []}


def test_a_result_that_was_collected_and_made_again_is_no_error(done):
    (done.outbox / "sub/a.txt.words.json").unlink()
    (done.archive / "sub/a.txt").unlink()
    done.drop("sub/a.txt", b"other words")
    done.run_until_empty()
    assert done.audit()["collected"] == 1


def test_a_result_that_has_the_inode_of_one_that_it_replaced_long_before_is_no_error(site):
    site.configure(inbox={"after": "keep", "settle": "50ms"})
    daemon = site.start()
    first_had, age, words = {}, 0, 0
    while age < 3:  # seconds: longer than a clock may be off
        words += 1
        if words > 500:
            pytest.skip("no inode is given again on this file system")
        site.drop("a.txt", b"word " * words)
        site.wait_for(lambda words=words: site.words("a.txt") == words, "the new result")
        now = time.monotonic()
        age = now - first_had.setdefault((site.outbox / "a.txt.words.json").stat().st_ino, now)
    assert daemon.stop() == 0
    site.audit()


@pytest.mark.parametrize(("one_name", "restored"), [(False, False), (True, False), (False, True)])
def test_an_audit_of_20_000_results_that_were_not_collected_takes_seconds_and_not_hours(
    site, lacking, one_name, restored
):
    if shutil.which("prlimit") is None:
        lacking("prlimit is not installed")
    site.drop("a.txt")
    site.run_until_empty()
    names = [(b"a.txt", n, f"a.{n}.txt") if one_name else (b"%d.txt" % n, 0, f"{n}.txt") for n in range(1, 20_001)]
    results = [(*row, site.write(f"{name}.words.json", b"{}", site.outbox)) for *row, name in names]
    with closing(sqlite3.connect(site.state / "ledger.db")) as ledger, ledger:
        ledger.executemany(
            """INSERT INTO file (inbox, path, number, size, mtime_ns, ctime_ns, inode, kind, state, at, result)
               SELECT inbox, ?, ?, size, mtime_ns, ctime_ns, inode, kind, state, unixepoch(), ?
               FROM file WHERE id = (SELECT min(id) FROM file)""",
            [(path, number, result.stat().st_ino + 10**9 * restored) for path, number, result in results],
        )
    done = site.command("audit", "--json", prefix=["prlimit", "--cpu=15"], timeout=120)
    assert done.returncode == (1 if restored else 0), done.stderr
    found = json.loads(done.stdout)
    assert (found["finished"], len(found["wrong"])) == (20_001, 20_000 * restored)


@pytest.fixture
def edited(site):
    """Have a kept file done that was set aside first, and was edited then, twice."""
    site.configure(inbox={"after": "keep", "settle": "50ms"})
    for content in (bytes(3000), b"one", b"one two", b"one two three"):
        site.drop("a.txt", content)
        site.command("drain")
    assert site.words("a.txt") == 3
    return site


def test_of_a_kept_file_that_was_edited_the_latest_version_is_held_against_its_result(edited):
    assert edited.audit() == {"running": False, "finished": 4, "collected": 0, "wrong": []}


def test_a_result_that_somebody_took_or_replaced_is_told_once_however_often_its_source_was_edited(edited):
    edited.drop("a.txt.words.json", b"{}", root=edited.outbox)
    assert wrong(edited) == [("result", "outbox/a.txt.words.json")]
    (edited.outbox / "a.txt.words.json").unlink()
    assert edited.audit()["collected"] == 1


def test_where_inputs_are_kept_now_each_result_of_a_name_that_came_again_before_is_held_against_its_row(site):
    for content in (b"one", b"one two"):
        site.drop("a.txt", content)
        site.run_until_empty()
    site.configure(inbox={"after": "keep", "settle": "50ms"})
    site.drop("a.txt.words.json", b"{}", root=site.outbox)
    assert wrong(site) == [("result", "outbox/a.txt.words.json")]


def test_where_inputs_are_kept_now_what_was_set_aside_before_is_held_against_its_row_too(site):
    for content in (bytes(3000), b"one"):
        site.drop("a.txt", content)
        site.run_until_empty()
    site.configure(inbox={"after": "keep", "settle": "50ms"})
    site.audit()
    site.drop("a.txt.error.json", b"{}", root=site.failed)
    assert wrong(site) == [("result", "failed/a.txt.error.json")]


def test_a_stray_draft_is_found_wherever_there_may_be_one(done):
    (identity,) = done.ledger("SELECT id FROM ledger")[0]
    roots = ("outbox", "archive", "failed")
    for root in roots:
        done.write(f".watcherd/{identity}-77", root=getattr(done, root))
    assert sorted(wrong(done)) == sorted(("draft", f"{root}/.watcherd/{identity}-77") for root in roots)


def test_a_draft_of_another_daemon_in_a_shared_archive_is_theirs(done):
    done.write(".watcherd/ffffffff-1", root=done.archive)
    done.audit()


def test_an_input_that_was_taken_and_belongs_to_nothing_is_found(done):
    done.write(".watcherd/taken-99-1")
    assert wrong(done) == [("draft", "inbox/.watcherd/taken-99-1")]


def copy(site):
    """Return the name of the copy of a file that is set aside, on its way back from another file system."""
    (identity,) = site.ledger("SELECT id FROM ledger")[0]
    ((row,),) = site.rows("id", "state = 'quarantined'")
    return f"back-{identity}-{row}"


def test_the_copy_of_a_retry_that_was_cut_short_is_told_as_such(done):
    with closing(sqlite3.connect(done.state / "ledger.db")) as ledger, ledger:
        ledger.execute("UPDATE file SET due = 1 WHERE state = 'quarantined'")
    done.write(f".watcherd/{copy(done)}")
    (it,) = done.audit(1)["wrong"]
    assert (it["what"], it["message"].partition(":")[0]) == ("draft", "is of a retry that was cut short")


@pytest.mark.parametrize("ledger", ["lost", "older"])
def test_of_the_copy_of_a_retry_whose_ledger_knows_nothing_of_it_what_to_do_by_hand_is_told(done, ledger):
    done.write(".watcherd/back-ffffffff-1" if ledger == "lost" else f".watcherd/{copy(done)}")
    (it,) = done.audit(1)["wrong"]
    assert "this ledger does not know: if its file is gone from the failed folder, give it its name" in it["message"]


def test_a_result_that_was_changed_or_replaced_is_found(done):
    result = done.outbox / "sub/a.txt.words.json"
    ours = result.read_bytes()
    for content in (ours.title(), b"{}", b""):  # to as many bytes, to fewer, to none
        result.write_bytes(content)
        assert wrong(done) == [("result", "outbox/sub/a.txt.words.json")]
    done.drop("sub/a.txt.words.json", ours, root=done.outbox)
    assert wrong(done) == [("result", "outbox/sub/a.txt.words.json")]


def test_a_file_that_nothing_accounts_for_is_found_and_what_no_rule_admits_is_not(done):
    done.drop("new.txt")
    done.drop("new.bin")
    done.drop(".hidden.txt")
    assert wrong(done) == [("unaccounted", "inbox/new.txt")]


def test_a_file_that_is_being_written_is_told_as_such(done):
    if not done.start().wait("inbox.watching")["lease"]:
        pytest.skip("the file system cannot tell who writes")
    done.daemons[-1].stop()
    with (done.inbox / "new.txt").open("w"):
        assert wrong(done) == [("written", "inbox/new.txt")]


def test_a_file_that_cannot_be_read_is_told_as_such(site, as_nobody):
    site.texts(1)
    assert site.command("drain", prefix=as_nobody).returncode == 0
    site.write("closed.txt").chmod(0o600)
    told = site.command("audit", "--json", prefix=as_nobody)
    assert told.returncode == 1
    (it,) = json.loads(told.stdout)["wrong"]
    assert (it["what"], os.path.basename(it["path"])) == ("unreadable", "closed.txt")
    assert "Permission denied" in it["message"]


@pytest.mark.parametrize("folder", ["closed", "."])
def test_a_folder_that_cannot_be_looked_into_is_told_once(site, as_nobody, folder):
    assert site.command("drain", prefix=as_nobody).returncode == 0
    (site.inbox / "closed").mkdir(0)
    (site.inbox / folder).chmod(0)
    told = site.command("audit", "--json", prefix=as_nobody)
    assert told.returncode == 1, told.stderr
    (it,) = json.loads(told.stdout)["wrong"]
    assert (it["what"], os.path.dirname(f"{it['path']}/")) == ("unreadable", os.path.normpath(site.inbox / folder))
    assert "Permission denied; mend that" in it["message"]


def test_what_lies_in_a_folder_that_cannot_be_looked_into_is_told(site, as_nobody):
    for name in ("sub/a.txt", "sub/b.txt"):
        site.drop(name)
    site.drop("sub/bad.txt", bytes(3000))
    os.chown(site.inbox / "sub", 65534, 65534)
    assert site.command("drain", prefix=as_nobody).returncode == QUARANTINED
    for root in (site.inbox, site.outbox, site.archive, site.failed):
        (root / "sub").chmod(0)
        told = site.command("audit", "--json", prefix=as_nobody)
        (root / "sub").chmod(0o755)
        assert told.returncode == 1, told.stderr
        (it,) = json.loads(told.stdout)["wrong"]
        assert (it["what"], it["path"]) == ("unreadable", f"{root}/sub")


def test_a_kept_result_that_followed_its_source_was_collected_by_nobody(site):
    site.configure(inbox={"after": "keep"})
    for words in (b"one", b"one two"):
        site.drop("a.txt", words)
        assert site.command("drain").returncode == 0
    assert site.words("a.txt") == 2
    found = site.audit()
    assert (found["finished"], found["collected"]) == (2, 0)


@pytest.mark.parametrize("after", ["delete", "keep"])
def test_what_was_put_into_folders_that_are_configured_no_more_is_not_missed_under_its_names_in_others(site, after):
    former, others = {"after": after, "settle": "50ms"}, [site.base / "outbox 2", site.base / "failed 2"]
    for folder in others:
        folder.mkdir()
    for number, names in enumerate(({}, dict(zip(("outbox", "failed"), others, strict=True))), 1):
        site.configure(inbox=former | names)
        site.drop("a.txt", b"one " * number)
        site.drop("b.txt", bytes(3000 + number))
        assert site.command("drain").returncode == QUARANTINED
    site.configure(inbox=former)
    site.audit()


def test_a_result_that_was_copied_to_another_folder_is_not_what_was_put_there(done):
    done.outbox = shutil.copytree(done.outbox, done.base / "restored")
    done.configure()
    assert sorted(wrong(done)) == [
        ("result", f"restored/{name}") for name in ("grayscale_b.png", "sub/a.txt.words.json")
    ]


def test_a_kept_file_that_changed_since_is_not_accounted_for(site):
    site.configure(inbox={"after": "keep"})
    site.drop("a.txt")
    assert site.command("drain").returncode == 0
    site.audit()
    site.drop("a.txt", b"other words")
    assert wrong(site) == [("unaccounted", "inbox/a.txt")]


def test_an_input_that_is_still_there_though_its_row_says_otherwise_is_found(site):
    site.configure(inbox={"after": "keep"})
    site.drop("a.txt")
    assert site.command("drain").returncode == 0
    site.configure()  # its inputs are archived now
    site.archive.mkdir(exist_ok=True)
    assert wrong(site) == [("input", "inbox/a.txt")]


def test_work_that_was_cut_short_is_found_and_gone_after_the_next_run(site, heavy):
    site.drop("slow.webp", heavy)
    daemon = site.start()
    worker = site.wait_for(lambda: daemon.worker_at(site.inbox / "slow.webp"), "its worker")
    os.kill(worker, signal.SIGSTOP)  # however long we take
    running = site.audit()
    assert (running["running"], running["wrong"]) == (True, [])
    daemon.kill()
    assert ("unfinished", "inbox/slow.webp") in wrong(site)
    site.run_until_empty()
    site.audit()


def test_without_a_ledger_there_is_nothing_to_hold_against(site):
    done = site.command("audit")
    assert done.returncode == 1
    assert b"no ledger" in done.stderr
    assert not site.state.exists()


def test_an_inbox_that_is_missing_is_said(done):
    done.inbox.rename(done.base / "elsewhere")
    audit = done.command("audit")
    assert audit.returncode == 1
    assert b"the inbox" in audit.stderr
    assert b"is missing" in audit.stderr


@pytest.mark.parametrize("missing", ["in", "out"])
def test_an_inbox_whose_folders_cannot_be_used_is_what_is_wrong_beside_what_is_wrong_with_others(
    done, other, missing
):
    done.run_until_empty()
    (other / missing).rename(other / "away")
    (done.outbox / "sub/a.txt.words.json").write_text("somebody's own words")
    found = done.audit(status=1)["wrong"]
    assert [(it["inbox"], it["what"], it["path"]) for it in found] == [
        ("scans", "result", f"{done.outbox}/sub/a.txt.words.json"),
        ("other", "unreadable", f"{other}/{missing}"),
    ]
