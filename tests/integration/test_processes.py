from __future__ import annotations

import errno
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from itertools import count
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock, call

import pytest
from structlog.testing import capture_logs
from tests.conftest import is_alive, state_of, wait_for
from tests.integration.conftest import failing

import watcherd
from watcherd.lanes import processes, wire
from watcherd.lanes.child import LEAVE, NotTaken, Worker
from watcherd.lanes.hand import Hand
from watcherd.lanes.processes import IsolatedWorkers
from watcherd.lanes.slot import Cut, DraftError, WorkerKilled
from watcherd.model import Failure, File, FileFault, Job, Kind, Limits, Picture, SystemFault, Version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcherd.lanes.slot import Slot
    from watcherd.model import Result

HERE = Path(__file__).parent
MISBEHAVING = "misbehaving"
PICTURE = Picture(format="PNG", mode="L", width=3, height=2)
MEMORY = 256 << 20
IDS = count(1)

pytestmark = pytest.mark.usefixtures("uncounted")


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    # A worker imports from where we import.
    monkeypatch.syspath_prepend(HERE)


@pytest.fixture(autouse=True)
def _nothing_is_left():
    """Hold every test to it: all its children, threads and descriptors are gone at its end.

    What an earlier test of another room has left may go meanwhile.
    """
    descriptors, threads = set(os.listdir("/proc/self/fd")), set(threading.enumerate())
    yield
    assert children() == set()
    assert set(os.listdir("/proc/self/fd")) <= descriptors
    assert set(threading.enumerate()) <= threads


@pytest.fixture
def workers() -> Iterator[IsolatedWorkers]:
    with closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=1000)) as pool:
        yield pool


@pytest.fixture
def slot(workers) -> Slot:
    return workers.slot(Hand(time.monotonic))


@pytest.fixture
def interpreter(monkeypatch, tmp_path):
    """Let a line of shell be what workers are started with."""

    def be(line: str) -> None:
        script = tmp_path / "python"
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return be


@pytest.fixture
def do(tmp_path):
    return Bench(tmp_path)


class Bench:
    """Does one job in a slot: a file that says what shall happen, and a draft."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.draft = b""

    def __call__(self, slot: Slot, deed: str, *, timeout: float = 20.0, path: str = "a.png") -> Result:
        """Do `deed` in `slot`; OWN in it is the job's id. What it wrote is in `draft`."""
        job = Job(next(IDS), File("scans", path, Version(1, 1, 1, 1)), Kind.IMAGE)
        place = self.folder / f"{job.id}"
        place.write_text(deed.replace("OWN", str(job.id)), encoding="utf-8")
        with place.open("rb") as source, place.with_suffix(".draft").open("w+b") as draft:
            result = slot.run(job, source.fileno(), draft.fileno(), Limits(timeout=timeout))
            self.draft = os.pread(draft.fileno(), 1 << 16, 0)
        return result

    @contextmanager
    def begun(self, slot: Slot, timeout: float = 20.0):
        """Begin a job that hangs, in a thread; yield its future and its worker's pid once it is being worked on."""
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        with ThreadPoolExecutor(1) as thread:
            future = thread.submit(self, slot, f"tell {fifo}", timeout=timeout)
            yield future, int(fifo.read_text(encoding="ascii"))
            assert future.exception(20)

    def pid(self, slot: Slot) -> int:
        """Return the process in which a job was done."""
        self(slot, "pid")
        return int(self.draft.split()[-1])


def children() -> set[int]:
    """Return the processes that this one has started, zombies included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found.update(map(int, (task / "children").read_text(encoding="ascii").split()))
    return found


def kill_children() -> None:
    killed = children()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, killed)))


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid))


def ready(workers: IsolatedWorkers) -> set[int]:
    """Wait until the spare has said that it is ready, and return its pid."""
    wait_for(lambda: workers._alive)  # noqa: SLF001 (nobody else has its pipe)
    select.select([worker._pipe for worker in workers._alive], [], [], 10)  # noqa: SLF001 (the same)
    return children()


def told(logs: list) -> list[tuple[str, int]]:
    """Return how loud each death of a worker was told, and whose it was."""
    return [(entry["log_level"], entry["pid"]) for entry in logs if entry["event"] == "worker.died"]


def stop(pid: int) -> None:
    """Stop a process, and see that it stands: until then it could still take a request."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: state_of(pid) == "T")


