"""The daemon: how the rooms are started, attended, reloaded and stopped.

Start: signals, lock, folders, ledger, lanes, publishers, intakes; then `daemon.ready`. Stop, along the way of a file:
intakes end; what is queued is forgotten, as it is still in its inbox; what is being worked on is finished, or cut
short at the deadline, uncharged; the publishers settle what was finished; the ledger closes.

The main thread waits on one mailbox for signals and for rooms that die. Every thread, and what it owns:

    main                        the mailbox
    signals                     the pipe of `signal.set_wakeup_fd`; ends the process at a second signal
    intake-NAME                 of each inbox: its inotify instance, cursors, gates; asks the ledger
    text-N                      one text at a time, and its buffer
    image-N                     one worker process, its pipe, one image at a time
    text-warden, image-warden   its lane's clock; replaces threads that are stuck in the kernel, and gives them up
    worker-feeder               starts every worker process (PR_SET_PDEATHSIG follows the thread); buries all
    publisher-NAME              of each inbox: its batch; the only one that takes inputs and shows results
    carrier-NAME                of each inbox that needs it: inputs on their way to other file systems
    pruning                     old rows, and the folders of their files
    reload                      of a SIGHUP: reads the configuration, and looks at its folders
    leaving                     of each inbox and outbox, at the stop: the note of ownership that it takes back

What they share: `Claims` (a lock), `Order` and `Alone` (a condition each), the ledger (a lock for its writing
connection, one for its reading one), `Root` (a lock for its descriptor). All else passes through queues.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing, contextmanager
from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING

import structlog

from watcherd import __version__, lifeline, rebuild, vitals
from watcherd.assembly import Died, Ears, build, make, prepare
from watcherd.beneath import FULL, told_plainly
from watcherd.ledger.ledger import Ledger, require_room
from watcherd.model import Stopped, SystemFault, WatcherdError
from watcherd.plain import inbox_of, limits_of, policy_of
from watcherd.service import locks, logs, signals, systemd
from watcherd.settings import live
from watcherd.vitals import Pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from watcherd.assembly import Line
    from watcherd.lanes.lane import Lane
    from watcherd.model import Kind
    from watcherd.settings import Settings

log = structlog.get_logger(__name__)

#: Seconds that the intakes together have at a stop to end, and the publishers at most to settle what is finished:
#: these have `stop_timeout`, within both bounds.
LEAVE = 2.0
FLUSH = 10.0

#: Seconds that a new configuration may take to be read, and its folders to be looked at.
RELOAD = 5.0

#: Seconds between looks whether the ledger's disk, full at the start, has room.
ROOM_EVERY = 2.0

#: Seconds between looks for old rows that can be forgotten; and before the first, and where there are more of them.
PRUNE_EVERY = 600.0
PRUNE_MORE = 1.0

#: A look at all old rows is followed by this many times its own processor time without one: kept files may be many.
PRUNE_SHARE = 200


def run(settings: Settings, reload: Callable[[], Settings]) -> int:
    """Run until a signal to stop; return the exit status: 0, or 1 where a room died.

    `reload` reads the configuration again, and raises WatcherdError or OSError where it cannot. Raises Refused where
    another daemon has a folder, and SystemFault where one cannot be used.
    """
    log.info("daemon.started", version=__version__, pid=os.getpid(), state=str(settings.state))
    mailbox: SimpleQueue[int | Died] = SimpleQueue()
    with closing(systemd.Manager(os.environ)) as manager, signals.delivered(mailbox.put) as checkpoint:
        manager.status("starting: takes up what an earlier run left")
        try:
            _await_room(str(settings.state), mailbox, manager, checkpoint)
            with assembled(settings, Ears(on_death=mailbox.put), checkpoint) as daemon:
                status = _serve(daemon, mailbox, manager, reload)
        except Stopped:
            log.info("daemon.stopping")
            status = 0
    status = _died(mailbox) or status
    log.info("daemon.stopped", status=status)
    return status


def _await_room(
    folder: str, mailbox: SimpleQueue[int | Died], manager: systemd.Manager, checkpoint: Callable[[], None]
) -> None:
    """Wait where the ledger's disk is full: no ledger opens there."""
    reason, heard = "", None
    while full := _fullness(folder):
        if not reason:
            reason = full
            log.error("intake.paused", reason=reason)
            manager.status(f"paused: {reason}")
        heard = _next(mailbox, ROOM_EVERY) or heard
        checkpoint()
    if reason:
        log.info("intake.resumed", reason=reason)
    if heard:  # to reload, which has to wait for the rooms
        mailbox.put(heard)


def _fullness(folder: str) -> str:
    """Say that the disk of the ledger's folder is full; what else may be wrong there is told by who meets it."""
    try:
        require_room(folder)
    except OSError as error:
        return f"the ledger's folder {folder}: {error.strerror}" if error.errno in FULL else ""
    return ""


