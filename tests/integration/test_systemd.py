"""What systemd and its journal hear, by sockets of ours in their place."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing, suppress
from math import inf
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
from structlog.testing import capture_logs
from tests.integration.conftest import limited

from watcherd import vitals
from watcherd.service import journal, logs
from watcherd.service.systemd import Manager

pytestmark = pytest.mark.usefixtures("uncounted")


@pytest.fixture
def told():
    """Return a function that makes a Manager out of an environment; all are closed in the end."""
    with ExitStack() as stack:
        yield lambda environment: stack.enter_context(closing(Manager(environment)))


@pytest.fixture(params=["path", "abstract"])
def listener(request):
    """Give a socket that hears datagrams, and its name as $NOTIFY_SOCKET has it."""
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        name = f"{short}/s"
        heard.bind(f"\0{name}" if request.param == "abstract" else name)
        heard.settimeout(30)
        yield heard, f"@{name}" if request.param == "abstract" else name


def test_each_message_is_one_datagram(listener, told):
    heard, name = listener
    manager = told({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())})
    manager.ready()
    manager.alive()
    manager.status("two done")
    manager.status("two done")  # said already
    manager.reloading()
    manager.stopping()
    said = [heard.recv(4096).decode() for _ in range(5)]
    assert said[:3] == ["READY=1", "WATCHDOG=1", "STATUS=two done"]
    reloading, stamp = said[3].splitlines()
    assert (reloading, said[4]) == ("RELOADING=1", "STOPPING=1")
    assert int(stamp.removeprefix("MONOTONIC_USEC=")) > 0
    assert manager.patience == 3


def test_a_status_that_nobody_heard_is_said_again(tmp_path, told):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        manager = told({"NOTIFY_SOCKET": f"{tmp_path}/s"})
        manager.status("two done")
        heard.bind(f"{tmp_path}/s")
        heard.settimeout(30)
        manager.status("two done")
        assert heard.recv(4096) == b"STATUS=two done"


@pytest.mark.parametrize("watched", [{}, {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}])
def test_who_is_not_watched_sends_no_sign_of_life(listener, told, watched):
    heard, name = listener
    manager = told({"NOTIFY_SOCKET": name, **watched})
    manager.alive()
    manager.ready()
    assert heard.recv(4096) == b"READY=1"
    assert manager.patience == inf


def test_a_status_is_one_line_whatever_it_names(listener, told):
    heard, name = listener
    told({"NOTIFY_SOCKET": name}).status("paused: sub\nWATCHDOG=trigger\x1b]0;")
    assert heard.recv(4096) == rb"STATUS=paused: sub\nWATCHDOG=trigger\x1b]0;"


def test_signs_of_life_need_no_further_descriptor(listener, told):
    heard, name = listener
    manager = told({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000"})
    manager.ready()
    with limited(resource.RLIMIT_NOFILE, 1):
        manager.alive()
    heard.settimeout(1)
    assert [heard.recv(4096), heard.recv(4096)] == [b"READY=1", b"WATCHDOG=1"]


def test_where_no_socket_is_to_be_had_nobody_is_told_and_nothing_fails(listener, told):
    _, name = listener
    with limited(resource.RLIMIT_NOFILE, 1):
        told({"NOTIFY_SOCKET": name}).ready()


def test_what_systemd_gave_is_taken_out_of_the_environment(told):
    environment = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/root"}
    told(environment).ready()  # nobody listens: that harms nothing
    assert environment == {"HOME": "/root"}


def test_a_daemon_says_ready_its_status_and_its_end(site, listener):
    heard, name = listener
    daemon = site.daemon(environment={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "4000000"}).start()
    said = []

    def hears(text):
        said.append(heard.recv(4096).decode())
        return said[-1] == text

    site.wait_for(lambda: hears("WATCHDOG=1"))
    assert said[:2] == ["STATUS=starting: takes up what an earlier run left", "READY=1"]
    site.drop("a.txt")
    site.wait_for(lambda: hears("STATUS=1 published, 0 quarantined, 0 in hand"))
    daemon.send(signal.SIGHUP)
    site.wait_for(lambda: hears("READY=1"))
    assert any(it.startswith("RELOADING=1\nMONOTONIC_USEC=") for it in said)
    assert all(b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes() for pid in daemon.workers())
    assert daemon.stop() == 0
    site.wait_for(lambda: hears("STOPPING=1"))


# Vitals ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """Give a clock that the test turns."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(vitals, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def line(name, intake=inf, publisher=inf):
    return SimpleNamespace(
        name=name, intake=SimpleNamespace(progressed=intake), publisher=SimpleNamespace(progressed=publisher)
    )


