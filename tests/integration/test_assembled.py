"""All rooms of one process, wired as they are for people: what goes in, what comes out, and what stops what."""
# ruff: noqa: SLF001 (a crash is played by leaving its marks where it leaves them)

import errno
import itertools
import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from PIL import Image
from tests.integration.conftest import failing

from watcherd import assembly, beneath, daemon, failures, pruner
from watcherd import drain as draining
from watcherd import rooms as together
from watcherd import settings as configuration
from watcherd.assembly import Ears
from watcherd.audit import audit
from watcherd.decide import Retry
from watcherd.intake.intake import Intake
from watcherd.lanes.processes import IsolatedWorkers
from watcherd.ledger.ledger import Intent, Ledger
from watcherd.model import After, Draft, Failed, Failure, File, Job, Kind, Refused, Stopped, SystemFault
from watcherd.pruner import Pruner
from watcherd.publish import wayback
from watcherd.publish.batch import Batch
from watcherd.publish.custody import ours_of
from watcherd.publish.publisher import Publisher
from watcherd.rooms import assembled
from watcherd.service import locks, signals
from watcherd.settings import ConfigurationError, Problem
from watcherd.settings.units import MinFree
from watcherd.states import State

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


def reload_to(rooms, settings, monkeypatch):
    """Reload, and leave the logs to the test."""
    monkeypatch.setattr(together.logs, "set_level", lambda _: None)
    rooms.reload(lambda: settings)


# The way of a file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", ["archive", "delete", "keep"])
def test_a_text_and_an_image_go_through_all_rooms(site, picture, after):
    with running(quick(site, {"after": after})):
        site.drop("notes/a.txt", b"three words here")
        site.drop("b.png", picture())
        assert site.await_words("notes/a.txt") == 3
        site.wait_for((site.outbox / "grayscale_b.png").exists)
        site.wait_for(lambda: len(site.left()) == (2 if after == "keep" else 0))
    with Image.open(site.outbox / "grayscale_b.png") as grey:
        assert grey.mode == "L"
    assert sorted(path.name for path in site.archive.rglob("*.*g")) == (["b.png"] if after == "archive" else [])
    assert site.drafts() == []
    assert {state for (state,) in site.rows("state")} == {"published"}


def test_an_inbox_whose_outbox_is_gone_pauses_and_the_other_goes_on(site, events):
    folders = {name: site.base / f"other-{name}" for name in ("path", "outbox", "archive", "failed")}
    for folder in folders.values():
        folder.mkdir()
    with running(quick(site, **{"inbox.other": {**folders, **QUICK}})) as rooms:
        other = next(line for line in rooms.lines if line.name == "other")
        site.wait_for(lambda: not other.publisher.paused)
        folders["outbox"].rename(site.base / "away")
        (folders["path"] / "late.txt").write_text("of the other")
        site.wait_for(lambda: other.publisher.paused)
        site.drop("a.txt")
        assert site.await_words("a.txt") == 3
        assert (folders["path"] / "late.txt").exists()
        (site.base / "away").rename(folders["outbox"])
        site.wait_for((folders["outbox"] / "late.txt.words.json").exists)
        site.wait_for(lambda: named(events, "intake.resumed"))
    assert {event["inbox"] for event in named(events, "intake.paused")} == {"other"}
    assert {event["inbox"] for event in named(events, "intake.resumed")} == {"other"}
    assert site.rows("attempts", "path = CAST('late.txt' AS BLOB)") == [(0,)]


def test_a_state_folder_is_closed_to_others_and_so_are_those_that_are_made_around_it(site):
    site.state = site.base / "var/lib/state"
    with assembled(quick(site), Ears(on_death=pytest.fail)):
        made = [site.state, *site.state.parents[:2]]
        assert {path.stat().st_mode & 0o777 for path in made} == {0o700}


def test_folders_that_are_made_are_on_disk(site, synced):
    archive = site.base / "var/archive"
    with assembled(quick(site, inbox={"archive": archive}), Ears(on_death=pytest.fail)):
        assert archive.is_dir()
    assert {str(site.base), str(archive.parent)} <= {*synced}


def test_a_missing_inbox_is_waited_for(site, events):
    site.inbox.rmdir()
    with running(quick(site)):
        site.wait_for(lambda: named(events, "inbox.lost"))
        site.inbox.mkdir()
        site.drop("a.txt")
        assert site.await_words("a.txt") == 3
    assert named(events, "inbox.recovered")


