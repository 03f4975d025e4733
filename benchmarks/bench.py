"""`make bench`: the public command beside what one would run instead, and the budget that each figure must keep.

Each comparison runs all sides in turn, several times, so that a machine whose speed drifts drifts for all of them.
What a side takes over two files of next to nothing is measured right after each run, and taken off. A table of
medians and ratios goes to standard output, the figures to `results/bench.json`, a plot beside it, the table into
`README.md` here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from statistics import median
from typing import TYPE_CHECKING

import data
import figures
import plots
import report
from measures import Figure, Ratio
from stage import PYTHON, Contestant, Run, drain, made, peer, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Row = Ratio | Figure


# What one would run instead


def wc(locale: str) -> Contestant:
    command = ("sh", "-c", "for text in inbox/*; do [ ! -e $text ] || wc -w $text; done")
    return Contestant(f"`wc -w`, {locale}", command, (("LC_ALL", locale),), publishes=False)


def split() -> Contestant:
    program = "import os\nfor name in os.listdir('inbox'):\n print(len(open('inbox/' + name).read().split()))"
    return Contestant("`len(f.read().split())`", (PYTHON, "-c", program), publishes=False)


def two_at_once(name: str, command: str) -> Contestant:
    return Contestant(name, ("sh", "-c", f"ls inbox | xargs -P2 -I% {command}"))


POOL = peer("plain pool of 2 processes", "pool")
JPEGTRAN = two_at_once("`jpegtran -grayscale`, 2 at once", "jpegtran -grayscale -outfile outbox/% inbox/%")
SLOWER = (
    (two_at_once("`vips colourspace`, 2 at once", "vips colourspace inbox/% outbox/% b-w"), 4.0),
    (two_at_once("`gm convert`, 2 at once", "gm convert inbox/% -colorspace GRAY outbox/%"), 4.0),
)

#: Bits a pixel, quality, subsampling, the sensor's gain that comes to it, and the budget against the plain pool.
JPEGS = (
    (1.0, 90, "4:2:0", 0.25, 2.0),
    (2.5, 90, "4:2:0", 0.97, 1.5),
    (4.5, 90, "4:2:0", 2.3, 1.3),
    (1.0, 95, "4:4:4", 0.03, 2.0),
    (2.5, 95, "4:4:4", 0.24, 1.5),
    (4.5, 95, "4:4:4", 0.57, 1.3),
)

#: Name, how many (more of what takes a few milliseconds), what Pillow is told, and the budget against the plain pool.
OTHERS = (
    ("PNG", 20, {}, 1.8),
    ("WebP", 20, {"quality": 80}, 1.0),
    ("TIFF", 200, {}, 1.0),
    ("TIFF, LZW", 40, {"compression": "tiff_lzw"}, 1.0),
    ("GIF", 40, {}, 1.0),
)


#: What takes no more than so many seconds is run so often in its turn.
BRIEF, OFTEN = 1.0, 2


class Session:
    """Runs comparisons, `rounds` times each. `start_ups` is what the command took over next to nothing."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.start_ups: list[Run] = []

    def compare(
        self, work: str, source: Path, ours: Contestant, others: list[tuple[Contestant, float | None]]
    ) -> Iterator[Ratio]:
        """Yield the ratio of medians of each other to ours; with it goes the least that it should be."""
        sides = [ours, *(other for other, _ in others)]
        took = self.medians(source, *sides)
        for other, least in others:
            yield Ratio(work, other.name, took[ours], took[other], least)

    def medians(self, source: Path, ours: Contestant, *others: Contestant) -> dict[Contestant, Run]:
        """Run all sides in turn over `source`, and over next to nothing; return the medians of the differences."""
        nothing = _next_to_nothing(source)
        beyond: dict[Contestant, list[Run]] = {side: [] for side in (ours, *others)}
        for _ in range(self.rounds):
            for side in beyond:
                beyond[side] += self._beyond(side, source, nothing)
        return {side: _median(its).at_least(1e-3) for side, its in beyond.items()}

    def _beyond(self, side: Contestant, source: Path, nothing: Path) -> Iterator[Run]:
        """Yield what a side takes beyond its start-up; once more where that is most of it, and what varies."""
        for _ in range(OFTEN):
            full, idle = run(side, source), run(side, nothing)
            if side.name == "watcherd":
                self.start_ups.append(idle)
            yield full.less(idle)
            if full.wall > BRIEF:
                return


def _median(runs: list[Run]) -> Run:
    return Run(median(r.wall for r in runs), median(r.cpu for r in runs), runs[0].written)


def _next_to_nothing(source: Path) -> Path:
    """Return a folder with two files of the same kind, so that two workers start, with almost nothing in them."""
    extension = next(source.iterdir()).suffix

    def make(folder: Path) -> None:
        for name in "ab":
            if extension == ".txt":
                (folder / f"{name}.txt").write_text("nothing\n")
            else:
                data.photo(0.0031, 0.0).save(folder / f"{name}{extension}")

    return made(f"nothing{extension}", make)


