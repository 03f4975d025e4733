"""How a drain and quarantined files are shown."""

import dataclasses
import json
import os
import sys
import time

import pytest

from watcherd.cli import drain, failures
from watcherd.drain import DrainReport
from watcherd.model import Failure, File, Kind, Record, Version
from watcherd.publish.aside.quarantine import SetAside
from watcherd.publish.aside.wayback import PutBack
from watcherd.states import State

REPORT = DrainReport(
    published={Kind.TEXT: 1200, Kind.IMAGE: 3},
    quarantined=(("scans", "sub/a\n.txt", "not-text", "binary content"),),
    waiting=(("scans", os.fsdecode(b"b\xff.txt"), "still being written"),),
    left=1,
    bytes=5_000_000,
    seconds=2.0,
)


def test_a_summary_has_counts_rate_and_the_reason_of_each_that_gave_no_result(capsys):
    drain.summary(REPORT)
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["published, text", "1,200"],
        ["published, image", "3"],
        ["quarantined", "1"],
        ["waiting", "1"],
        ["read", "5.0 MB"],
        ["took", "2.0 s"],
        ["rate", "602 files/s, 2.5 MB/s"],
        ["scans", r"$'sub/a\x0a.txt'", "not-text", "binary content"],
        ["scans", r"$'b\xff.txt'", "still being written"],
    ]


def test_a_summary_of_an_interrupted_drain_says_by_what_and_how_many_are_left(capsys):
    drain.summary(dataclasses.replace(REPORT, interrupted=15, left=1500))
    lines = capsys.readouterr().out.splitlines()
    assert lines[4:6] == ["left in the inboxes\t1,500", "interrupted by\tSIGTERM"]


def test_the_facts_of_an_interrupted_drain_say_by_what_and_how_many_are_left():
    facts = drain.facts(dataclasses.replace(REPORT, interrupted=15, left=1500))
    assert (facts["interrupted"], facts["left"]) == ("SIGTERM", 1500)
    assert drain.facts(REPORT)["interrupted"] is None


def test_a_drain_of_more_bad_files_than_are_named_says_how_many_and_who_lists_them(capsys):
    report = dataclasses.replace(REPORT, unlisted=990_000)
    drain.summary(report)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "quarantined\t990,001"
    assert lines[8] == "\tand 990,000 more\t\tsee `watcherd failures`"
    assert drain.facts(report)["unlisted"] == 990_000


def test_a_rate_counts_what_was_quarantined_as_well(capsys):
    quarantined = (("scans", "a.txt", "not-text", "binary content"),) * 4
    drain.summary(dataclasses.replace(REPORT, published={}, quarantined=quarantined))
    assert "rate\t2 files/s, 2.5 MB/s" in capsys.readouterr().out


def test_a_summary_of_nothing_has_a_rate_of_nothing(capsys):
    drain.summary(DrainReport(published={}, quarantined=(), waiting=(), bytes=0, seconds=0.4))
    assert "read\t0 bytes\ntook\t0.4 s\nrate\t0 files/s, 0 bytes/s" in capsys.readouterr().out


def test_the_facts_of_a_drain_are_json():
    facts = json.loads(json.dumps(drain.facts(REPORT)))
    assert facts["published"] == {"text": 1200, "image": 3}
    assert facts["quarantined"] == [
        {"inbox": "scans", "path": "sub/a\n.txt", "class": "not-text", "message": "binary content"}
    ]
    assert facts["waiting"] == [
        {"inbox": "scans", "path": "b\ufffd.txt", "path_b64": "Yv8udHh0", "reason": "still being written"}
    ]


def test_progress_on_a_terminal_shows_files_and_bytes(monkeypatch):
    reading, writing = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(writing, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with drain.progress_bar() as advance:
            advance(12, 3456, 500, 1000)
        shown = ""
        while "12 of 3,456 files" not in shown:  # it comes in frames; the time limit of a test is its deadline
            shown += os.read(reading, 1 << 16).decode(errors="replace")
    os.close(reading)


def test_there_is_no_progress_to_be_told_where_nobody_sees_it(capfd):
    with drain.progress_bar() as advance:
        assert advance is None
    assert capfd.readouterr() == ("", "")


def row(path, failure, inbox="scans"):
    record = Record(
        id=1,
        file=File(inbox, path, Version(1, 2, 3, 4)),
        kind=Kind.TEXT,
        state=State.QUARANTINED,
        attempts=2,
        failure=failure,
        message="why",
        at=1_700_000_000,
    )
    return SetAside(record, f"/failed/{path}")


ROWS = [row("b.txt", Failure.TIMEOUT), row("a.txt", Failure.TIMEOUT), row("c.txt", Failure.NOT_TEXT)]


def paths(rows):
    return [row.path for row in rows]


def test_failures_are_listed_by_class_and_path():
    assert paths(failures.chosen(ROWS, (), None)) == ["c.txt", "a.txt", "b.txt"]


def test_failures_are_chosen_by_class():
    assert paths(failures.chosen(ROWS, (), "timeout")) == ["a.txt", "b.txt"]


@pytest.mark.parametrize("path", ["a.txt", "scans/a.txt", "/failed/a.txt", "/failed/x/../a.txt"])
def test_a_failure_is_chosen_by_its_path_in_the_inbox_or_by_where_it_lies(path):
    assert paths(failures.chosen(ROWS, (path,), None)) == ["a.txt"]


def test_a_failure_is_chosen_by_where_it_lies_also_where_links_lead_there(tmp_path, monkeypatch):
    (tmp_path / "failed").mkdir()
    (tmp_path / "link").symlink_to("failed")
    monkeypatch.chdir(tmp_path / "failed")
    lying = dataclasses.replace(ROWS[0], where=f"{tmp_path}/link/b.1.txt")
    for path in ("b.1.txt", "../link/b.1.txt/", f"{tmp_path}/failed/b.1.txt"):
        assert failures.chosen([lying], (path,), None) == [lying]
        assert failures.retry_status((path,), [PutBack(lying)]) == 0


@pytest.fixture
def tokyo(monkeypatch):
    """Let local time be that of Tokyo."""
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_table_of_failures_has_a_line_for_each_that_says_since_when_in_local_time(capsys, tokyo):  # noqa: ARG001
    failures.failure_table(ROWS[:1])
    assert capsys.readouterr().out == "timeout\tscans\tb.txt\t2\twhy\t2023-11-15 07:13:20+09:00\n"


def test_two_versions_of_one_path_are_told_apart_by_where_the_later_one_lies(capsys):
    first = row("1.txt", Failure.TIMEOUT)
    later = dataclasses.replace(first, where="/failed/1.1.txt")
    failures.failure_table([first, later])
    failures.retry_table([PutBack(first), PutBack(later)])
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[2] for line in lines[:2]] == [line[1] for line in lines[2:]] == ["1.txt", "/failed/1.1.txt"]
    assert failures.chosen([first, later], ("/failed/1.1.txt",), None) == [later]