def test_a_file_that_was_in_hand_when_the_ledger_failed_is_done_once_it_works_again(site):
    with running(quick(site)) as rooms:
        site.wait_for(lambda: not rooms.lines[0].publisher.paused)
        fault = SystemFault("the ledger cannot be used", root=str(site.state))
        refusals = itertools.chain([fault], itertools.repeat(None))
        lane = rooms.lanes[Kind.TEXT]
        record = lane._record

        def failing_once(jobs):
            if refusal := next(refusals):
                raise refusal
            record(jobs)

        lane._record = failing_once
        site.drop("a.txt")
        assert site.await_words("a.txt") == 3


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


def test_a_file_that_was_worked_on_when_the_daemon_was_killed_is_done_uncharged(site):
    settings = quick(site)
    leave_behind(site, settings, "a.txt")
    with running(settings):
        assert site.await_words("a.txt") == 3
        site.await_empty_inbox()
    assert site.rows("state, attempts, alone") == [("published", 0, 1)]


def test_a_newer_file_by_the_name_of_one_that_a_crash_left_on_its_way_out_is_done_too(site, monkeypatch):
    settings = quick(site)
    job = leave_behind(site, settings, "a.txt")
    result = site.write("a.txt.words.json", b"{}", root=site.outbox)
    with Ledger(settings.state / "ledger.db") as ledger:
        ledger.register("scans", str(site.inbox))
        ledger.intend([Intent(job, State.PUBLISHING, 0, Draft("draft", result.stat().st_ino))])
    site.archive.mkdir()
    (site.inbox / "a.txt").rename(site.archive / "a.txt")
    site.write("a.txt", b"a newer one")
    scanned, real = threading.Event(), Batch.settle
    monkeypatch.setattr(Batch, "settle", lambda batch: (scanned.wait(10), real(batch)))
    with running(settings) as rooms:
        site.wait_for(lambda: rooms.lines[0].intake.last_scan, "the first scan")
        scanned.set()
        site.wait_for((site.outbox / "a.1.txt.words.json").exists, "the newer one's result")


def test_a_file_that_ended_the_daemon_each_time_it_ran_alone_is_set_aside(site):
    settings = quick(site)
    leave_behind(site, settings, "a.txt", attempts=2, alone=True)
    with running(settings):
        reason = site.await_failure("a.txt")
    assert (reason["class"], reason["attempts"]) == ("crashed", 3)
    assert site.rows("state, attempts") == [("quarantined", 3)]


def test_a_suspect_that_was_changed_meanwhile_is_a_new_file(site):
    settings = quick(site)
    leave_behind(site, settings, "a.txt", grown=True, attempts=2, alone=True)
    with running(settings):
        assert site.await_words("a.txt") == 3
        site.await_empty_inbox()
    assert site.rows("state, attempts, alone") == [("published", 0, 0)]


@pytest.mark.parametrize(
    ("found", "script", "program"),
    [
        ("/usr/bin/watcherd", "watcherd", ["watcherd"]),
        (None, "/opt/my own/watcherd", ["/opt/my own/watcherd"]),
        (None, "/lib/watcherd/__main__.py", [sys.executable, "-m", "watcherd"]),
    ],
)
def test_a_reason_names_the_command_that_retries_the_file_as_a_shell_finds_it_also_where_all_was_said_by_flags(
    site, monkeypatch, found, script, program
):
    monkeypatch.setattr("shutil.which", lambda _: found)
    monkeypatch.setattr(sys, "argv", [script])
    flags = {name: getattr(site, name) for name in ("inbox", "outbox", "state")}
    settings = configuration.load(flags, {}, site.base)
    site.drop("a b.txt", b"\x00\x01\x02" * 100)
    draining.drain(settings)
    command = shlex.split(site.failure("a b.txt")["retry"])
    assert command[: len(program) + 3] == [*program, "retry", "--inbox", str(site.inbox)]
    assert command[-1].endswith("a b.txt")


