"""A drain: what it takes, what it leaves, and what it says of each."""
# ruff: noqa: SLF001 (what is played or broken is played from inside)

import errno
import itertools
import os
import signal
import threading

import pytest
from tests.integration.assembled.conftest import named, quick

from watcherd import beneath
from watcherd import drain as draining
from watcherd.assembly import Ears
from watcherd.decide import Retry
from watcherd.intake.intake import Intake
from watcherd.ledger.ledger import Ledger
from watcherd.model import Failure, File, Job, Kind, Stopped
from watcherd.publish.publisher import Publisher
from watcherd.rooms import assembled
from watcherd.settings.units import MinFree


def test_a_drain_reports_what_became_of_every_file(site, picture):
    settings = quick(site)
    site.texts(20)
    site.drop("deep/er/b.png", picture())
    site.drop("bad.txt", b"\x00\x01\x02" * 100)
    site.drop("ignored.xyz")
    seen = []
    report = draining.drain(settings, lambda *numbers: seen.append(numbers))
    assert report.published == {Kind.TEXT: 20, Kind.IMAGE: 1}
    assert [(path, failure) for _, path, failure, _ in report.quarantined] == [("bad.txt", "not-text")]
    assert report.waiting == ()
    assert report.interrupted == 0
    assert report.seconds > 0
    assert seen[0][1:2] + seen[0][3:] == (22, report.bytes)
    assert seen[-1] == (22, 22, report.bytes, report.bytes)
    assert site.left() == ["ignored.xyz"]
    assert site.drafts() == []


def test_a_drain_names_the_first_bad_files_and_counts_the_rest(site, monkeypatch):
    monkeypatch.setattr(draining, "LISTED", 2)
    for number in range(5):
        site.drop(f"{number}.txt", b"\x00\x01\x02" * 100)
    seen = []
    report = draining.drain(quick(site), lambda *numbers: seen.append(numbers))
    assert (len(report.quarantined), report.unlisted) == (2, 3)
    assert seen[-1][:2] == (5, 5)


def test_a_drain_of_nothing_ends_at_once(site):
    report = draining.drain(quick(site))
    assert (report.published, report.quarantined, report.waiting, report.bytes) == ({}, (), (), 0)


def test_a_drain_leaves_a_file_that_is_being_written_and_says_so(site):
    site.drop("a.txt")
    with (site.inbox / "open.txt").open("w") as writer:
        writer.write("not yet")
        writer.flush()
        report = draining.drain(quick(site))
    assert report.published == {Kind.TEXT: 1}
    assert [path for _, path, _ in report.waiting] == ["open.txt"]
    assert site.left() == ["open.txt"]


def test_a_drain_ends_although_a_log_grows_for_ever(site):
    grown, enough = site.write("growing.txt"), threading.Event()

    def grow():
        while not enough.wait(0.02):
            with grown.open("ab") as log:
                log.write(b"more\n")

    growing = threading.Thread(target=grow)
    growing.start()
    try:
        report = draining.drain(quick(site, {"settle": "2s"}))
    finally:
        enough.set()
        growing.join()
    assert [path for _, path, _ in report.waiting] == ["growing.txt"]


def test_a_drain_ends_although_new_files_keep_coming(site):
    settings, names = quick(site), (f"late-{number}.txt" for number in itertools.count())
    site.texts(3)

    def hand_in_more(done, *_):
        if done:
            site.drop(next(names))

    report = draining.drain(settings, hand_in_more)
    assert report.published == {Kind.TEXT: 3}
    assert site.left()
    assert all(name.startswith("late-") for name in site.left())


def test_a_drain_waits_for_retries(site):
    settings = quick(site)
    site.drop("a.txt")
    site.state.mkdir(mode=0o700)
    with Ledger(settings.state / "ledger.db") as ledger:
        ledger.register("scans", str(site.inbox))
        version = beneath.version_of(os.lstat(site.inbox / "a.txt"))
        job = Job(ledger.next_id(), File("scans", "a.txt", version), Kind.TEXT)
        ledger.hand_over([job])
        due = os.stat(site.inbox).st_ctime + 0.7
        ledger.retry(job, Retry(2, 0, 0.0), due, Failure.TIMEOUT, "slow")
    report = draining.drain(settings)
    assert report.published == {Kind.TEXT: 1}
    assert site.rows("state, attempts") == [("published", 2)]


def test_a_drain_finishes_a_quarantine_that_an_earlier_run_had_decided_and_says_why(site, events):
    settings = quick(site)
    site.drop("a.txt", b"\x00\x01\x02" * 100)
    decided = draining.drain(settings).quarantined
    (site.failed / "a.txt").rename(site.inbox / "a.txt")
    with Ledger(settings.state / "ledger.db") as ledger:
        ledger._writer.execute("UPDATE file SET state = 'quarantining'")
        version = beneath.version_of(os.lstat(site.inbox / "a.txt"))
        ledger._writer.execute("UPDATE file SET ctime_ns = ?", (version.ctime_ns,))
    assert draining.drain(settings).quarantined == decided
    first, again = named(events, "file.quarantined")
    assert again == first


def test_a_drain_that_is_interrupted_says_by_what_and_leaves_no_draft(site):
    settings = quick(site, text={"workers": 1})
    site.texts(500)

    def interrupt(*_):
        os.kill(os.getpid(), signal.SIGINT)

    report = draining.drain(settings, interrupt)
    assert report.interrupted == signal.SIGINT
    assert report.published.get(Kind.TEXT, 0) + len(site.left()) == 500
    assert report.left == len(site.left())
    assert site.drafts() == []


