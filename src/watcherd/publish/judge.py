"""What becomes of a job that was not done: it is set aside, tried again later, or given back to its inbox."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from watcherd.decide import Quarantine, Retry, fate
from watcherd.model import SystemFault
from watcherd.publish.aside.reason import reason
from watcherd.publish.health import TICK
from watcherd.publish.said import say, why
from watcherd.states import State

if TYPE_CHECKING:
    from watcherd.decide import RetryPolicy
    from watcherd.ledger.claims import Claims
    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Draft, Failed, Job, Returned, Stalled
    from watcherd.publish.health import Health
    from watcherd.publish.roots.place import Place


class Judge:
    """The judge of one inbox; what leads to a pause is told to its `health`. `policy` may be replaced at any time."""

    def __init__(  # noqa: PLR0913, PLR0917 (what it is wired to)
        self, place: Place, ledger: Ledger, claims: Claims, health: Health, policy: RetryPolicy, retry_command: str
    ) -> None:
        self.policy = policy
        self._place = place
        self._ledger = ledger
        self._claims = claims
        self._health = health
        self._retry_command = retry_command

    def judge(self, failed: Failed) -> Draft | None:
        """Decide on what failed through its file: return the draft of its reason where it is to be set aside.

        Raises SystemFault, where the system may have done it.
        """
        if failed.failure.passing:
            self._health.probe()  # before a file is charged with what the system may have done
        verdict = fate(failed, self.policy, random.random())  # noqa: S311 (spreads retries, hides nothing)
        if isinstance(verdict, Quarantine):
            return self._set_aside(failed, verdict.attempts)
        self._retry(failed, verdict)
        return None

    def stall(self, stalled: Stalled) -> None:
        """Give a job back that the system could not carry out, for a while and uncharged, and pause."""
        job = stalled.job
        again = Retry(job.attempts, job.kills, TICK, job.alone)
        self._ledger.retry(job, again, time.time() + TICK, None, str(stalled.fault))
        say("debug", "file.waiting", job, reason=str(stalled.fault))
        self._health.pause(stalled.fault)  # first: what comes free would be taken again
        # Looked at again in any case: where the ledger was at fault, the attempt has no row that could come due.
        self.let_go(job, again=True)

    def give_back(self, returned: Returned) -> None:
        """Let a job go that came back undone, uncharged."""
        job = returned.job
        if returned.to is State.VANISHED or returned.changed:
            self._ledger.forget([job.id])
        else:
            self._ledger.give_back([job])
        self.let_go(job, again=returned.to is State.WAITING, changed=returned.changed)
        event = "changed" if returned.changed else returned.to.value
        say("info" if returned.changed else "debug", f"file.{event}", job, reason=returned.reason)

    def let_go(self, job: Job, *, claimed: bool = True, again: bool = False, changed: bool = False) -> None:
        """Give a job's claim back, if it is still `claimed`; a job of an earlier run never was.

        Where it is not, its path may be a newer file's, which was not admitted while this one was here: it is to be
        looked at.
        """
        if claimed and job.id >= self._ledger.first:
            self._claims.release(job.file.path, again=again, changed=changed)
        else:
            self._claims.ask(job.file.path)

    def _set_aside(self, failed: Failed, attempts: int) -> Draft:
        root, command = self._place.inbox_path, self._retry_command
        text = reason(failed, root=root, attempts=attempts, command=command, now=time.time())
        draft = self._place.failed.write_draft(failed.job.id, text)
        self._ledger.note_failure(failed.job, failed.failure, failed.message, attempts)
        return draft

    def _retry(self, failed: Failed, verdict: Retry) -> None:
        job = failed.job
        self._ledger.retry(job, verdict, time.time() + verdict.delay, failed.failure, failed.message)
        self.let_go(job, again=True)  # the intake is to ask when it is due
        say("warning", "file.retrying", job, **why(failed), attempts=verdict.attempts, seconds=verdict.delay)
        if job.alone and not failed.charged:
            self._health.pause(SystemFault(f"workers are killed from outside even alone: {failed.message}", root=""))