@pytest.mark.parametrize("after", After)
def test_the_command_that_a_reason_names_retries_the_file_also_where_all_was_said_by_flags(site, monkeypatch, after):
    monkeypatch.setattr("shutil.which", lambda _: None)
    base = site.base / os.fsdecode(b"it's \xff")
    flags = {name: base / name for name in ("inbox", "outbox", "state")} | {"archive": base / "elsewhere"}
    for name in ("inbox", "outbox"):
        flags[name].mkdir(parents=True)
    (flags["inbox"] / "a b.txt").write_bytes(b"\x00\x01\x02" * 100)
    draining.drain(configuration.load(flags | {"after": after}, {}, site.base))
    reason = base / "failed/a b.txt.error.json"
    command = json.loads(reason.read_text())["retry"]
    assert subprocess.run(["bash", "-c", command], check=False).returncode == 0  # noqa: S607
    assert (flags["inbox"] / "a b.txt").exists()
    assert not reason.exists()


@pytest.mark.parametrize("variable", ["STATE", "INBOX__SCANS__PATH", "INBOX__SCANS__FAILED", "INBOX__SCANS__AFTER"])
def test_the_command_that_a_reason_names_retries_the_file_also_where_a_variable_said_a_part(
    site, monkeypatch, variable
):
    monkeypatch.setattr("shutil.which", lambda _: None)
    elsewhere = site.base / "elsewhere"
    elsewhere.mkdir()
    environ = {f"WATCHERD_{variable}": "keep" if variable.endswith("AFTER") else str(elsewhere)}
    settings = configuration.load({}, environ, site.base, site.config)
    inbox, failed = settings.inbox["scans"].path, settings.inbox["scans"].failed
    site.drop("a.txt", b"\x00\x01\x02" * 100, root=inbox)
    draining.drain(settings)
    command = json.loads((failed / "a.txt.error.json").read_text())["retry"]
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0  # noqa: S607
    assert (inbox / "a.txt").exists()
    assert not (failed / "a.txt.error.json").exists()


def test_the_command_that_a_reason_names_retries_the_file_of_its_own_inbox_alone(site, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    other = {name: site.base / f"other/{name}" for name in ("path", "outbox", "failed")}
    other["outbox"].mkdir(parents=True)
    settings = quick(site, **{"inbox.other": other})
    for inbox in (site.inbox, other["path"]):
        site.drop("a.txt", b"\x00\x01\x02" * 100, root=inbox)
    draining.drain(settings)
    command = json.loads((other["failed"] / "a.txt.error.json").read_text())["retry"]
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0  # noqa: S607
    assert (other["path"] / "a.txt").exists()
    assert site.failure("a.txt")


@pytest.mark.parametrize("variable", ["STATE_DIRECTORY", "XDG_STATE_HOME"])
def test_the_command_that_a_reason_names_finds_the_ledger_also_where_the_host_s_variable_said_it(
    site, monkeypatch, variable
):
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)  # root's state is elsewhere
    site.config.write_text(site.config.read_text("utf-8").replace("state = ", "# state = "), "utf-8")
    settings = configuration.load({}, {variable: str(site.base / "said")}, site.base, site.config)
    site.drop("a.txt", b"\x00\x01\x02" * 100)
    draining.drain(settings)
    assert subprocess.run(["sh", "-c", site.failure("a.txt")["retry"]], check=False).returncode == 0  # noqa: S607
    assert site.has("a.txt")
    assert not site.failure("a.txt")


@pytest.mark.parametrize("year", [2300, 9999])
@pytest.mark.parametrize("after", After)
def test_a_file_may_claim_any_time(site, after, year):
    time = (year - 1970) * 31_556_952
    settings = quick(site, {"after": after.value})
    for name, content in (("good.txt", b"two words"), ("bad.txt", bytes(300))):
        os.utime(site.drop(name, content), (time, time))
    report = draining.drain(settings)
    assert (report.published.total(), len(report.quarantined)) == (1, 1)
    report = draining.drain(settings)
    assert (report.published.total(), len(report.quarantined)) == (0, 0)
    assert [row.path for row in failures.set_aside(settings, pytest.fail)] == ["bad.txt"]
    assert not failures.put_back(settings, failures.set_aside(settings, pytest.fail))[0].refused


# Start and stop -------------------------------------------------------------------------------------------------


def test_rooms_that_were_never_started_are_taken_down(site):
    with assembled(quick(site), Ears(on_death=pytest.fail)):
        pass
    assert site.drafts() == []


