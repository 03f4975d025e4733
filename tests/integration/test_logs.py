"""Logs: what they look like, and what they survive."""

import base64
import io
import json
import logging
import os
import pty
import re
import threading
import time
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import structlog

from watcherd.paths import readable
from watcherd.service import logs
from watcherd.service import sink as sink_module
from watcherd.service.sink import Sink

UNDECODABLE = os.fsdecode(b"caf\xe9.txt")


@pytest.fixture(autouse=True)
def _as_before():
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def pipe():
    """Both ends of a pipe: a function that reads what is there, and the stream to log to."""
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    yield reading, stream
    with suppress(OSError):  # the test closed it
        os.close(reading)
    stream.close()


def dropped(lines):
    return logs.as_json({"event": "log.dropped", "level": "warning", "lines": lines})


def logged(pipe):
    return [json.loads(line) for line in os.read(pipe[0], 1 << 20).splitlines()]


class Terminal(io.TextIOWrapper):
    """A file in memory that says it is a terminal."""

    def isatty(self):  # noqa: D102 (the class says it)
        return True

    def shown(self):  # noqa: D102 (its name says it)
        return Path(f"/proc/self/fd/{self.fileno()}").read_bytes().decode()


@pytest.fixture
def on_terminal():
    """Return a function that lets logs go to a terminal, which it returns."""
    with ExitStack() as opened:

        def going(form="auto", **more):
            file = os.fdopen(os.memfd_create("terminal"), "w+b")
            logs.configure("info", form, terminal := opened.enter_context(Terminal(file)), **more)
            return terminal

        yield going


def test_json_has_time_level_and_event_first_and_its_fields(pipe):
    logs.configure("info", "json", pipe[1])
    structlog.get_logger().bind(inbox="scans").info("file.published", path="a b.txt", words=12, seconds=0.5)
    (event,) = logged(pipe)
    assert list(event) == ["timestamp", "level", "event", "inbox", "path", "words", "seconds"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event.pop("timestamp"))
    assert event == {
        "level": "info",
        "event": "file.published",
        "inbox": "scans",
        "path": "a b.txt",
        "words": 12,
        "seconds": 0.5,
    }


def test_elsewhere_than_on_a_terminal_auto_is_json(pipe):
    logs.configure("info", "auto", pipe[1])
    structlog.get_logger().info("daemon.ready")
    assert logged(pipe)[0]["event"] == "daemon.ready"


def test_what_is_less_important_than_the_level_is_not_said(pipe):
    logs.configure("warning", "json", pipe[1])
    log = structlog.get_logger()
    log.info("daemon.ready")
    log.warning("worker.died")
    logging.getLogger("watchdog").info("nothing")
    assert [event["event"] for event in logged(pipe)] == ["worker.died"]


def test_a_new_level_holds_for_loggers_made_before(pipe):
    log = structlog.get_logger()
    logs.configure("error", "json", pipe[1])
    log.info("daemon.ready")
    logs.configure("debug", "json", pipe[1])
    log.debug("file.queued")
    logging.getLogger("other").debug("said once")
    assert [event["event"] for event in logged(pipe)] == ["file.queued", "library.logged"]


def test_a_new_level_holds_for_loggers_that_were_bound_before(pipe):
    logs.configure("info", "json", pipe[1])
    log = structlog.get_logger().bind(inbox="scans")
    log.debug("file.queued")
    logs.set_level("debug")
    log.debug("file.ignored")
    logs.set_level("error")
    log.warning("file.retrying")
    assert [event["event"] for event in logged(pipe)] == ["file.ignored"]


def test_a_path_that_is_no_text_is_replaced_and_kept_exactly_beside(pipe):
    logs.configure("info", "json", pipe[1])
    structlog.get_logger().info("file.published", path=UNDECODABLE, folder=Path(UNDECODABLE))
    (event,) = logged(pipe)
    assert event["path"] == event["folder"] == "caf\ufffd.txt"
    assert base64.b64decode(event["path_b64"]) == base64.b64decode(event["folder_b64"]) == b"caf\xe9.txt"


def test_surrogates_that_stand_for_no_byte_do_not_raise(pipe):
    logs.configure("info", "json", pipe[1])
    structlog.get_logger().info("file.published", path="\ud800", deeper=["\udcff"])
    (event,) = logged(pipe)
    assert "\ufffd" in event["path"]


def test_values_that_json_does_not_know_are_written_as_text(pipe):
    logs.configure("info", "json", pipe[1])
    structlog.get_logger().info("daemon.ready", folder=Path("/srv"), error=OSError(2, "gone"))
    (event,) = logged(pipe)
    assert (event["folder"], event["error"]) == ("/srv", "[Errno 2] gone")