# What goes well -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("counted")
def test_a_job_comes_back_with_its_result_and_its_draft_filled(slot, do):
    assert do(slot, "good") == PICTURE
    assert do.draft == b"'' 100000000 done"


def test_a_file_may_lie_below_more_folders_than_a_packet_could_name(slot, do):
    assert do(slot, "good", path="folder/" * 100_000 + "a.png") == PICTURE


def test_a_worker_serves_many_jobs_and_the_spare_stands_by(slot, do):
    assert do.pid(slot) == do.pid(slot)
    wait_for(lambda: len(children()) == 2)


def test_a_worker_that_rests_gives_back_what_its_last_job_left_behind(slot, do):
    do(slot, "leave-holes")
    pid, pages = map(int, do.draft.split()[-2:])
    statm = Path(f"/proc/{pid}/statm")
    wait_for(lambda: int(statm.read_text(encoding="ascii").split()[1]) < pages - 8000)


def test_a_worker_keeps_the_memory_of_one_picture_for_the_next(do):
    with closing(IsolatedWorkers(MISBEHAVING, memory=1 << 30, recycle_after=9)) as pool:
        slot, faults = pool.slot(Hand(time.monotonic)), []
        for _ in range(8):  # where we are kept waiting for long, it rests in between
            do(slot, "fill")
            faults.append(int(do.draft.split()[-1]))
    assert min(faults) < 10 < faults[0]


def test_a_worker_is_replaced_after_so_many_jobs(do):
    with closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=2)) as pool, capture_logs() as logs:
        slot = pool.slot(Hand(time.monotonic))
        first, second, third = (do.pid(slot) for _ in range(3))
    assert first == second != third
    # An earlier test's pool may still be saying how its workers ended.
    ours = [log for log in logs if log["event"] == "worker.recycled"]
    assert ours == [{"event": "worker.recycled", "log_level": "debug", "pid": first, "jobs": 2}]


def test_a_slot_gets_ready_with_the_worker_that_then_works(slot, do):
    slot.prepare()
    wait_for(lambda: len(children()) == 2)  # and the spare
    assert do.pid(slot) in children()
    assert len(children()) == 2


def test_nobody_expects_a_sign_of_life_of_a_slot_whose_worker_has_a_deadline(workers, do):
    hand = Mock(wraps=Hand(time.monotonic))
    do(workers.slot(hand), "good")
    assert hand.sign.mock_calls == [call(inf)]


def test_a_thousand_jobs_leave_no_descriptor_behind(slot, do):
    do(slot, "good")
    wait_for(lambda: len(children()) == 2)
    before = sorted(os.listdir("/proc/self/fd"))
    for number in range(1000):
        if number % 250:
            do(slot, "good")
        else:
            with pytest.raises(FileFault):
                do(slot, "exit 1")
    wait_for(lambda: len(os.listdir("/proc/self/fd")) == len(before))


def test_the_real_processor_is_one_that_a_worker_can_run(tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (4, 3), "red").save(tmp_path / "red.png")
    job = Job(1, File("scans", "red.png", Version(1, 1, 1, 1)), Kind.IMAGE)
    with (
        closing(IsolatedWorkers("watcherd.processors.grayscale", memory=1 << 30, recycle_after=9)) as pool,
        (tmp_path / "red.png").open("rb") as source,
        (tmp_path / "draft").open("w+b") as draft,
    ):
        result = pool.slot(Hand(time.monotonic)).run(job, source.fileno(), draft.fileno(), Limits())
        assert (result.mode, result.width, result.height) == ("L", 4, 3)


# What a worker is ---------------------------------------------------------------------------------------------------


def test_a_worker_leaves_ctrl_c_and_sigterm_to_the_daemon(slot, do):
    assert do(slot, "shrug-off") == PICTURE


def test_a_worker_has_a_session_a_memory_limit_and_no_blocked_signals(do):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        with closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9)) as pool:
            do(pool.slot(Hand(time.monotonic)), "session")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    assert do.draft.endswith(f"True ({MEMORY}, {MEMORY}) set()".encode())


def test_a_worker_is_the_first_to_go_when_memory_is_short(slot, do):
    do(slot, "read /proc/self/oom_score_adj")
    assert do.draft.split()[-1] == b"1000"


