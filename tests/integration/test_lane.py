"""A real lane over real files and drafts: what comes of each job, and of threads that do not come back."""
# ruff: noqa: D102, SLF001 (the names of what is played here say it; a stuck thread is only seen from inside)

import errno
import itertools
import os
import queue
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock, call

import pytest
from structlog.testing import capture_logs
from tests.conftest import wait_for
from tests.integration.conftest import as_nobody, held

from watcherd import beneath
from watcherd.beneath import OURS
from watcherd.lanes import bench as bench_module
from watcherd.lanes import hand as hand_module
from watcherd.lanes import lane as lane_module
from watcherd.lanes import order as order_module
from watcherd.lanes.alone import Alone
from watcherd.lanes.bench import Bench
from watcherd.lanes.hand import Hand
from watcherd.lanes.lane import Lane
from watcherd.lanes.order import Order
from watcherd.lanes.slot import Cut, DraftError, WorkerKilled
from watcherd.lanes.threads import Threads
from watcherd.model import (
    Done,
    Failed,
    Failure,
    File,
    FileFault,
    Job,
    Kind,
    Limits,
    Returned,
    Stalled,
    SystemFault,
    Words,
)
from watcherd.processors import TABLE, load
from watcherd.publish.roots.root import Root
from watcherd.states import State

DEADLINE = 10.0


class Work:
    """A processor that tests steer: a text's first word names what is done to it."""

    def __init__(self):
        self.begun = queue.SimpleQueue()
        self.go_on = threading.Event()
        self.deeds = {"words": lambda *_: None, "hold": self._hold, "poll": self._poll}

    def __call__(self, source, *, name, limits, checkpoint):  # noqa: ARG002 (a processor's names)
        text = source.read().decode()
        self.begun.put(name)
        self.deeds.get(text.partition(" ")[0], self.deeds["words"])(checkpoint)
        words = Words(words=len(text.split()), lines=0, characters=len(text), bytes=len(text), encoding="utf-8")
        return text.encode(), words

    def _hold(self, _):
        assert self.go_on.wait(DEADLINE)

    def _poll(self, checkpoint):
        while not self.go_on.wait(0.002):
            checkpoint()


class Raising:
    """A pool whose slots raise what they are told, when they work or already when they get ready."""

    def __init__(self, error, unready=None):
        self.error = error
        self.unready = unready
        self.closed = 0  # times, as a pool and as a slot
        self.looks = queue.SimpleQueue()

    def slot(self, *_):
        return self

    def prepare(self):
        if self.unready:
            raise self.unready

    def run(self, *_):
        raise self.error

    def look(self):
        self.looks.put(1)

    def cut_short(self):
        pass

    def close(self):
        self.closed += 1


class Floor:
    """A lane with everything around it; what it delivers is collected."""

    def __init__(self, base, *, pool=None, workers=1, limits=None, inboxes=("scans",)):
        self.base = Path(base)
        self.inbox, self.outbox = self.base / "inbox", self.base / "outbox"
        for folder in (self.inbox, self.outbox):
            folder.mkdir(exist_ok=True)
        self.root = Root(str(self.outbox), "test")
        self.work = Work()
        self.outcomes, self.deaths = queue.SimpleQueue(), queue.SimpleQueue()
        self.recorded = []
        self.refusal = None
        self.ids = itertools.count(1)
        self.alone = Alone()
        root = self.root
        self.bench = Bench(str(self.inbox), root.new_draft, root.written, root.discard, root.fault)
        self.order = Order(inboxes, capacity=1000, workers=workers, on_room=lambda _: None)
        self.lane = Lane(
            Kind.TEXT,
            self.order,
            pool or Threads(self.work),
            workers=workers,
            limits=limits or Limits(),
            benches=dict.fromkeys(inboxes, self.bench),
            record=self._record,
            deliver=self.outcomes.put,
            alone=self.alone,
            on_death=self.deaths.put,
        )

    def _record(self, jobs):
        if self.refusal:
            raise self.refusal
        self.recorded.append([job.file.path for job in jobs])

    def job(self, path, content="some words", inbox="scans", **more):
        """Write a file, unless `content` is None, and return the job that an intake would make of it."""
        if content is not None:
            (self.inbox / path).parent.mkdir(exist_ok=True, parents=True)
            (self.inbox / path).write_text(content)
        version = beneath.version_of(os.lstat(self.inbox / path))
        return Job(next(self.ids), File(inbox, path, version), Kind.TEXT, **more)

    def offer(self, path, content="some words", **more):
        job = self.job(path, content, **more)
        assert self.order.offer(job)
        return job

    def outcome(self):
        return self.outcomes.get(timeout=DEADLINE)

    def do(self, path, content="some words", **more):
        """Let the lane work on one file, and return what came of it."""
        self.offer(path, content, **more)
        self.lane.start()
        return self.outcome()

    def get_stuck(self):
        """Wait until a file is worked on, and let its thread be stuck at the next look."""
        self.work.begun.get(timeout=DEADLINE)
        next(hand for hand in self.lane._hands if hand.current).sign(0)

    def do_next(self, path):
        """Let the lane, which runs, work on one file more."""
        self.offer(path)
        return self.outcome()

    def drafts(self):
        return sorted(os.listdir(self.outbox / OURS))

    def silent(self):
        return self.outcomes.empty() and self.deaths.empty()


