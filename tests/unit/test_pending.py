# ruff: noqa: SLF001 (what is kept of alarms that are none any more is only seen from inside)

from math import inf

import pytest

from watcherd.intake.pending import Pending
from watcherd.intake.settle import How, Reason, Settling, Wait
from watcherd.model import Version


@pytest.fixture
def pending():
    return Pending()


def test_what_says_more_of_a_file_is_remembered_and_a_change_above_all(pending):
    for path, first, second, known in [
        ("a.txt", How.SEEN, How.CLOSED, How.CLOSED),
        ("b.txt", How.CLOSED, How.SEEN, How.CLOSED),
        ("c.txt", How.RENAMED, How.SEEN, How.RENAMED),
        ("d.txt", How.CHANGED, How.CLOSED, How.CHANGED),
        ("e.txt", How.CREATED, How.CLOSED, How.CLOSED),
    ]:
        assert pending.hint(path, first)
        assert pending.hint(path, second)
        assert pending.take(0.0, 1) == {path: known}
    assert not pending.hinted


def test_what_there_is_no_room_to_remember_is_to_be_scanned_for_once(pending, monkeypatch):
    monkeypatch.setattr("watcherd.intake.pending.MOST_WAITING", 1)
    known = Settling(Version(1, 0, 0, 1), 0.0)
    pending.wait("a.txt", Wait(9.0, Reason.CHANGING, known))
    assert (pending.alarm, pending.settling) == (9.0, False)
    for until in (5.0, 7.0):
        pending.wait("b.txt", Wait(until, Reason.CHANGING, known))
    assert (pending.alarm, pending.settling) == (5.0, True)
    assert [pending.take_overdue(now) for now in (4.0, 5.0, 6.0)] == [False, True, False]
    assert (pending.alarm, pending.settling) == (9.0, False)


def test_of_what_cannot_be_read_half_as_much_is_remembered_and_no_scan_is_asked_for(pending, monkeypatch):
    monkeypatch.setattr("watcherd.intake.pending.MOST_WAITING", 4)
    for name in "abc":
        pending.wait(f"{name}.txt", Wait(9.0, Reason.PERMISSION, None))
    assert len(pending.waiting()) == 2
    assert (pending.alarm, pending.settling) == (9.0, False)


def test_where_no_more_hints_are_remembered_a_known_one_may_still_say_more(pending, monkeypatch):
    monkeypatch.setattr("watcherd.intake.pending.MOST_HINTS", 2)
    assert [pending.hint(path, How.SEEN) for path in ("a.txt", "b.txt", "c.txt")] == [True, True, False]
    assert pending.hint("b.txt", How.CHANGED)
    assert pending.take(0.0, 9) == {"a.txt": How.SEEN, "b.txt": How.CHANGED}


def test_a_file_that_waits_anew_is_not_looked_at_when_it_was_to_be_before(pending):
    for until in (1.0, 3.0):
        pending.wait("a.txt", Wait(until, Reason.CHANGING, None))
    assert pending.take(2.0, 1) == {}
    assert pending.take(3.0, 1) == {"a.txt": How.SEEN}


def test_a_file_that_waits_anew_again_and_again_keeps_its_place_and_takes_no_more_memory(pending, monkeypatch):
    monkeypatch.setattr("watcherd.intake.pending.MOST_WAITING", 1)
    known = Settling(Version(1, 0, 0, 1), 0.0)
    for until in range(100):
        pending.wait("a.txt", Wait(until, Reason.CHANGING, known))
    assert len(pending._alarms) <= 4
    assert pending.take(98.0, 1) == {}
    assert pending.take(99.0, 1) == {"a.txt": How.SEEN}


def test_those_hinted_at_are_taken_before_those_whose_time_has_come(pending):
    for until, path in ((1.0, "a.txt"), (2.0, "b.txt"), (3.0, "c.txt")):
        pending.wait(path, Wait(until, Reason.SETTLING, None))
    pending.hint("d.txt", How.CLOSED)
    assert pending.take(2.0, 2) == {"d.txt": How.CLOSED, "a.txt": How.SEEN}
    assert pending.take(2.0, 2) == {"b.txt": How.SEEN}


def test_what_is_hinted_at_when_its_time_has_come_is_taken_as_the_hint_has_it(pending):
    pending.wait("a.txt", Wait(1.0, Reason.SETTLING, None))
    pending.hint("a.txt", How.RENAMED)
    assert pending.take(1.0, 4) == {"a.txt": How.RENAMED}


def test_a_reason_to_wait_is_news_once(pending):
    reasons = (Reason.PERMISSION, Reason.PERMISSION, "Input/output error")
    assert [pending.wait("a.txt", Wait(1.0, reason, None)) for reason in reasons] == [True, False, True]


def test_what_has_settled_has_its_share_while_more_is_hinted_at_than_is_taken(pending):
    for until, path in ((1.0, "a.txt"), (1.0, "b.txt"), (2.0, "c.txt")):
        pending.wait(path, Wait(until, Reason.SETTLING, None))
    for number in range(9):
        pending.hint(f"{number}.txt", How.CLOSED)
    assert list(pending.take(1.0, 4)) == ["0.txt", "1.txt", "2.txt", "a.txt"]
    assert list(pending.take(1.0, 4)) == ["3.txt", "4.txt", "5.txt", "b.txt"]
    assert list(pending.take(1.0, 4)) == ["6.txt", "7.txt", "8.txt"]


def test_what_is_forgotten_is_not_looked_at(pending, monkeypatch):
    monkeypatch.setattr("watcherd.intake.pending.MOST_WAITING", 1)
    pending.hint("a.txt", How.SEEN)
    for path in ("b.txt", "c.txt"):
        pending.wait(path, Wait(1.0, Reason.SETTLING, Settling(Version(1, 0, 0, 1), 0.0)))
    pending.forget()
    assert (pending.hinted, pending.settling, pending.waiting(), pending.alarm) == (False, False, [], inf)
