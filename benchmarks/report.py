"""What was measured, beside its budget: a line each, JSON, and the tables in `README.md` beside it."""

from __future__ import annotations

import json
import os
import platform
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measures import Ratio
from stage import HERE

if TYPE_CHECKING:
    from measures import Figure, Kept, Point
    from stage import Run

RESULTS = HERE / "results"
QUIET = 0.5  # load above which figures are provisional
DOCUMENT = HERE / "README.md"


def line(row: Ratio | Figure) -> str:
    """Return a row for the terminal."""
    widths = (62, 58, 16, 10, 9, 9, 18)
    return "".join(cell.ljust(width) for cell, width in zip(row.cells, widths, strict=True)) + _verdict(row)


def table(rows: list[Ratio | Figure]) -> str:
    """Return the rows in Markdown."""
    head = ("work", "against", "watcherd", "the other", "ratio", "by CPU", "budget", "")
    lines = [head, ("---",) * len(head), *((*row.cells, _verdict(row)) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(rows: list[Ratio | Figure], start_up: Run, rounds: int, load: float) -> None:
    """Write all figures to JSON, and the table between the marks in the document.

    `load` is the machine's when the session began: figures of a busy one are marked as provisional.
    """
    facts = {"start_up_of_drain": asdict(start_up), "rounds": rounds, "load_before": load}
    save("bench.json", facts | {"rows": [_facts(row) for row in rows]})
    how = f"medians of {rounds} rounds; start-up ({start_up.wall:.2f} s for watcherd) taken off"
    caption = f"{machine_line()}; {how}. {doubt(load)}"
    insert("bench", f"{table(rows)}\n\n{caption}")


def scale_table(points: list[Point], kept: list[Kept], load: float) -> str:
    """Return the points of the scaling study in Markdown."""
    head = ("study", "kind", "at", "files", "files/s", "MB/s", "ms a file", "of CPU", "memory, MB")
    lines = [head, ("---",) * len(head), *(_point(point) for point in points)]
    starts = [
        f"`keep`, a start over {it.files:,} files already done: caught up in {it.seconds:.1f} s, "
        f"ledger {it.ledger_bytes_a_file:.0f} bytes a file."
        for it in kept
    ]
    return "\n".join(
        [*(f"| {' | '.join(cells)} |" for cells in lines), "", *starts, "", f"{machine_line()}. {doubt(load)}"]
    )


def _point(point: Point) -> tuple[str, ...]:
    rate, speed = point.files / point.seconds, point.bytes / point.seconds / 1e6
    each = point.seconds / point.files * 1e3
    return (
        *(point.study, point.kind, f"{point.at:,g}", f"{point.files:,}"),
        *(f"{rate:,.0f}", f"{speed:,.1f}", f"{each:,.3f}"),
        *(f"{point.cpu / point.files * 1e3:,.3f}" if point.cpu else "", f"{point.memory / 1e6:.0f}"),
    )


def save(name: str, facts: dict[str, object]) -> None:
    """Write facts to JSON in `results`, with those of the machine."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(json.dumps({"machine": machine()} | facts, indent=2) + "\n", "utf-8")


def load(name: str) -> dict[str, Any]:
    """Read what `save` wrote; nothing where there is none."""
    path = RESULTS / name
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def insert(name: str, text: str) -> None:
    """Put `text` between the marks called `name` in the document."""
    begin, end = f"<!-- {name}: written by make -->", f"<!-- {name}: end -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    old = DOCUMENT.read_text("utf-8")
    DOCUMENT.write_text(pattern.sub(lambda _: f"{begin}\n{text.rstrip()}\n{end}", old), "utf-8")


def machine() -> dict[str, object]:
    """Return what the figures depend on."""
    cpus = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": cpus[0] if cpus else platform.machine(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def machine_line() -> str:
    """Return the machine in a few words."""
    facts = machine()
    return f"{facts['cores']} cores of {facts['processor']}, Python {facts['python']}, Linux {facts['kernel']}"


def _facts(row: Ratio | Figure) -> dict[str, object]:
    ratio = {"ratio": row.ratio} if isinstance(row, Ratio) else {}
    return asdict(row) | ratio | {"missed": row.missed}


def doubt(load: float) -> str:
    """Return what is to be said of figures that began under such a load."""
    return f"Provisional: the machine was busy, with a load of {load:.1f}." if load > QUIET else ""


def _verdict(row: Ratio | Figure) -> str:
    return "missed" if row.missed else ""