@pytest.fixture
def floor(tmp_path):
    """Make floors; their lanes end with the test, and no thread of theirs may have died unheard."""
    made = []

    def make(**how):
        made.append(Floor(tmp_path, **how))
        return made[-1]

    yield make
    for it in made:
        it.work.go_on.set()
        it.lane.stop(DEADLINE)
        for hand in (*it.lane._hands, *it.lane._stuck):
            if hand.thread:
                hand.thread.join(DEADLINE)  # what it says late is not for the next test to hear
        it.root.rest()
        assert it.deaths.empty()


@pytest.fixture
def impatient(monkeypatch):
    """Look for stuck threads often, and give them up soon; a thread is stuck where a test says so, not a slow one."""
    monkeypatch.setattr(lane_module, "GRACE", 0.05)
    monkeypatch.setattr(hand_module, "SILENCE", 60)
    monkeypatch.setattr(lane_module, "SILENCE", 0.2)
    monkeypatch.setattr(lane_module, "LOOK", 0.01)
    monkeypatch.setattr(lane_module, "CUT", 0.2)


# What comes of one job ---------------------------------------------------------------------------------------------


def test_a_text_comes_out_as_a_draft_with_its_numbers(floor):
    lane = floor(pool=Threads(load(TABLE[Kind.TEXT].module)))
    done = lane.do("sub/a.txt", "three words here\n")
    assert isinstance(done, Done)
    assert done.result.words == 3
    assert done.seconds > 0
    draft = lane.outbox / OURS / done.draft.name
    assert draft.stat().st_ino == done.draft.inode
    assert b'"sub/a.txt"' in draft.read_bytes()


def test_the_attempt_is_on_record_before_the_work_begins(floor):
    lane = floor()
    lane.work.deeds["look"] = lambda _: lane.recorded.append("worked on")
    lane.do("a.txt", "look")
    assert lane.recorded == [["a.txt"], "worked on"]


@pytest.mark.parametrize(
    ("unready", "outcome"), [(SystemFault("no worker starts", root=""), Stalled), (Cut("the daemon stops"), Returned)]
)
def test_what_a_slot_needs_to_get_ready_is_no_attempt(floor, unready, outcome):
    lane = floor(pool=Raising(LookupError("it does not get so far"), unready))
    assert isinstance(lane.do("a.txt"), outcome)
    assert lane.recorded == []


def test_a_file_that_changed_meanwhile_goes_back_as_changed(floor):
    lane = floor()
    lane.offer("a.txt")
    (lane.inbox / "a.txt").write_text("more words than there were")
    lane.lane.start()
    returned = lane.outcome()
    assert isinstance(returned, Returned)
    assert (returned.to, returned.changed) == (State.WAITING, True)
    assert not (lane.outbox / OURS).exists()


