"""SIGKILL at any instant, and start again: each input has one right result, and is retired once."""

import os
import random
import re
import signal
import sqlite3
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from watcherd.publish.names import derived

WAYS = ["archive", "archive elsewhere", "delete", "keep"]

#: `make soak` takes its time: 200 kills under load, and every call of a small run.
SOAK = bool(os.environ.get("SOAK"))
KILLS = 50 if SOAK else 6

#: The calls that change what a crash leaves behind, each with how often they are cut short: the first of a small run,
#: which go through each stage at least once.
CUTS = {
    "renameat2": range(1, 40 if SOAK else 10),
    "unlink,unlinkat": range(1, 40 if SOAK else 6),
    "fsync": range(1, 60 if SOAK else 12),
    "fdatasync": range(1, 40 if SOAK else 6),
    "pwrite64": range(1, 200) if SOAK else (1, 2, 4, 8, 12, 16, 20, 24),
    "mkdir,mkdirat": range(1, 20 if SOAK else 6),
    "sendmsg": (1, 2),
}


@pytest.fixture
def going(site, request):
    """Configure the site for one way to retire an input, and return that way."""
    way = request.param
    if way == "archive elsewhere":
        request.getfixturevalue("mounts").mount(site.archive)
    site.configure(inbox={"after": way.split()[0]})
    return way


@pytest.mark.timeout(3600 if SOAK else 180)
@pytest.mark.parametrize("going", WAYS, indirect=True)
def test_random_kills_under_load_lose_nothing_and_do_nothing_twice(site, going, picture):
    dice = random.Random(going)
    inputs = {}
    for round_ in range(KILLS):
        inputs |= fill(site, picture, f"round-{round_}", texts=60, images=6)
        daemon = site.daemon().spawn()
        target = len(results(site)) + dice.randint(1, 40)
        target = min(target, len(inputs))
        site.wait_for(lambda target=target: len(results(site)) >= target, "progress")
        with suppress(subprocess.TimeoutExpired):
            daemon.process.wait(dice.uniform(0, 0.05))
        workers = daemon.workers()
        daemon.kill()
        site.wait_for(lambda workers=workers: not any(map(is_alive, workers)), "the end of its workers", 1)
    finish(site, inputs)
    hold_to_account(site, inputs, going)
    carry_away(site)
    assert site.audit()["collected"] == len(inputs)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("going", WAYS, indirect=True)
def test_a_kill_while_starting_loses_nothing(site, going, picture):
    dice = random.Random(going)
    inputs = fill(site, picture, "first", texts=40, images=4)
    for _ in range(6):
        daemon = site.daemon().spawn()
        daemon.wait("daemon.started")
        with suppress(subprocess.TimeoutExpired):
            daemon.process.wait(dice.uniform(0, 0.3))
        daemon.kill()
    finish(site, inputs)
    hold_to_account(site, inputs, going)


@pytest.mark.parametrize("cut", [(call, number) for call, numbers in CUTS.items() for number in numbers], ids=str)
@pytest.mark.parametrize("going", ["archive"], indirect=True)
def test_a_kill_at_a_system_call_loses_nothing(site, going, picture, strace, cut):
    inputs = fill(site, picture, "first", texts=4, images=1)
    injured(site, strace, cut, len(inputs))
    finish(site, inputs)
    hold_to_account(site, inputs, going)


@pytest.mark.parametrize(
    "cut",
    [*(("renameat2", n) for n in range(1, 8)), *(("unlink,unlinkat", n) for n in range(1, 7)), ("fsync", 4)],
    ids=str,
)
@pytest.mark.parametrize("going", WAYS[1:], indirect=True)
def test_a_kill_at_a_change_of_names_loses_nothing_on_the_other_ways(site, going, picture, strace, cut):
    inputs = fill(site, picture, "first", texts=4, images=1)
    injured(site, strace, cut, len(inputs))
    finish(site, inputs)
    hold_to_account(site, inputs, going)


@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("call", ["renameat2", "fsync", "fdatasync"])
def test_a_kill_at_a_quarantine_sets_aside_once(site, strace, call, number):
    site.drop("bad.txt", bytes(3000))
    injured(site, strace, (call, number), 1)
    site.run_until_empty()
    assert visible(site.failed) == ["bad.txt", "bad.txt.error.json"]
    assert not site.drafts()
    assert [state for (state,) in site.rows("state")] == ["quarantined"]


@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("call", ["renameat2", "fsync", "unlink,unlinkat"])
def test_a_kill_at_the_recovery_itself_loses_nothing(site, picture, strace, call, number):
    inputs = fill(site, picture, "first", texts=4, images=1)
    injured(site, strace, ("renameat2", 2), len(inputs))
    injured(site, strace, (call, number), len(inputs))
    finish(site, inputs)
    hold_to_account(site, inputs, "archive")


