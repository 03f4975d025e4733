"""The daemon: what its main thread does from start to stop. How the rooms start and stop is in `rooms`.

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
from contextlib import closing, suppress
from queue import Empty
from typing import TYPE_CHECKING

import structlog

from watcherd import __version__, vitals
from watcherd.assembly import Died, Ears, Mailbox, deaths
from watcherd.beneath import FULL
from watcherd.ledger.ledger import require_space
from watcherd.model import Stopped
from watcherd.pruner import Pruner
from watcherd.rooms import assembled
from watcherd.service import signals, systemd
from watcherd.vitals import Pulse

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcherd.rooms import Rooms
    from watcherd.settings import Settings

log = structlog.get_logger(__name__)

#: Seconds between looks whether the ledger's disk, full at the start, has space again, and for a signal to stop.
SPACE_EVERY = 0.5


def run(settings: Settings, reload: Callable[[], Settings]) -> int:
    """Run until a signal to stop; return the exit status: 0, or 1 where a room died.

    `reload` reads the configuration again, and raises WatcherdError or OSError where it cannot. Raises Refused where
    another daemon has a folder, and SystemFault where one cannot be used.
    """
    log.info("daemon.started", version=__version__, pid=os.getpid(), state=str(settings.state))
    mailbox = Mailbox()
    with closing(systemd.Manager(os.environ)) as manager, signals.delivered(mailbox.put, last=True) as checkpoint:
        manager.status("starting: takes up what an earlier run left")
        try:
            _await_space(str(settings.state), manager, checkpoint)
            with assembled(settings, Ears(on_death=mailbox.put), checkpoint) as rooms:
                status = _serve(rooms, mailbox, manager, reload)
        except Stopped:
            log.info("daemon.stopping")
            status = 0
    for died in deaths(mailbox):  # while all were stopped
        _say(died)
        status = 1
    log.info("daemon.stopped", status=status)
    return status


def _await_space(folder: str, manager: systemd.Manager, checkpoint: Callable[[], None]) -> None:
    """Wait until the ledger's disk has space: on a full one no ledger opens. A reload waits in the mailbox."""
    reason = ""
    while full := _fullness(folder):
        if not reason:
            reason = full
            log.error("intake.paused", reason=reason)
            manager.status(f"paused: {reason}")
        time.sleep(SPACE_EVERY)
        checkpoint()
    if reason:
        log.info("intake.resumed", reason=reason)


def _fullness(folder: str) -> str:
    """Say that the ledger's disk is full; empty where it is not. Whatever else is wrong there is found out later."""
    try:
        require_space(folder)
    except OSError as error:
        return f"the ledger's folder {folder}: {error.strerror}" if error.errno in FULL else ""
    return ""


def _serve(rooms: Rooms, mailbox: Mailbox, manager: systemd.Manager, reload: Callable[[], Settings]) -> int:
    """Run all rooms until it is time to stop; return the exit status."""
    rooms.start()
    log.info("daemon.ready", inboxes=[line.name for line in rooms.lines])
    manager.ready()
    with Pruner(rooms.lines, lambda: rooms.settings.ledger.history).running(Ears(on_death=mailbox.put).of("pruning")):
        status = _attend(rooms, mailbox, manager, reload)
    log.info("daemon.stopping")
    manager.stopping()
    return status


def _attend(rooms: Rooms, mailbox: Mailbox, manager: systemd.Manager, reload: Callable[[], Settings]) -> int:
    """Read the mailbox until it is time to stop; return the exit status."""
    pulse = Pulse(rooms.lines, manager.patience)
    while True:
        manager.status(vitals.status(rooms.lines))
        message = _next(mailbox, min(pulse.period, manager.period))
        if isinstance(message, Died):
            _say(message)
            return 1
        if message == signals.RELOAD:
            manager.reloading()
            rooms.reload(reload)
            manager.ready()
        elif message is not None:
            return 0
        if pulse.feel():
            manager.alive()


def _next(mailbox: Mailbox, timeout: float) -> int | Died | None:
    """Return the next message; None after `timeout` seconds. Reloads in a row are one; an end goes first."""
    message = None
    with suppress(Empty):
        message = mailbox.get(timeout=timeout)
        while message == signals.RELOAD:  # each may take seconds, and one answers for all
            message = mailbox.get_nowait()
    return message


def _say(died: Died) -> None:
    log.critical("room.died", room=died.room, exc_info=died.error)
