"""One inbox's intake: a thread that turns what is in a folder into jobs.

A turn of its loop is the drawing: listen to the kernel, recall what is due, and let each kind's gate lead through
what is to be looked at, and then what its scan finds in a stride. So a hint never waits behind a long scan. Each
inbox has a thread of its own, so that a mount that hangs stops nobody else.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import structlog

from watcherd import lifeline
from watcherd.access import mend_of
from watcherd.intake.bell import Bell
from watcherd.intake.gate import Gate
from watcherd.intake.retries import Retries
from watcherd.intake.root import InboxRoot, is_news
from watcherd.intake.rounds import Rounds
from watcherd.intake.rules import Ignored
from watcherd.intake.settle import How
from watcherd.intake.terms import Desk, Inbox, Terms
from watcherd.model import Kind, Stopped, SystemFault
from watcherd.states import State
from watcherd.turns import turn

if TYPE_CHECKING:
    from watcherd.intake.probe import Mount
    from watcherd.ledger.claims import Claims
    from watcherd.ledger.ledger import Ledger

log = structlog.get_logger(__name__)

#: Seconds between looks at the root, which also bound every wait.
TICK = 1.0


class Intake:
    """The intake of `inbox`: `start`, then `stop` and `join`."""

    def __init__(self, inbox: Inbox, ledger: Ledger, claims: Claims, desk: Desk) -> None:
        self.inbox = inbox
        self._ledger = ledger
        self._claims = claims
        self._desk = desk
        self._log = log.bind(inbox=inbox.name)
        self._root = InboxRoot(inbox.name, inbox.root, named=inbox.named, watching=not inbox.once)
        self._rounds = Rounds(inbox, self._root)
        gate = partial(Gate, rounds=self._rounds, checkpoint=self._checkpoint, drop=self._drop)
        self._gates = {kind: gate(inbox.name, kind, ledger, claims, desk) for kind in Kind}
        self._retries = Retries(inbox.name, ledger, [gate.pending for gate in self._gates.values()])
        self._terms: Terms | None = None  # none while the inbox is lost
        self._suspicious = False  # whether to ask what an unclean end left behind
        self._root_at = 0.0  # when to look at the root again, in monotonic seconds
        self._quiet = False
        self._updated: deque[Inbox] = deque(maxlen=1)  # put by one thread and taken by another
        self._stopping = False
        self._bell = Bell()
        self._thread = lifeline.thread(self._run, name=f"intake-{inbox.name}", on_death=desk.on_death)
        self.lost = ""  # why the inbox is not there; empty where it is
        self.progressed = inf  # when its thread last made progress, in monotonic seconds

    # For the daemon; from any thread -------------------------------------------------------------------------------

    @property
    def last_scan(self) -> float:
        """When the last scan of the whole ended, Unix seconds; 0 before the first."""
        return self._rounds.ended

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; what it has parked is forgotten, and is still in the inbox."""
        self._stopping = True
        self.wake()

    def join(self, timeout: float | None = None) -> bool:
        """Wait `timeout` seconds for the thread's end; False where it did not come, as in a mount that hangs."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def is_away(self) -> bool:
        """Look whether the inbox is gone, or another folder is in its place; not known before it was first seen."""
        return self._root.away()

    def wake(self) -> None:
        """Look again: a lane or a claim has room, or a pause is over."""
        self._bell.ring()

    def update(self, inbox: Inbox) -> None:
        """Take other rules, settle, rescan, after or policy from now on. Name and root stay."""
        self._updated.append(inbox)
        self.wake()

    def drained(self) -> bool:
        """Whether everything that was there has been led through, and nothing is in flight or due to be tried again.

        What is being written, keeps changing or cannot be read does not count; `waiting` lists it.
        """
        before = self.progressed  # asked again below: a turn meanwhile may have taken something
        return self._quiet and self._claims.idle() and self.progressed == before and not self._bell.rung

    def waiting(self) -> list[tuple[str, str]]:
        """Return what is not taken for now, with the reason: relative paths of files, and of folders not listed."""
        files = [entry for gate in self._gates.values() for entry in gate.pending.waiting()]
        return sorted(files + list(self._rounds.unlisted.copy().items()))

    # The loop ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with suppress(Stopped):
                while True:
                    self._turn()
        finally:
            self._quiet = False
            self._rounds.suspend()
            self._root.close()
            self._bell.close()

    def _turn(self) -> None:
        self._quiet = False
        self._checkpoint()
        self._bell.hush()
        self._look_at_root()
        if self._terms is not None:
            self._adopt(self._terms)
            try:
                with turn():
                    self._work(self._terms)
            except SystemFault as fault:
                self._suffer(fault)
        if self._bell.wait(self._root.fileno(), self._until() - time.monotonic()):
            self._listen()

    def _checkpoint(self) -> None:
        """Take note that the thread makes progress. Raises Stopped where it is time to stop."""
        self.progressed = time.monotonic()
        if self._stopping:
            raise Stopped

    def _work(self, terms: Terms) -> None:
        if self._desk.paused():
            self._rounds.suspend()
            return
        self._recall()
        if time.monotonic() >= self._rounds.next:
            self._rounds.ask("period")
        for gate in self._gates.values():
            self._checkpoint()
            gate.advance(terms)
        self._rounds.conclude(terms.rescan)
        self._quiet = self._is_quiet()

    # What is heard and recalled ------------------------------------------------------------------------------------

    def _listen(self) -> None:
        heard = self._root.hear()
        if heard.uprooted:
            self._root_at = 0.0
        if heard.overflowed:
            self._log.warning("inbox.overflowed")
            self._root.rearm()
            self._rounds.ask("overflow")
        for path, how in heard.files:
            self._hint(path, how)
        for folder in heard.folders:
            self._rounds.ask_folder(folder)
        for folder in heard.touched:
            self._rounds.touched(folder)

    def _hint(self, path: str, how: How) -> None:
        kind = self.inbox.rules.kind(path)
        if isinstance(kind, Ignored):
            self._log.debug("file.ignored", path=path, reason=kind.reason)
            if how is How.DUE and not self._claims.holds(path):  # what is in flight needs its row until it ends
                self._drop(path)
        elif not self._gates[kind].pending.hint(path, how):
            self._rounds.ask_kind(kind)

    def _recall(self) -> None:
        """Hint at what an unclean end left behind, what came back from downstream, and retries that are due."""
        if self._suspicious:
            for record in self._ledger.unfinished(self.inbox.name, State.WORKING):
                self._hint(record.file.path, How.DUE)
            self._suspicious = False
        returned = self._claims.returned()
        if returned:  # a retry is on record before its claim is released, and the ring for it may come later
            self._retries.hasten()
        for path, changed in returned.items():
            self._hint(path, How.CHANGED if changed else How.SEEN)
        for path in self._retries.due(self.inbox.policy.max_backoff):
            self._hint(path, How.DUE)

    def _drop(self, path: str) -> None:
        # On a bare mount point, or below a lost root, no file is found: that says nothing about this one.
        if not self._desk.doubted() and not self._root.lost():  # in this order: it may be mounted meanwhile
            self._ledger.drop(self.inbox.name, path)

    def _suffer(self, fault: SystemFault) -> None:
        """Report the fault, forget what was in hand, and look at everything again."""
        self._desk.put(fault)
        self._begin_anew("fault")
        for gate in self._gates.values():
            gate.pending.wind()  # what is gone by then is met by no scan
        self._bell.wait(None, TICK)

    def _begin_anew(self, reason: str) -> None:
        self._rounds.suspend()
        self._rounds.ask(reason)
        self._suspicious = True  # suspects whose file is gone are met by no scan

    # The inbox itself ----------------------------------------------------------------------------------------------

    def _look_at_root(self) -> None:
        """When it is time, see whether the inbox is lost, or is back."""
        now = time.monotonic()
        if now < self._root_at:
            return
        self._root_at = now + TICK
        if self._terms is not None and (reason := self._root.lost()):
            self._lose(reason)
        if self._terms is None:
            self._seek()

    def _seek(self) -> None:
        try:
            mount = self._root.open()
            self._desk.on_found(bool(self.lost))
        except OSError as error:
            self._lose(str(error.strerror))
        except SystemFault as fault:  # it is there, and cannot be marked as ours
            self._lose(str(fault))
            if not self._desk.paused():  # in a pause nobody takes it: it is met, and told, again
                self._desk.put(fault)
        else:
            self._find(mount)

    def _lose(self, reason: str) -> None:
        self._rounds.suspend()
        self._root.close()
        self._terms = None
        for gate in self._gates.values():
            gate.pending.forget()
        before, self.lost = self.lost, reason
        if is_news(reason, before):
            mend = f"{mend_of(reason)}; it is looked for every second"
            self._log.error("inbox.lost", path=self.inbox.root, error=reason, mend=mend)

    def _find(self, mount: Mount) -> None:
        self._terms = Terms.of(self.inbox, mount)
        if self.lost:
            self.lost = ""
            self._log.info("inbox.recovered", path=self.inbox.root)
        self._begin_anew("start")
        if not self.inbox.once:
            self._tell(self._terms)

    def _tell(self, terms: Terms) -> None:
        self._log.info(
            "inbox.watching",
            path=self.inbox.root,
            file_system=terms.mount.name,
            events=terms.mount.events and not self._root.blind,
            lease=terms.mount.lease,
            settle=terms.pace.settle,
            rescan=self._rounds.period(terms.rescan),
        )

    def _adopt(self, terms: Terms) -> None:
        if not self._updated:
            return
        wanted = self._updated.pop()
        if wanted == self.inbox:  # as after most reloads
            return
        self.inbox = self._rounds.inbox = wanted
        self._terms = Terms.of(wanted, terms.mount)
        for gate in self._gates.values():
            gate.pending.forget()
        self._root.rearm()
        self._begin_anew("update")

    # When to turn again --------------------------------------------------------------------------------------------

    def _until(self) -> float:
        """Return when the next turn is due at the latest."""
        if self._terms is None or self._desk.paused():
            return self._root_at
        gates = self._gates.values()
        if any(gate.can_go_on for gate in gates):
            return 0.0
        return min(self._root_at, self._rounds.next, self._retries.at, *(gate.alarm for gate in gates))

    def _is_quiet(self) -> bool:
        """Whether nothing is left to be led through, besides what is parked, and no retry that could be."""
        if not all(gate.is_quiet for gate in self._gates.values()):
            return False
        return self._desk.doubted() or self._retries.all_wait()
