"""SIGKILL at any instant, and start again: each input has one right result, and is retired once."""

import random
import signal
import subprocess
from contextlib import suppress

import pytest
from tests.conftest import SOAK, is_alive
from tests.system.account import carry_away, ended, fill, finish, hold_to_account, visible

#: `make soak` takes its time: 200 kills under load.
KILLS = 50 if SOAK else 6


@pytest.fixture
def going(site, after):
    """Configure the site for one way to retire an input, and return it."""
    site.configure(inbox={"after": after})
    return after


@pytest.mark.timeout(3600 if SOAK else 180)
def test_random_kills_under_load_lose_nothing_and_do_nothing_twice(site, going, picture):
    dice = random.Random(going)
    inputs = {}
    for round_ in range(KILLS):
        inputs |= fill(site, picture, f"round-{round_}", texts=60, images=6)
        daemon = site.daemon().spawn()
        target = len(visible(site.outbox)) + dice.randint(1, 40)
        target = min(target, len(inputs))
        site.wait_for(lambda target=target: len(visible(site.outbox)) >= target, "progress")
        with suppress(subprocess.TimeoutExpired):
            daemon.process.wait(dice.uniform(0, 0.05))
        workers = daemon.workers()
        daemon.kill()
        site.wait_for(lambda workers=workers: not any(map(is_alive, workers)), "the end of its workers", 1)
    finish(site, lambda: ended(site) == len(inputs))
    hold_to_account(site, inputs, going)
    carry_away(site)
    assert site.audit()["collected"] == len(inputs)


@pytest.mark.timeout(300)
def test_a_kill_while_starting_loses_nothing(site, going, picture):
    dice = random.Random(going)
    inputs = fill(site, picture, "first", texts=40, images=4)
    for _ in range(6):
        daemon = site.daemon().spawn()
        daemon.wait("daemon.started")
        with suppress(subprocess.TimeoutExpired):
            daemon.process.wait(dice.uniform(0, 0.3))
        daemon.kill()
    finish(site, lambda: ended(site) == len(inputs))
    hold_to_account(site, inputs, going)


def test_a_kill_while_reloading_loses_nothing(site, picture):
    dice = random.Random(4)
    inputs = fill(site, picture, "first", texts=200, images=6)
    for round_ in range(6):
        site.configure(text={"timeout": f"{100 + round_}s"})
        daemon = site.start()
        daemon.send(signal.SIGHUP)
        with suppress(subprocess.TimeoutExpired):
            daemon.process.wait(dice.uniform(0, 0.03))
        daemon.kill()
    finish(site, lambda: ended(site) == len(inputs))
    hold_to_account(site, inputs, "archive")


def test_a_second_crash_in_a_row_charges_nobody(site, heavy, picture):
    inputs = fill(site, picture, "innocent", texts=20, images=4)
    site.drop("working.webp", heavy)
    worked_on = set()
    for _ in range(2):
        daemon = site.daemon().spawn()
        daemon.wait("daemon.ready")
        worked_on |= site.wait_for(lambda old=worked_on: {*site.rows("id", "state = 'working'")} - old, "its work")
        daemon.kill()
    finish(site, lambda: ended(site) == len(inputs) + 1)
    assert len(site.rows("path", "attempts > 0")) <= 1
    assert visible(site.failed) == []
