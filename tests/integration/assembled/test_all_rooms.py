"""All rooms of one process, wired as they are for people: what goes in, and what comes out."""
# ruff: noqa: SLF001 (what is played or broken is played from inside)

import itertools
import json
import os
import shlex
import subprocess
import sys
import threading

import pytest
from PIL import Image
from tests.integration.assembled.conftest import QUICK, leave_behind, named, quick, running

from watcherd import drain as draining
from watcherd import failures
from watcherd import settings as configuration
from watcherd.assembly import Ears
from watcherd.ledger.ledger import Intent, Ledger
from watcherd.model import After, Draft, Kind, SystemFault
from watcherd.publish.batch import Batch
from watcherd.rooms import assembled
from watcherd.states import State

pytestmark = pytest.mark.usefixtures("uncounted")


@pytest.mark.parametrize("after", ["archive", "delete", "keep"])
def test_a_text_and_an_image_go_through_all_rooms(site, picture, after):
    with running(quick(site, {"after": after})):
        site.drop("notes/a.txt", b"three words here")
        site.drop("b.png", picture())
        assert site.await_words("notes/a.txt") == 3
        site.wait_for((site.outbox / "grayscale_b.png").exists)
        site.wait_for(lambda: len(site.left()) == (2 if after == "keep" else 0))
    with Image.open(site.outbox / "grayscale_b.png") as grey:
        assert grey.mode == "L"
    assert sorted(path.name for path in site.archive.rglob("*.*g")) == (["b.png"] if after == "archive" else [])
    assert site.drafts() == []
    assert {state for (state,) in site.rows("state")} == {"published"}


def test_an_inbox_whose_outbox_is_gone_pauses_and_the_other_goes_on(site, events):
    folders = {name: site.base / f"other-{name}" for name in ("path", "outbox", "archive", "failed")}
    for folder in folders.values():
        folder.mkdir()
    with running(quick(site, **{"inbox.other": {**folders, **QUICK}})) as rooms:
        other = next(line for line in rooms.lines if line.name == "other")
        site.wait_for(lambda: not other.publisher.paused)
        folders["outbox"].rename(site.base / "away")
        (folders["path"] / "late.txt").write_text("of the other")
        site.wait_for(lambda: other.publisher.paused)
        site.drop("a.txt")
        assert site.await_words("a.txt") == 3
        assert (folders["path"] / "late.txt").exists()
        (site.base / "away").rename(folders["outbox"])
        site.wait_for((folders["outbox"] / "late.txt.words.json").exists)
        site.wait_for(lambda: named(events, "intake.resumed"))
    assert {event["inbox"] for event in named(events, "intake.paused")} == {"other"}
    assert {event["inbox"] for event in named(events, "intake.resumed")} == {"other"}
    assert site.rows("attempts", "path = CAST('late.txt' AS BLOB)") == [(0,)]


def test_a_state_folder_is_closed_to_others_and_so_are_those_that_are_made_around_it(site):
    site.state = site.base / "var/lib/state"
    with assembled(quick(site), Ears(on_death=pytest.fail)):
        made = [site.state, *site.state.parents[:2]]
        assert {path.stat().st_mode & 0o777 for path in made} == {0o700}


def test_folders_that_are_made_are_on_disk(site, synced):
    archive = site.base / "var/archive"
    with assembled(quick(site, inbox={"archive": archive}), Ears(on_death=pytest.fail)):
        assert archive.is_dir()
    assert {str(site.base), str(archive.parent)} <= {*synced}


def test_a_missing_inbox_is_waited_for(site, events):
    site.inbox.rmdir()
    with running(quick(site)):
        site.wait_for(lambda: named(events, "inbox.lost"))
        site.inbox.mkdir()
        site.drop("a.txt")
        assert site.await_words("a.txt") == 3
    assert named(events, "inbox.recovered")


