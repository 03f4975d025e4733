"""`make bench-scale`: what a file costs as the work grows, and what memory it takes.

Four questions: how many files wait, how large they are, how many work on them, how many may be in flight at once.
Each point is one drain by the public command over files of its own; start-up is taken off. Memory is the largest sum
of proportional set sizes that was seen of the command and all below it. A study's points go to `results/scale.json`
once it is done, in place of those that it had there, and plots beside it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING

import data
import plots
import report
from measures import Kept, Point
from stage import at_hand, cpu_of_children, daemon, drain, fresh, peer, proportional_memory, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from stage import Contestant

#: How often a point is measured that takes at most so many seconds; what takes longer is run once.
ROUNDS = {4.0: 9, 60.0: 3}

#: What does no more than the system calls of a small text: where it becomes slower too, the file system did.
LOOP = peer("bare loop", "loop")


@dataclass(frozen=True, slots=True)
class Drain:
    """What one drain took: seconds by the clock and of processors, the peak of memory; and of what."""

    seconds: float
    cpu: float
    memory: int
    files: int
    bytes: int


@dataclass(slots=True)
class Study:
    """What is known so far, of this run and of earlier ones whose parts were not asked for this time."""

    largest: int
    points: list[Point]
    kept: list[Kept]

    @classmethod
    def without(cls, parts: Iterable[str], largest: int) -> Study:
        """Return what is on disk, but for these parts."""
        facts = report.load("scale.json")
        points = [Point(**it) for it in facts.get("points", ()) if it["study"] not in parts]
        return cls(largest, points, [] if "kept" in parts else [Kept(**it) for it in facts.get("kept", ())])

    def note(self, point: Point | Kept) -> None:
        """Keep a point, and print it."""
        (self.kept if isinstance(point, Kept) else self.points).append(point)
        print(point, flush=True)

    def save(self) -> None:
        """Keep what is known on disk."""
        facts = {"points": [asdict(it) for it in self.points], "kept": [asdict(it) for it in self.kept]}
        report.save("scale.json", facts)


# One point


def measured(fill: Callable[[Path], object], by: Contestant) -> Drain:
    """Have what `fill` puts into an inbox drained by a command."""
    home = fresh()
    fill(home / "inbox")
    at_hand(home)
    sizes = [entry.stat().st_size for entry in os.scandir(home / "inbox")]
    begin, before = time.perf_counter(), cpu_of_children()
    with subprocess.Popen(
        by.command, cwd=home, env=os.environ | dict(by.environment), stdout=subprocess.DEVNULL
    ) as process:
        memory = max(_watch(process), default=0)
    if process.returncode:
        raise SystemExit(f"{by.name}: status {process.returncode}")
    seconds, cpu = time.perf_counter() - begin, cpu_of_children() - before
    return Drain(seconds, cpu, memory, len(sizes), sum(sizes))


def _watch(process: subprocess.Popen[bytes]) -> Iterator[int]:
    while process.poll() is None:
        try:
            yield proportional_memory(process.pid)
        except OSError:  # one of them has just gone
            continue
        finally:
            time.sleep(0.1)


def points(
    study: Study, name: str, kind: str, places: Sequence[tuple[float, Callable[[Path], object], Contestant]]
) -> None:
    """Measure each place: where it is, what fills the inbox, and which command drains it.

    Short ones are measured again, in turn, so that a machine whose speed drifts drifts for all. Work of less than a
    fifth of a start-up would be lost in how much that varies, and is left out.
    """
    start_ups: list[Drain] = []
    runs: dict[float, list[Drain]] = {}
    for number in range(max(ROUNDS.values())):
        start_ups.append(measured(lambda _: None, places[0][2]))
        for at, fill, by in places:
            its = runs.setdefault(at, [])
            if number < _rounds(its):
                its.append(measured(fill, by))
    start_up, idle = (median(run.seconds for run in start_ups), median(run.cpu for run in start_ups))
    for at, its in runs.items():
        seconds, cpu = median(run.seconds for run in its) - start_up, median(run.cpu for run in its) - idle
        if seconds > start_up / 5:
            memory = max(run.memory for run in its)
            study.note(Point(name, kind, at, its[0].files, its[0].bytes, seconds, memory, cpu))


def _rounds(its: list[Drain]) -> int:
    """Return how often to measure what has taken this so far."""
    return next((rounds for most, rounds in ROUNDS.items() if not its or its[0].seconds <= most), 1)


# The studies


def backlog(study: Study) -> None:
    """How many files wait: small texts, by the command and by the bare loop, and pictures of 64 by 48 pixels."""
    counts = [10**power for power in (3, 4, 5, 6) if 10**power <= study.largest]
    for kind, by in (("text", drain()), ("text, by the bare loop", LOOP)):
        points(study, "backlog", kind, [(n, lambda inbox, n=n: data.small_texts(inbox, n), by) for n in counts])
    few = [count for count in counts if count <= 100_000]
    points(study, "backlog", "image", [(n, lambda inbox, n=n: data.small_pictures(inbox, n), drain()) for n in few])


def kept(study: Study) -> None:
    """Start over inboxes whose files are all done and stay: seconds until it has caught up, bytes of the ledger."""
    for count in (10_000, 100_000, 1_000_000):
        if count <= study.largest:
            study.note(_kept(count))


def _kept(count: int) -> Kept:
    home = fresh()
    data.small_texts(home / "inbox", count)
    once = drain(WATCHERD_INBOX__BENCH__AFTER="keep")
    subprocess.run(
        once.command, cwd=home, env=os.environ | dict(once.environment), check=True, stdout=subprocess.DEVNULL
    )
    begin = time.perf_counter()
    with daemon(home, "--after=keep"):
        until(lambda: b'"inbox.rescanned"' in (home / "log").read_bytes(), pause=0.01)
        seconds = time.perf_counter() - begin
    return Kept(count, seconds, (home / "state/ledger.db").stat().st_size / count)


def size(study: Study) -> None:
    """How large a file is: texts of 1 kB to 1 GB (a GB of each, at most 20,000), pictures of 0.01 to 90 MP."""
    lengths = [10**power for power in range(3, 10) if 10**power <= study.largest * 1000]
    points(study, "size", "text", [(n, lambda inbox, n=n: _texts(inbox, n), drain()) for n in lengths])
    areas = (0.01, 0.1, 1, 10, 90)
    points(study, "size", "image", [(mp, lambda inbox, mp=mp: _pictures(inbox, mp), drain()) for mp in areas])


def _texts(inbox: Path, length: int, count: int = 0) -> None:
    data.prose(inbox / "0.txt", length)
    content = (inbox / "0.txt").read_bytes()
    for number in range(1, count or min(max(1, 10**9 // length), 20_000)):
        (inbox / f"{number}.txt").write_bytes(content)


def _pictures(inbox: Path, megapixels: float, count: int = 0) -> None:
    data.photo(megapixels, 0.25).save(inbox / "0.jpg", quality=90)
    content = (inbox / "0.jpg").read_bytes()
    for number in range(1, count or max(4, min(1000, int(480 / megapixels)))):
        (inbox / f"{number}.jpg").write_bytes(content)


def workers(study: Study) -> None:
    """How many work: sixteen texts of 100 MB, 64 pictures of 12 megapixels."""
    for kind, fill in (
        ("text", lambda inbox: _texts(inbox, 100_000_000, 16)),
        ("image", lambda inbox: _pictures(inbox, 12, 64)),
    ):
        key = f"WATCHERD_{kind.upper()}__WORKERS"
        points(study, "workers", kind, [(count, fill, drain(**{key: str(count)})) for count in (1, 2, 3, 4)])


def batch(study: Study) -> None:
    """How many may be in flight, which bounds what the publisher settles at once: 5,000 texts, 500 pictures."""
    lengths = (4, 16, 64, 256, 1024, 4096)
    for kind, fill in (
        ("text", lambda inbox: data.small_texts(inbox, 5000)),
        ("image", lambda inbox: data.small_pictures(inbox, 500)),
    ):
        points(study, "batch", kind, [(n, fill, drain(WATCHERD_QUEUE__CAPACITY=str(n))) for n in lengths])


PARTS = {"workers": workers, "batch": batch, "size": size, "backlog": backlog, "kept": kept}


def main() -> None:
    """Run all studies, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="only these")
    parser.add_argument("--largest", type=int, default=1_000_000, help="the largest backlog, in files")
    asked = parser.parse_args()
    parts, load = asked.parts or list(PARTS), os.getloadavg()[0]
    study = Study.without(parts, asked.largest)
    for part in parts:
        PARTS[part](study)
        study.save()
    plots.scale(study.points)
    report.insert("scale", report.scale_table(study.points, study.kept, load))


if __name__ == "__main__":
    main()
