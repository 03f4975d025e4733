"""The way back out of quarantine, as the commands ask for it."""

import errno
import json
import os
import shutil

import pytest
from tests.integration.assembled.conftest import quick, running
from tests.integration.conftest import failing

from watcherd import beneath, failures
from watcherd import drain as draining
from watcherd.ledger.ledger import Intent
from watcherd.model import Draft, Failure, File, Job, Kind, Refused, SystemFault
from watcherd.plain import ledger_of
from watcherd.publish.aside import quarantine, wayback
from watcherd.publish.roots import ground
from watcherd.service import locks
from watcherd.states import State


def set_aside(site, inbox=(), **tables):
    """Let a text be quarantined, mend nothing, and return the settings."""
    settings = quick(site, inbox, **tables)
    site.drop("sub/a.txt", b"\x00\x01\x02" * 100)
    report = draining.drain(settings)
    assert len(report.quarantined) == 1
    return settings


def test_without_a_ledger_nobody_knows_what_is_set_aside(site):
    with pytest.raises(Refused, match="no ledger"):
        failures.set_aside(quick(site), pytest.fail)
    assert not site.state.exists()


def test_a_ledger_that_may_not_be_looked_at_is_not_a_missing_one(site):
    settings = quick(site)
    site.state.symlink_to(site.state)
    with pytest.raises(SystemFault, match=r"ledger\.db cannot be used: Too many levels of symbolic links"):
        failures.set_aside(settings, pytest.fail)


def test_what_is_quarantined_is_listed_with_where_it_lies(site):
    (row,) = failures.set_aside(set_aside(site), pytest.fail)
    assert (row.path, row.where, row.failure) == ("sub/a.txt", f"{site.failed}/sub/a.txt", Failure.NOT_TEXT)


def test_where_a_failed_folder_is_the_former_one_again_what_was_set_aside_there_is_listed(site):
    (first,) = failures.set_aside(set_aside(site), pytest.fail)
    (later,) = failures.set_aside(set_aside(site, {"failed": site.base / "another"}), pytest.fail)
    assert first.record != later.record
    assert failures.set_aside(quick(site), pytest.fail) == [first]


def test_where_a_file_was_carried_away_the_next_of_its_name_is_listed_whatever_number_its_disk_had_then(
    site, monkeypatch
):
    set_aside(site)
    shutil.rmtree(site.failed / "sub")
    with monkeypatch.context() as then:
        then.setattr(ground, "_home", lambda _: "01234567")
        settings = set_aside(site)
    with ledger_of(settings) as ledger:
        ledger.register("scans", str(site.inbox))
        _, latest = ledger.quarantined("scans")
    assert [it.record for it in failures.set_aside(settings, pytest.fail)] == [latest]


def test_what_is_to_be_set_aside_and_is_not_yet_is_listed_with_where_it_lies(site):
    settings = set_aside(site)
    file = File("scans", "b.txt", beneath.version_of(site.drop("b.txt").stat()))
    with ledger_of(settings) as ledger:
        ledger.register("scans", str(site.inbox))
        job = Job(ledger.next_id(), file, Kind.TEXT)
        ledger.hand_over([job])
        ledger.intend([Intent(job, State.QUARANTINING, 0, Draft("draft", 1))])
    rows = failures.set_aside(settings, pytest.fail)
    assert [(row.where, row.held) for row in rows] == [
        (f"{site.failed}/sub/a.txt", ""),
        (f"{site.inbox}/b.txt", quarantine.HELD),
    ]


def test_a_failed_folder_that_its_disk_fails_to_read_is_a_fault_of_its_inbox_alone(site, monkeypatch):
    settings, faults = set_aside(site), []
    monkeypatch.setattr(quarantine, "set_aside", failing(errno.EIO, str(site.failed)))
    assert failures.set_aside(settings, faults.append) == []
    assert [(fault.root, fault.errno) for fault in faults] == [(str(site.failed), errno.EIO)]


@pytest.mark.parametrize("gone", ["a.txt", "a.txt.error.json"])
def test_what_somebody_carried_away_is_not_listed(site, gone):
    settings = set_aside(site)
    (site.failed / "sub" / gone).unlink()
    assert failures.set_aside(settings, pytest.fail) == []


def test_a_retry_puts_the_file_back_with_nothing_against_it(site):
    settings = set_aside(site)
    (back,) = failures.put_back(settings, failures.set_aside(settings, pytest.fail))
    assert back.refused == ""
    assert site.left() == ["sub/a.txt"]
    assert not any(path.is_file() for path in site.failed.rglob("*.*"))
    assert failures.set_aside(settings, pytest.fail) == []
    assert site.rows("id") == []


def test_a_retry_is_refused_where_the_name_is_taken(site):
    settings = set_aside(site)
    site.write("sub/a.txt", b"another one")
    (back,) = failures.put_back(settings, failures.set_aside(settings, pytest.fail))
    assert "is there again" in back.refused
    assert (site.inbox / "sub/a.txt").read_bytes() == b"another one"
    assert (site.failed / "sub/a.txt").exists()
    assert len(failures.set_aside(settings, pytest.fail)) == 1