def test_people_get_local_time_with_its_offset_and_colour(on_terminal):
    stream = on_terminal()
    structlog.get_logger().warning("file.retrying", path="a.txt", seconds=0.12345)
    line = stream.shown()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d ", line)
    assert "\x1b[33m" in line
    assert line.endswith("file.retrying path=a.txt seconds=0.123\n")


def test_a_line_takes_the_place_of_a_progress_bar(on_terminal):
    stream = on_terminal("console", above_bar=True)
    structlog.get_logger().warning("file.retrying")
    assert stream.shown().startswith("\r\x1b[2K2")


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_is_left_out_where_it_is_not_wanted(monkeypatch, variable, value, on_terminal):
    monkeypatch.setenv(variable, value)
    stream = on_terminal()
    structlog.get_logger().error("inbox.lost")
    assert "\x1b" not in stream.shown()


def test_people_see_a_name_that_is_no_text_as_machines_do(on_terminal):
    stream = on_terminal("console")
    structlog.get_logger().info("file.published", path=UNDECODABLE)
    assert stream.shown().endswith("path=caf\ufffd.txt path_b64='Y2Fm6S50eHQ='\n")


@pytest.mark.parametrize("name", ["a\nb.txt", "a\x1b[2Jb", "a b.txt", "", "a=b"])
def test_no_name_breaks_a_line_or_a_terminal(name, on_terminal):
    stream = on_terminal("console")
    structlog.get_logger().info("file.published", path=name)
    line = stream.shown()
    assert line.count("\n") == 1
    assert f"path={name!r}\n" in line


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_is_said_only_where_one_is_given(form, on_terminal):
    stream = on_terminal(form)
    log = structlog.get_logger()
    try:
        {}["surprise"]
    except KeyError:
        log.error("daemon.stopping")  # noqa: TRY400 (without its traceback is what is tested)
        assert "Traceback" not in stream.shown()
        log.exception("daemon.stopping")
    assert "Traceback" in stream.shown()
    assert "KeyError: 'surprise'" in stream.shown()


@pytest.mark.parametrize("block", ["exception", "trace"])
def test_no_name_in_a_traceback_breaks_a_line_or_a_terminal(block, on_terminal):
    stream = on_terminal("console")
    structlog.get_logger().error("room.died", **{block: "Traceback:\n  of a\x1b]0;b.txt\x07\n"})
    assert stream.shown().endswith("room.died\nTraceback:\n  of a\\x1b]0;b.txt\\x07\n")


@pytest.mark.parametrize("level", ["info", "warning", "error", "critical"])
def test_people_see_a_space_between_any_level_and_its_event(level, on_terminal):
    stream = on_terminal("console")
    getattr(structlog.get_logger(), level)("room.died")
    words = re.sub(r"\x1b\[\d+m", "", stream.shown()).split()
    assert words[2:] == [level, "room.died"]


@pytest.mark.parametrize("end", ["", UNDECODABLE])
def test_json_has_nothing_that_a_terminal_obeys_or_a_reader_takes_for_the_end_of_a_line(pipe, end):
    logs.configure("info", "json", pipe[1])
    name = f"a\x1b\x7f\x85\x9b2J\u2028\u2029{end}"
    structlog.get_logger().info("file.published", path=name)
    line = os.read(pipe[0], 1 << 20).decode().removesuffix("\n")
    assert line.isprintable()
    assert json.loads(line)["path"] == readable(name)


def test_the_standard_librarys_records_go_the_same_way(pipe):
    logs.configure("info", "json", pipe[1])
    logging.getLogger("watchdog.observers").warning("lost %d events", 3)
    try:
        os.close(-1)
    except OSError:
        logging.getLogger("PIL").exception("cannot")
    first, second = logged(pipe)
    assert (first["event"], first["level"], first["logger"]) == ("library.logged", "warning", "watchdog.observers")
    assert first["message"] == "lost 3 events"
    assert "OSError: [Errno 9] Bad file descriptor" in second["exception"]


@pytest.mark.parametrize(("number", "level"), [(25, "info"), (35, "warning"), (60, "critical")])
def test_a_librarys_own_level_is_said_as_the_next_lower_of_ours(pipe, number, level):
    logs.configure("info", "json", pipe[1])
    logging.getLogger("library").log(number, "of a level of its own")
    assert [event["level"] for event in logged(pipe)] == [level]


def test_a_librarys_faulty_record_is_reported_and_nothing_raised(pipe, capsys):
    logs.configure("info", "json", pipe[1])
    logging.getLogger().handlers[:-1] = []  # pytest's own would raise
    logging.getLogger("other").warning("%d", "no number")
    assert "Logging error" in capsys.readouterr().err


def test_warnings_go_the_same_way(pipe):
    logs.configure("info", "json", pipe[1])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)  # an earlier test's, which pytest has undone behind its back
        logging.captureWarnings(capture=True)
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
    (event,) = logged(pipe)
    assert event["logger"] == "py.warnings"
    assert "DeprecationWarning: deprecated" in event["message"]


