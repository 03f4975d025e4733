"""The figures as pictures, in `results/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import pyplot as plt
from measures import Ratio
from report import RESULTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes
    from measures import Figure, Point

mpl.use("Agg")
MET, MISSED = "#2a7f62", "#c0392b"


def budget(rows: list[Ratio | Figure], doubt: str) -> None:
    """Draw how many times faster than each rival, with the least that it should be; `doubt` stands above."""
    ratios = [row for row in rows if isinstance(row, Ratio)][::-1]
    figure, axes = plt.subplots(figsize=(11, 0.34 * len(ratios) + 1), layout="constrained")
    places = range(len(ratios))
    axes.barh(places, [row.ratio for row in ratios], color=[MISSED if row.missed else MET for row in ratios])
    for place, row in zip(places, ratios, strict=True):
        axes.text(max(row.ratio, row.least or 0) * 1.06, place, f"{row.ratio:.2g}×", va="center", fontsize=8)
        if row.least is not None:
            axes.plot([row.least] * 2, [place - 0.45, place + 0.45], color="black", linewidth=2)
    axes.set_yticks(places, [f"{row.work} · {row.against.replace('`', '')}" for row in ratios], fontsize=8)
    axes.set_xscale("log")
    axes.axvline(1, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel("times as fast as the other (log scale); the black mark is the budget")
    axes.set_title(doubt, fontsize=9)
    axes.margins(x=0.08, y=0.01)
    figure.savefig(RESULTS / "bench.png", dpi=110)
    plt.close(figure)


#: What each study varies, and what is drawn over it beside the memory.
STUDIES = {
    "backlog": ("files waiting", "files a second"),
    "size": ("bytes a file (text), megapixels (image)", "MB a second"),
    "workers": ("workers", "MB a second"),
    "batch": ("queue.capacity", "files a second"),
}


def scale(points: list[Point]) -> None:
    """Draw throughput and memory of each study and kind."""
    for study, (across, up) in STUDIES.items():
        kinds = sorted({point.kind for point in points if point.study == study})
        if not kinds:
            continue
        figure, axes = plt.subplots(2, len(kinds), figsize=(5 * len(kinds), 5.5), layout="constrained", squeeze=False)
        for column, kind in zip(axes.T, kinds, strict=True):
            shown = [point for point in points if (point.study, point.kind) == (study, kind)]
            per = "files" if up.startswith("files") else "bytes"
            unit = 1 if per == "files" else 1e6
            rates = [getattr(point, per) / unit / point.seconds for point in shown]
            _curve(column[0], shown, rates, up)
            _curve(column[1], shown, [point.memory / 1e6 for point in shown], "peak memory, MB (PSS)")
            column[0].set_title(kind)
            column[1].set_xlabel(across)
        figure.savefig(RESULTS / f"scale-{study}.png", dpi=100)
        plt.close(figure)


def _curve(axes: Axes, points: list[Point], values: Iterable[float], label: str) -> None:
    axes.plot([point.at for point in points], list(values), "o-", color=MET)
    if points[-1].at > 8 * points[0].at:
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_ylabel(label)
    axes.grid(visible=True, alpha=0.3)