def test_an_error_in_the_block_stops_all_rooms_all_the_same(site):
    before = set(threading.enumerate())
    settings = quick(site)
    with pytest.raises(LookupError), running(settings) as rooms:
        rooms.reload(lambda: {}["no configuration"])
    assert not [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]


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


# The mailbox ----------------------------------------------------------------------------------------------------


def later(act):
    """Call `act` from another thread once the signals are ours; return the thread."""

    def wait_and_act():
        while signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            threading.Event().wait(0.005)
        act()

    thread = threading.Thread(target=wait_and_act, daemon=True)
    thread.start()
    return thread


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
    monkeypatch.setattr(together.logs, "set_level", lambda _: None)
    while_loading = [[signal.SIGHUP] * 3, [signal.SIGHUP, signal.SIGTERM, signal.SIGHUP]]

    def load_slowly():
        loads.append("loaded")
        for number in while_loading[len(loads) - 1]:
            os.kill(os.getpid(), number)
            threading.Event().wait(0.1)  # so that each is told before the next one comes
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


# Reload ---------------------------------------------------------------------------------------------------------


def test_a_reload_changes_what_can_change_live_and_names_what_needs_a_restart(site, events, monkeypatch):
    with running(quick(site)) as rooms:
        site.drop("a.log")
        site.await_words("a.log")
        wanted = quick(site, {"exclude": ["*.log"], "after": "delete"}, text={"workers": 2, "timeout": "7s"},
                       queue={"capacity": 9}, image={"workers": 1, "memory": "2GiB"})  # fmt: skip
        reload_to(rooms, wanted, monkeypatch)
        (reloaded,) = named(events, "daemon.reloaded")
        assert reloaded["changed"] == ["inbox.scans.exclude", "text.timeout"]
        assert reloaded["needs_restart"] == ["image.memory", "inbox.scans.after", "queue.capacity"]
        assert rooms.lanes[Kind.TEXT].limits.timeout == 7
        assert rooms.lanes[Kind.IMAGE].limits.memory == 1 << 30
        site.wait_for(lambda: named(events, "inbox.rescanned")[-1]["reason"] == "update")
        site.drop("b.log")
        site.drop("c.txt")
        site.await_words("c.txt")
        site.wait_for(lambda: site.left() == ["b.log"])
        assert (site.archive / "c.txt").exists()


def test_a_reload_of_min_free_pauses_an_inbox_and_ends_its_pause(site, monkeypatch):
    with running(quick(site, min_free="0%")) as rooms:
        reload_to(rooms, quick(site, min_free="99.9%"), monkeypatch)
        site.wait_for(lambda: "min_free" in rooms.lines[0].publisher.paused)
        reload_to(rooms, quick(site, min_free="0%"), monkeypatch)
        site.wait_for(lambda: not rooms.lines[0].publisher.paused)


def test_a_reload_changes_how_often_a_failing_file_is_tried(site, monkeypatch):
    with running(quick(site, {"exclude": ["a.txt"]})) as rooms:
        reload_to(rooms, quick(site, {"exclude": ["a.txt"]}, retry={"attempts": 1}), monkeypatch)
        version = beneath.version_of(os.lstat(site.drop("a.txt")))
        job = Job(rooms.ledger.next_id(), File("scans", "a.txt", version), Kind.TEXT)
        rooms.ledger.hand_over([job])
        rooms.lines[0].publisher.put(Failed(job, Failure.TIMEOUT, "too long"))
        assert site.await_failure("a.txt")["attempts"] == 1


def test_a_reload_scans_an_inbox_of_which_it_changes_something_and_no_other(site, events, monkeypatch):
    folders = {name: site.base / f"other-{name}" for name in ("path", "outbox", "archive", "failed")}
    for folder in folders.values():
        folder.mkdir()
    other = {"inbox.other": {**folders, **QUICK}}
    with running(quick(site, **other)) as rooms:
        reload_to(rooms, quick(site, {"exclude": ["*.log"]}, **other), monkeypatch)
        site.wait_for(lambda: not any(line.intake._updated for line in rooms.lines))
        site.wait_for(lambda: {event["inbox"] for event in named(events, "inbox.rescanned")} == {"scans", "other"})
        site.wait_for(lambda: "update" in [event["reason"] for event in named(events, "inbox.rescanned")])
    updated = [event["inbox"] for event in named(events, "inbox.rescanned") if event["reason"] == "update"]
    assert updated == ["scans"]