def test_standard_error_is_where_logs_go_by_default(capfd):
    logs.configure("info", "json")
    structlog.get_logger().info("daemon.ready")
    assert json.loads(capfd.readouterr().err)["event"] == "daemon.ready"


def test_a_reader_that_has_gone_does_not_raise(pipe):
    logs.configure("info", "json", pipe[1])
    os.close(pipe[0])
    structlog.get_logger().info("daemon.ready")


def test_a_stream_that_was_closed_does_not_raise(tmp_path):
    stream = (tmp_path / "log").open("w")
    logs.configure("info", "json", stream)
    stream.close()
    structlog.get_logger().info("daemon.ready")


def test_a_full_disk_costs_lines_and_says_later_how_many(tmp_path):
    with Path("/dev/full").open("w") as full, (tmp_path / "log").open("w") as room:
        sink = Sink(dropped, full)
        sink.write(b"lost\n")
        sink.write(b"lost too\n")
        os.dup2(room.fileno(), full.fileno())
        sink.write(b"seen\n")
    notice, seen = (tmp_path / "log").read_bytes().splitlines()
    assert json.loads(notice)["event"] == "log.dropped"
    assert json.loads(notice)["lines"] == 2
    assert seen == b"seen"


def test_a_stuck_reader_holds_nobody_up_and_is_told_what_it_missed(pipe, monkeypatch):
    monkeypatch.setattr(sink_module, "PATIENCE", 0.01)
    sink = Sink(dropped, pipe[1])
    written = 0
    while not sink.dropped:
        sink.write(b"x" * 999 + b"\n")
        written += 1
    sink.write(b"missed\n")
    assert len(os.read(pipe[0], 1 << 20)) == (written - 1) * 1000
    sink.write(b"seen\n")
    notice, seen = os.read(pipe[0], 1 << 20).splitlines()
    assert json.loads(notice)["lines"] == 2
    assert seen == b"seen"


def test_a_reader_that_is_slow_with_a_long_line_holds_nobody_up_for_longer_than_one_that_is_stuck(pipe, monkeypatch):
    monkeypatch.setattr(sink_module, "PATIENCE", 0.2)
    logs.configure("info", "json", pipe[1])
    over = threading.Event()

    def read_slowly():
        while not over.wait(0.1):
            os.read(pipe[0], 1 << 13)

    reader = threading.Thread(target=read_slowly)
    reader.start()
    began = time.monotonic()
    structlog.get_logger().info("file.published", path="a" * (1 << 18))
    took = time.monotonic() - began
    over.set()
    reader.join()
    assert took < 1.0


def test_a_terminal_that_nobody_reads_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(sink_module, "PATIENCE", 0.01)
    reading, writing = pty.openpty()
    with os.fdopen(reading, "rb", buffering=0) as screen, os.fdopen(writing, "w") as stream:
        sink, seen = Sink(dropped, stream), b""
        while not sink.dropped:
            sink.write(b"x" * 99 + b"\n")
        while b"seen" not in seen:
            seen += screen.read(1 << 16)
            sink.write(b"seen\n")
    assert b"log.dropped" in seen


def test_a_line_that_was_cut_short_is_ended_before_the_next(pipe, monkeypatch):
    monkeypatch.setattr(sink_module, "PATIENCE", 0.01)
    sink = Sink(dropped, pipe[1])
    sink.write(b"x" * (1 << 20) + b"\n")
    cut = os.read(pipe[0], 1 << 20)
    assert set(cut) == {ord("x")}
    sink.write(b"seen\n")
    empty, notice, seen = os.read(pipe[0], 1 << 20).splitlines()
    assert (empty, json.loads(notice)["lines"], seen) == (b"", 1, b"seen")


def test_a_file_that_took_the_number_of_a_closed_stream_is_not_written_to(tmp_path):
    stream = (tmp_path / "log").open("w")
    number = stream.fileno()
    sink = Sink(dropped, stream)
    stream.close()
    with (tmp_path / "other").open("w") as other:
        os.dup2(other.fileno(), number)
        sink.write(b"not here\n")
        if number != other.fileno():
            os.close(number)
    assert (tmp_path / "other").read_bytes() == b""


def test_lines_of_many_threads_stay_whole_also_where_they_take_several_writes(pipe):
    sink = Sink(dropped, pipe[1])
    lines = [bytes([letter]) * 9000 + b"\n" for letter in b"abcd"]
    threads = [threading.Thread(target=lambda line=line: [sink.write(line) for _ in range(50)]) for line in lines]
    for thread in threads:
        thread.start()
    wanted, seen = 50 * sum(map(len, lines)), b""
    while len(seen) < wanted:
        seen += os.read(pipe[0], 1 << 16)
    for thread in threads:
        thread.join()
    assert sorted(seen.splitlines(keepends=True)) == sorted(lines * 50)
