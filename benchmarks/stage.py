"""Where commands are measured: fresh folders for each run, wall and CPU time, and a daemon that is really running."""

from __future__ import annotations

import atexit
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent

#: Data is made once and kept here; runs have their folders here too, on the same disk.
ROOT = Path(os.environ.get("BENCH_DIR") or HERE.parent / "build/bench").absolute()

PYTHON = sys.executable
WATCHERD = (PYTHON, "-m", "watcherd")

#: Files of a home that is removed before the next run.
FEW = 1000

#: Bytes of memory that a run finds ready: as many as it reads, and no more than these.
MOST_MEMORY = 1 << 30

#: The command's inbox. Its files are complete: to ask for no quiet spares a rest before each of its runs.
INBOX = {"PATH": "inbox", "OUTBOX": "outbox", "ARCHIVE": "archive", "FAILED": "failed", "SETTLE": "0s"}


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a command took: seconds by the clock, seconds of CPU of it and its children, bytes written."""

    wall: float
    cpu: float
    written: int = 0

    def less(self, start_up: Run) -> Run:
        """Return what it took beyond `start_up`."""
        return Run(self.wall - start_up.wall, self.cpu - start_up.cpu, self.written)

    def at_least(self, seconds: float) -> Run:
        """Return it with no fewer seconds than that: a start-up may have taken longer than one with work."""
        return Run(max(self.wall, seconds), max(self.cpu, seconds), self.written)

    def times(self, count: int) -> Run:
        """Return what so many of it would take."""
        return Run(self.wall * count, self.cpu * count, self.written * count)


@dataclass(frozen=True, slots=True)
class Contestant:
    """A command that works on the folder `inbox` and fills `outbox`, both in the directory that it is run in.

    A run that `publishes` must leave a result for each file.
    """

    name: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    publishes: bool = True


def made(name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder of data called `name`, made with `make` unless it is there."""
    folder = ROOT / "data" / name
    if not folder.exists():
        draft = folder.with_name(f"{name}.part")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        make(draft)
        draft.rename(folder)
    return folder


def fresh(source: Path | None = None, name: str = "home") -> Path:
    """Return an empty home with inbox and outbox; what is in `source` is in the inbox, by hard links."""
    home = ROOT / name
    _clear(home)
    for folder in ("inbox", "outbox", "aside"):
        (home / folder).mkdir(parents=True)
    if source:
        fill(source, home / "inbox")
    return home


def _clear(home: Path) -> None:
    """Remove a home; one of many files only in the end, as ext4 is slow to make files where many just were."""
    if home.exists() and sum(1 for _ in os.scandir(home / "outbox")) > FEW:
        used = home.with_name(f"{home.name}-{time.time_ns()}")
        home.rename(used)
        atexit.register(shutil.rmtree, used)
    shutil.rmtree(home, ignore_errors=True)


def fill(source: Path, folder: Path) -> None:
    """Link every file of `source` into `folder`."""
    for entry in os.scandir(source):
        os.link(entry.path, folder / entry.name)


def run(contestant: Contestant, source: Path | None) -> Run:
    """Run a command over the files in `source`; SystemExit where it fails, or leaves a file without a result."""
    home = fresh(source)
    at_hand(home)
    environment = os.environ | dict(contestant.environment)
    begin, before = time.perf_counter(), cpu_of_children()
    ended = subprocess.run(contestant.command, cwd=home, env=environment, stdout=subprocess.DEVNULL, check=False)
    wall, cpu = time.perf_counter() - begin, cpu_of_children() - before
    results = [entry for entry in os.scandir(home / "outbox") if entry.is_file()]
    if ended.returncode or (contestant.publishes and source and len(results) != len(os.listdir(source))):
        raise SystemExit(f"{contestant.name}: status {ended.returncode}, {len(results)} results")
    return Run(wall, cpu, sum(entry.stat().st_size for entry in results))


def cpu_of_children() -> float:
    """Return the processor seconds of all children that have ended, and of theirs."""
    return sum(os.times()[2:4])


def at_hand(home: Path) -> None:
    """Have nothing left to write, and in memory what a run is to read, with room for what it makes of it."""
    os.sync()
    claim(min(warm(home / "inbox"), MOST_MEMORY))


def warm(folder: Path) -> int:
    """Read all that is in `folder`: a virtual machine's host may have taken what nobody read for some seconds.

    Return how many bytes that are.
    """
    size = 0
    for entry in os.scandir(folder):
        with open(entry.path, "rb", buffering=0) as file:
            while block := file.read(1 << 20):
                size += len(block)
    return size


def claim(size: int) -> None:
    """Take that much memory and let it go: a virtual machine's host takes back what lay free for two seconds.

    Whoever writes to it first pays for getting it anew: 500 MB of results took 1.0 s, and 0.2 s in memory still held.
    In huge pages, as the kernel gives those to large writes, and others to small ones.
    """
    with mmap.mmap(-1, max(size, mmap.PAGESIZE), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
        for page in range(0, size, mmap.PAGESIZE):
            memory[page] = 1


def peer(name: str, module: str) -> Contestant:
    """Return a program of `peers`, by the name that tables have for it."""
    return Contestant(name, (PYTHON, str(HERE / f"peers/{module}.py")))


def drain(**environment: str) -> Contestant:
    """Return the command that this is about, configured by `environment` besides what all its runs have."""
    inbox = {f"WATCHERD_INBOX__BENCH__{key}": value for key, value in INBOX.items()}
    settings = {"WATCHERD_STATE": "state", "WATCHERD_LOG__LEVEL": "warning"} | inbox | environment
    return Contestant("watcherd", (*WATCHERD, "drain"), tuple(settings.items()))


# A daemon that runs


@contextmanager
def daemon(home: Path, *flags: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `watcherd run` on the folders of `home`, and hand it over once it is ready."""
    folders = [f"--{name}={home / name}" for name in ("inbox", "outbox", "state")]
    with (
        open(home / "log", "wb") as log,
        subprocess.Popen([*WATCHERD, "run", *folders, *flags], stderr=log, env=os.environ | environment) as process,
    ):
        try:
            until(lambda: process.poll() is not None or b'"daemon.ready"' in (home / "log").read_bytes())
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


def until(condition: Callable[[], bool], pause: float = 0.0002) -> None:
    """Wait for a condition, looking often."""
    while not condition():
        time.sleep(pause)


def tree(pid: int) -> list[int]:
    """Return the ids of a process and all below it."""
    below = [Path(task, "children").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()]
    return [pid, *(each for children in below for child in children for each in tree(int(child)))]


def proportional_memory(pid: int) -> int:
    """Return the bytes of memory of a process and all below it, shared pages divided by those who share them."""
    rollups = (Path(f"/proc/{each}/smaps_rollup").read_text() for each in tree(pid))
    return sum(int(rollup.partition("\nPss:")[2].split()[0]) for rollup in rollups) * 1024


def cpu_seconds(pid: int) -> float:
    """Return the seconds that the threads of a process and all below it ran, to the nanosecond."""
    tasks = (task for each in tree(pid) for task in Path(f"/proc/{each}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