def test_a_worker_is_told_nothing_that_systemd_tells_the_daemon(do, monkeypatch):
    for name in ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"):
        monkeypatch.setenv(name, "1")
    with closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9)) as pool:
        do(pool.slot(Hand(time.monotonic)), "environment")
    assert b"NOTIFY_SOCKET" not in do.draft
    assert b"WATCHDOG" not in do.draft


@pytest.mark.parametrize("own", ["", "glibc.malloc.arena_max=1"])
def test_a_worker_keeps_its_memory_in_huge_pages_unless_somebody_tunes_it_otherwise(do, monkeypatch, own):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if own:
        monkeypatch.setenv("GLIBC_TUNABLES", own)
    with closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9)) as pool:
        do(pool.slot(Hand(time.monotonic)), "environment")
    assert (own or f"hugetlb=1:glibc.malloc.mmap_threshold={32 << 20}:") in do.draft.decode()
    assert do.draft.count(b"GLIBC_TUNABLES") == 1


def test_a_worker_holds_its_pipe_its_job_and_what_it_is_to_keep_open(do, tmp_path):
    with (
        (tmp_path / "lock").open("w") as lock,
        (tmp_path / "other").open("w"),
        closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9, keep_open=[lock.fileno()])) as pool,
    ):
        do(pool.slot(Hand(time.monotonic)), "descriptors")
    held = do.draft.decode().split()[2:]
    assert str(tmp_path / "lock") in held
    assert str(tmp_path / "other") not in held
    assert sum(link.startswith("socket:") for link in held) == 1


# One bad file harms no other ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("segfault", "SIGSEGV"),
        (f"raise {signal.SIGABRT}", "SIGABRT"),
        (f"raise {signal.SIGBUS}", "SIGBUS"),
        (f"raise {signal.SIGFPE}", "SIGFPE"),
        ("exit 3", "exit status 3"),
        ("exit 0", "exit status 0"),
    ],
)
def test_a_file_that_ends_its_worker_is_told_how_and_the_next_one_is_done(slot, do, deed, words):
    with capture_logs() as logs, pytest.raises(FileFault, match=words) as caught:
        do(slot, deed)
    assert caught.value.failure is Failure.CRASHED
    assert [(entry["event"], entry["path"]) for entry in logs] == [("worker.died", "a.png")]
    assert do(slot, "good") == PICTURE


@pytest.mark.parametrize("deed", ["hang", "hang-in-c"])
def test_a_file_that_hangs_is_ended_at_its_deadline(slot, do, deed):
    do(slot, "good")
    begin = time.monotonic()
    with capture_logs() as logs, pytest.raises(FileFault, match=r"longer than 0\.2 s") as caught:
        do(slot, deed, timeout=0.2)
    assert time.monotonic() - begin < 2
    assert caught.value.failure is Failure.TIMEOUT
    assert logs[0]["event"] == "worker.timed_out"
    assert do(slot, "good") == PICTURE


@pytest.mark.parametrize("deed", ["eat", "eat-crumbs"])
def test_a_file_that_eats_all_memory_fails_alone(slot, do, deed):
    with pytest.raises(FileFault) as caught:
        do(slot, deed, timeout=50.0)  # crumbs take long on a busy machine
    # CPython 3.13 ends by SIGSEGV where the smallest allocations fail: then nothing is left that could say why.
    ends_itself = deed == "eat-crumbs" and sys.version_info >= (3, 13)
    assert caught.value.failure in ({Failure.MEMORY, Failure.CRASHED} if ends_itself else {Failure.MEMORY})
    assert do(slot, "good") == PICTURE


@pytest.mark.parametrize(
    "deed",
    ["say {}", "say []", "say \x00\xff", 'say {"id": OWN}', 'say {"id": 0, "errno": 5}', "shout", "babble"],
)
def test_a_worker_that_answers_garbage_is_killed_and_its_file_charged(slot, do, deed):
    with capture_logs() as logs, pytest.raises(FileFault) as caught:
        do(slot, deed)
    assert caught.value.failure is Failure.CRASHED
    assert logs[0]["event"] == "worker.died"
    assert do(slot, "good") == PICTURE


def test_a_worker_that_closes_its_pipe_and_lives_on_is_killed(slot, do):
    with pytest.raises(FileFault, match="close its pipe"):
        do(slot, "close-pipe")