@pytest.mark.parametrize("error", [errno.ENOENT, errno.EACCES])
def test_a_drain_of_a_missing_or_closed_inbox_does_the_others_and_says_what_is_wrong(site, monkeypatch, error):
    other = {name: site.base / f"other-{name}" for name in ("path", "outbox", "archive", "failed")}
    other["outbox"].mkdir()
    settings, stat = quick(site, **{"inbox.other": other}), os.stat

    def stat_or_fail(path, **options):
        if str(path).startswith(str(other["path"])):
            raise OSError(error, os.strerror(error), path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", stat_or_fail)
    site.drop("a.txt")
    (trouble,) = draining.drain(settings).troubles
    assert f"the inbox {other['path']} is lost: {os.strerror(error)}" in trouble
    assert site.words("a.txt") == 3


@pytest.mark.parametrize(("root", "content"), [("archive", b"words"), ("failed", b"\x00\x01\x02" * 100)])
@pytest.mark.parametrize("files", [1, 20])
def test_a_drain_ends_where_inputs_cannot_be_taken_and_lists_them(site, root, content, files):
    settings = quick(site, queue={"capacity": 1})  # few may be in flight
    site.write("sub", root=getattr(site, root))  # where a folder belongs
    for number in range(files):
        site.drop(f"sub/{number}.txt", content)
    report = draining.drain(settings)
    assert report.published == {}
    assert report.left == len(site.left()) == files
    assert report.waiting
    assert {reason.partition(":")[0] for _, _, reason in report.waiting} == {"Not a directory"}


def test_a_drain_ends_where_a_pause_does_not_pass_and_says_why(site, monkeypatch):
    monkeypatch.setattr(draining, "PATIENCE", 0.3)
    site.texts(3)
    report = draining.drain(quick(site, min_free="99.9%"))
    assert report.left == len(site.left()) == 3
    (trouble,) = report.troubles
    assert f"the inbox {site.inbox} is paused: " in trouble
    assert "min_free" in trouble


def test_a_drain_goes_on_after_a_pause_that_passes(site, monkeypatch):
    settings, lack = quick(site), itertools.chain([1 << 62], itertools.repeat(0))
    monkeypatch.setattr(MinFree, "of", lambda *_: next(lack))
    site.texts(3)
    report = draining.drain(settings)
    assert report.published == {Kind.TEXT: 3}
    assert report.troubles == ()


def test_what_an_earlier_drain_kept_is_not_counted_again(site):
    settings, seen = quick(site, {"after": "keep"}), []
    site.texts(3)
    assert draining.drain(settings).published == {Kind.TEXT: 3}
    site.drop("late.txt")
    report = draining.drain(settings, lambda *numbers: seen.append(numbers[:2]))
    assert seen[-1] == (1, 1)
    assert report.left == 0


def test_a_drain_in_which_a_room_dies_raises_what_it_died_of(site, monkeypatch):
    monkeypatch.setattr(Intake, "_turn", lambda _: 1 // 0)
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError):
        draining.drain(quick(site))
    site.wait_for(lambda: not set(threading.enumerate()) - before)  # the wardens of its lanes end by themselves


def test_a_drain_in_which_a_room_dies_at_the_end_raises_that_too(site, monkeypatch):
    monkeypatch.setattr(Publisher, "_leave", lambda _: 1 // 0)
    site.drop("a.txt")
    with pytest.raises(ZeroDivisionError):
        draining.drain(quick(site))


def test_a_signal_to_stop_ends_the_count_of_the_files_of_a_drain_and_none_is_begun(site, monkeypatch):
    def undone(_, __, checkpoint):
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            checkpoint()
            yield 1

    site.drop("a.txt")
    monkeypatch.setattr(draining, "_undone", undone)
    with pytest.raises(Stopped):
        draining.drain(quick(site), pytest.fail)
    assert site.left() == ["a.txt"]


def test_a_count_comes_to_a_checkpoint_before_each_file_also_where_nothing_is_to_be_done(site):
    names, come = site.texts(3), []
    settings = quick(site, {"after": "keep"})
    draining.drain(settings)
    with assembled(settings, Ears(on_death=pytest.fail)) as rooms:
        assert draining._census(rooms, lambda: come.append(None)) == (0, 0)
    assert len(come) == len(names)


def test_a_drain_counts_a_kept_file_that_was_changed_since_it_was_done(site):
    changed, _ = site.texts(2)
    settings = quick(site, {"after": "keep"})
    draining.drain(settings)
    site.write(changed, b"changed")
    with assembled(settings, Ears(on_death=pytest.fail)) as rooms:
        assert draining._census(rooms) == (1, len(b"changed"))


def test_what_a_drain_counts_is_what_the_intake_would_take(site):
    for name in ("a.txt", "b.png", "no/c.txt", ".hidden/d.txt", "e.xyz", "sub/f.md"):
        site.write(name, b"bytes")
    os.mkfifo(site.inbox / "pipe.txt")
    (site.inbox / "link.txt").symlink_to("a.txt")
    with assembled(quick(site, {"exclude": ["no/"]}), Ears(on_death=pytest.fail)) as rooms:
        assert draining._census(rooms) == (3, 3 * len(b"bytes"))