def felt(pulse, clock, seconds):
    """Feel the pulse as often as the daemon does; return what was felt last."""
    for _ in range(round(seconds / pulse.period)):
        clock.now += pulse.period
        last = pulse.feel()
    return last


def test_a_room_that_stands_still_is_told_once_and_so_is_its_going_on(clock):
    held = line("held", intake=clock.now)
    pulse = vitals.Pulse([held, line("well")])
    with capture_logs() as events:
        assert felt(pulse, clock, 3 * vitals.STILL)
        held.intake.progressed = clock.now
        assert felt(pulse, clock, pulse.period)
    assert [(event["event"], event["room"]) for event in events] == [
        ("room.stuck", "intake of held"),
        ("room.recovered", "intake of held"),
    ]


def test_the_daemon_is_hung_only_where_no_inbox_gets_on(clock):
    lines = [line("a", publisher=clock.now), line("b", intake=clock.now)]
    pulse = vitals.Pulse(lines)
    assert not felt(pulse, clock, 2 * vitals.STILL)
    lines[1].intake.progressed = clock.now
    assert felt(pulse, clock, pulse.period)


def test_who_was_stopped_itself_judges_nobody(clock):
    pulse = vitals.Pulse([line("a", intake=clock.now, publisher=clock.now)])
    clock.now += 3600
    assert pulse.feel()


def test_patience_is_shorter_where_the_manager_s_is(clock):
    pulse = vitals.Pulse([line("a", intake=clock.now)], patience=4.0)
    assert not felt(pulse, clock, 3.0)


# The journal -------------------------------------------------------------------------------------------------------


@pytest.fixture
def reader(monkeypatch):
    """Give a socket in the journal's place, and a Journal that writes to it."""
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"{short}/s")
        heard.settimeout(30)
        monkeypatch.setattr(journal, "ADDRESS", f"{short}/s")
        written = journal.Journal(lambda lines: logs.as_journal(dropped(lines)))
        yield heard, written
        written._socket.close()  # noqa: SLF001 (in a daemon it is open to the end)


def dropped(lines):
    return {"event": "log.dropped", "level": "warning", "lines": lines}


def fields(datagram):
    """Read the native protocol as the journal does."""
    found = {}
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size, datagram = int.from_bytes(datagram[:8], "little"), datagram[8:]
            value, datagram = datagram[:size], datagram[size + 1 :]
        found[name.decode()] = value
    return found


def test_an_event_s_fields_stay_fields(reader):
    heard, written = reader
    path = os.fsdecode(b"two\nlines \xff.txt")
    written.write(logs.as_journal({"event": "file.quarantined", "level": "warning", "path": path, "b-c": 2}))
    said = fields(heard.recv(65536))
    assert said.pop("MESSAGE").startswith(b"file.quarantined path=")
    assert said == {
        "PRIORITY": b"4",
        "SYSLOG_IDENTIFIER": b"watcherd",
        "WATCHERD_EVENT": b"file.quarantined",
        "WATCHERD_PATH": b"two\nlines \xff.txt",
        "WATCHERD_B_C": b"2",
    }


def test_a_bug_s_traceback_goes_with_it(reader):
    heard, written = reader
    with pytest.raises(ZeroDivisionError) as raised:
        1 // 0  # noqa: B018 (the bug)
    died = {"event": "room.died", "level": "critical", "exc_info": raised.value}
    written.write(logs.as_journal(structlog.processors.format_exc_info(None, "critical", died)))
    said = fields(heard.recv(65536))
    assert said["PRIORITY"] == b"2"
    assert said["MESSAGE"].splitlines()[-1] == b"ZeroDivisionError: integer division or modulo by zero"
    assert said["WATCHERD_EXCEPTION"].startswith(b"Traceback")