@pytest.mark.parametrize("gone", ["sub/a.txt", "sub"])
def test_a_file_that_was_removed_meanwhile_has_vanished(floor, gone):
    lane = floor()
    lane.offer("sub/a.txt")
    (lane.inbox / gone).rename(lane.base / "elsewhere")
    lane.lane.start()
    assert lane.outcome().to is State.VANISHED


def test_an_unreadable_file_waits_for_permission():
    with tempfile.TemporaryDirectory() as base:
        os.chmod(base, 0o777)  # noqa: S103 (a stranger is to work there)
        lane = Floor(base)
        for folder in (lane.inbox, lane.outbox):
            folder.chmod(0o777)
        job = lane.job("a.txt")
        (lane.inbox / "a.txt").chmod(0)
        version = beneath.version_of(os.lstat(lane.inbox / "a.txt"))
        with as_nobody(), beneath.Nearby() as nearby:
            job = job._replace(file=job.file._replace(version=version))
            returned = lane.bench.work(job, None, Limits(), nearby)
    assert (returned.to, returned.reason, returned.changed) == (State.WAITING, "permission", False)


def test_a_link_swapped_in_leads_nowhere(floor, tmp_path):
    lane = floor()
    secret = tmp_path / "secret"
    secret.write_text("not for anybody")
    lane.offer("a.txt")
    (lane.inbox / "a.txt").unlink()
    (lane.inbox / "a.txt").symlink_to(secret)
    lane.lane.start()
    returned = lane.outcome()
    assert (returned.to, returned.changed) == (State.WAITING, True)


def test_a_folder_swapped_for_a_link_leads_nowhere(floor):
    lane = floor()
    lane.offer("sub/a.txt")
    (lane.inbox / "sub").rename(lane.base / "elsewhere")
    (lane.inbox / "sub").symlink_to(lane.base / "elsewhere")
    lane.lane.start()
    assert lane.outcome().to is State.VANISHED


@pytest.mark.parametrize(
    ("error", "failure", "charged"),
    [
        (FileFault(Failure.NOT_TEXT, "binary"), Failure.NOT_TEXT, True),
        (FileFault(Failure.TIMEOUT, "too long"), Failure.TIMEOUT, True),
        (WorkerKilled("by the kernel"), Failure.CRASHED, False),
    ],
)
def test_what_a_slot_says_of_the_file_is_its_failure(floor, error, failure, charged):
    lane = floor(pool=Raising(error))
    failed = lane.do("a.txt")
    assert isinstance(failed, Failed)
    assert (failed.failure, failed.charged) == (failure, charged)
    assert lane.drafts() == []


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT])
def test_a_disk_or_a_mount_that_fails_costs_the_file_nothing(floor, number):
    returned = floor(pool=Raising(OSError(number, os.strerror(number)))).do("a.txt")
    assert isinstance(returned, Returned)
    assert (returned.to, returned.changed) == (State.WAITING, True)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_want_of_descriptors_or_memory_is_the_system_s_fault(floor, number):
    stalled = floor(pool=Raising(OSError(number, os.strerror(number)))).do("a.txt")
    assert isinstance(stalled, Stalled)
    assert (stalled.fault.root, stalled.fault.errno) == ("", number)


def test_a_text_for_which_the_daemon_has_no_memory_is_not_at_fault(floor):
    lane = floor()
    lane.work.deeds["eat"] = lambda _: bytearray(1 << 60)
    stalled = lane.do("a.txt", "eat")
    assert isinstance(stalled, Stalled)
    assert stalled.fault.errno == errno.ENOMEM
    assert lane.drafts() == []


def test_a_draft_that_cannot_be_written_is_the_outbox_s_fault(floor):
    lane = floor(pool=Raising(DraftError(errno.ENOSPC, "No space left on device")))
    stalled = lane.do("a.txt")
    assert isinstance(stalled, Stalled)
    assert (stalled.fault.root, stalled.fault.errno) == (str(lane.outbox), errno.ENOSPC)
    assert lane.drafts() == []


