"""A daemon that did not run for a while, with a file in work: nobody is told stuck, and no file charged, for that."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent

#: Seconds in which nothing runs: longer than the daemon below gives a file in all.
FROZEN = 6.0

pytestmark = pytest.mark.usefixtures("uncounted")

DAEMON = """
import sys
base, here, kind = sys.argv[1:]
sys.path.insert(0, here)
from test_lane import Floor, Limits, Threads, capture_logs, hand_module, lane_module
from misbehaving import process
from watcherd.lanes.processes import IsolatedWorkers

hand_module.SILENCE = lane_module.SILENCE = 3.0
lane_module.LOOK, lane_module.GRACE = 0.1, 0.5  # many looks: what counts after the last one before a stop is little
pool = Threads(process) if kind == "text" else IsolatedWorkers("misbehaving", memory=1 << 28, recycle_after=9)
floor = Floor(base, pool=pool, limits=Limits(timeout=3.0))
with capture_logs() as logs:
    outcome = floor.do("a.txt", f"read {base}/fifo")
    print(type(outcome).__name__, *(entry["event"] for entry in logs), flush=True)
    floor.lane.stop(1)
"""


@contextmanager
def daemon_at_work(base, kind):
    """Run a lane with a file in work, which is done once something is written to what is yielded beside it."""
    os.mkfifo(base / "fifo")
    command = [sys.executable, "-c", DAEMON, base, HERE, kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        with (base / "fifo").open("w") as fifo:  # the kernel opens it as soon as the file is worked on
            yield daemon, fifo
        assert daemon.wait(20) == 0


def group_of(daemon):
    """Return the process ids of a daemon and its workers."""
    tasks = Path(f"/proc/{daemon.pid}/task").iterdir()
    return [daemon.pid, *(int(pid) for task in tasks for pid in (task / "children").read_text("ascii").split())]


@pytest.mark.parametrize("kind", ["text", "image"])
def test_time_in_which_the_daemon_itself_does_not_run_counts_against_nobody(tmp_path, kind):
    with daemon_at_work(tmp_path, kind) as (daemon, fifo):
        group = group_of(daemon)
        for pid in group:
            os.kill(pid, signal.SIGSTOP)
        threading.Event().wait(FROZEN)
        fifo.write("go on")
        fifo.close()
        for pid in group:  # the daemon first: it is to find itself late before a worker can answer
            os.kill(pid, signal.SIGCONT)
        assert daemon.stdout.readline().split() == ["Done"]