def test_the_facts_of_a_failure_name_its_class_its_places_and_since_when():
    facts = failures.failure_facts(ROWS[2])
    assert (facts["class"], facts["path"], facts["where"]) == ("not-text", "c.txt", "/failed/c.txt")
    assert facts["since"] == "2023-11-14T22:13:20Z"


def test_a_failure_that_is_held_says_so(capsys):
    held = dataclasses.replace(ROWS[0], held="not set aside yet")
    failures.failure_table([held])
    assert capsys.readouterr().out.startswith("timeout\tscans\tb.txt\t2\twhy (not set aside yet)\t")
    assert [failures.failure_facts(row)["held"] for row in (ROWS[0], held)] == [None, "not set aside yet"]


def test_a_retry_says_what_went_back_and_why_the_others_did_not(capsys):
    outcomes = [PutBack(ROWS[0]), PutBack(ROWS[1], "the name is taken")]
    failures.retry_table(outcomes)
    assert capsys.readouterr().out == "scans\tb.txt\tput back\nscans\ta.txt\tthe name is taken\n"
    assert [failures.retry_facts(outcome)["refused"] for outcome in outcomes] == [None, "the name is taken"]


@pytest.mark.parametrize(
    ("asked", "outcomes", "status"),
    [
        (("b.txt",), [PutBack(ROWS[0])], 0),
        (("b.txt",), [PutBack(ROWS[0], "taken")], 1),
        (("b.txt", "z.txt"), [PutBack(ROWS[0])], 1),
    ],
)
def test_a_retry_that_was_not_all_done_leaves_with_1(asked, outcomes, status):
    assert failures.retry_status(asked, outcomes) == status


def test_a_retry_of_an_empty_path_as_of_an_unset_variable_shows_it(capsys):
    assert failures.retry_status(("",), []) == 1
    assert capsys.readouterr().err.startswith("watcherd: '' is not quarantined;")


def test_a_retry_of_a_path_that_is_of_another_class_says_so(capsys):
    assert failures.retry_status(("a.txt",), [], "not-text") == 1
    assert "a.txt is not quarantined as not-text;" in capsys.readouterr().err


@pytest.fixture
def watcherd(tmp_path, monkeypatch, called):
    """Run a command where these files are quarantined; return its status and output."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    monkeypatch.setattr("watcherd.plain.unheard_of", lambda _: ([], []))
    monkeypatch.setattr("watcherd.failures.finish", lambda *_: [])
    monkeypatch.setattr("watcherd.failures.set_aside", lambda *_: ROWS)
    monkeypatch.setattr("watcherd.failures.put_back", lambda _, rows: [PutBack(row) for row in rows])
    return lambda *arguments: called(*arguments, "--inbox", "in", "--outbox", "out", "--state", "state")[:2]


def test_failures_as_json_are_those_of_the_class(watcherd):
    status, out = watcherd("failures", "--class", "not-text", "--json")
    assert status == 0
    assert [fact["path"] for fact in json.loads(out)] == ["c.txt"]


def test_failures_are_a_line_each(watcherd):
    assert len(watcherd("failures")[1].splitlines()) == len(ROWS)


def test_retry_puts_back_what_was_asked_for(watcherd):
    assert watcherd("retry", "a.txt") == (0, "scans\ta.txt\tput back\n")
    assert len(json.loads(watcherd("retry", "--all", "--json")[1])) == len(ROWS)


@pytest.mark.parametrize("besides", [["a.txt"], ["--class", "timeout"], ["--class", "timeout", "a.txt"]])
def test_retry_of_all_and_of_some_is_refused(watcherd, besides):
    assert watcherd("retry", "--all", *besides) == (2, "")


@pytest.mark.parametrize(
    ("report", "status"),
    [
        (REPORT, 3),
        (dataclasses.replace(REPORT, quarantined=()), 0),
        (dataclasses.replace(REPORT, troubles=("the inbox is paused",)), 1),
        (dataclasses.replace(REPORT, troubles=("the inbox is paused",), interrupted=15), 143),
    ],
)
def test_the_status_of_a_drain_says_whether_all_went_well(watcherd, monkeypatch, report, status):
    monkeypatch.setattr("watcherd.drain.drain", lambda _, progress: report)  # noqa: ARG005 (its own name)
    monkeypatch.setattr("watcherd.cli.options.configure_logs", lambda *_, **__: None)
    assert watcherd("drain", "--json") == (
        status,
        json.dumps(drain.facts(report), ensure_ascii=False, indent=2) + "\n",
    )
    assert watcherd("drain")[0] == status