@pytest.mark.parametrize(
    "error", [DraftError(errno.ENOSPC, "No space left on device"), SystemFault("cannot start a worker", root="")]
)
def test_a_fault_of_the_system_tells_how_long_the_work_took_that_met_it(floor, monkeypatch, error):
    monkeypatch.setattr(bench_module, "time", Mock(monotonic=itertools.count(0.0, 7.0).__next__))
    assert floor(pool=Raising(error)).do("a.txt").fault.took == 7.0


@pytest.mark.parametrize("name", ["fstat", "close"])
def test_a_draft_that_fails_once_it_is_filled_is_the_outbox_s_fault_and_not_the_input_s(floor, monkeypatch, name):
    real = getattr(os, name)

    def fail_for_drafts(descriptor):
        is_draft = f"/{OURS}/" in os.readlink(f"/proc/self/fd/{descriptor}")
        answer = real(descriptor)
        if is_draft:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return answer

    lane = floor()
    monkeypatch.setattr(os, name, fail_for_drafts)
    stalled = lane.do("a.txt")
    assert isinstance(stalled, Stalled)
    assert (stalled.fault.root, stalled.fault.errno) == (str(lane.outbox), errno.ESTALE)
    assert lane.drafts() == []


def test_an_outbox_that_is_gone_is_no_fault_of_the_file(floor):
    lane = floor()
    lane.outbox.rename(lane.base / "elsewhere")
    stalled = lane.do("a.txt")
    assert isinstance(stalled, Stalled)
    assert stalled.fault.root == str(lane.outbox)


def test_a_system_that_cannot_start_workers_stalls(floor):
    fault = SystemFault("cannot start a worker", root="")
    assert floor(pool=Raising(fault)).do("a.txt").fault is fault


def test_a_bug_in_a_processor_fails_the_file_with_its_trace(floor):
    lane = floor()
    lane.work.deeds["divide"] = lambda _: 1 // 0
    failed = lane.do("a.txt", "divide")
    assert failed.failure is Failure.CRASHED
    assert failed.charged
    assert "ZeroDivisionError" in failed.trace
    assert lane.drafts() == []


def test_a_text_past_its_deadline_is_a_timeout(floor):
    lane = floor(limits=Limits(timeout=0.01))
    failed = lane.do("a.txt", "poll")
    assert (failed.failure, failed.charged) == (Failure.TIMEOUT, True)
    assert "0.01 s" in failed.message


def test_an_attempt_that_cannot_be_put_on_record_is_not_begun(floor):
    lane = floor()
    lane.refusal = SystemFault("the ledger cannot be used", root="/state")
    offered = [lane.offer(f"{number}.txt") for number in range(3)]
    lane.lane.start()
    stalled = [lane.outcome() for _ in offered]
    assert [outcome.job for outcome in stalled] == offered
    assert {outcome.fault for outcome in stalled} == {lane.refusal}
    assert lane.work.begun.empty()
    lane.refusal = None
    assert lane.do_next("later.txt").job.file.path == "later.txt"
    assert lane.recorded == [["later.txt"]]


def test_nothing_stays_open_whatever_comes_of_a_file(floor, tmp_path):
    lane = floor()
    lane.work.deeds["divide"] = lambda _: 1 // 0
    for path, content in (("fine.txt", "fine"), ("bad.txt", "divide"), ("changed.txt", "fine"), ("gone.txt", "fine")):
        lane.offer(path, content)
    (lane.inbox / "changed.txt").write_text("more words than there were")
    (lane.inbox / "gone.txt").unlink()
    with capture_logs() as logs:
        lane.lane.start()
        assert {type(lane.outcome()) for _ in range(4)} == {Done, Failed, Returned}
        lane.lane.stop(DEADLINE)
    lane.root.rest()
    assert held(tmp_path) == []
    assert logs == []  # what is told of a file is told by who settles it


# Hands full of jobs ------------------------------------------------------------------------------------------------


def test_small_files_go_to_a_worker_together_and_each_has_its_outcome(floor):
    lane = floor(workers=1)
    jobs = [lane.offer(f"{number}.txt") for number in range(100)]
    lane.lane.start()
    assert {lane.outcome().job for _ in jobs} == set(jobs)
    assert max(map(len, lane.recorded)) > 1
    assert sum(map(len, lane.recorded)) == len(jobs)