def test_a_file_that_was_in_hand_when_the_ledger_failed_is_done_once_it_works_again(site):
    with running(quick(site)) as rooms:
        site.wait_for(lambda: not rooms.lines[0].publisher.paused)
        fault = SystemFault("the ledger cannot be used", root=str(site.state))
        refusals = itertools.chain([fault], itertools.repeat(None))
        lane = rooms.lanes[Kind.TEXT]
        record = lane._record

        def failing_once(jobs):
            if refusal := next(refusals):
                raise refusal
            record(jobs)

        lane._record = failing_once
        site.drop("a.txt")
        assert site.await_words("a.txt") == 3


def test_a_file_that_was_worked_on_when_the_daemon_was_killed_is_done_uncharged(site):
    settings = quick(site)
    leave_behind(site, settings, "a.txt")
    with running(settings):
        assert site.await_words("a.txt") == 3
        site.await_empty_inbox()
    assert site.rows("state, attempts, alone") == [("published", 0, 1)]


def test_a_newer_file_by_the_name_of_one_that_a_crash_left_on_its_way_out_is_done_too(site, monkeypatch):
    settings = quick(site)
    job = leave_behind(site, settings, "a.txt")
    result = site.write("a.txt.words.json", b"{}", root=site.outbox)
    with Ledger(settings.state / "ledger.db") as ledger:
        ledger.register("scans", str(site.inbox))
        ledger.intend([Intent(job, State.PUBLISHING, 0, Draft("draft", result.stat().st_ino))])
    site.archive.mkdir()
    (site.inbox / "a.txt").rename(site.archive / "a.txt")
    site.write("a.txt", b"a newer one")
    scanned, real = threading.Event(), Batch.settle
    monkeypatch.setattr(Batch, "settle", lambda batch: (scanned.wait(10), real(batch)))
    with running(settings) as rooms:
        site.wait_for(lambda: rooms.lines[0].intake.last_scan, "the first scan")
        scanned.set()
        site.wait_for((site.outbox / "a.1.txt.words.json").exists, "the newer one's result")


def test_a_file_that_ended_the_daemon_each_time_it_ran_alone_is_set_aside(site):
    settings = quick(site)
    leave_behind(site, settings, "a.txt", attempts=2, alone=True)
    with running(settings):
        reason = site.await_failure("a.txt")
    assert (reason["class"], reason["attempts"]) == ("crashed", 3)
    assert site.rows("state, attempts") == [("quarantined", 3)]


def test_a_suspect_that_was_changed_meanwhile_is_a_new_file(site):
    settings = quick(site)
    leave_behind(site, settings, "a.txt", grown=True, attempts=2, alone=True)
    with running(settings):
        assert site.await_words("a.txt") == 3
        site.await_empty_inbox()
    assert site.rows("state, attempts, alone") == [("published", 0, 0)]


@pytest.mark.parametrize(
    ("found", "script", "program"),
    [
        ("/usr/bin/watcherd", "watcherd", ["watcherd"]),
        (None, "/opt/my own/watcherd", ["/opt/my own/watcherd"]),
        (None, "/lib/watcherd/__main__.py", [sys.executable, "-m", "watcherd"]),
    ],
)
def test_a_reason_names_the_command_that_retries_the_file_as_a_shell_finds_it_also_where_all_was_said_by_flags(
    site, monkeypatch, found, script, program
):
    monkeypatch.setattr("shutil.which", lambda _: found)
    monkeypatch.setattr(sys, "argv", [script])
    flags = {name: getattr(site, name) for name in ("inbox", "outbox", "state")}
    settings = configuration.load(flags, {}, site.base)
    site.drop("a b.txt", b"\x00\x01\x02" * 100)
    draining.drain(settings)
    command = shlex.split(site.failure("a b.txt")["retry"])
    assert command[: len(program) + 3] == [*program, "retry", "--inbox", str(site.inbox)]
    assert command[-1].endswith("a b.txt")


