"""Logs on standard error: lines of JSON for machines, colour and local time for people; or fields for the journal.

What is logged here comes from files that strangers name: a name that is no text, or holds newlines or a terminal's
control characters, must neither break a line nor raise.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from watcherd.paths import as_fields, on_a_line, unbroken
from watcherd.service import journal
from watcherd.service.journal import Journal
from watcherd.service.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Render = Callable[[Mapping[str, Any]], bytes]

#: The one class of all loggers. Its base decides what it lets through, so a new level holds for every logger at once.
_Logger = type("Logger", (structlog.make_filtering_bound_logger("notset"),), {})

_COLOURS = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[31m",
}
_BLOCKS = ("exception", "trace")  # many lines each: for people they stand below


def configure(level: str, form: str, stream: TextIO | None = None, *, above_bar: bool = False) -> None:
    """Send the logs of watcherd and all libraries, and Python's warnings, to `stream` (standard error).

    `level` is the lowest that is logged: debug, info, warning or error; `form` is auto, console, journal or
    json; auto is console on a terminal, and journal where systemd reads `stream` for the journal.
    `above_bar`: a progress bar is on the terminal's last line; a line of log takes its place, and the bar is redrawn.
    May be called again: the newest call holds, but loggers bound before go on writing where they did.
    """
    stream = stream or sys.stderr
    render, sink = _end(_chosen(stream) if form == "auto" else form, stream, above_bar=above_bar)
    structlog.configure(
        processors=[
            structlog.processors.format_exc_info,  # into `exception`
            lambda _logger, level, event: render({"level": level, **event}),
        ],
        wrapper_class=_Logger,
        logger_factory=lambda *_: SimpleNamespace(**dict.fromkeys(_COLOURS, sink.write)),  # called by their levels
    )
    logging.basicConfig(handlers=[_FromLibraries()], force=True)
    logging.captureWarnings(capture=True)
    set_level(level)


def set_level(level: str) -> None:
    """Say from now on what is as important as `level`, whoever says it."""
    _Logger.__bases__ = (structlog.make_filtering_bound_logger(level),)
    logging.getLogger().setLevel(level.upper())


def _chosen(stream: TextIO) -> str:
    if stream.isatty():
        return "console"
    return "journal" if journal.reads(stream.fileno()) else "json"


def _end(form: str, stream: TextIO, *, above_bar: bool) -> tuple[Render, Sink | Journal]:
    """Return how an event is rendered, and where it goes."""
    if form == "journal":
        with suppress(OSError):  # a sandbox may keep its socket from us: then by the stream
            return as_journal, Journal(_notice(as_journal))
    render = _console(stream) if form == "console" else as_json
    if above_bar:
        render = _clearing(render)
    return render, Sink(_notice(render), stream)


def _notice(render: Render) -> Callable[[int], bytes]:
    """Return how it is said that so many lines were dropped."""
    return lambda lines: render({"event": "log.dropped", "level": "warning", "lines": lines})


def _console(stream: TextIO) -> Render:
    coloured = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return lambda event: as_console(event, _COLOURS if coloured else {})


def _clearing(render: Render) -> Render:
    return lambda event: b"\r\x1b[2K" + render(event)


# JSON


def as_json(event: Mapping[str, Any]) -> bytes:
    """Render one event as a line of JSON; `path` that is no text is U+FFFD, with the exact bytes in `path_b64`."""
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    stamped = {"timestamp": now, "level": event["level"], "event": event["event"], **event}
    text = unbroken(_ENCODER.encode(stamped))
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # a surrogate: somewhere in there is a name that is no text
        return unbroken(_ENCODER.encode(_decodable(stamped))).encode(errors="replace") + b"\n"


def _decodable(event: Mapping[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for key, value in event.items():
        whole |= as_fields(key, value) if isinstance(value, (str, os.PathLike)) else {key: value}
    return whole


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str, skipkeys=True)


# People


def as_console(event: Mapping[str, Any], colours: Mapping[str, str]) -> bytes:
    """Render one event for people: local time with its offset, one line, and a traceback below where there is one."""
    level, reset = str(event.get("level", "")), "\x1b[0m" if colours else ""
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="milliseconds")
    line = f"{now} {colours.get(level, '')}{level:<7}{reset} {_sentence(event)}"
    return line.encode(errors="backslashreplace")


def as_journal(event: Mapping[str, Any]) -> bytes:
    """Render one event for systemd's journal: the line that people read, and each field by itself."""
    return journal.as_fields(event, _sentence(event).rstrip("\n"))


def _sentence(event: Mapping[str, Any]) -> str:
    fields = {key: value for key, value in _decodable(event).items() if key not in {"event", "level", *_BLOCKS}}
    pairs = "".join(f" {key}={shown(value)}" for key, value in fields.items())
    lines = (line for block in _BLOCKS if event.get(block) for line in event[block].rstrip().splitlines())
    below = "".join(f"{on_a_line(line)}\n" for line in lines)
    return f"{shown(event.get('event'))}{pairs}\n{below}"


def shown(value: object) -> str:
    """Write a value so that it stays on its line and in its place, whatever a stranger put into a name."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if text.isprintable() and text and not set(text) & {" ", "="} else repr(text)


# Libraries


class _FromLibraries(logging.Handler):
    """Records of the standard library's logging, watchdog's and Python's warnings among them, as events of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            said = {"logger": record.name, "message": record.getMessage().strip(), "exc_info": record.exc_info}
            level = min(record.levelno // 10 * 10, logging.CRITICAL)  # a library may have levels between ours
            structlog.get_logger().log(level, "library.logged", **said)
        except Exception:  # noqa: BLE001 (a library's faulty arguments; the standard library reports them this way)
            self.handleError(record)