def test_a_retry_of_what_another_has_put_back_says_so_and_leaves_what_was_set_aside_since(site):
    settings = set_aside(site)
    rows = failures.set_aside(settings, pytest.fail)
    failures.put_back(settings, rows)
    (back,) = failures.put_back(settings, rows)
    assert back.refused == wayback.FORESTALLED
    draining.drain(settings)
    (back,) = failures.put_back(settings, rows)
    assert back.refused == wayback.FORESTALLED
    assert site.left() == []
    assert [row.path for row in failures.set_aside(settings, pytest.fail)] == ["sub/a.txt"]


def test_a_retry_of_what_came_from_an_inbox_that_is_missing_says_so_with_its_mend(site):
    settings = set_aside(site)
    rows = failures.set_aside(settings, pytest.fail)
    site.inbox.rename(site.base / "away")
    (back,) = failures.put_back(settings, rows)
    assert back.refused == f"its inbox {site.inbox} is missing: mount it, or bring it back, and retry"
    assert (site.failed / "sub/a.txt").exists()


def test_nothing_is_put_back_while_the_running_daemon_misses_its_inbox(site):
    settings = set_aside(site)
    rows = failures.set_aside(settings, pytest.fail)
    with locks.state(str(settings.state)):  # without a note in the inbox: it is another folder by now
        (back,) = failures.put_back(settings, rows)
        assert back.refused == failures.AWAY
        with ledger_of(settings) as ledger:
            ledger.send_back(rows[0].record.id, 1.0)
        assert failures.finish(settings, pytest.fail) == []
    assert [back.refused for back in failures.finish(settings, pytest.fail)] == [""]
    assert site.left() == ["sub/a.txt"]


def test_a_kept_file_needs_no_note_of_the_running_daemon_to_be_retried(site):
    settings = set_aside(site, {"after": "keep"})
    with locks.state(str(settings.state)):  # which leaves nothing in what it may not write to
        (back,) = failures.put_back(settings, failures.set_aside(settings, pytest.fail))
    assert back.refused == ""


def test_a_reason_that_is_not_ours_stays(site):
    settings = set_aside(site)
    rows = failures.set_aside(settings, pytest.fail)
    reason = site.failed / "sub/a.txt.error.json"
    reason.rename(site.base / "ours.json")
    reason.write_text("theirs")
    (back,) = failures.put_back(settings, rows)
    assert back.refused == ""
    assert reason.read_text() == "theirs"


def test_a_running_daemon_takes_what_was_put_back(site):
    settings = set_aside(site)
    with running(settings) as rooms:
        site.wait_for(lambda: not rooms.lines[0].publisher.paused)
        (site.failed / "sub/a.txt").write_text("mended by hand now")
        failures.put_back(settings, failures.set_aside(settings, pytest.fail))
        assert site.await_words("sub/a.txt") == 4


def test_a_kept_file_is_retried_where_it_is(site):
    settings = set_aside(site, {"after": "keep"})
    (row,) = failures.set_aside(settings, pytest.fail)
    assert row.where == f"{site.inbox}/sub/a.txt"
    with running(settings) as rooms:
        site.wait_for(lambda: not rooms.lines[0].publisher.paused)
        reason = site.failed / "sub/a.txt.error.json"
        first = json.loads(reason.read_bytes())
        (back,) = failures.put_back(settings, [row])
        assert back.refused == ""
        again = site.wait_for(lambda: reason.exists() and json.loads(reason.read_bytes()))
        assert (again["class"], again["attempts"]) == (first["class"], first["attempts"])
        site.wait_for(lambda: site.rows("id", "state = 'quarantined'") not in ([], [(row.record.id,)]))


def test_a_kept_file_is_touched_only_when_nothing_is_held_against_it_any_more(site, monkeypatch):
    settings = set_aside(site, {"after": "keep"})
    touched = []
    monkeypatch.setattr(wayback, "_touch", lambda *_: touched.append(site.rows("id")))
    failures.put_back(settings, failures.set_aside(settings, pytest.fail))
    assert touched == [[]]


def test_a_kept_file_that_was_changed_is_not_set_aside_any_more(site):
    settings = set_aside(site, {"after": "keep"})
    site.drop("sub/a.txt", b"words by now")
    assert failures.set_aside(settings, pytest.fail) == []
    assert draining.drain(settings).published == {Kind.TEXT: 1}
    assert failures.set_aside(settings, pytest.fail) == []


def test_a_retry_brings_the_file_back_across_file_systems(site, elsewhere):
    site.failed = elsewhere
    settings = set_aside(site)
    os.utime(elsewhere / "sub/a.txt", (1, 1))
    (back,) = failures.put_back(settings, failures.set_aside(settings, pytest.fail))
    assert back.refused == ""
    assert site.left() == ["sub/a.txt"]
    assert (site.inbox / "sub/a.txt").stat().st_mtime == 1
    assert not (elsewhere / "sub/a.txt").exists()