def _serve(
    daemon: Daemon, mailbox: SimpleQueue[int | Died], manager: systemd.Manager, reload: Callable[[], Settings]
) -> int:
    """Run all rooms until it is time to stop; return the exit status."""
    daemon.start()
    log.info("daemon.ready", inboxes=[line.name for line in daemon.lines])
    manager.ready()
    manager.status(vitals.status(daemon.lines))
    with _pruning(daemon, mailbox.put):
        status = _attend(daemon, mailbox, manager, reload)
    log.info("daemon.stopping")
    manager.stopping()
    return status


def _attend(
    daemon: Daemon, mailbox: SimpleQueue[int | Died], manager: systemd.Manager, reload: Callable[[], Settings]
) -> int:
    """Read the mailbox until it is time to stop; return the exit status."""
    pulse = Pulse(daemon.lines, manager.patience)
    while True:
        message = _next(mailbox, min(pulse.period, manager.period))
        if isinstance(message, Died):
            _say(message)
            return 1
        if message == signals.RELOAD:
            manager.reloading()
            daemon.reload(reload)
            manager.ready()
        elif message is not None:
            return 0
        if pulse.feel():
            manager.alive()
        manager.status(vitals.status(daemon.lines))


def _next(mailbox: SimpleQueue[int | Died], timeout: float) -> int | Died | None:
    try:
        return mailbox.get(timeout=timeout)
    except Empty:
        return None


@contextmanager
def _pruning(daemon: Daemon, on_death: Callable[[Died], None]) -> Iterator[None]:
    """Forget old rows now and then, in a thread of its own: it looks at folders, and one of them may hang."""
    ending = Event()

    def prune() -> None:
        quiet = PRUNE_MORE
        while not ending.wait(quiet):
            quiet = daemon.prune()

    thread = lifeline.thread(prune, name="pruning", on_death=lambda error: on_death(Died("pruning", error)))
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(LEAVE)


def _died(mailbox: SimpleQueue[int | Died]) -> int:
    """Say which rooms died while all were stopped; return 1 where one did."""
    status = 0
    for died in deaths(mailbox):
        _say(died)
        status = 1
    return status


def deaths(mailbox: SimpleQueue[int | Died]) -> Iterator[Died]:
    """Yield which rooms died, of all that is in the mailbox by now."""
    while not mailbox.empty():
        message = mailbox.get_nowait()
        if isinstance(message, Died):
            yield message


def _say(died: Died) -> None:
    log.critical("room.died", room=died.room, exc_info=died.error)


class Daemon:
    """All rooms of one process, built and wired. See `assembled`."""

    def __init__(self, settings: Settings, ledger: Ledger, lanes: Mapping[Kind, Lane], lines: list[Line]) -> None:
        self.settings = settings
        self.ledger = ledger
        self.lanes = lanes
        self.lines = lines
        self._stopped = False
        self._pruned_for = 0.0  # processor seconds of the look at old rows that is under way

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
            line.publisher.judge.policy = policy_of(settings)
            line.publisher.health.least_free = settings.min_free.of
            line.intake.update(inbox_of(line.name, settings, root=line.place.root))

    def prune(self) -> float:
        """Forget some of the rows that are older than `history`, and return when to come again, in seconds."""
        before, began = time.time() - self.settings.ledger.history, time.thread_time()
        more = [_pruned(line, before) for line in self.lines]
        self._pruned_for += time.thread_time() - began
        if any(more):
            return PRUNE_MORE
        spent, self._pruned_for = self._pruned_for, 0.0
        return max(PRUNE_EVERY, PRUNE_SHARE * spent)


def _in_time(load: Callable[[], Settings]) -> Settings:
    """Return what `load` does. It looks at folders, one of which may hang, and the main thread has signals to hear.

    Raises what it raises, and SystemFault where it does not end.
    """
    came: SimpleQueue[Settings | BaseException] = SimpleQueue()
    lifeline.thread(lambda: came.put(load()), name="reload", on_death=came.put).start()
    try:
        settings = came.get(timeout=RELOAD)
    except Empty:
        raise SystemFault("a folder does not answer: look after its mount, and reload again", root="") from None
    if isinstance(settings, BaseException):
        raise settings
    return settings


def _pruned(line: Line, before: float) -> bool:
    try:
        return line.pruning.prune(before)
    except SystemFault as fault:
        line.publisher.put(fault)
        return False


@contextmanager
def assembled(
    settings: Settings, ears: Ears, checkpoint: Callable[[], None] = lambda: None, *, once: bool = False
) -> Iterator[Daemon]:
    """Build every room, in the order in which each needs the one before; at the end stop them and take them down.

    `checkpoint` is called now and then before they are built, and may raise to end a start that takes long. With
    `once` the inboxes are scanned once, and what comes later is left.
    """
    with ExitStack() as stack:
        state = str(settings.state)
        make(state, mode=0o700)
        with told_plainly(state):
            lock = stack.enter_context(locks.state(state))
        notes = prepare(settings, stack)
        path = settings.state / "ledger.db"
        rebuild.mend(path, settings, checkpoint)
        ledger = stack.enter_context(Ledger(path, durable=settings.durability == "full"))
        checkpoint()
        daemon = Daemon(settings, ledger, *build(settings, ledger, lock, notes, ears, once=once))
        stack.callback(daemon.stop)
        yield daemon