def test_the_same_file_loaded_again_changes_nothing_and_still_names_what_needs_a_restart(site, events, monkeypatch):
    with running(quick(site)) as rooms:
        for _ in range(2):
            reload_to(rooms, quick(site, queue={"capacity": 9}, stop_timeout="3s"), monkeypatch)
        assert rooms.settings.stop_timeout == 3
    first, second = named(events, "daemon.reloaded")
    assert (first["changed"], second["changed"]) == (["stop_timeout"], [])
    assert first["needs_restart"] == second["needs_restart"] == ["queue.capacity"]


def test_an_inbox_that_is_added_or_removed_needs_a_restart(site, events, monkeypatch):
    other = {name: site.base / f"other-{name}" for name in ("path", "outbox", "archive", "failed")}
    with running(quick(site)) as rooms:
        wanted = quick(site, **{"inbox.other": other})
        without = wanted.model_copy(update={"inbox": {"other": wanted.inbox["other"]}})
        reload_to(rooms, without, monkeypatch)
    (reloaded,) = named(events, "daemon.reloaded")
    assert reloaded["changed"] == []
    assert {key.split(".")[1] for key in reloaded["needs_restart"]} == {"other", "scans"}


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError([Problem("watcherd.toml", "stat", "is no key", "write state")]),
        OSError(errno.EIO, "is no key, nor anything else"),
    ],
)
def test_a_configuration_that_cannot_be_read_changes_nothing_and_is_logged(site, events, error):
    def bad():
        raise error

    with running(quick(site)) as rooms:
        before = rooms.settings
        rooms.reload(bad)
        assert rooms.settings is before
    (failed,) = named(events, "daemon.reload_failed")
    assert failed["log_level"] == "error"
    assert "is no key" in failed["problems"][0]


# Old rows -------------------------------------------------------------------------------------------------------


def pruner_of(rooms, *, history=-60.0):
    """Return what prunes as if all rows were old, or with that `history`."""
    return Pruner(rooms.lines, lambda: history)


def forget_all(rooms):
    return pruner_of(rooms).prune()


def paths(site):
    return sorted(os.fsdecode(path) for (path,) in site.rows("path"))


def published(site, *names):
    site.wait_for(lambda: len(site.rows("id", "state = 'published'")) == len(names))


def test_old_rows_of_files_that_are_gone_are_forgotten(site):
    with running(quick(site)) as rooms:
        site.drop("a.txt")
        published(site, "a.txt")
        pruner_of(rooms, history=60.0).prune()
        assert paths(site) == ["a.txt"]
        assert forget_all(rooms) == pruner.EVERY
        assert paths(site) == []


def test_old_rows_are_looked_for_some_at_a_time_and_all_in_the_end(site, monkeypatch):
    monkeypatch.setattr("watcherd.publish.pruning.STRIDE", 2)
    names = site.texts(5)
    with running(quick(site)) as rooms:
        published(site, *names)
        young = pruner_of(rooms, history=60.0)
        assert [young.prune() for _ in range(4)] == [*[pruner.MORE] * 2, pruner.EVERY, pruner.MORE]
        assert len(paths(site)) == 5
        site.wait_for(lambda: forget_all(rooms) == pruner.EVERY and not paths(site))


def test_old_rows_of_kept_files_last_while_the_file_does(site):
    with running(quick(site, {"after": "keep"})) as rooms:
        site.drop("kept.txt")
        site.drop("gone.txt")
        published(site, "kept.txt", "gone.txt")
        for gone in (site.inbox / "gone.txt", *site.outbox.glob("*.json")):
            gone.unlink()
        forget_all(rooms)
        assert paths(site) == ["kept.txt"]


def test_a_kept_file_that_was_gone_for_long_and_is_restored_is_done_and_its_result_still_follows_it(site, events):
    with running(quick(site, {"after": "keep"})) as rooms:
        published(site, *site.texts(2))
        (site.inbox / "text-0001.txt").rename(site.base / "backup")
        forget_all(rooms)
        (site.base / "backup").rename(site.inbox / "text-0001.txt")
        site.drop("text-0001.txt", b"one two three")
        site.wait_for(lambda: site.words("text-0001.txt") == 3 or site.failure("text-0001.txt"))
        assert site.failure("text-0001.txt") is None
    assert len(named(events, "file.published")) == 3


