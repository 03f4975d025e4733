"""How all rooms begin and end together, also where one of them hangs or is missing."""
# ruff: noqa: SLF001 (what is played or broken is played from inside)

import threading

import pytest
from tests.integration.assembled.conftest import named, quick, running

from watcherd import rooms as together
from watcherd.assembly import Ears
from watcherd.intake.intake import Intake
from watcherd.model import SystemFault
from watcherd.publish.publisher import Publisher
from watcherd.rooms import assembled
from watcherd.service import locks


def test_rooms_that_were_never_started_are_taken_down(site):
    with assembled(quick(site), Ears(on_death=pytest.fail)):
        pass
    assert site.drafts() == []


def test_an_error_in_the_block_stops_all_rooms_all_the_same(site):
    before = set(threading.enumerate())
    settings = quick(site)
    with pytest.raises(LookupError), running(settings) as rooms:
        rooms.reload(lambda: {}["no configuration"])
    site.wait_for(lambda: not set(threading.enumerate()) - before)  # the wardens of its lanes end by themselves


def test_a_stop_waits_for_the_intakes_before_the_ledger_closes(site, monkeypatch):
    run = Intake._run

    def run_and_linger(self):
        run(self)
        threading.Event().wait(0.2)

    monkeypatch.setattr(Intake, "_run", run_and_linger)
    with running(quick(site)) as rooms:
        intake = rooms.lines[0].intake
    assert intake.join(0)


def test_an_intake_that_hangs_is_left_behind_and_said_so(site, events, monkeypatch):
    monkeypatch.setattr(together, "LEAVE", 0.05)
    go_on, entered = threading.Event(), threading.Event()

    def hang(*_):
        entered.set()
        go_on.wait(10)

    monkeypatch.setattr(Intake, "_recall", lambda self, **_: hang(self))
    with running(quick(site)) as rooms:
        intake = rooms.lines[0].intake
        assert entered.wait(10)
    assert [event["room"] for event in named(events, "room.stuck")] == ["intake of scans"]
    go_on.set()
    assert intake.join(10)


def test_a_publisher_that_hangs_is_left_behind_and_said_so(site, events, monkeypatch):
    monkeypatch.setattr(together, "FLUSH", 0.5)
    go_on = threading.Event()
    monkeypatch.setattr(Publisher, "_leave", lambda _: go_on.wait(10))
    with running(quick(site)):
        pass
    assert [event["room"] for event in named(events, "room.stuck")] == ["publisher of scans"]
    go_on.set()


@pytest.mark.parametrize("root", ["inbox", "outbox"])
def test_a_root_in_which_nothing_can_be_noted_is_said_in_one_line_and_ends_a_drain_before_its_start(site, root):
    (getattr(site, root) / ".watcherd").touch()
    said = f"cannot use the folder {getattr(site, root)}: Not a directory"
    with pytest.raises(SystemFault, match=said), assembled(quick(site), Ears(on_death=pytest.fail), once=True):
        pass


@pytest.mark.parametrize("root", ["inbox", "outbox"])
def test_the_only_inbox_waits_for_a_root_in_which_nothing_can_be_noted(site, root):
    in_the_way = getattr(site, root) / ".watcherd"
    in_the_way.touch()
    with running(quick(site)) as rooms:
        site.wait_for(lambda: "Not a directory" in rooms.lines[0].publisher.paused, "the pause")
        site.drop("a.txt")
        in_the_way.unlink()
        assert site.await_words("a.txt") == 3


@pytest.mark.parametrize("before", ["missing", "another folder"])
def test_an_inbox_that_comes_between_the_start_and_the_first_look_is_noted_as_ours(site, before):
    settings = quick(site)
    if before == "missing":
        site.inbox.rmdir()
    with assembled(settings, Ears(on_death=pytest.fail)) as rooms:
        if before == "another folder":
            site.inbox.rename(site.base / "away")
        site.inbox.mkdir()
        rooms.start()
        site.wait_for(lambda: rooms.lines[0].intake.last_scan, "the first scan")
        assert locks.is_noted(str(site.inbox))
    assert not locks.is_noted(str(site.inbox))


def test_an_outbox_that_could_not_be_written_to_at_the_start_is_noted_as_ours_once_it_can(site, monkeypatch):
    with monkeypatch.context() as at_first:
        at_first.setattr(locks, "_open_note", lambda _: None)
        with assembled(quick(site), Ears(on_death=pytest.fail)) as rooms:
            at_first.undo()
            rooms.start()
            site.drop("a.txt")
            assert site.await_words("a.txt") == 3
            assert locks.is_noted(str(site.outbox))


def test_an_inbox_that_another_daemon_has_by_the_first_look_pauses_alone(site):
    settings = quick(site)
    site.inbox.rmdir()
    with assembled(settings, Ears(on_death=pytest.fail)) as rooms:
        site.inbox.mkdir()
        others = site.base / "others"
        others.mkdir()
        note = locks.Note(str(site.inbox), str(others))
        with locks.state(str(others)):
            note.write()
            rooms.start()
            site.wait_for(lambda: "is in use by watcherd" in rooms.lines[0].publisher.paused, "the pause")