def test_several_files_wait_for_their_turn_and_one_that_may_take_any_time_for_none(floor, monkeypatch):
    turns = []

    @contextmanager
    def turn():
        turns.append(1)
        yield

    monkeypatch.setattr(lane_module, "turn", turn)
    lane = floor(workers=1)
    lane.do("a.txt")
    assert turns == []
    lane.order.offer(lane.job("b.txt"), lane.job("c.txt"))
    assert {lane.outcome().job.file.path for _ in range(2)} == {"b.txt", "c.txt"}
    assert len(turns) == 1


def test_one_bad_file_in_a_hand_harms_no_other(floor):
    lane = floor()
    lane.work.deeds["divide"] = lambda _: 1 // 0
    for number in range(9):
        lane.offer(f"{number}.txt", "divide" if number == 4 else "fine")
    lane.lane.start()
    outcomes = {(outcome := lane.outcome()).job.file.path: type(outcome) for _ in range(9)}
    assert [path for path, kind in outcomes.items() if kind is not Done] == ["4.txt"]


def test_a_file_alone_is_worked_on_while_nothing_else_is(floor):
    lane = floor(workers=4)
    lock, inside, met = threading.Lock(), [], []

    def watched(name):
        def act(_):
            with lock:
                inside.append(name)
                met.append(tuple(inside))
            threading.Event().wait(0.001)
            with lock:
                inside.remove(name)

        return act

    lane.work.deeds |= {"solo": watched("solo"), "choir": watched("choir")}
    for number in range(60):
        solo = number % 7 == 3
        lane.offer(f"{number}.txt", "solo" if solo else "choir", alone=solo)
    lane.lane.start()
    assert all(isinstance(lane.outcome(), Done) for _ in range(60))
    assert ("solo",) in met
    assert not [group for group in met if "solo" in group and len(group) > 1]


# The end -----------------------------------------------------------------------------------------------------------


def test_a_stop_finishes_what_is_worked_on_and_forgets_what_is_queued(floor):
    lane = floor(workers=1)
    lane.offer("working.txt", "hold")
    lane.lane.start()
    lane.work.begun.get(timeout=DEADLINE)
    lane.offer("queued.txt")
    assert lane.lane.working == 1
    stop = threading.Thread(target=lane.lane.stop, args=(DEADLINE,))
    stop.start()
    wait_for(lambda: lane.order._closed)
    lane.work.go_on.set()
    stop.join(DEADLINE)
    assert isinstance(lane.outcome(), Done)
    assert lane.silent()
    assert lane.recorded == [["working.txt"]]
    assert lane.lane.working == 0


def test_the_deadline_of_a_stop_cuts_what_is_worked_on_uncharged(floor):
    lane = floor()
    lane.offer("a.txt", "poll")
    lane.lane.start()
    lane.work.begun.get(timeout=DEADLINE)
    with capture_logs() as logs:
        lane.lane.stop(0.01)
    returned = lane.outcome()
    assert (returned.to, returned.reason, returned.changed) == (State.WAITING, "stopped", False)
    assert lane.drafts() == []
    assert [(entry["event"], entry["path"]) for entry in logs] == [("file.cut_short", "a.txt")]


@pytest.mark.usefixtures("impatient")
def test_a_stop_gives_back_uncharged_what_a_stuck_thread_holds(floor):
    lane = floor()
    jobs = [lane.offer(f"{number}.txt", "hold") for number in range(3)]
    lane.lane.start()
    lane.work.begun.get(timeout=DEADLINE)
    thread = lane.lane._hands[0].thread
    lane.lane.stop(0.01)
    returned = [lane.outcome() for _ in jobs]
    assert sorted(outcome.job.id for outcome in returned) == [job.id for job in jobs]
    assert {type(outcome) for outcome in returned} == {Returned}
    lane.work.go_on.set()
    thread.join(DEADLINE)
    assert lane.silent()
    assert lane.drafts() == []