def test_an_answer_too_many_does_not_become_the_next_file_s_result(slot, do):
    forged = wire.answer(0, PICTURE).decode().replace('"id": 0', '"id": OWN')
    do(slot, f"say {forged}")
    select.select([slot._worker._pipe], [], [], 10)  # noqa: SLF001 (to know when the second one is there)
    with capture_logs() as logs:
        assert do(slot, "good") == PICTURE
    assert do.draft.endswith(b"done")
    assert [entry["event"] for entry in logs] == ["worker.died"]


def test_innocents_in_flight_lose_nothing_while_others_are_poisoned(workers, do):
    poisons = ["segfault", "exit 3", "eat", "hang", "say {}", f"raise {signal.SIGABRT}"]
    deeds = ["good"] * 50
    for place, poison in enumerate(poisons):
        deeds.insert(8 * place, poison)
    slots = threading.local()

    def outcome(deed: str) -> object:
        slots.own = getattr(slots, "own", None) or workers.slot(Hand(time.monotonic))
        try:
            return do_alone(slots.own, deed)
        except FileFault as fault:
            return fault.failure

    def do_alone(slot: Slot, deed: str) -> Result:
        return Bench(do.folder)(slot, deed, timeout=0.5 if deed == "hang" else 20.0)

    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(outcome, deeds))
    assert [out for deed, out in zip(deeds, outcomes, strict=True) if deed == "good"] == [PICTURE] * 50
    assert all(isinstance(out, Failure) for deed, out in zip(deeds, outcomes, strict=True) if deed != "good")


# What a processor says ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("counted")
def test_what_a_processor_says_of_its_file_is_said_by_the_slot(slot, do):
    before = do.pid(slot)
    with pytest.raises(FileFault, match="as it was told") as caught:
        do(slot, "fault truncated")
    assert caught.value.failure is Failure.TRUNCATED
    assert do.pid(slot) == before


def test_a_bug_comes_with_its_traceback(slot, do):
    with pytest.raises(FileFault, match="ZeroDivisionError") as caught:
        do(slot, "divide 0")
    assert caught.value.failure is Failure.CRASHED
    assert "misbehaving.py" in caught.value.trace


@pytest.mark.parametrize("failure", [Failure.MEMORY, Failure.CRASHED])
def test_a_worker_that_nobody_knows_the_state_of_is_replaced(slot, do, failure):
    before = do.pid(slot)
    with pytest.raises(FileFault):
        do(slot, f"fault {failure}")
    assert do.pid(slot) != before


@pytest.mark.usefixtures("counted")
def test_an_error_of_the_draft_is_told_from_one_of_the_source(slot, tmp_path):
    job = Job(next(IDS), File("scans", "a.png", Version(1, 1, 1, 1)), Kind.IMAGE)
    (tmp_path / "source").write_text("good")
    with (tmp_path / "source").open("rb") as source, Path("/dev/full").open("r+b", buffering=0) as full:
        with pytest.raises(DraftError) as of_draft:
            slot.run(job, source.fileno(), full.fileno(), Limits())
        with pytest.raises(OSError, match="directory") as of_source, folder(tmp_path) as no_file:
            slot.run(job, no_file, full.fileno(), Limits())
    assert of_draft.value.errno == errno.ENOSPC
    assert of_source.value.errno == errno.EISDIR
    assert not isinstance(of_source.value, DraftError)


