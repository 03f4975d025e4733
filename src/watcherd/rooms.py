"""All rooms together: assembled, started, reloaded and stopped; by the daemon, and by a drain.

In which order, and why, is in ARCHITECTURE.md, "Start and stop".
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import structlog

from watcherd import lifeline, rebuild
from watcherd.access import error_as_fault
from watcherd.assembly import build
from watcherd.ledger.ledger import Ledger
from watcherd.model import SystemFault, WatcherdError
from watcherd.plain import inbox_of, limits_of, policy_of
from watcherd.premises import make, prepare
from watcherd.service import locks, logs
from watcherd.settings import live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from watcherd.assembly import Ears, Line
    from watcherd.lanes.lane import Lane
    from watcherd.model import Kind
    from watcherd.settings import Settings

log = structlog.get_logger(__name__)

#: Seconds at a stop. All intakes together have `LEAVE` to end. The publishers have `stop_timeout` to settle what is
#: finished, but no less than `LEAVE`, and no more than `FLUSH`.
LEAVE = 2.0
FLUSH = 10.0

#: Seconds that a new configuration may take to be read, and its folders to be looked at.
RELOAD = 5.0


@contextmanager
def assembled(
    settings: Settings, ears: Ears, checkpoint: Callable[[], None] = lambda: None, *, once: bool = False
) -> Iterator[Rooms]:
    """Build every room, in the order in which each needs the one before; at the end stop them and take them down.

    `checkpoint` is called now and then before they are built, and may raise to end a start that takes long. With
    `once` the inboxes are scanned once, and what comes later is left.
    """
    with ExitStack() as stack:
        state = str(settings.state)
        make(state, mode=0o700)
        with error_as_fault(state):
            lock = stack.enter_context(locks.state(state))
        premises = prepare(settings, stack, once=once)
        path = settings.state / "ledger.db"
        rebuild.mend(path, settings, checkpoint)
        ledger = stack.enter_context(Ledger(path, durable=settings.is_durable))
        checkpoint()
        rooms = Rooms(settings, ledger, *build(settings, ledger, lock, premises, ears, once=once))
        stack.callback(rooms.stop)
        yield rooms


class Rooms:
    """All rooms of one process, built and wired."""

    def __init__(self, settings: Settings, ledger: Ledger, lanes: Mapping[Kind, Lane], lines: list[Line]) -> None:
        self.settings = settings
        self.ledger = ledger
        self.lanes = lanes
        self.lines = lines
        self._stopped = False

    def start(self) -> None:
        """Start what was built: the end of the way of a file first."""
        for lane in self.lanes.values():
            lane.start()
        for line in self.lines:
            line.publisher.start()
        for line in self.lines:
            line.intake.start()

    def stop(self) -> None:
        """Stop along the way of a file, once. What is not done by `stop_timeout` is cut short, uncharged.

        A thread that hangs, as in a mount that does not answer, is left behind.
        """
        if self._stopped:
            return
        self._stopped = True
        ends = time.monotonic() + self.settings.stop_timeout
        for line in self.lines:
            line.intake.stop()
        for lane in self.lanes.values():
            lane.close()
        self._await_intakes(time.monotonic() + LEAVE)
        for lane in self.lanes.values():
            lane.stop(max(0.0, ends - time.monotonic()))
        self._stop_publishers(time.monotonic() + min(FLUSH, max(LEAVE, self.settings.stop_timeout)))

    def _await_intakes(self, ends: float) -> None:
        for line in self.lines:
            if not line.intake.join(max(0.0, ends - time.monotonic())):
                log.error("room.stuck", room=f"intake of {line.name}")

    def _stop_publishers(self, ends: float) -> None:
        for line in self.lines:
            line.publisher.close()
        for line in self.lines:
            if not line.publisher.stop(max(0.0, ends - time.monotonic())):
                log.error("room.stuck", room=f"publisher of {line.name}")

    def reload(self, load: Callable[[], Settings]) -> None:
        """Take over what can be changed live, and say what needs a restart. A bad configuration changes nothing."""
        try:
            settings = _in_time(load)
        except (WatcherdError, OSError) as error:
            log.error("daemon.reload_failed", problems=str(error).splitlines())  # noqa: TRY400 (no bug of ours)
            return
        before, now = self.settings, live.effective(self.settings, settings)
        self._adopt(now)
        needs_restart, notes = live.changed(now, settings), settings.layers.notes
        aside = {"left_aside": notes} if notes else {}
        log.info("daemon.reloaded", changed=live.changed(before, now), needs_restart=needs_restart, **aside)

    def _adopt(self, settings: Settings) -> None:
        self.settings = settings
        logs.set_level(settings.log.level)
        for kind, lane in self.lanes.items():
            lane.limits = limits_of(kind, settings)
        for line in self.lines:
            line.publisher.update(policy_of(settings), settings.min_free.of)
            line.intake.update(inbox_of(line.place, settings))


def _in_time(load: Callable[[], Settings]) -> Settings:
    """Return what `load` returns, in bounded time: it looks at folders, one of which may hang.

    The main thread, which calls this, has signals to hear. Raises what `load` raises, and SystemFault where it hangs.
    """
    answer: Future[Settings] = Future()
    lifeline.thread(lambda: answer.set_result(load()), name="reload", on_death=answer.set_exception).start()
    try:
        return answer.result(RELOAD)
    except TimeoutError:
        raise SystemFault("a folder does not answer: look after its mount, and reload again", root="") from None