@pytest.mark.parametrize("after", After)
def test_the_command_that_a_reason_names_retries_the_file_also_where_all_was_said_by_flags(site, monkeypatch, after):
    monkeypatch.setattr("shutil.which", lambda _: None)
    base = site.base / os.fsdecode(b"it's \xff")
    flags = {name: base / name for name in ("inbox", "outbox", "state")} | {"archive": base / "elsewhere"}
    for name in ("inbox", "outbox"):
        flags[name].mkdir(parents=True)
    (flags["inbox"] / "a b.txt").write_bytes(b"\x00\x01\x02" * 100)
    draining.drain(configuration.load(flags | {"after": after}, {}, site.base))
    reason = base / "failed/a b.txt.error.json"
    command = json.loads(reason.read_text())["retry"]
    assert subprocess.run(["bash", "-c", command], check=False).returncode == 0  # noqa: S607
    assert (flags["inbox"] / "a b.txt").exists()
    assert not reason.exists()


@pytest.mark.parametrize("variable", ["STATE", "INBOX__SCANS__PATH", "INBOX__SCANS__FAILED", "INBOX__SCANS__AFTER"])
def test_the_command_that_a_reason_names_retries_the_file_also_where_a_variable_said_a_part(
    site, monkeypatch, variable
):
    monkeypatch.setattr("shutil.which", lambda _: None)
    elsewhere = site.base / "elsewhere"
    elsewhere.mkdir()
    environ = {f"WATCHERD_{variable}": "keep" if variable.endswith("AFTER") else str(elsewhere)}
    settings = configuration.load({}, environ, site.base, site.config)
    inbox, failed = settings.inbox["scans"].path, settings.inbox["scans"].failed
    site.drop("a.txt", b"\x00\x01\x02" * 100, root=inbox)
    draining.drain(settings)
    command = json.loads((failed / "a.txt.error.json").read_text())["retry"]
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0  # noqa: S607
    assert (inbox / "a.txt").exists()
    assert not (failed / "a.txt.error.json").exists()


def test_the_command_that_a_reason_names_retries_the_file_of_its_own_inbox_alone(site, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    other = {name: site.base / f"other/{name}" for name in ("path", "outbox", "failed")}
    other["outbox"].mkdir(parents=True)
    settings = quick(site, **{"inbox.other": other})
    for inbox in (site.inbox, other["path"]):
        site.drop("a.txt", b"\x00\x01\x02" * 100, root=inbox)
    draining.drain(settings)
    command = json.loads((other["failed"] / "a.txt.error.json").read_text())["retry"]
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0  # noqa: S607
    assert (other["path"] / "a.txt").exists()
    assert site.failure("a.txt")


@pytest.mark.parametrize("variable", ["STATE_DIRECTORY", "XDG_STATE_HOME"])
def test_the_command_that_a_reason_names_finds_the_ledger_also_where_the_host_s_variable_said_it(
    site, monkeypatch, variable
):
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)  # root's state is elsewhere
    site.config.write_text(site.config.read_text("utf-8").replace("state = ", "# state = "), "utf-8")
    settings = configuration.load({}, {variable: str(site.base / "said")}, site.base, site.config)
    site.drop("a.txt", b"\x00\x01\x02" * 100)
    draining.drain(settings)
    assert subprocess.run(["sh", "-c", site.failure("a.txt")["retry"]], check=False).returncode == 0  # noqa: S607
    assert site.has("a.txt")
    assert not site.failure("a.txt")


@pytest.mark.parametrize("year", [2300, 9999])
@pytest.mark.parametrize("after", After)
def test_a_file_may_claim_any_time(site, after, year):
    time = (year - 1970) * 31_556_952
    settings = quick(site, {"after": after.value})
    for name, content in (("good.txt", b"two words"), ("bad.txt", bytes(300))):
        os.utime(site.drop(name, content), (time, time))
    report = draining.drain(settings)
    assert (report.published.total(), len(report.quarantined)) == (1, 1)
    report = draining.drain(settings)
    assert (report.published.total(), len(report.quarantined)) == (0, 0)
    assert [row.path for row in failures.set_aside(settings, pytest.fail)] == ["bad.txt"]
    assert not failures.put_back(settings, failures.set_aside(settings, pytest.fail))[0].refused
