"""When the whole is scanned again, by a clock that is played: what a scan cost, and what failed in it."""

import errno
import os
from itertools import pairwise
from types import SimpleNamespace

import pytest

from watcherd import beneath
from watcherd.intake import rounds
from watcherd.intake.root import InboxRoot
from watcherd.intake.rounds import BLIND_RESCAN, FAILED_SHARE, SCAN_SHARE, Rounds
from watcherd.model import Kind

USUAL = 600.0


class Clock:
    """Seconds that pass when it is said, and those of the processor."""

    def __init__(self):
        self.now = self.spent = 0.0
        self.module = SimpleNamespace(time=self.monotonic, monotonic=self.monotonic, thread_time=lambda: self.spent)

    def monotonic(self):
        """Return what it shows."""
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(rounds, "time", clock.module)
    return clock


@pytest.fixture
def scans(watching, root, clock):  # noqa: ARG001 (it is looked at from the first)
    return Rounds(watching().inbox, InboxRoot("scans", str(root), named="", watching=False))


@pytest.fixture
def failing_sub(root, clock, monkeypatch):
    """Have a folder that takes 10 s to fail; return a function that mends it."""
    opened = beneath.folder

    def folder(root, path, **how):
        if path == "sub":
            clock.now += 10
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(root, path, **how)

    monkeypatch.setattr(beneath, "folder", folder)
    (root / "sub").mkdir()
    return lambda: monkeypatch.setattr(beneath, "folder", opened)


def scanned(scans, spend=lambda: None):
    """Scan the whole, and spend what each step costs."""
    scans.ask("test")
    for kind in Kind:
        while scans.wants(kind):
            with scans.charged(kind):
                scans.take(kind, 100)
                spend()
            scans.conclude(USUAL)


def test_the_whole_takes_its_share_of_the_processor_for_the_walks_of_all_kinds(scans, clock):
    def spend():
        clock.spent += 60

    scanned(scans, spend)
    assert clock.spent > 60 * len(Kind)
    assert scans.next - clock.now == SCAN_SHARE * clock.spent


def test_a_folder_that_takes_long_to_fail_is_listed_as_often_however_many_times_it_did(scans, clock, failing_sub):  # noqa: ARG001
    for _ in range(3):
        scanned(scans)
        assert scans.next - clock.now == FAILED_SHARE * 10 * len(Kind)


def test_once_a_folder_that_failed_is_mended_the_whole_is_scanned_as_seldom_as_before(scans, clock, failing_sub):
    scanned(scans)
    assert BLIND_RESCAN < scans.next - clock.now < USUAL
    failing_sub()
    scanned(scans)
    assert scans.next - clock.now == USUAL


def test_a_kind_that_is_walked_while_another_waits_for_its_lane_takes_its_share_of_the_processor(scans, clock, root):
    (root / "a.txt").touch()
    (root / "a.png").touch()
    scans.ask("test")
    began, cost = [], 0
    while len(began) < 4:
        if scans.wants(Kind.TEXT):
            began.append(clock.now)
            cost = 0
        while scans.wants(Kind.TEXT):
            with scans.charged(Kind.TEXT):
                scans.take(Kind.TEXT, 100)
                clock.spent += 1
            cost += 1
            scans.conclude(1.0)
        clock.now += SCAN_SHARE / 2
        scans.conclude(1.0)
    assert {after - before for before, after in pairwise(began)} == {SCAN_SHARE * cost}