def test_a_stop_begins_nothing_that_waits_for_its_turn_alone(floor):
    lane = floor(workers=2)
    lane.offer("beside.txt", "hold")
    lane.lane.start()
    lane.work.begun.get(timeout=DEADLINE)
    lane.offer("alone.txt", alone=True)
    wait_for(lambda: lane.alone._wanting)
    lane.lane.close()
    lane.work.go_on.set()
    lane.lane.stop(DEADLINE)
    assert lane.outcome().job.file.path == "beside.txt"
    assert lane.silent()
    assert lane.recorded == [["beside.txt"]]


def test_a_lane_that_never_started_can_be_stopped(floor):
    lane = floor()
    lane.offer("a.txt")
    lane.lane.stop(0)
    assert lane.silent()


def test_a_stop_lets_go_of_slots_and_pool_and_leaves_no_thread_behind(floor):
    pool = Raising(LookupError("it does not get so far"))
    lane = floor(pool=pool, workers=2)
    lane.lane.start()
    lane.lane.stop(DEADLINE)
    assert pool.closed == 2 + 1
    lane.lane._warden.join(DEADLINE)
    assert not lane.lane._warden.is_alive()


# Threads that are stuck --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
def test_the_rest_of_a_stuck_thread_s_hand_is_done_by_another_long_before_it_is_given_up(floor):
    lane = floor(limits=Limits(timeout=DEADLINE))
    for name, content in (("stuck.txt", "hold"), ("b.txt", "fine"), ("c.txt", "fine")):
        lane.offer(name, content)
    with capture_logs() as logs:
        lane.lane.start()
        lane.get_stuck()
        assert {lane.outcome().job.file.path for _ in range(2)} == {"b.txt", "c.txt"}
    assert lane.silent()
    assert [(entry["event"], entry["path"]) for entry in logs] == [("worker.stuck", "stuck.txt")]


@pytest.mark.usefixtures("impatient")
def test_a_stuck_thread_that_comes_back_in_time_delivers_its_result_and_ends(floor):
    lane = floor(limits=Limits(timeout=DEADLINE))
    lane.offer("stuck.txt", "hold")
    with capture_logs() as logs:
        lane.lane.start()
        lane.get_stuck()
        wait_for(lambda: lane.lane._stuck)
        thread = lane.lane._stuck[0].thread
        lane.work.go_on.set()
        assert isinstance(lane.outcome(), Done)
        thread.join(DEADLINE)
        assert lane.do_next("b.txt").job.file.path == "b.txt"
        wait_for(lambda: not lane.lane._stuck)
    assert not thread.is_alive()
    assert [entry["event"] for entry in logs] == ["worker.stuck", "worker.came_back"]


@pytest.mark.usefixtures("impatient")
def test_a_file_has_its_turn_alone_after_a_stuck_thread_has_come_back(floor):
    lane = floor(limits=Limits(timeout=DEADLINE))
    lane.offer("stuck.txt", "hold")
    lane.lane.start()
    lane.get_stuck()
    wait_for(lambda: lane.lane._stuck)
    come_back(lane)
    assert isinstance(lane.outcome(), Done)
    lane.offer("alone.txt", alone=True)
    assert lane.outcome().job.file.path == "alone.txt"


@pytest.mark.usefixtures("impatient")
def test_where_no_thread_can_take_the_place_of_a_stuck_one_that_is_said_once_and_tried_until_one_can(
    floor, monkeypatch
):
    begin = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
    tries, start = [], getattr(threading, begin)

    def refuse(*arguments, **more):
        tries.append(1)
        if len(tries) < 4:
            raise RuntimeError("can't start new thread")  # as limits of users and containers have it
        return start(*arguments, **more)

    lane = floor(limits=Limits(timeout=DEADLINE))
    lane.lane.start()
    monkeypatch.setattr(threading, begin, refuse)
    with capture_logs() as logs:
        lane.offer("stuck.txt", "hold")
        lane.offer("b.txt", "fine")
        lane.get_stuck()
        assert lane.outcome().job.file.path == "b.txt"
    assert [entry["event"] for entry in logs] == ["worker.stuck", "worker.missing"]
    assert logs[1]["error"].startswith("cannot start a thread: raise this process's limits")