def test_of_a_kept_file_s_old_rows_only_the_one_that_proves_its_result_lasts(site):
    with running(quick(site, {"after": "keep"})) as rooms:
        site.drop("a.txt", b"one")
        published(site, "a.txt")
        site.drop("a.txt", b"one two")
        published(site, "a.txt", "again")
        forget_all(rooms)
        assert len(paths(site)) == 1
        site.drop("a.txt", b"one two three")
        site.wait_for(lambda: site.words("a.txt") == 3)


def test_nothing_is_forgotten_of_kept_files_while_there_is_none_as_before_their_inbox_is_mounted(site):
    with running(quick(site, {"after": "keep"})) as rooms:
        site.drop("a.txt")
        published(site, "a.txt")
        (site.inbox / "a.txt").rename(site.base / "a.txt")
        (site.outbox / "a.txt.words.json").unlink()
        forget_all(rooms)
        assert paths(site) == ["a.txt"]
        site.drop("b.txt")
        published(site, "a.txt", "b.txt")
        forget_all(rooms)
        assert paths(site) == ["b.txt"]


def test_nothing_is_forgotten_of_an_inbox_that_is_away(site):
    with running(quick(site, {"after": "keep"})) as rooms:
        site.drop("a.txt")
        published(site, "a.txt")
        site.inbox.rename(site.base / "away")
        forget_all(rooms)
        assert paths(site) == ["a.txt"]
        (site.base / "away").rename(site.inbox)


def test_rows_of_what_is_set_aside_last_until_it_is_taken_away(site):
    with running(quick(site)) as rooms:
        site.drop("a.txt", b"\x00\x01\x02" * 100)
        site.await_failure("a.txt")
        forget_all(rooms)
        assert paths(site) == ["a.txt"]
        (site.failed / "a.txt").unlink()
        forget_all(rooms)
        assert paths(site) == []
        assert site.failure("a.txt") is None


def test_rows_of_what_is_set_aside_last_while_nothing_is_there_as_before_the_failed_folder_is_mounted(site):
    with running(quick(site)) as rooms:
        site.drop("a.txt", b"\x00\x01\x02" * 100)
        site.await_failure("a.txt")
        site.wait_for(lambda: site.rows("id", "state = 'quarantined'"))
        for path in site.failed.glob("a.txt*"):
            path.rename(site.base / path.name)
        forget_all(rooms)
        assert paths(site) == ["a.txt"]


def test_the_reason_of_what_was_dragged_back_under_a_numbered_name_goes_with_its_row(site):
    with running(quick(site)) as rooms:
        for content in (b"\0" * 300, b"\0" * 400):
            site.drop("a.txt", content)
            site.await_empty_inbox()
        numbered = site.failed / "a.1.txt"
        site.wait_for(lambda: len(site.rows("id", "state = 'quarantined'")) == 2)
        numbered.write_text("mended")
        numbered.rename(site.inbox / numbered.name)
        published(site, numbered.name)
        forget_all(rooms)
        assert sorted(path.name for path in site.failed.glob("a*")) == ["a.txt", "a.txt.error.json"]
        assert paths(site) == ["a.txt"]


def test_a_failed_folder_that_is_away_pauses_and_forgets_nothing(site):
    with running(quick(site)) as rooms:
        site.drop("a.txt", b"\x00\x01\x02" * 100)
        site.await_failure("a.txt")
        site.failed.rename(site.base / "away")
        forget_all(rooms)
        assert paths(site) == ["a.txt"]
        site.wait_for(lambda: rooms.lines[0].publisher.paused)
        (site.base / "away").rename(site.failed)


def test_what_cannot_be_looked_at_is_not_taken_for_gone(site):
    settings = quick(site, {"after": "keep"})
    leave_behind(site, settings, "a.txt")
    with Ledger(settings.state / "ledger.db") as ledger:
        ledger._writer.execute("UPDATE file SET state = 'published', path = ?", (b"x" * 300,))
    with running(settings) as rooms:
        site.wait_for(lambda: not rooms.lines[0].publisher.paused)
        forget_all(rooms)
        assert "x" * 300 in paths(site)


