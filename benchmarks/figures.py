"""Figures without a rival: how soon a result is there, what waiting costs, how soon the command is ready."""

from __future__ import annotations

import sys
import time
from statistics import median
from typing import TYPE_CHECKING

import data
from measures import Figure
from stage import WATCHERD, Contestant, cpu_seconds, daemon, fill, fresh, made, proportional_memory, run, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASS = Contestant("python -c pass", (sys.executable, "-c", "pass"))
HELP = Contestant("watcherd --help", (*WATCHERD, "--help"))

#: Seconds that a daemon is left alone, and watched.
QUIET = 15.0


def latency(_: object, files: int = 200) -> Iterator[Figure]:
    """Time renames into an idle inbox until the result is visible; then each right after the last was archived."""
    home = fresh()
    with daemon(home):
        idle = sorted(_one(home, f"idle-{number}", pause=0.05) for number in range(files))
        busy = sorted(_one(home, f"busy-{number}", pause=0.0) for number in range(files))
    for taken, when in ((idle, "idle inbox"), (busy, "right after another was archived")):
        for share, most in ((50, 10), (99, 40)):
            yield Figure(f"rename → durable result, {when}, p{share}", taken[files * share // 100] * 1e3, "ms", most)


def _one(home: Path, name: str, pause: float) -> float:
    aside, result = home / f"aside/{name}.txt", home / f"outbox/{name}.txt.words.json"
    aside.write_text("one two three\n")
    time.sleep(pause)
    begin = time.perf_counter()
    aside.rename(home / f"inbox/{name}.txt")
    until(result.exists)
    taken = time.perf_counter() - begin
    until((home / f"archive/{name}.txt").exists)
    return taken


def idle(_: object, files: int = 10_000) -> Iterator[Figure]:
    """Watch a daemon that has done its work: 10,000 kept files, and both of its workers used."""
    texts = made("kept", lambda folder: data.small_texts(folder, files))
    pictures = made("pictures", lambda folder: [data.photo(3, 0.5, n).save(folder / f"{n}.jpg") for n in range(8)])
    home = fresh(texts)
    fill(pictures, home / "inbox")
    with daemon(home, "--after=keep") as process:
        until(lambda: len(list((home / "outbox").iterdir())) > files + 8, pause=0.5)  # with .watcherd
        time.sleep(3)  # what came last is settled, the spare is warm
        before = cpu_seconds(process.pid)
        time.sleep(QUIET)
        spent = cpu_seconds(process.pid) - before
        memory = proportional_memory(process.pid)
    yield Figure("idle, 10,000 files kept in the inbox", spent / QUIET * 100, "% of a core", 0.2)
    yield Figure("memory idle, two workers and a spare (PSS)", memory / 1e6, "MB", 120)


def start(_: object, rounds: int = 9) -> Iterator[Figure]:
    """Time `--help`, and a start until the daemon is ready, beyond an interpreter that does nothing."""
    taken: dict[str, list[float]] = {"pass": [], "help": [], "ready": []}
    for _ in range(rounds):
        taken["pass"].append(run(PASS, None).wall)
        taken["help"].append(run(HELP, None).wall)
        taken["ready"].append(_ready())
    bare = median(taken["pass"])
    yield Figure("`watcherd --help`, beyond `python -c pass`", median(taken["help"]) - bare, "s", 0.15)
    yield Figure("start to `daemon.ready`, beyond `python -c pass`", median(taken["ready"]) - bare, "s", 0.6)


def _ready() -> float:
    home = fresh()
    begin = time.perf_counter()
    with daemon(home):
        return time.perf_counter() - begin