# The comparisons


def texts(session: Session) -> Iterator[Row]:
    prose = made("prose", lambda folder: data.prose(folder / "a.txt", 400_000_000))
    others = [(wc("C"), 6.0), (wc("C.UTF-8"), 6.0), (split(), 25.0)]
    yield from session.compare("words, 400 MB of ASCII prose", prose, drain(), others)
    code = made("code", lambda folder: data.code(folder / "a.txt", 200_000_000))
    yield from session.compare("words, 200 MB of source code", code, drain(), [(wc("C.UTF-8"), None)])
    scripts = made("scripts", lambda folder: data.scripts(folder / "a.txt", 200_000_000))
    yield from session.compare("words, 200 MB of mixed scripts", scripts, drain(), [(wc("C.UTF-8"), 2.5)])


def two_texts(session: Session) -> Iterator[Row]:
    both = made("two", lambda folder: [data.prose(folder / f"{name}.txt", 400_000_000) for name in "ab"])
    one_by_one = drain(WATCHERD_TEXT__WORKERS="1")
    alone = Contestant("one after the other", one_by_one.command, one_by_one.environment)
    yield from session.compare("words, two files of 400 MB at once", both, drain(), [(alone, 1.6)])


def jpegs(session: Session) -> Iterator[Row]:
    for bits, quality, subsampling, gain, least in JPEGS:
        source = made(f"jpeg-{quality}-{bits}", _photos("jpg", 12, gain, quality=quality, subsampling=subsampling))
        work = f"grey JPEG, 20 of 12 MP, {bits} bits a pixel ({subsampling}, q{quality})"
        others = [(POOL, least), (JPEGTRAN, 1.0), *(SLOWER if subsampling == "4:2:0" else ())]
        yield from session.compare(work, source, drain(), others)


def other_pictures(session: Session) -> Iterator[Row]:
    for name, count, options, least in OTHERS:
        kind = name.partition(",")[0].lower()
        source = made(f"other-{name.lower()}-{count}", _photos(kind, 2.5, 0.5, count=count, **options))
        rows = list(session.compare(f"grey {name}, {count} of 2.5 MP, noisy", source, drain(), [(POOL, least)]))
        yield from rows
        if name == "PNG":
            larger = rows[0].ours.written / rows[0].theirs.written
            yield Figure("grey PNG: bytes beside the plain pool's", larger, "×", 1.15)


def _photos(
    extension: str, megapixels: float, gain: float, *, count: int = 20, **options: object
) -> Callable[[Path], None]:
    """Return what fills a folder with so many pictures: two different ones, and copies of each."""

    def make(folder: Path) -> None:
        for seed in (0, 1):
            data.photo(megapixels, gain, seed).save(folder / f"{seed}-0.{extension}", **options)
            for copy in range(1, count // 2):
                shutil.copy(folder / f"{seed}-0.{extension}", folder / f"{seed}-{copy}.{extension}")

    return make


def small_texts(session: Session) -> Iterator[Row]:
    many = made("small", lambda folder: data.small_texts(folder, 20_000))
    loop = peer("bare loop, a sync and a commit every 256", "loop")
    calls = peer("the same loop with each of the daemon's system calls", "calls")
    rows = list(session.compare("words, 20,000 small texts, durable", many, drain(), [(loop, 0.8), (calls, 0.8)]))
    yield from rows
    few = made("small-2000", lambda folder: data.small_texts(folder, 2_000))
    pipeline = peer("`inotifywait | xargs -P2`, not durable (2,000, times 10)", "pipeline")
    took = session.medians(few, pipeline)[pipeline]
    yield Ratio("words, 20,000 small texts, durable", pipeline.name, rows[0].ours, took.times(10), 6.0)


# All of it


PARTS = {
    "texts": texts,
    "two-texts": two_texts,
    "jpegs": jpegs,
    "pictures": other_pictures,
    "small-texts": small_texts,
    "latency": figures.latency,
    "idle": figures.idle,
    "start": figures.start,
}


def main() -> None:
    """Run all parts, or those that are named, and print a line for each figure as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="only these; nothing is written then")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is run")
    asked = parser.parse_args()
    begin, load = time.monotonic(), os.getloadavg()[0]
    session = Session(asked.rounds)
    rows = []
    for part in asked.parts or PARTS:
        for row in PARTS[part](session):
            rows.append(row)
            print(report.line(row), flush=True)
    print(f"All took {(time.monotonic() - begin) / 60:.1f} minutes.")
    if not asked.parts:
        report.write(rows, _median(session.start_ups), asked.rounds, load)
        plots.budget(rows, report.doubt(load))


if __name__ == "__main__":
    main()