@contextmanager
def folder(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_a_source_that_cannot_be_closed_was_read_all_the_same(slot, do):
    worker = do.pid(slot)
    assert do(slot, f"fail-to-close {do.folder}/OWN") == PICTURE
    assert do.pid(slot) == worker


def test_a_draft_that_has_no_room_when_it_is_closed_is_no_fault_of_the_file_s(slot, do):
    with pytest.raises(DraftError, match="quota"):
        do(slot, f"fail-to-close {do.folder}/OWN.draft")


# Kills from outside -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1, signal.SIGRTMIN + 3])
def test_a_kill_from_outside_is_never_the_file_s_fault(slot, do, number):
    with do.begun(slot) as (future, pid):
        os.kill(pid, number)
        assert isinstance(future.exception(20), WorkerKilled)
    assert do(slot, "good") == PICTURE


def test_workers_killed_while_idle_cost_no_job(slot, do):
    do(slot, "good")
    wait_for(lambda: len(children()) == 2)
    kill_children()
    assert do(slot, "good") == PICTURE


def test_a_spare_killed_while_it_starts_costs_no_job(slot, do):
    wait_for(children)
    kill_children()
    assert do(slot, "good") == PICTURE


def test_a_worker_killed_while_idle_is_buried_and_told_once_by_the_next_look(workers, slot, do):
    killed = do.pid(slot)
    wait_for(lambda: len(children()) == 2)
    with capture_logs() as logs:
        kill(killed)
        workers.look()
        assert killed not in children()
        workers.look()
        assert do(slot, "good") == PICTURE
    assert told(logs) == [("warning", killed)]
    assert logs[0]["signal"] == "SIGKILL"


def test_a_spare_killed_once_it_was_ready_is_buried_and_told_once_by_the_next_look(workers, slot, do):
    (spare,) = ready(workers)
    with capture_logs() as logs:
        kill(spare)
        workers.look()
        assert children() == set()
        workers.look()
        assert do(slot, "good") == PICTURE
    assert told(logs) == [("warning", spare)]


def test_a_spare_that_never_got_ready_is_buried_and_told_once_and_the_next_is_started_for_a_job_alone(do):
    with (
        capture_logs() as logs,
        closing(IsolatedWorkers("no_such_processor", memory=MEMORY, recycle_after=9)) as pool,
    ):
        wait_for(lambda: pool._alive and not any(map(is_alive, children())))  # noqa: SLF001 (a look sees no other)
        (spare,) = children()
        for _ in range(3):
            pool.look()
            assert children() == set()
        with pytest.raises(SystemFault, match="no_such_processor"):
            do(pool.slot(Hand(time.monotonic)), "good")
    assert [entry for entry in told(logs) if entry[0] == "warning"] == [("warning", spare)]


def test_a_worker_that_dies_at_work_is_told_aloud_also_while_no_other_gets_ready(do, interpreter):
    with (
        closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9, warm=False)) as pool,
        capture_logs() as logs,
        do.begun(pool.slot(Hand(time.monotonic))) as (_, pid),
    ):
        interpreter("exit 3")
        with pytest.raises(SystemFault, match="three times"):
            do(pool.slot(Hand(time.monotonic)), "good")
        os.kill(pid, signal.SIGKILL)
    assert ("warning", pid) in told(logs)


def test_a_worker_that_leaves_as_it_was_told_to_is_no_death_to_a_look(workers, slot, do, monkeypatch):
    do(slot, "good")
    bury = Worker.bury

    def looked_after(worker, leave):
        wait_for(lambda: not is_alive(worker.pid))
        workers.look()
        return bury(worker, leave)

    monkeypatch.setattr(Worker, "bury", looked_after)
    with capture_logs() as logs:
        slot.close()
    assert told(logs) == []


def test_a_worker_stopped_at_work_is_ended_at_the_deadline(slot, do):
    with do.begun(slot, timeout=2.0) as (future, pid):
        os.kill(pid, signal.SIGSTOP)
        assert future.exception(20).failure is Failure.TIMEOUT


def test_a_deadline_beyond_what_the_kernel_counts_is_far_away(slot, do):
    with do.begun(slot, timeout=(1 << 32) / 1000) as (future, pid):
        assert not wait([future], timeout=0.5).done
        os.kill(pid, signal.SIGKILL)


def test_a_worker_stopped_while_idle_is_killed_at_the_deadline_and_another_does_the_job(slot, do):
    pid = do.pid(slot)
    stop(pid)
    assert do(slot, "good", timeout=1.0) == PICTURE
    assert do.pid(slot) != pid


def test_a_worker_killed_before_it_took_the_job_costs_nothing(slot, do):
    pid = do.pid(slot)
    stop(pid)
    worker = slot._worker  # noqa: SLF001 (to know when the request is on its way)
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(do, slot, "good")
        wait_for(lambda: worker.jobs == 2)
        os.kill(pid, signal.SIGKILL)
        assert future.result(20) == PICTURE


def test_workers_killed_in_the_instant_a_job_is_handed_over_cost_nothing(slot, do):
    for _ in range(20):  # of those that the signal reaches late, the kernel still hands some the request
        os.kill(do.pid(slot), signal.SIGKILL)
        assert do(slot, "good") == PICTURE