def test_the_dearer_a_look_at_all_old_rows_the_later_the_next(site, monkeypatch):
    monkeypatch.setattr("watcherd.publish.pruning.ROWS", 4)
    monkeypatch.setattr(pruner, "SHARE", 10**9)
    with running(quick(site, {"after": "keep"})) as rooms:
        published(site, *site.texts(10))
        looks = pruner_of(rooms)
        assert [looks.prune() for _ in range(2)] == [pruner.MORE] * 2
        assert looks.prune() > 1000 * pruner.EVERY


def test_many_old_rows_are_forgotten_a_block_at_a_time(site, monkeypatch):
    monkeypatch.setattr("watcherd.publish.pruning.ROWS", 4)
    with running(quick(site)) as rooms:
        names = site.texts(10)
        published(site, *names)
        assert [forget_all(rooms) for _ in range(3)] == [*[pruner.MORE] * 2, pruner.EVERY]
        assert paths(site) == []


# Drain ----------------------------------------------------------------------------------------------------------


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
    assert not set(threading.enumerate()) - before


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


# The way back ---------------------------------------------------------------------------------------------------


def set_aside(site, inbox=(), **tables):
    """Let a text be quarantined, mend nothing, and return the settings."""
    settings = quick(site, inbox, **tables)
    site.drop("sub/a.txt", b"\x00\x01\x02" * 100)
    report = draining.drain(settings)
    assert len(report.quarantined) == 1
    return settings


def test_without_a_ledger_nobody_knows_what_is_set_aside(site):
    with pytest.raises(Refused, match="no ledger"):
        failures.set_aside(quick(site), pytest.fail)
    assert not site.state.exists()


def test_a_ledger_that_may_not_be_looked_at_is_not_a_missing_one(site):
    settings = quick(site)
    site.state.symlink_to(site.state)
    with pytest.raises(SystemFault, match=r"ledger\.db cannot be used: Too many levels of symbolic links"):
        failures.set_aside(settings, pytest.fail)


def test_what_is_quarantined_is_listed_with_where_it_lies(site):
    (row,) = failures.set_aside(set_aside(site), pytest.fail)
    assert (row.path, row.where, row.failure) == ("sub/a.txt", f"{site.failed}/sub/a.txt", Failure.NOT_TEXT)


@pytest.mark.parametrize("gone", ["a.txt", "a.txt.error.json"])
def test_what_somebody_carried_away_is_not_listed(site, gone):
    settings = set_aside(site)
    (site.failed / "sub" / gone).unlink()
    assert failures.set_aside(settings, pytest.fail) == []


def test_a_retry_puts_the_file_back_with_nothing_against_it(site):
    settings = set_aside(site)
    (back,) = failures.put_back(settings, failures.set_aside(settings, pytest.fail))
    assert back.refused == ""
    assert site.left() == ["sub/a.txt"]
    assert not any(path.is_file() for path in site.failed.rglob("*.*"))
    assert failures.set_aside(settings, pytest.fail) == []
    assert site.rows("id") == []


def test_a_retry_is_refused_where_the_name_is_taken(site):
    settings = set_aside(site)
    site.write("sub/a.txt", b"another one")
    (back,) = failures.put_back(settings, failures.set_aside(settings, pytest.fail))
    assert "is there again" in back.refused
    assert (site.inbox / "sub/a.txt").read_bytes() == b"another one"
    assert (site.failed / "sub/a.txt").exists()
    assert len(failures.set_aside(settings, pytest.fail)) == 1


def test_a_retry_of_what_another_has_put_back_says_so_and_leaves_what_was_set_aside_since(site):
    settings = set_aside(site)
    rows = failures.set_aside(settings, pytest.fail)
    failures.put_back(settings, rows)
    (back,) = failures.put_back(settings, rows)
    assert back.refused == wayback.FORESTALLED
    draining.drain(settings)
    (back,) = failures.put_back(settings, rows)
    assert back.refused == wayback.FORESTALLED
    assert site.left() == []
    assert [row.path for row in failures.set_aside(settings, pytest.fail)] == ["sub/a.txt"]


