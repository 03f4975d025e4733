"""Where worker processes come from: one thread starts them, and one stands by where that is wanted.

PR_SET_PDEATHSIG fires when the *thread* that spawned dies: so one thread, the feeder, spawns all workers, lives as
long as the pool, and buries them at its end. A worker is taken before it says that it is ready: it warms up
meanwhile, and many slots can start theirs at once.
"""

from __future__ import annotations

import queue
import time
from threading import Lock, Semaphore
from typing import TYPE_CHECKING

from watcherd.lanes.child import NotTaken
from watcherd.lanes.slot import Cut
from watcherd.lifeline import Thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.lanes.child import Worker


class Feeder:
    """A thread that calls `start` for each worker that is hired, and `bury` at its end.

    If `warm`, it starts one at once, and so is always one ahead; else it begins when it is first asked.
    """

    def __init__(self, start: Callable[[], Worker], bury: Callable[[], None], *, warm: bool) -> None:
        self._start = start
        self._bury = bury
        self._wanted = Semaphore(int(warm))
        self._started: queue.SimpleQueue[Worker | Exception | None] = queue.SimpleQueue()  # None: it ends
        self._ending = False
        self._beginning = Lock()
        self._thread = Thread(target=self._feed, name="worker-feeder", daemon=True)
        if warm:
            self._begin()

    def hire(self, by: float) -> Worker:
        """Have one more started, and return the first that is there, ready or not.

        Raises NotTaken where there is none `by` that time, Cut where we stop, SystemFault where no feeder can begin.
        """
        self._begin()
        self._wanted.release()
        try:
            worker = self._started.get(timeout=max(0.0, by - time.monotonic()))
        except queue.Empty:
            self._wanted.acquire(blocking=False)
            raise NotTaken("none is started") from None
        if worker is None:
            self._started.put(None)  # for the next who waits
            raise Cut("the daemon stops")
        if isinstance(worker, Exception):
            raise NotTaken(f"could not be started: {worker}") from worker
        return worker

    def end(self) -> None:
        """Start none any more, and turn back all who wait for one."""
        self._ending = True
        self._started.put(None)
        self._wanted.release()

    def join(self, timeout: float) -> None:
        """Wait for its end, and that of all that it has started, for so many seconds at most."""
        self._thread.join(timeout)

    def _begin(self) -> None:
        with self._beginning:
            if self._thread.ident is None:
                self._thread.start()

    def _feed(self) -> None:
        while self._wanted.acquire() and not self._ending:
            self._started.put(self._tried())
        self._bury()

    def _tried(self) -> Worker | Exception:
        try:
            return self._start()
        except Exception as error:  # noqa: BLE001 (whoever hires hears of it; the feeder must not die)
            return error
