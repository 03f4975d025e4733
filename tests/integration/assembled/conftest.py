"""All rooms of one process, wired as they are for people, and what an earlier run left to them."""

import os
import queue
import signal
import threading
from contextlib import contextmanager

import pytest

from watcherd import assembly, beneath
from watcherd import settings as configuration
from watcherd.assembly import Ears
from watcherd.lanes.processes import IsolatedWorkers
from watcherd.ledger.ledger import Ledger
from watcherd.model import File, Job, Kind
from watcherd.rooms import assembled
from watcherd.service import signals

QUICK = {"settle": "50ms"}
FEW = {"text": {"workers": 2}, "image": {"workers": 1}, "retry": {"backoff": "50ms"}}


def load(site):
    return configuration.load({}, {}, site.base, site.config)


def quick(site, inbox=(), **tables):
    """Configure `site` for a test's patience; return its settings."""
    return load(site.configure(inbox={**QUICK, **dict(inbox)}, **{**FEW, **tables}))


@contextmanager
def running(settings):
    """Let all rooms run for the time of the block; none may die."""
    deaths = queue.SimpleQueue()
    with assembled(settings, Ears(on_death=deaths.put)) as rooms:
        rooms.start()
        yield rooms
    assert deaths.empty(), deaths.get()


@pytest.fixture(autouse=True)
def _hearing():
    """Hear of signals again after a run, which is deaf to them at its end, as it is the process's."""
    before = {number: signal.getsignal(number) for number in (*signals.STOP, signals.RELOAD, signal.SIGIO)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _no_spare(monkeypatch):
    """Let no worker stand by for images, which few of these tests have: it starts longer than most of them take."""
    cold = {"warm": False}
    monkeypatch.setattr(assembly, "IsolatedWorkers", lambda module, **terms: IsolatedWorkers(module, **terms | cold))


def named(events, name):
    return [event for event in events if event["event"] == name]


def leave_behind(site, settings, path, *, grown=False, **charges):
    """Leave the row of a file that was being worked on when an earlier run was killed; return its job.

    `grown`: it changed since.
    """
    site.drop(path)
    site.state.mkdir(mode=0o700, exist_ok=True)
    with Ledger(settings.state / "ledger.db") as ledger:
        ledger.register("scans", str(site.inbox))
        version = beneath.version_of(os.lstat(site.inbox / path))
        version = version._replace(size=version.size - 1) if grown else version
        job = Job(ledger.next_id(), File("scans", path, version), Kind.TEXT, **charges)
        ledger.hand_over([job])
    return job


def later(act):
    """Call `act` from another thread once the signals are ours; return the thread."""

    def wait_and_act():
        while not callable(signal.getsignal(signals.RELOAD)):  # the last of them
            threading.Event().wait(0.005)
        act()

    thread = threading.Thread(target=wait_and_act, daemon=True)
    thread.start()
    return thread
