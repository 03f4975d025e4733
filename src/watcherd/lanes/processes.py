"""The image lane's workers: one process for each slot, and, where wanted, one warm spare for all of them.

No pool that we tried keeps a file from harming its neighbours: they fail what is pending when one worker dies, or
have no deadline. Here a slot has one direct child and one private pipe, so a death is one job's, and known at once.

PR_SET_PDEATHSIG fires when the *thread* that spawned dies: so one thread, the feeder, spawns all workers, lives as
long as the pool, and buries them at its end. A worker is taken before it says that it is ready: it warms up
meanwhile, and many slots can start theirs at once.
"""

from __future__ import annotations

import queue
import time
from contextlib import contextmanager, suppress
from math import inf
from threading import Lock, Semaphore
from typing import TYPE_CHECKING, TypeVar

import structlog

from watcherd.lanes import wire
from watcherd.lanes.child import BURY, LEAVE, SOON, START, NotTaken, Worker, signal_name, verdict
from watcherd.lanes.slot import Cut, Pool, Slot, overdue
from watcherd.lifeline import MORE, Thread
from watcherd.model import Failure, FileFault, SystemFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from watcherd.lanes.hand import Hand
    from watcherd.model import Job, Limits, Result

T = TypeVar("T")

log = structlog.get_logger(__name__)

#: The slot's own worker and three new ones: if none takes the job, it is the system's fault.
TRIES = 4


class IsolatedWorkers(Pool):
    """The worker processes of the processor in `module`.

    `memory` is the address space of each in bytes; after `recycle_after` jobs a worker is replaced. Workers inherit
    the descriptors in `keep_open`, and hold them until they are gone. With `warm` there is a spare, from the start
    on; without it, a worker is only started for a job.
    """

    def __init__(
        self, module: str, *, memory: int, recycle_after: int, keep_open: Sequence[int] = (), warm: bool = True
    ) -> None:
        self.recycle_after = recycle_after
        self._terms = (module, memory, tuple(keep_open))
        self._lock = Lock()
        self._alive: set[Worker] = set()
        self._busy: set[Worker] = set()
        self._stopping = False  # whether workers are killed, and their jobs cut
        self.failing = False  # whether the last worker that was started did not get ready
        self._wanted = Semaphore(int(warm))
        self._started: queue.SimpleQueue[Worker | Exception | None] = queue.SimpleQueue()  # None: we stop
        self._feeder = Thread(target=self._feed, name="worker-feeder", daemon=True)
        if warm:
            self._feeder.start()

    def slot(self, hand: Hand) -> Slot:
        """Return a slot for one thread."""
        return _Isolated(self, hand)

    def cut_short(self) -> None:
        """Stop for good: kill the workers, those with a job at once; their `run` raises Cut."""
        with self._lock:
            self._stopping = True
            for worker in self._busy:
                worker.kill()
        self._started.put(None)
        self._wanted.release()

    def close(self) -> None:
        """Stop as `cut_short` does, and wait until all children are gone, for a few seconds at most."""
        self.cut_short()
        self._feeder.join(LEAVE + BURY)

    def hire(self, by: float, now: Callable[[], float] = time.monotonic) -> Worker:
        """Have one more started, and return the first that is there, ready or not.

        Raises NotTaken where there is none `by` that time of `now`, Cut where we stop, SystemFault where no feeder
        can begin.
        """
        with self._lock:
            if self._feeder.ident is None:
                self._feeder.start()
        self._wanted.release()
        worker = self._next_started(by, now)
        if worker is None:
            self._started.put(None)  # for the next who waits
            raise Cut("the daemon stops")
        if isinstance(worker, Exception):
            mend = f": {MORE}" if isinstance(worker, BlockingIOError) else ""  # EAGAIN: at the most of its processes
            raise NotTaken(f"could not be started: {worker}{mend}") from worker
        return worker

    def _next_started(self, by: float, now: Callable[[], float]) -> Worker | Exception | None:
        while True:
            with suppress(queue.Empty):
                return self._started.get(timeout=max(SOON, by - now()))
            if now() >= by:  # the queue also counts time that `now` does not
                self._wanted.acquire(blocking=False)
                raise NotTaken("none is started")

    @contextmanager
    def at_work(self, worker: Worker) -> Iterator[None]:
        """Hold `worker` for one job. Raises Cut where we stop, also in place of what a killed worker leads to."""
        with self._lock:
            if self._stopping:
                raise Cut("the daemon stops")
            self._busy.add(worker)
        try:
            yield
        except Exception:
            if self._stopping:
                raise Cut("the daemon stops") from None
            raise
        finally:
            with self._lock:
                self._busy.discard(worker)

    def look(self) -> None:
        """Bury workers that ended while they had no job, and say so. Whoever needs one then goes on to the next."""
        with self._lock:
            idle = self._alive - self._busy
            ended = [worker for worker in idle if not worker.is_buried and worker.has_ended()]
        for worker in ended:
            self.tell(worker, worker.bury(0.0))

    def tell(self, worker: Worker, status: int | None, job: Job | None = None) -> None:
        """Say how `worker` ended; as debug while none gets ready, as each would say the same for ever."""
        if not self._stopping:
            say = log.warning if worker.is_ready or not self.failing else log.debug
            say("worker.died", pid=worker.pid, **_how(status), **_what(job))

    def dismiss(self, worker: Worker) -> int | None:
        """Let `worker` leave, or kill it; return what `Worker.bury` does."""
        with self._lock:
            self._busy.add(worker)  # so that a look does not tell of its end
        worker.dismiss()
        status = worker.bury(LEAVE)
        worker.close()
        with self._lock:
            self._alive.discard(worker)
            self._busy.discard(worker)
        return status

    def _feed(self) -> None:
        while self._wanted.acquire() and not self._stopping:
            self._started.put(self._start())
        self._bury_all()

    def _start(self) -> Worker | Exception:
        try:
            worker = Worker(*self._terms)
        except Exception as error:  # noqa: BLE001 (whoever hires hears of it; the feeder must not die)
            return error
        with self._lock:
            self._alive.add(worker)
        return worker

    def _bury_all(self) -> None:
        with self._lock:
            alive, idle = set(self._alive), self._alive - self._busy
        for worker in alive:
            worker.kill()  # one that is starting would only notice once it is ready
            worker.dismiss()  # this frees whoever waits for the answer of one that hangs in the kernel
        for worker in alive:
            worker.bury(0.0)
        for worker in idle:  # a busy one's pipe is closed by the thread that waits at it
            worker.close()