def test_a_sign_of_life_puts_off_when_a_thread_counts_as_stuck(floor):
    job = floor().job("a.txt")
    hand = Hand(time.monotonic)
    hand.take([job])
    hand.next(patience=1000)
    hand.sign(100)
    assert hand.replace(time.monotonic() + 50) == []
    assert hand.replace(time.monotonic() + 150) == [job]
    assert hand.replaced
    assert hand.replace(time.monotonic() + 150) == []


def test_signs_of_life_put_nothing_off_beyond_the_deadline(floor):
    job = floor().job("a.txt")
    hand = Hand(time.monotonic)
    hand.take([job])
    hand.next(patience=10)
    hand.sign(1000)
    assert hand.replace(time.monotonic() + 50) == [job]


def test_what_was_given_up_is_so_once_and_nothing_behind_it_is_begun(floor):
    lane = floor()
    jobs = [lane.job("a.txt"), lane.job("b.txt")]
    hand = Hand(time.monotonic)
    hand.take(jobs)
    hand.next(patience=0)
    assert hand.give_up() == jobs
    assert hand.give_up() == []
    assert not hand.put_down()
    assert hand.next(patience=0) is None


def test_a_job_that_was_put_down_can_be_taken_from_nobody(floor):
    hand = Hand(time.monotonic)
    hand.take([floor().job("a.txt")])
    hand.next(patience=0)
    assert hand.put_down()
    assert hand.replace(time.monotonic() + 150) == hand.give_up() == []


def test_a_text_gives_a_sign_of_life_at_each_checkpoint(floor):
    lane, hand = floor(), Mock(wraps=Hand(time.monotonic))
    lane.work.deeds["read"] = lambda checkpoint: [checkpoint() for _ in range(3)]
    job = lane.job("a.txt", "read")
    slot = Threads(lane.work).slot(hand)
    with (lane.inbox / "a.txt").open("rb") as source, (lane.base / "draft").open("wb") as draft:
        slot.run(job, source.fileno(), draft.fileno(), Limits())
    assert hand.sign.mock_calls == [call()] * 3


@pytest.fixture
def given_up(floor, impatient):  # noqa: ARG001 (it makes what is given up so soon)
    """Let a thread get stuck at a file until it is given up; return its floor."""
    lane = floor(limits=Limits(timeout=0.05))
    lane.work.deeds["hold-and-divide"] = lambda _: lane.work.go_on.wait(DEADLINE) // 0

    def give_up(content="hold"):
        failed = lane.do("stuck.txt", content)
        assert (failed.job.file.path, failed.failure, failed.charged) == ("stuck.txt", Failure.TIMEOUT, True)
        return lane

    return give_up


def come_back(lane):
    """Let the thread that was replaced, or given up, come to its end."""
    thread = lane.lane._stuck[0].thread
    lane.work.go_on.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()


def test_a_stuck_thread_is_given_up_far_beyond_its_deadline(given_up):
    with capture_logs() as logs:
        given_up()
    assert [entry["event"] for entry in logs] == ["worker.stuck", "worker.given_up"]


@pytest.mark.parametrize("content", ["hold", "hold-and-divide"])
def test_what_a_given_up_thread_says_later_is_not_listened_to_and_its_draft_is_removed(given_up, content):
    lane = given_up(content)
    come_back(lane)
    assert lane.silent()
    assert lane.drafts() == []


def test_a_late_draft_in_an_outbox_that_is_gone_ends_nothing(given_up):
    lane = given_up()
    lane.root.rest()
    lane.outbox.rename(lane.base / "elsewhere")
    come_back(lane)
    assert lane.silent()


@pytest.mark.usefixtures("impatient")
def test_a_file_that_was_alone_when_it_got_stuck_holds_up_nobody_else(floor):
    lane = floor(limits=Limits(timeout=60), workers=2)
    lane.offer("stuck.txt", "hold", alone=True)
    lane.offer("b.txt")
    lane.lane.start()
    lane.get_stuck()
    assert lane.outcome().job.file.path == "b.txt"
    lane.lane._stuck[0]._overdue = 0.0
    assert isinstance(lane.outcome(), Failed)


