"""How facts are printed: tables on a terminal, plain lines elsewhere, JSON where it is asked for."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from watcherd.paths import on_a_line, readable, unbroken

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def on_terminal() -> bool:
    """Whether results go to a person."""
    return sys.stdout.isatty()


def complain(line: str) -> None:
    """Say on standard error what went wrong; to the journal, mark it as an error (<3>: sd-daemon(3))."""
    from watcherd.service import journal

    mark = "<3>" if journal.reads(2) else ""
    remark(f"{mark}watcherd: {line}")


def remark(line: str) -> None:
    """Say something beside the results on standard error; no exit status depends on it."""
    with suppress(OSError):  # a full disk, or a reader that has gone: there is nobody to tell
        print(safe(line), file=sys.stderr)  # an error may speak of a name that a stranger gave


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, nothing: str = "") -> None:
    """Print rows under headings on a terminal, and elsewhere as lines with tabs between the cells.

    On a terminal `nothing` is printed in place of a table without rows.
    """
    if not on_terminal():
        for row in rows:
            print("\t".join(safe(cell) for cell in row))
    elif drawn := list(rows):
        _draw(columns, drawn)
    elif nothing:
        print(nothing)


_NARROWEST = 40  # rich leaves out what has no room, all of it where COLUMNS is 0


def _draw(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for row in rows:
        drawn.add_row(*(Text(safe(cell), overflow="fold") for cell in row))
    console = Console()
    console.width = max(console.width, _NARROWEST)
    console.print(drawn)


def as_json(facts: object) -> None:
    """Print facts as JSON. A path that is no text comes by `as_fields`; in other texts it has U+FFFD."""
    print(readable(unbroken(json.dumps(facts, ensure_ascii=False, indent=2, default=str))))


def safe(cell: object) -> str:
    """Write a cell on one line: newlines and control characters in a name are escaped."""
    return on_a_line(str(cell))


def time(seconds: float) -> str:
    """Write a time in Unix seconds for people: local, with its offset."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(" ", "seconds")


def duration(seconds: float) -> str:
    """Write a stretch of time for people: ``0.4 s``, ``2 min 05 s``, ``1 h 20 min``."""
    if seconds < 60:  # noqa: PLR2004 (a minute)
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