def test_a_retry_of_what_came_from_an_inbox_that_is_missing_says_so_with_its_mend(site):
    settings = set_aside(site)
    rows = failures.set_aside(settings, pytest.fail)
    site.inbox.rename(site.base / "away")
    (back,) = failures.put_back(settings, rows)
    assert back.refused == f"its inbox {site.inbox} is missing: mount it, or bring it back, and retry"
    assert (site.failed / "sub/a.txt").exists()


def test_a_reason_that_is_not_ours_stays(site):
    settings = set_aside(site)
    rows = failures.set_aside(settings, pytest.fail)
    reason = site.failed / "sub/a.txt.error.json"
    reason.rename(site.base / "ours.json")
    reason.write_text("theirs")
    (back,) = failures.put_back(settings, rows)
    assert back.refused == ""
    assert reason.read_text() == "theirs"


def test_a_running_daemon_takes_what_was_put_back(site):
    settings = set_aside(site)
    with running(settings) as rooms:
        site.wait_for(lambda: not rooms.lines[0].publisher.paused)
        (site.failed / "sub/a.txt").write_text("mended by hand now")
        failures.put_back(settings, failures.set_aside(settings, pytest.fail))
        assert site.await_words("sub/a.txt") == 4


def test_a_kept_file_is_retried_where_it_is(site):
    settings = set_aside(site, {"after": "keep"})
    (row,) = failures.set_aside(settings, pytest.fail)
    assert row.where == f"{site.inbox}/sub/a.txt"
    with running(settings) as rooms:
        site.wait_for(lambda: not rooms.lines[0].publisher.paused)
        reason = site.failed / "sub/a.txt.error.json"
        first = json.loads(reason.read_bytes())
        (back,) = failures.put_back(settings, [row])
        assert back.refused == ""
        again = site.wait_for(lambda: reason.exists() and json.loads(reason.read_bytes()))
        assert (again["class"], again["attempts"]) == (first["class"], first["attempts"])
        site.wait_for(lambda: site.rows("id", "state = 'quarantined'") not in ([], [(row.record.id,)]))


def test_a_kept_file_is_touched_only_when_nothing_is_held_against_it_any_more(site, monkeypatch):
    settings = set_aside(site, {"after": "keep"})
    touched = []
    monkeypatch.setattr(wayback, "_touch", lambda *_: touched.append(site.rows("id")))
    failures.put_back(settings, failures.set_aside(settings, pytest.fail))
    assert touched == [[]]


def test_a_kept_file_that_was_changed_is_not_set_aside_any_more(site):
    settings = set_aside(site, {"after": "keep"})
    site.drop("sub/a.txt", b"words by now")
    assert failures.set_aside(settings, pytest.fail) == []
    assert draining.drain(settings).published == {Kind.TEXT: 1}
    assert failures.set_aside(settings, pytest.fail) == []


def test_a_retry_brings_the_file_back_across_file_systems(site, elsewhere):
    site.failed = elsewhere
    settings = set_aside(site)
    os.utime(elsewhere / "sub/a.txt", (1, 1))
    (back,) = failures.put_back(settings, failures.set_aside(settings, pytest.fail))
    assert back.refused == ""
    assert site.left() == ["sub/a.txt"]
    assert (site.inbox / "sub/a.txt").stat().st_mtime == 1
    assert not (elsewhere / "sub/a.txt").exists()


# An audit ---------------------------------------------------------------------------------------------------------


def test_after_a_crash_an_audit_tells_what_is_unfinished_and_nothing_that_belongs_to_it(site):
    settings = quick(site)
    for folder in (site.state, site.archive, site.failed):
        folder.mkdir()
    path = site.drop("a.txt")
    with Ledger(site.state / "ledger.db") as ledger:
        ledger.register("scans", str(site.inbox))
        job = Job(ledger.next_id(), File("scans", "a.txt", beneath.version_of(path.stat())), Kind.TEXT)
        draft = Draft(f"{ledger.id}-00000000-{job.id}", 1)
        ledger.hand_over([job])
        ledger.intend([Intent(job, State.PUBLISHING, 0, draft)])
    for root, name in ((site.outbox, draft.name), (site.inbox, "owner"), (site.outbox, "owner")):
        site.write(f".watcherd/{name}", root=root)
    path.rename(site.inbox / ours_of(job))
    (it,) = audit(settings).wrong
    assert (it.what, it.where) == ("unfinished", str(path))
