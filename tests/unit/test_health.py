"""When it is time to look whether the system is well."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from watcherd.model import SystemFault
from watcherd.publish import health
from watcherd.publish.health import CALM, MOST, PROOF, TICK, Health

FULL = SystemFault("full", root="/out")


class Clock:
    """A clock that goes when it is told to."""

    now = 100.0

    def monotonic(self):
        """Return what it is set to."""
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(health, "time", clock)
    return clock


@pytest.fixture
def well(clock):  # noqa: ARG001 (it is to go by that clock)
    place = SimpleNamespace(inbox="scans", roots=())
    ledger = SimpleNamespace(folder="/state", free=lambda: (1, 1), probe=lambda: None)
    well = Health(place, ledger, least_free=lambda _: 0, prepare=lambda: None, on_pause=lambda: None)
    well.paused = ""
    return well


def looks(well, clock, *, idle, seconds=12):
    """Return how often it is time within some seconds, asked four times in each."""
    due = 0
    for _ in range(4 * seconds):
        due += well.is_due(idle=idle)
        clock.now += 0.25
    return due


def test_the_system_is_looked_at_every_second_at_work_and_less_often_at_rest(well, clock):
    assert looks(well, clock, idle=False) == 12 / TICK
    assert looks(well, clock, idle=True) == pytest.approx(12 / CALM, abs=1)


def test_a_fault_that_may_have_passed_is_looked_at_every_second_also_at_rest(well, clock):
    well.pause(SystemFault("full", root="/out"))
    assert looks(well, clock, idle=True) == pytest.approx(12 / TICK, abs=1)


def test_a_fault_is_not_looked_for_again_at_once(well, clock):
    well.pause(SystemFault("full", root="/out"))
    assert well.until_due() == TICK
    assert not well.is_due(idle=False)
    clock.now += 5
    assert well.until_due() == 0
    assert well.is_due(idle=False)


def test_a_pause_that_may_be_over_is_looked_at_every_second_also_at_rest(well, clock):
    well.pause(SystemFault("full", root="/out"))
    well.conclude()  # a look found nothing any more
    assert looks(well, clock, idle=True) == pytest.approx(12 / TICK, abs=1)


def test_a_pause_is_over_once_its_fault_has_stayed_away_and_that_is_said_once(well, clock):
    with capture_logs() as logs:
        well.pause(FULL)
        well.conclude()
        clock.now += PROOF - 0.1
        well.conclude()
        assert [(entry["event"], entry["reason"]) for entry in logs] == [("intake.paused", "full")]
        for _ in range(2):
            clock.now += PROOF
            well.conclude()
    assert [(entry["event"], entry["reason"]) for entry in logs[1:]] == [("intake.resumed", "full")]


def test_a_fault_that_comes_back_before_that_is_no_news_and_one_that_comes_after_it_is(well, clock):
    with capture_logs() as logs:
        well.pause(FULL)
        for _ in range(3):
            well.conclude()
            clock.now += PROOF - 0.1
            well.pause(FULL)
        assert [entry["event"] for entry in logs] == ["intake.paused"]
        for _ in range(2):
            well.conclude()
            clock.now += PROOF
        well.pause(FULL)
    assert [entry["event"] for entry in logs] == ["intake.paused", "intake.resumed", "intake.paused"]


def test_a_fault_that_took_long_to_be_seen_is_over_once_it_has_stayed_away_for_longer_than_that(well, clock):
    slow = SystemFault("no worker", root="", took=8.0)
    with capture_logs() as logs:
        well.pause(slow)
        for _ in range(2):
            well.conclude()
            clock.now += PROOF + slow.took
            well.conclude()
            well.pause(slow)
        well.conclude()
        clock.now += PROOF + 2 * slow.took
        well.conclude()
    assert [entry["event"] for entry in logs] == ["intake.paused", "intake.resumed"]


def test_of_faults_that_come_by_turns_the_slowest_to_be_seen_is_waited_for(well, clock):
    with capture_logs() as logs:
        for _ in range(3):
            well.pause(SystemFault("full for a picture", root="/out", took=8.0))
            well.pause(FULL)  # as a text beside it meets
            well.conclude()
            clock.now += PROOF + 8.0
            well.conclude()
    assert [entry["event"] for entry in logs] == ["intake.paused"] * 2


def test_a_slow_fault_that_is_over_makes_none_after_it_wait_longer(well, clock):
    with capture_logs() as logs:
        for took in (8.0, 0.0):
            well.pause(SystemFault("full", root="/out", took=took))
            well.conclude()
            clock.now += PROOF + 2 * took
            well.conclude()
    assert [entry["event"] for entry in logs] == ["intake.paused", "intake.resumed"] * 2


def test_no_more_faults_are_remembered_than_a_few(well):
    with capture_logs() as logs:
        for number in (*range(MOST + 1), 0):
            well.pause(SystemFault(str(number), root="/out"))
    assert len(logs) == MOST + 2


def test_faults_that_come_by_turns_are_told_once_each(well):
    with capture_logs() as logs:
        for reason in ("full", "read-only", "full", "read-only"):
            well.pause(SystemFault(reason, root="/out"))
    assert [(entry["event"], entry["reason"]) for entry in logs] == [
        ("intake.paused", "full"),
        ("intake.paused", "read-only"),
    ]
    assert well.paused == "read-only"


def test_a_shortage_of_the_process_is_one_fault_wherever_it_is_met_and_says_what_to_raise(well):
    with capture_logs() as logs:
        for root in ("/out", "/in", "/out"):
            well.pause(SystemFault(f"{root}: Too many open files", root=root, errno=errno.EMFILE))
    (told,) = logs
    assert "LimitNOFILE" in told["reason"]


def test_the_ledger_s_own_disk_may_be_short_of_space_too_and_what_is_just_enough_is_not_short(well):
    well.least_free = lambda _: 1
    well.conclude()
    assert well.paused == ""
    well.least_free = lambda _: 2
    well.conclude()
    assert well.paused.startswith("/state has fewer bytes free than min_free")


def test_a_shortage_of_space_on_a_file_system_whose_size_changes_is_told_once(well):
    least = iter((4, 3, 2))
    well.least_free = lambda _: next(least)
    with capture_logs() as logs:
        for _ in range(3):
            well.conclude()
    assert [entry["event"] for entry in logs] == ["intake.paused"]


def test_a_look_can_be_asked_for_at_once(well):
    well.pause(SystemFault("full", root="/out"))
    well.look_within(0.0)
    assert well.until_due() == 0
    assert well.is_due(idle=True)
