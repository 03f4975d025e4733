"""A lane: the workers of one kind, from the order in which jobs wait to the outcome of each.

A worker is a thread with a slot. It takes a hand full of jobs, has its slot ready, puts the attempts on record, does
one after the other at the bench of its inbox, and delivers what came of each. Where the work runs, in this thread or
in a process of its own, only the slot knows.

A thread cannot be killed. One that is silent for seconds is stuck, as in a mount that hangs: another takes its place,
and the rest of its hand waits again. It may still finish its job, and then ends. Far beyond its deadline it is given
up: its job is charged, and its late result ignored. A stop gives it up the same way, but charges nothing.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from threading import Event
from typing import TYPE_CHECKING

import structlog

from watcherd import beneath, lifeline
from watcherd.lanes.clock import Clock
from watcherd.lanes.hand import SILENCE, Hand
from watcherd.lanes.slot import Cut
from watcherd.model import Failed, Failure, Returned, Stalled, SystemFault
from watcherd.states import State
from watcherd.turns import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from threading import Thread

    from watcherd.lanes.alone import Alone
    from watcherd.lanes.bench import Bench
    from watcherd.lanes.order import Order
    from watcherd.lanes.slot import Pool, Slot
    from watcherd.model import Job, Kind, Limits, Outcome

log = structlog.get_logger(__name__)

#: Seconds beyond its deadline after which a thread is given up: time enough to start a worker process in.
GRACE = 30.0

#: Seconds between looks for stuck threads; and seconds in which work must end once it is cut short.
LOOK = CUT = 1.0


class Lane:
    """The workers of one kind. `limits` may be replaced at any time; `on_death` hears of a thread that dies."""

    def __init__(  # noqa: PLR0913 (what it is wired to)
        self,
        kind: Kind,
        order: Order,
        pool: Pool,
        *,
        workers: int,
        limits: Limits,
        benches: Mapping[str, Bench],
        record: Callable[[list[Job]], None],
        deliver: Callable[[Outcome], None],
        alone: Alone,
        on_death: Callable[[BaseException], None],
    ) -> None:
        self.limits = limits
        self._kind = kind
        self._order = order
        self._pool = pool
        self._benches = benches
        self._record = record
        self._deliver = deliver
        self._alone = alone
        self._on_death = on_death
        self._stopped = Event()
        self._clock = Clock()
        self._hands = [Hand(self._clock.now) for _ in range(workers)]
        self._stuck: list[Hand] = []  # those replaced: `Order` hands out no more of an inbox that has a few
        self._missing = False  # whether the log has said that a thread could not be started
        self._warden = self._thread("warden", self._watch)

    @property
    def working(self) -> int:
        """How many files are being worked on now."""
        return sum(hand.current is not None for hand in self._hands)

    def start(self) -> None:
        """Begin to take jobs."""
        for number, hand in enumerate(self._hands):
            self._begin(number, hand)
        self._warden.start()

    def close(self) -> None:
        """Begin nothing any more, here and in the lanes beside it: what is queued is forgotten."""
        self._order.close()
        self._alone.close()

    def stop(self, timeout: float) -> None:
        """Finish what is being worked on; what is not done after `timeout` seconds is cut short, uncharged."""
        self.close()
        self._join(timeout)
        self._pool.cut_short()
        self._join(CUT)
        self._stopped.set()
        for hand in (*self._hands, *self._stuck):
            if hand.thread and hand.thread.is_alive():  # what a thread died of stays on record as suspect
                self._let_go(hand.give_up())
        self._pool.close()

    def _join(self, timeout: float) -> None:
        """Wait for the threads, but not for those that are stuck."""
        ends = time.monotonic() + timeout
        while (alive := self._alive()) and (left := ends - time.monotonic()) > 0:
            alive[0].join(min(left, LOOK))

    def _alive(self) -> list[Thread]:
        return [hand.thread for hand in self._hands if hand.thread and hand.thread.is_alive()]

    def _begin(self, number: int, hand: Hand) -> None:
        thread = self._thread(str(number), lambda: self._serve(hand))
        thread.start()
        hand.thread = thread  # not before it runs: a stop may come from another thread, and joins it

    def _thread(self, name: str, act: Callable[[], None]) -> Thread:
        return lifeline.thread(act, name=f"{self._kind}-{name}", on_death=self._on_death)

    # The main line -------------------------------------------------------------------------------------------------

    def _serve(self, hand: Hand) -> None:
        slot = self._pool.slot(hand)
        try:
            while not hand.replaced and (jobs := self._order.take()) and self._alone.enter(alone=jobs[0].alone):
                # Several are handed over at once where they are small; one alone may take any time.
                with turn() if len(jobs) > 1 else nullcontext():
                    self._work_through(jobs, hand, slot)
        finally:
            slot.close()

    def _work_through(self, jobs: list[Job], hand: Hand, slot: Slot) -> None:
        if self._put_on_record(slot, jobs):
            hand.take(jobs)
            with beneath.Nearby() as nearby:
                self._work_each(hand, slot, nearby)
        if not hand.replaced:  # else that was done when another took its place
            self._alone.leave(alone=jobs[0].alone)

    def _work_each(self, hand: Hand, slot: Slot, nearby: beneath.Nearby) -> None:
        """Work on the jobs of a hand, which is emptied when another thread takes this one's place."""
        while (job := hand.next(self.limits.timeout + GRACE)) is not None:
            bench = self._benches[job.file.inbox]
            outcome = bench.work(job, slot, self.limits, nearby)
            if hand.put_down():
                self._deliver(outcome)
            else:
                bench.clear(outcome)
            if hand.replaced:
                self._order.unstuck(job.file.inbox)
                log.info("worker.came_back", kind=self._kind, inbox=job.file.inbox, path=job.file.path)

    def _put_on_record(self, slot: Slot, jobs: list[Job]) -> bool:
        """Put attempts on record once the slot is ready for them; False where they had to be given back."""
        try:
            slot.prepare()
            self._record(jobs)
        except SystemFault as fault:
            for job in jobs:
                self._deliver(Stalled(job, fault))
        except Cut:
            self._let_go(jobs)
        else:
            return True
        return False

    # Threads that are stuck ----------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._stopped.wait(self._clock.keep(self._until_look())):
            now = self._clock.now()
            self._replace_stuck(now)
            self._start_missing()
            self._give_up_overdue(now)
            self._pool.look()

    def _until_look(self) -> float:
        """Return seconds. With nothing in hand nothing can be stuck sooner, and an idle daemon seldom wakes."""
        return LOOK if self._stuck or self.working else SILENCE

    def _replace_stuck(self, now: float) -> None:
        stuck = {number: jobs for number, hand in enumerate(self._hands) if (jobs := hand.replace(now))}
        for jobs in stuck.values():  # all of them before others take their places, and more work of these inboxes
            self._leave_stuck(*jobs)
        for number in stuck:
            self._stuck.append(self._hands[number])
            self._hands[number] = Hand(self._clock.now)

    def _leave_stuck(self, job: Job, *waiting: Job) -> None:
        log.warning("worker.stuck", kind=self._kind, inbox=job.file.inbox, path=job.file.path)
        self._order.stuck(job.file.inbox)
        self._let_go(self._order.take_back(waiting))
        self._alone.leave(alone=job.alone)  # what hangs in the kernel crashes nobody

    def _start_missing(self) -> None:
        """Start a thread for each hand without one; where that fails, say so once, and try again at the next look."""
        try:
            for number, hand in enumerate(self._hands):
                if hand.thread is None:
                    self._begin(number, hand)
            self._missing = False
        except SystemFault as fault:
            if not self._missing:
                log.error("worker.missing", kind=self._kind, error=str(fault))  # noqa: TRY400 (no bug of ours)
            self._missing = True

    def _give_up_overdue(self, now: float) -> None:
        self._stuck = [hand for hand in self._stuck if hand.thread and hand.thread.is_alive()]
        for hand in self._stuck:
            for job in hand.give_up(now):
                log.error("worker.given_up", kind=self._kind, inbox=job.file.inbox, path=job.file.path)
                self._deliver(Failed(job, Failure.TIMEOUT, "its folder does not answer: a mount that hangs?"))

    def _let_go(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._deliver(Returned(job, State.WAITING, "stopped"))
