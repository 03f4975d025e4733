"""`make bench-profiles`: where the time goes in the three main cases, as py-spy sees it from outside.

Each case is a drain by the public command. py-spy samples all threads of the daemon and its workers 200 times a
second, where they are on a processor; what it saw is summed up by thread and by function, in
`results/profile-CASE.txt`. A function's own time includes that of the C code which it calls.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import data
from report import RESULTS
from stage import at_hand, drain, fill, fresh, made

if TYPE_CHECKING:
    from pathlib import Path

RATE = 200  # samples a second
SHOWN = 30  # functions
PLACE = re.compile(r"(?<=thread) \(\d+\)")  # the numbers of threads

CASES = {
    "texts": ("prose-1600", lambda folder: [data.prose(folder / f"{n}.txt", 400_000_000) for n in range(4)]),
    "jpegs": ("jpegs-60", lambda folder: _photos(folder, 60)),
    "small-texts": ("small", lambda folder: data.small_texts(folder, 20_000)),
}


def _photos(folder: Path, count: int) -> None:
    data.photo(12, 0.97).save(folder / "0.jpg", quality=90)
    content = (folder / "0.jpg").read_bytes()
    for number in range(1, count):
        (folder / f"{number}.jpg").write_bytes(content)


def profile(case: str) -> None:
    """Record one case in py-spy's raw form, one line for each stack with its samples, and sum it up."""
    source = made(*CASES[case])
    home = fresh()
    fill(source, home / "inbox")
    at_hand(home)
    raw = home / "stacks"
    command = drain()
    spy = ["py-spy", "record", "--rate", str(RATE), "--subprocesses", "--function", "--threads", "--format", "raw"]
    subprocess.run(
        [*spy, "--output", str(raw), "--", *command.command],
        cwd=home,
        env=os.environ | dict(command.environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"profile-{case}.txt").write_text(summed(raw.read_text("utf-8")), "utf-8")


def summed(raw: str) -> str:
    """Return threads and functions by their samples; a function's are those in which it ran itself, and was beneath.

    What imports modules is left out: that is start-up, and measured elsewhere.
    """
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, samples = line.rpartition(" ")
        frames = [PLACE.sub("", frame) for frame in stack.split(";")]
        if not any("importlib" in frame for frame in frames):
            own[frames[-1]] += int(samples)
            within.update(dict.fromkeys(frames, int(samples)))
    total = own.total()
    lines = [f"{total / RATE:.1f} s of CPU, in % of it", "", "threads:"]
    lines += [f"{share(count, total)}  {name}" for name, count in within.most_common() if name.startswith("thread")]
    lines += ["", "functions: themselves, with what they call"]
    lines += [f"{share(count, total)} {share(within[name], total)}  {name}" for name, count in own.most_common(SHOWN)]
    return "\n".join(lines) + "\n"


def share(samples: int, total: int) -> str:
    return f"{100 * samples / total:5.1f}"


if __name__ == "__main__":
    for each in sys.argv[1:] or CASES:
        profile(each)
        print((RESULTS / f"profile-{each}.txt").read_text("utf-8"))