@pytest.mark.parametrize(
    "cut", [*(("renameat2", n) for n in (1, 2)), ("unlinkat", 1), ("pwrite64", 1), ("pwrite64", 3)]
)
def test_a_kill_at_a_retry_loses_nothing(site, strace, cut):
    call, number = cut
    site.drop("bad.txt", bytes(3000))
    site.run_until_empty()
    prefix = strace("-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}")
    site.daemon("--config", site.config, "retry", "bad.txt", prefix=prefix).spawn().process.wait(60)
    site.run_until_empty()
    everywhere = [path for root in (site.inbox, site.failed) for path in root.rglob("bad*.txt")]
    assert [path.read_bytes() for path in everywhere] == [bytes(3000)]
    assert not site.drafts()
    site.audit()


@pytest.mark.parametrize("going", ["archive"], indirect=True)
def test_a_kill_while_reloading_loses_nothing(site, going, picture):
    dice = random.Random(going)
    inputs = fill(site, picture, "first", texts=200, images=6)
    for round_ in range(6):
        site.configure(text={"timeout": f"{100 + round_}s"})
        daemon = site.start()
        daemon.send(signal.SIGHUP)
        with suppress(subprocess.TimeoutExpired):
            daemon.process.wait(dice.uniform(0, 0.03))
        daemon.kill()
    finish(site, inputs)
    hold_to_account(site, inputs, going)


def test_a_second_crash_in_a_row_charges_nobody(site, heavy, picture):
    inputs = fill(site, picture, "innocent", texts=20, images=4)
    site.drop("working.webp", heavy)
    for _ in range(2):
        daemon = site.daemon().spawn()
        daemon.wait("daemon.ready")
        site.await_work()
        daemon.kill()
    finish(site, inputs | {"working.webp": None})
    assert len(site.rows("path", "attempts > 0")) <= 1
    assert visible(site.failed) == []


# How a run is cut short, and held to account -----------------------------------------------------------------------


def injured(site, strace, cut, count):
    """Run a daemon that is killed at some thread's n-th call of a kind, until it is dead or has done `count` files.

    Where it is a worker that makes so many calls, it is the worker that is killed.
    """
    call, number = cut
    prefix = strace("-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}")
    daemon = site.daemon(prefix=prefix).spawn()

    def is_over():  # not before it began: who kills a tracer that early leaves a stopped process behind
        return daemon.process.poll() is not None or (daemon.events("daemon.started") and is_done(site, count))

    site.wait_for(is_over, "its end, or its work's", 60)
    daemon.clear()


def fill(site, picture, folder, *, texts, images):
    """Drop files, and return their content by name."""
    inputs = {name: b"word " * (number + 1) for number, name in enumerate(site.texts(texts, folder))}
    for number in range(images):
        inputs[f"{folder}/{number}.png"] = picture(seed=number)
        site.drop(f"{folder}/{number}.png", inputs[f"{folder}/{number}.png"])
    return inputs


def finish(site, inputs):
    """Start the daemon once more, let it do all that is left, and stop it."""
    daemon = site.daemon().start()
    site.wait_for(lambda: is_done(site, len(inputs)), "the rest", 60)
    daemon.wait("inbox.rescanned")
    assert daemon.stop() == 0


def is_done(site, count):
    """Whether so many files have come to their end, and the ledger knows it."""
    with suppress(sqlite3.OperationalError):  # it is not there yet
        return len(site.rows("id", "state IN ('published', 'quarantined')")) >= count
    return False


def results(site):
    return visible(site.outbox)


def visible(root):
    if not root.is_dir():
        return []
    found = (str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.startswith(".watcherd"))


def hold_to_account(site, inputs, going):
    """Require one right result of each input, one retirement, no draft, and no charge."""
    expected = [result_of(name) for name in inputs]
    assert Counter(results(site)) == Counter(expected)
    for name, content in inputs.items():
        if name.endswith(".txt"):
            assert site.words(name) == len(content.split())
    retired = {"archive": (inputs, []), "keep": ([], inputs), "delete": ([], [])}[going.split()[0]]
    assert visible(site.archive) == sorted(retired[0])
    assert site.left() == sorted(retired[1])
    for name in retired[0]:
        assert (site.archive / name).read_bytes() == inputs[name]
    assert visible(site.failed) == []
    assert not site.drafts()
    # What was worked on alone when the daemon died is charged, as it may be the cause; nobody else ever is.
    charges = sum(attempts for (attempts,) in site.rows("attempts"))
    assert charges <= sum(daemon.was_killed for daemon in site.daemons[1:])
    assert {state for (state,) in site.rows("state")} == {"published"}
    site.audit()


def carry_away(site):
    """Empty outbox and archive, as those do whom results are made for."""
    for root in (site.outbox, site.archive):
        for name in visible(root):
            (root / name).unlink()


def result_of(name):
    folder, _, own = name.rpartition("/")
    result = derived(own, suffix=".words.json") if own.endswith(".txt") else derived(own, prefix="grayscale_")
    return f"{folder}/{result}" if folder else result


def is_alive(pid):
    with suppress(OSError):
        return re.search(r"\) [^ZX] ", Path(f"/proc/{pid}/stat").read_text("ascii", "replace")) is not None
    return False