def test_an_event_too_large_for_a_datagram_goes_in_a_file(reader):
    heard, written = reader
    written.write(logs.as_journal({"event": "file.retrying", "level": "warning", "message": "x" * (1 << 20)}))
    _, descriptors, *_ = socket.recv_fds(heard, 16, 1)
    with open(descriptors[0], "rb") as file:
        file.seek(0)
        assert fields(file.read())["WATCHERD_MESSAGE"] == b"x" * (1 << 20)


def test_a_journal_that_takes_nothing_costs_lines_and_is_told_how_many(reader, monkeypatch):
    monkeypatch.setattr(journal, "PATIENCE", 0.01)
    heard, written = reader
    said = 0
    while not written.dropped:
        written.write(logs.as_journal({"event": "file.published", "level": "info", "number": said}))
        said += 1
    written.write(b"")
    assert written.dropped == 2
    for number in range(said - 1):
        assert fields(heard.recv(65536))["WATCHERD_NUMBER"] == b"%d" % number
    written.write(logs.as_journal({"event": "daemon.ready", "level": "info"}))
    notice, event = fields(heard.recv(65536)), fields(heard.recv(65536))
    assert (notice["WATCHERD_EVENT"], notice["WATCHERD_LINES"]) == (b"log.dropped", b"2")
    assert event["WATCHERD_EVENT"] == b"daemon.ready"
    assert written.dropped == 0


def test_a_journal_that_was_started_anew_is_written_to(reader):
    heard, written = reader
    name = heard.getsockname()
    heard.close()
    os.unlink(name)
    written.write(b"A=1\n")
    assert written.dropped == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(name)
        written.write(b"A=2\n")
        assert fields(again.recv(4096))["WATCHERD_EVENT"] == b"log.dropped"
        assert again.recv(4096) == b"A=2\n"


def test_a_journal_that_was_started_anew_and_takes_nothing_holds_nobody_up(reader, monkeypatch):
    monkeypatch.setattr(journal, "PATIENCE", 0.01)
    heard, written = reader
    name = heard.getsockname()
    heard.close()
    os.unlink(name)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others,
    ):
        again.bind(name)
        others.settimeout(0)
        with suppress(BlockingIOError):  # it is full
            while True:
                others.sendto(b"B=1\n", name)
        written.write(b"A=1\n")
        assert written.dropped == 1


def test_only_the_journal_s_own_stream_is_the_journal(tmp_path, monkeypatch):
    with (tmp_path / "log").open("w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert journal.reads(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")
        assert not journal.reads(stream.fileno())
        monkeypatch.delenv("JOURNAL_STREAM")
        assert not journal.reads(stream.fileno())


@pytest.mark.parametrize("wrong", ["[imgae]", "a = 1\nb = 2"])
def test_what_a_command_complains_of_is_an_error_for_the_journal_and_unmarked_elsewhere(site, wrong):
    site.config.write_text(wrong, "utf-8")
    with (site.base / "log").open("w+b") as stream:
        status = os.fstat(stream.fileno())
        command = [sys.executable, "-m", "watcherd", "--config", site.config, "run"]
        for journal_stream in (f"{status.st_dev}:{status.st_ino}", "1:1"):
            stream.truncate(0)
            stream.seek(0)
            environment = {**os.environ, "JOURNAL_STREAM": journal_stream}
            assert subprocess.run(command, stderr=stream, env=environment, check=False).returncode == 2
            stream.seek(0)
            marked = {line.startswith(b"<3>watcherd: ") for line in stream.read().splitlines()}
            assert marked == {journal_stream != "1:1"}


def test_where_the_journal_s_socket_is_out_of_reach_events_go_by_the_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "ADDRESS", str(tmp_path / "none"))
    with (tmp_path / "log").open("w") as stream:
        logs.configure("info", "journal", stream)
        structlog.get_logger().info("daemon.ready")
    assert json.loads((tmp_path / "log").read_bytes())["event"] == "daemon.ready"