class _Isolated(Slot):
    """A slot: the thread that owns it waits here while its worker works."""

    def __init__(self, pool: IsolatedWorkers, hand: Hand) -> None:
        self._pool = pool
        self._hand = hand
        self._worker: Worker | None = None

    def prepare(self) -> None:
        """Have a worker that is ready. See `Slot.prepare`."""
        self._insist(lambda _: None)

    def run(self, job: Job, source: int, draft: int, limits: Limits) -> Result:
        """See `Slot.run`."""
        return self._insist(lambda worker: self._ask(worker, job, (source, draft), limits))

    def _insist(self, attempt: Callable[[Worker], T]) -> T:
        """Call `attempt` with a worker that is ready, and with others until one takes the job."""
        self._hand.sign(inf)  # its worker is killed at the deadline, so this thread comes back by itself
        begin = self._hand.now()
        by = begin + START
        for _ in range(TRIES):
            try:
                worker = self._own(by)
                with self._pool.at_work(worker):
                    return self._try(attempt, worker, by)
            except NotTaken as error:
                reason = error
        message = f"cannot start a worker, three times in a row: {reason}"
        errno = getattr(reason.__cause__, "errno", None)
        raise SystemFault(message, root="", errno=errno, took=self._hand.now() - begin)

    def close(self) -> None:
        """Let the worker leave."""
        if self._worker:
            self._end(self._worker)

    def _own(self, by: float) -> Worker:
        """Return this slot's worker: another where it has none, or that one has done its jobs. Raises as `hire`."""
        if self._worker and self._worker.jobs >= self._pool.recycle_after:
            log.debug("worker.recycled", pid=self._worker.pid, jobs=self._worker.jobs)
            self._end(self._worker)
        self._worker = self._worker or self._pool.hire(by, self._hand.now)
        return self._worker

    def _try(self, attempt: Callable[[Worker], T], worker: Worker, by: float) -> T:
        try:
            worker.require_ready(by, self._hand.now)
            self._pool.failing = False
            return attempt(worker)
        except NotTaken:
            self._end_dead(worker)
            self._pool.failing = not worker.is_ready
            raise

    def _ask(self, worker: Worker, job: Job, descriptors: Sequence[int], limits: Limits) -> Result:
        try:
            answer = worker.ask(wire.request(job.id, limits), descriptors, limits.timeout, self._hand.now)
        except ConnectionError:
            raise NotTaken("it ended before it took a job") from None
        except TimeoutError:
            worker.kill()
            log.warning("worker.timed_out", pid=worker.pid, timeout=limits.timeout, **_what(job))
            self._end(worker)
            raise overdue(limits) from None
        except OSError as error:
            self._end(worker)
            raise SystemFault(f"cannot hand a job to a worker: {error}", root="", errno=error.errno) from error
        if not answer:
            raise verdict(self._end_dead(worker, job))
        return self._understand(worker, job, answer)

    def _understand(self, worker: Worker, job: Job, answer: bytes) -> Result:
        try:
            return wire.read_answer(answer, job.id)
        except FileFault as fault:
            if fault.failure in {Failure.MEMORY, Failure.CRASHED}:
                self._end(worker)  # nobody knows what state it is in
            raise
        except ValueError:
            worker.kill()
            log.warning("worker.died", pid=worker.pid, reason="it was killed for a garbled answer", **_what(job))
            self._end(worker)
            raise FileFault(Failure.CRASHED, "made its worker answer with what is no answer") from None

    def _end(self, worker: Worker) -> int | None:
        self._worker = None
        return self._pool.dismiss(worker)

    def _end_dead(self, worker: Worker, job: Job | None = None) -> int | None:
        is_told = worker.is_buried  # by a look, while it had no job
        status = self._end(worker)
        if not is_told:
            self._pool.tell(worker, status, job)
        return status


def _how(status: int | None) -> dict[str, int | str]:
    if status is None:
        return {"reason": "it did not leave by itself, and was killed"}
    return {"status": status} if status >= 0 else {"signal": signal_name(-status)}


def _what(job: Job | None) -> dict[str, str]:
    return {"inbox": job.file.inbox, "path": job.file.path, "kind": job.kind} if job else {}