# Workers that cannot be started -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("counted")
def test_a_processor_that_cannot_be_imported_is_the_system_s_fault_and_named(do):
    with (
        closing(IsolatedWorkers("no_such_processor", memory=MEMORY, recycle_after=9)) as pool,
        pytest.raises(SystemFault, match="no_such_processor"),
    ):
        do(pool.slot(Hand(time.monotonic)), "good")


def test_a_worker_of_a_version_that_was_installed_since_the_daemon_began_takes_no_job(do, monkeypatch, tmp_path):
    # The name of its folder is one under which coverage knows an installed package as ours.
    newer = shutil.copytree(Path(watcherd.__file__).parent, tmp_path / "site-packages/watcherd")
    top = newer / "__init__.py"
    top.write_text(top.read_text("utf-8").replace(watcherd.__version__, "99.0"), "utf-8")
    monkeypatch.syspath_prepend(newer.parent)
    with (
        closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9)) as pool,
        pytest.raises(SystemFault, match=r"its watcherd is 99\.0: restart this one"),
    ):
        do(pool.slot(Hand(time.monotonic)), "good")


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize(("option", "limit"), [("-v", "LimitAS"), ("-d", "LimitDATA")])
def test_workers_that_never_get_ready_are_told_once_and_why_however_often_it_is_tried(do, interpreter, option, limit):
    interpreter(f'ulimit {option} 500000; exec {sys.executable} "$@"')
    with capture_logs() as logs, closing(IsolatedWorkers(MISBEHAVING, memory=1 << 30, recycle_after=9)) as pool:
        slot = pool.slot(Hand(time.monotonic))
        for _ in range(3):
            with pytest.raises(SystemFault, match=rf"image\.memory is 1,073,741,824 bytes.* raise {limit}"):
                do(slot, "good")
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["worker.died"]


def test_a_worker_that_is_killed_as_it_does_not_get_ready_is_not_said_to_have_closed_its_pipe(
    interpreter, monkeypatch
):
    interpreter("exec sleep 60")
    monkeypatch.setattr(processes, "START", 0.1)
    monkeypatch.setattr(processes, "LEAVE", 0.1)
    monkeypatch.setattr(processes, "TRIES", 1)  # the spare: another may not be started in so little time
    with closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9)) as pool, capture_logs() as logs:
        wait_for(lambda: not pool._started.empty())  # noqa: SLF001 (nobody else hears of it)
        with pytest.raises(SystemFault, match="did not get ready: timed out") as raised:
            pool.slot(Hand(time.monotonic)).prepare()
    assert raised.value.took >= processes.START
    assert logs[0]["reason"] == "it did not leave by itself, and was killed"


def test_time_in_which_we_do_not_run_counts_against_no_worker_that_gets_ready(interpreter, monkeypatch):
    interpreter(f'sleep 0.1; exec {sys.executable} "$@"')
    monkeypatch.setattr(processes, "START", 0.001)
    with closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9, warm=False)) as pool:
        pool.slot(Hand(lambda: 0.0)).prepare()


def test_a_job_that_cannot_be_handed_over_is_the_system_s_fault(slot, do, monkeypatch):
    with monkeypatch.context() as refused:
        refused.setattr(socket, "send_fds", Mock(side_effect=OSError(errno.ETOOMANYREFS, "Too many references")))
        with pytest.raises(SystemFault, match="cannot hand a job to a worker"):
            do(slot, "good")
    assert do(slot, "good") == PICTURE


@pytest.mark.parametrize(("number", "said"), [(errno.EAGAIN, "TasksMax"), (errno.EMFILE, "Too many open files")])
def test_where_processes_or_descriptors_run_out_the_fault_says_which(do, monkeypatch, number, said):
    monkeypatch.setattr(subprocess, "Popen", failing(number))
    with (
        closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9)) as pool,
        pytest.raises(SystemFault, match=said) as raised,
    ):
        do(pool.slot(Hand(time.monotonic)), "good")
    assert raised.value.errno == number


def test_once_processes_can_be_started_again_jobs_are_done_again(do, monkeypatch):
    python = sys.executable
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9)) as pool:
        slot = pool.slot(Hand(time.monotonic))
        with pytest.raises(SystemFault, match="/nowhere/python"):
            do(slot, "good")
        monkeypatch.setattr(sys, "executable", python)
        assert do(slot, "good") == PICTURE