@pytest.mark.usefixtures("impatient")
def test_an_inbox_in_which_many_threads_are_stuck_gets_no_more_until_one_comes_back(floor, monkeypatch):
    monkeypatch.setattr(order_module, "MOST_STUCK", 2)
    lane = floor(limits=Limits(timeout=DEADLINE), inboxes=("scans", "other"))
    for number in range(4):
        lane.offer(f"{number}.txt", "hold")
    lane.lane.start()
    for _ in range(2):
        lane.get_stuck()
    lane.offer("beside.txt", inbox="other")
    assert lane.outcome().job.file.path == "beside.txt"
    assert lane.work.begun.get(timeout=DEADLINE) == "beside.txt"
    assert lane.work.begun.empty()
    lane.work.go_on.set()
    assert {lane.outcome().job.file.path for _ in range(4)} == {f"{number}.txt" for number in range(4)}


@pytest.mark.usefixtures("impatient")
def test_a_shorter_timeout_is_not_held_against_what_began_before_it(floor):
    lane, looks = floor(limits=Limits(timeout=60)), queue.SimpleQueue()
    lane.lane._pool.look = lambda: looks.put(lane.lane._stuck)
    lane.offer("a.txt", "hold")
    lane.lane.start()
    lane.get_stuck()
    lane.lane.limits = Limits(timeout=0.001)
    while not looks.get(timeout=DEADLINE):
        pass
    assert lane.silent()
    lane.work.go_on.set()
    assert isinstance(lane.outcome(), Done)


def test_with_nothing_in_hand_it_is_looked_for_stuck_threads_as_seldom_as_one_could_be(floor, monkeypatch):
    monkeypatch.setattr(lane_module, "SILENCE", 0.01)
    monkeypatch.setattr(lane_module, "LOOK", 0.02)
    waits = queue.SimpleQueue()

    class Noted(threading.Event):
        def wait(self, timeout=None):
            waits.put(timeout)
            return super().wait(timeout)

    lane = floor()
    lane.lane._stopped = Noted()
    lane.lane.start()
    assert waits.get(timeout=DEADLINE) == 0.01
    lane.offer("a.txt", "hold")
    lane.work.begun.get(timeout=DEADLINE)
    while waits.get(timeout=DEADLINE) != 0.02:
        pass


@pytest.mark.usefixtures("impatient")
def test_a_pool_with_nothing_to_do_is_looked_after_again_and_again(floor):
    pool = Raising(LookupError("it does not get so far"))
    floor(pool=pool).lane.start()
    for _ in range(2):
        pool.looks.get(timeout=DEADLINE)


@pytest.mark.usefixtures("impatient")
def test_jobs_taken_from_a_stuck_thread_during_a_stop_are_given_back(floor):
    lane = floor(limits=Limits(timeout=60))
    jobs = [lane.offer(f"{number}.txt", "hold") for number in range(3)]
    lane.lane.start()
    lane.work.begun.get(timeout=DEADLINE)
    lane.lane.close()
    (stuck,) = lane.lane._hands
    stuck.sign(0)
    assert [lane.outcome() for _ in jobs[1:]] == [Returned(job, State.WAITING, "stopped") for job in jobs[1:]]
    stuck._overdue = 0.0
    assert isinstance(lane.outcome(), Failed)


# Threads that die --------------------------------------------------------------------------------------------------


def test_a_dying_worker_thread_is_heard_of_and_its_job_stays_suspect(floor):
    lane = floor(pool=Raising(LookupError("a bug of ours")))
    lane.offer("a.txt")
    lane.lane.start()
    assert isinstance(lane.deaths.get(timeout=DEADLINE), LookupError)
    lane.lane.stop(DEADLINE)
    assert lane.outcomes.empty()
    assert lane.drafts() == []


@pytest.mark.usefixtures("impatient")
def test_a_dying_warden_is_heard_of(floor):
    lane = floor(limits=Limits(timeout=0.01))
    lane.lane._deliver = lambda _: 1 // 0
    lane.offer("a.txt", "hold")
    lane.lane.start()
    assert isinstance(lane.deaths.get(timeout=DEADLINE), ZeroDivisionError)
    lane.work.go_on.set()
