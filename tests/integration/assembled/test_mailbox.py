"""What a daemon is told while it runs: signals to stop, hangups, deaths of its rooms, and the time for old rows."""

import errno
import os
import queue
import signal
import threading

import pytest
from tests.conftest import SOON
from tests.integration.assembled.conftest import later, named, quick
from tests.integration.conftest import failing

from watcherd import daemon, pruner
from watcherd import drain as draining
from watcherd import rooms as together
from watcherd.assembly import Ears
from watcherd.intake.intake import Intake
from watcherd.model import Stopped
from watcherd.rooms import assembled
from watcherd.service import locks


def stop_once_ready(site, events, sign="daemon.ready"):
    later(lambda: site.wait_for(lambda: named(events, sign)) and os.kill(os.getpid(), signal.SIGTERM))


def test_a_signal_to_stop_ends_the_run_with_0(site, events):
    stop_once_ready(site, events)
    assert daemon.run(quick(site), pytest.fail) == 0
    order = [event["event"] for event in events if event["event"].startswith("daemon.")]
    assert order == ["daemon.started", "daemon.ready", "daemon.stopping", "daemon.stopped"]


def test_a_signal_to_stop_ends_the_wait_for_room_on_the_ledger_s_disk(site, events, monkeypatch):
    monkeypatch.setattr(daemon, "require_space", failing(errno.ENOSPC))
    later(lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert daemon.run(quick(site), pytest.fail) == 0
    assert [event["event"] for event in events] == [
        "daemon.started",
        "intake.paused",
        "daemon.stopping",
        "daemon.stopped",
    ]
    assert not site.state.exists()


def test_a_hangup_while_there_is_no_room_on_the_ledger_s_disk_reloads_once_there_is(site, events, monkeypatch):
    settings = quick(site)
    hangups = iter([signal.SIGHUP])

    def require_space(_):
        for number in hangups:
            os.kill(os.getpid(), number)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(daemon, "require_space", require_space)
    monkeypatch.setattr(together.logs, "set_level", lambda _: None)
    stop_once_ready(site, events, "daemon.reloaded")
    assert daemon.run(settings, lambda: settings) == 0
    assert [event["event"] for event in events if event["event"].startswith("daemon.")] == [
        *("daemon.started", "daemon.ready", "daemon.reloaded", "daemon.stopping", "daemon.stopped")
    ]


@pytest.fixture
def long(monkeypatch):
    """Let the ledger be damaged, and what it is made of anew be more than can be read; meanwhile a signal comes."""

    def mend(_, __, checkpoint):
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            checkpoint()

    monkeypatch.setattr(together.rebuild, "mend", mend)


@pytest.mark.usefixtures("long")
def test_a_signal_to_stop_ends_a_long_start_with_0_and_leaves_nothing_behind(site, events):
    assert daemon.run(quick(site), pytest.fail) == 0
    assert [event["event"] for event in events] == ["daemon.started", "daemon.stopping", "daemon.stopped"]
    assert not [root for root in (site.inbox, site.outbox) if locks.is_noted(root)]
    assert not locks.is_held(site.state)


@pytest.mark.usefixtures("long")
def test_a_signal_to_stop_ends_the_long_start_of_a_drain(site):
    with pytest.raises(Stopped) as stopped:
        draining.drain(quick(site))
    assert stopped.value.number == signal.SIGTERM


def test_a_start_that_was_slow_before_its_rooms_are_built_builds_none_after_a_signal_to_stop(site, monkeypatch):
    def checkpoint():
        raise Stopped

    monkeypatch.setattr(together, "build", pytest.fail)
    with pytest.raises(Stopped), assembled(quick(site), Ears(on_death=pytest.fail), checkpoint):
        pytest.fail("it was assembled")


def test_a_hangup_reloads_and_goes_on(site, events, monkeypatch):
    settings, seen = quick(site), []
    monkeypatch.setattr(together.logs, "set_level", lambda _: None)

    def load_again():
        seen.append("loaded")
        later(lambda: os.kill(os.getpid(), signal.SIGTERM))
        return settings

    later(lambda: os.kill(os.getpid(), signal.SIGHUP))
    assert daemon.run(settings, load_again) == 0
    assert seen == ["loaded"]
    assert named(events, "daemon.reloaded")[0]["changed"] == []


def test_hangups_that_wait_are_one_reload_and_a_stop_among_them_waits_for_none(site, monkeypatch):
    settings, loads = quick(site), []
    heard = threading.Event()

    class Heard(queue.SimpleQueue):
        def put(self, message):
            heard.set()
            super().put(message)

    monkeypatch.setattr(daemon, "Mailbox", Heard)
    monkeypatch.setattr(together.logs, "set_level", lambda _: None)
    while_loading = [[signal.SIGHUP] * 3, [signal.SIGHUP, signal.SIGTERM, signal.SIGHUP]]

    def load_slowly():
        loads.append("loaded")
        for number in while_loading[len(loads) - 1]:
            heard.clear()
            os.kill(os.getpid(), number)
            assert heard.wait(SOON)  # else the kernel may make one of several
        return settings

    later(lambda: os.kill(os.getpid(), signal.SIGHUP))
    assert daemon.run(settings, load_slowly) == 0
    assert len(loads) == 2


def test_a_room_that_dies_ends_the_run_with_1_and_its_traceback(site, events, monkeypatch):
    def die(_):
        raise LookupError("a bug of ours")

    monkeypatch.setattr(Intake, "_turn", die)
    assert daemon.run(quick(site), pytest.fail) == 1
    (death,) = named(events, "room.died")
    assert (death["log_level"], death["room"]) == ("critical", "intake of scans")
    assert isinstance(death["exc_info"], LookupError)
    assert death["exc_info"].__traceback__ is not None


def test_a_room_that_dies_while_all_are_stopped_is_heard_of_too(site, events, monkeypatch):
    stop = Intake.stop

    def die_at_the_end(self):
        stop(self)
        raise_in_publisher()

    def raise_in_publisher():
        monkeypatch.setattr("watcherd.publish.publisher.Publisher._leave", lambda _: 1 // 0)

    monkeypatch.setattr(Intake, "stop", die_at_the_end)
    stop_once_ready(site, events)
    assert daemon.run(quick(site), pytest.fail) == 1
    assert [event["room"] for event in named(events, "room.died")] == ["publisher of scans"]


def test_old_rows_are_looked_for_while_nothing_happens(site, monkeypatch):
    monkeypatch.setattr(pruner, "MORE", 0.02)
    looks = []

    def prune(_):
        looks.append("looked")
        if len(looks) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return 0.01

    monkeypatch.setattr(pruner.Pruner, "prune", prune)
    assert daemon.run(quick(site), pytest.fail) == 0
    assert len(looks) >= 3


def test_a_folder_that_hangs_while_old_rows_are_looked_for_holds_up_no_signal(site, monkeypatch):
    monkeypatch.setattr(pruner, "MORE", 0.01)
    monkeypatch.setattr(pruner, "LEAVE", 0.1)
    hanging, answer = threading.Event(), threading.Event()

    def prune(_):
        hanging.set()
        answer.wait(30)
        return 30.0

    monkeypatch.setattr(pruner.Pruner, "prune", prune)
    later(lambda: hanging.wait(30) and os.kill(os.getpid(), signal.SIGTERM))
    assert daemon.run(quick(site), pytest.fail) == 0
    answer.set()


def test_a_bug_in_the_look_for_old_rows_ends_the_run_with_1(site, events, monkeypatch):
    monkeypatch.setattr(pruner, "MORE", 0.01)
    monkeypatch.setattr(pruner.Pruner, "prune", lambda _: 1 // 0)
    assert daemon.run(quick(site), pytest.fail) == 1
    assert [event["room"] for event in named(events, "room.died")] == ["pruning"]