def test_a_worker_that_is_not_there_in_time_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(IsolatedWorkers, "_feed", lambda _: None)
    with closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9)) as pool, pytest.raises(NotTaken):
        pool.hire(time.monotonic())


# The end ------------------------------------------------------------------------------------------------------------


def test_a_stop_cuts_what_is_being_worked_on_and_no_job_begins_after_it(workers, slot, do):
    with capture_logs() as logs, do.begun(slot) as (future, _):
        workers.cut_short()
        assert isinstance(future.exception(5), Cut)
    with pytest.raises(Cut):
        do(slot, "good")
    with pytest.raises(Cut):
        do(workers.slot(Hand(time.monotonic)), "good")
    assert logs == []


def test_a_stop_turns_back_all_that_wait_for_a_worker(monkeypatch):
    monkeypatch.setattr(IsolatedWorkers, "_feed", lambda _: None)
    with (
        closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9)) as pool,
        ThreadPoolExecutor(3) as threads,
    ):
        waiting = [threads.submit(pool.hire, time.monotonic() + 20) for _ in range(3)]
        pool.cut_short()
        assert [type(it.exception(10)) for it in waiting] == [Cut] * 3


@pytest.mark.parametrize("warm", [True, False])
def test_there_is_one_worker_more_than_is_needed_only_where_a_warm_one_is_wanted(warm):
    with closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9, warm=warm)) as pool:
        for hired in range(1, 4):
            pool.hire(time.monotonic() + 10).require_ready(time.monotonic() + 20)
            wait_for(lambda: len(children()) >= hired + warm)  # noqa: B023 (called at once)
            assert len(children()) == hired + warm


def test_a_worker_that_is_not_ready_yet_does_not_hold_up_the_end(interpreter):
    interpreter("exec sleep 60")
    pool = IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9)
    pool.hire(time.monotonic() + 10)
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < LEAVE


@pytest.mark.parametrize("ready", [True, False])
def test_a_worker_that_its_slot_lets_go_in_the_instant_of_the_end_does_not_end_the_feeder(ready):
    with closing(IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9)) as pool:
        worker = pool.hire(time.monotonic() + 10)
        if ready:
            worker.require_ready(time.monotonic() + 20)
        worker.dismiss()
        worker.bury(5)
        worker.close()
        pool.close()  # an exception in the feeder would be a warning, which is an error
    assert not children()


def test_close_leaves_no_child_whatever_the_children_do(workers, do):
    slot, idle = workers.slot(Hand(time.monotonic)), workers.slot(Hand(time.monotonic))
    do(idle, "good")
    with do.begun(slot) as (future, pid):
        wait_for(lambda: len(children()) == 3 and all(map(is_set_up, children())))
        for child in children() - {pid}:
            stop(child)
        begin = time.monotonic()
        workers.close()
        assert time.monotonic() - begin < 5
        assert isinstance(future.exception(5), Cut)


def test_a_slot_that_is_closed_lets_its_worker_leave(workers, do):
    slot = workers.slot(Hand(time.monotonic))
    pid = do.pid(slot)
    slot.close()
    assert pid not in children()
    assert pid not in {worker.pid for worker in workers._alive}  # noqa: SLF001 (they would fill the memory)
    slot.close()


def test_workers_die_with_a_daemon_that_is_killed(tmp_path):
    (tmp_path / "hang").write_text("hang")
    daemon = f"""
import os, sys, threading
sys.path.insert(0, {str(HERE)!r})
from test_processes import *
pool = IsolatedWorkers(MISBEHAVING, memory=MEMORY, recycle_after=9)
job = Bench(Path({str(tmp_path)!r})).begun(pool.slot(Hand(time.monotonic)))
job.__enter__()
wait_for(lambda: len(children()) == 2)
print(*children(), flush=True)
threading.Event().wait()
"""
    with subprocess.Popen([sys.executable, "-c", daemon], stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
        for pid in pids:
            wait_for(lambda pid=pid: not is_alive(pid), seconds=1)
    assert len(pids) == 2


def is_set_up(pid: int) -> bool:
    # It has named itself. Stopped before its exec, a child would hold up the thread that starts it.
    return Path(f"/proc/{pid}/comm").read_text(encoding="ascii") == "watcherd-worker\n"
