"""The publisher of one inbox: it judges what failed, settles what is finished, and pauses when the system fails.

Each inbox has its own, so that the fault of one outbox holds nobody else. It takes all that is finished at once and
settles it as one batch, so the cost of a file falls as the load grows, and one file alone waits for nobody.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from math import inf
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

import structlog

from watcherd import lifeline
from watcherd.model import CameBack, Done, Failed, Returned, Stalled, Stopped, SystemFault
from watcherd.publish.arrivals import Arrivals
from watcherd.publish.aside import quarantine
from watcherd.publish.batch import BATCH, Batch, Exit
from watcherd.publish.health import TICK, Health
from watcherd.publish.inputs.carrier import Carried, Carrier
from watcherd.publish.judge import Judge
from watcherd.publish.recovery import EarlierRun
from watcherd.publish.said import say, say_end
from watcherd.publish.unretired import Hindered
from watcherd.states import State
from watcherd.turns import turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.decide import RetryPolicy
    from watcherd.ledger.claims import Claims
    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Job, Outcome
    from watcherd.publish.arrivals import Arrival
    from watcherd.publish.batch import News
    from watcherd.publish.roots.place import Place

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: Seconds without work after which the ledger is told what it does not know yet.
IDLE = 0.05

#: Seconds that a stop waits for an input on its way to another file system.
CARRYING = 5.0

#: Seconds that a stop gives to a recovery that is under way: one of few files is not left to the next start.
RECOVERING = 1.0


class Publisher:
    """Publishes for one inbox, in a thread of its own.

    What waits here holds its claim, so there is never more of it than there are claims, and `put` never blocks.
    `least_free`, `prepare` and `on_pause` are its `Health`'s, `is_away` its `Batch`'s and `EarlierRun`'s; `on_end` is
    called with each file that is published or quarantined, `on_death` with whatever ends the thread.
    """

    def __init__(  # noqa: PLR0913 (what it is wired to)
        self,
        place: Place,
        ledger: Ledger,
        claims: Claims,
        *,
        policy: RetryPolicy,
        least_free: Callable[[int], int],
        retry_command: str,
        prepare: Callable[[], None],
        is_away: Callable[[], bool],
        on_pause: Callable[[], None],
        on_end: Callable[[Exit], None],
        on_death: Callable[[BaseException], None],
    ) -> None:
        self._health = Health(place, ledger, least_free=least_free, prepare=prepare, on_pause=on_pause)
        self._judge = Judge(place, ledger, claims, self._health, policy, retry_command)
        self.progressed = inf  # when its thread last made progress, in monotonic seconds
        self.ended: Counter[State] = Counter()  # files since the start
        self._place = place
        self._ledger = ledger
        self._claims = claims
        self._on_end = on_end
        self._log = log.bind(inbox=place.inbox)
        self._queue: SimpleQueue[Arrival | None] = SimpleQueue()
        self._fault_is_queued = False
        self._carrier = Carrier(place, self._queue.put, on_death)
        self._arrivals = Arrivals()
        self._unsorted: deque[Arrival] = deque()
        self._unreported: deque[News] = deque()
        self._batch = Batch(
            place, ledger, carry=self._carrier.take, tell=self._unreported.append, is_away=is_away, alive=self._live
        )
        self._earlier_run = EarlierRun(place, ledger, self._batch, is_away=is_away, checkpoint=self._checkpoint)
        self._halted = True  # whether nothing can be settled either
        self._idle = False
        self._closed = inf  # when it was asked to end, in monotonic seconds
        self._thread = lifeline.thread(self._serve, name=f"publisher-{place.inbox}", on_death=on_death)

    @property
    def paused(self) -> str:
        """Why nothing is admitted; empty when all is well."""
        return self._health.paused

    @property
    def in_hand(self) -> int:
        """How many files of this inbox are anywhere between admission and their end."""
        return len(self._claims)

    def unretired(self) -> dict[str, str]:
        """Return the paths of inputs that cannot be taken for now, each with the reason. See `Unretired.reasons`."""
        return self._batch.unretired.reasons()

    def start(self) -> None:
        """Take up what an earlier run left, then publish."""
        self._thread.start()

    def put(self, outcome: Outcome | CameBack | SystemFault) -> None:
        """Take what came of a job, what came back, or a fault of another room, which pauses this inbox."""
        if isinstance(outcome, SystemFault):
            if self._fault_is_queued:
                return  # one that lasts is met again each second: where this room hangs, more and more of them
            self._fault_is_queued = True
        self._queue.put(outcome)

    def update(self, policy: RetryPolicy, least_free: Callable[[int], int]) -> None:
        """Judge by another policy, and leave other space free, from now on. From any thread."""
        self._judge.policy = policy
        self._health.least_free = least_free

    def close(self) -> None:
        """Let the thread end once it has settled what was put so far."""
        if self._closed == inf:
            self._closed = time.monotonic()
            self._queue.put(None)

    def stop(self, timeout: float) -> bool:
        """Settle what was put so far; return whether that was done within `timeout` seconds."""
        self.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        self._advance()
        while self._take():
            self._advance()
        self._leave()

    # The main line -------------------------------------------------------------------------------------------------

    def _take(self) -> bool:
        """Wait a while for outcomes, and take a batch of all there are; return False where it is time to stop."""
        going = self._hear()
        self._unsorted.extend(self._arrivals.take(BATCH - len(self._unsorted)))
        return going

    def _hear(self) -> bool:
        try:
            arrival = self._queue.get(timeout=self._patience())
            self._idle = False
            while arrival is not None:
                self._arrivals.put(arrival)
                arrival = self._queue.get_nowait()
        except Empty:
            return True
        return False

    def _patience(self) -> float:
        if self._halted:
            return self._health.until_due()
        if self._arrivals:
            return 0.0
        return TICK if self._idle else IDLE

    def _advance(self) -> None:
        """Do all that can be done now; a fault of the system pauses the inbox and leaves the rest where it is."""
        self._live()
        try:
            self._look_around()
            if not self._halted:
                self._work()
        except SystemFault as fault:
            self._halted = True
            self._health.pause(fault)
        except Stopped:
            pass  # still halted: what an earlier run left is taken up by the next start

    def _live(self) -> None:
        """Take note that the thread makes progress."""
        self.progressed = time.monotonic()

    def _checkpoint(self) -> None:
        """Take note of progress with what takes long. Raises Stopped where it is time to stop."""
        self._live()
        if self.progressed > self._closed + RECOVERING:
            raise Stopped

    def _work(self) -> None:
        worked = False
        while self._unsorted or self._batch or self._unreported:
            self._each(self._unsorted, self._sort)
            self._batch.settle()
            self._each(self._unreported, self._report)
            self._live()
            worked = True
        if not worked:
            self._rest()

    def _each(self, waiting: deque[T], act: Callable[[T], None]) -> None:
        with turn():
            while waiting:
                self._live()
                act(waiting[0])
                waiting.popleft()

    def _rest(self) -> None:
        """Say what is still only known in memory, and let go of the folders, so that they could be unmounted."""
        self._ledger.flush()
        # A sync only tells the errors since its descriptor was opened.
        if not self.in_hand:
            self._place.rest()
        self._idle = True

    # What comes from the lanes -------------------------------------------------------------------------------------

    def _sort(self, outcome: Arrival) -> None:
        match outcome:
            case Done():
                self._batch.add(outcome, outcome.draft)
            case Failed():
                if draft := self._judge.judge(outcome):
                    self._batch.add(outcome, draft)
            case Stalled():
                self._judge.stall(outcome)
            case Returned():
                self._judge.give_back(outcome)
            case Carried():
                self._batch.carried(outcome.leaving, outcome.error)
                if isinstance(outcome.error, SystemFault):
                    self._health.pause(outcome.error)
            case CameBack():
                quarantine.clear_reason(self._place, self._ledger, outcome)
            case SystemFault():
                self._fault_is_queued = False
                self._health.pause(outcome)

    # What the batch tells ------------------------------------------------------------------------------------------

    def _report(self, news: News) -> None:
        job = news.job
        match news:
            case Exit():
                self.ended[news.state] += 1
                self._on_end(news)
                say_end(self._log, news)
                self._judge.let_go(job, claimed=news.claimed)
            case Hindered():
                say("warning", "file.unretired", job, reason=news.reason)
                self._health.look_within(TICK)  # all may have been calm
                self._judge.let_go(job)
            case Failed() if job.id < self._ledger.first:
                # Of an earlier run: it holds no claim, so its file may be in work again, and is judged by that.
                self._judge.give_back(Returned(job, State.WAITING, news.message))
            case Failed() | Stalled() | Returned():
                self._sort(news)

    # Pausing -------------------------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        """Look now and then whether the system is well; end a pause when it is. Raises SystemFault."""
        if not self._health.is_due(idle=self._idle and not self._batch.unretired):
            return
        if self.paused:
            self._health.probe()
        self._earlier_run.take_up()
        self._halted = False
        self._batch.release()
        self._health.conclude()

    # The end -------------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        """Settle what can be settled; what is not on record is given back, what is, the next start finishes."""
        self._carrier.stop(CARRYING)
        self._queue.put(None)
        while self._hear():
            pass
        while self._arrivals:
            self._unsorted.extend(self._arrivals.take(BATCH))
        self._health.look_within(0.0)
        self._advance()
        self._report_ends()
        try:
            self._ledger.give_back(self._unsettled())
            self._ledger.flush()
        except SystemFault as fault:
            self._health.pause(fault)
        self._place.rest()

    def _report_ends(self) -> None:
        """Say what came to its end beside a fault that lasts. What was given up is not judged any more."""
        for news in self._unreported:
            if isinstance(news, Exit | Hindered):
                self._report(news)

    def _unsettled(self) -> list[Job]:
        """Return the jobs that a fault of the system kept from going on record."""
        for outcome in self._unsorted:
            if isinstance(outcome, Done):
                self._batch.add(outcome, outcome.draft)  # so that its draft is cleared away
        undone = (it for it in (*self._unsorted, *self._unreported) if isinstance(it, Failed | Stalled | Returned))
        return [*self._batch.abandon(), *(it.job for it in undone)]
