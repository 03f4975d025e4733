"""One batch on its way out: what is ready becomes durable, gets its names, and only then are its inputs retired.

    sync the drafts → check that roots and inputs are the ones that we knew → the ledger says what is intended
    → rename drafts to their names, sync those folders → take the inputs, sync those folders → the ledger says done

A quarantine is the same with other names: its draft is the reason, and its input goes to the failed folder. After a
crash the intentions that are on record and not done are taken up where they were (recovery.py).

What is in work waits at a stage (stages.py). A fault of the system leaves it there, and the batch goes on from that
point once the system is well again; a single file that cannot be placed leaves the batch alone, and one whose input
cannot be taken waits aside (unretired.py).
"""

from __future__ import annotations

import errno
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from watcherd import beneath, sameness
from watcherd.model import Done, Draft, Failed, Failure, Job, Returned, Stalled, SystemFault
from watcherd.publish import reveal
from watcherd.publish.inputs.custody import Custody
from watcherd.publish.inputs.retire import Inputs
from watcherd.publish.inputs.taker import Taken
from watcherd.publish.leaving import Leaving, Numbers
from watcherd.publish.roots.folders import Folders
from watcherd.publish.stages import Stage, Stages
from watcherd.publish.unretired import Hindered, Unretired
from watcherd.states import State

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from watcherd.ledger.ledger import Ledger
    from watcherd.publish.roots.place import Place
    from watcherd.publish.roots.root import Root
    from watcherd.publish.stages import Onward

#: The most that is settled at once: a crash in the middle leaves no more than this to finish.
BATCH = 256

#: Errors of a disk, or a mount, that is full, fails or does not answer: they say nothing of the file that met them.
_FAILING = beneath.FULL | {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT}

#: Errors of a draft that could not be opened, and so was not synced: nothing of it is lost.
_UNOPENED = frozenset({errno.EMFILE, errno.ENFILE})

#: How what leaves comes to its end.
_ENDS = {State.PUBLISHING: State.PUBLISHED, State.QUARANTINING: State.QUARANTINED}


class Exit(NamedTuple):
    """A job that came to its end, PUBLISHED or QUARANTINED, with its `visible` path.

    `outcome` is what came of its work: None of a result that an earlier run made. `claimed`: whether it still holds
    its claim, which it gave back if something was in its way.
    """

    job: Job
    state: State
    visible: str
    outcome: Done | Failed | None
    claimed: bool


#: What a batch tells of a job: it came to its end, something is in its way, or it leaves undone, as it may a lane.
News = Exit | Hindered | Failed | Stalled | Returned


class Batch:
    """What one inbox has on its way out. One thread uses it.

    `carry` is told of inputs for other file systems, `tell` of what becomes of jobs. `is_away` looks whether the
    inbox is gone for now, as its mount may be: then no input is missed in it. `alive` is called for each file at each
    stage: on a slow mount a batch takes minutes.
    """

    def __init__(  # noqa: PLR0913 (what it is wired to)
        self,
        place: Place,
        ledger: Ledger,
        *,
        carry: Callable[[Leaving], None],
        tell: Callable[[News], None],
        is_away: Callable[[], bool],
        alive: Callable[[], None],
    ) -> None:
        self._place = place
        self._ledger = ledger
        self._carry = carry
        self._tell = tell
        self._folders = Folders(durable=place.outbox.durable)
        self._numbers = Numbers(place, self._folders)
        self._custody = Custody(place.inbox_path, self._folders)
        self._inputs = Inputs(place, self._folders, self._custody, is_away)
        self._stages = Stages(self._fail, alive)
        #: What has something in its way for now.
        self.unretired = Unretired(place.inbox_path)
        self._probed = False  # whether this settling has found the roots well

    def add(self, outcome: Done | Failed, draft: Draft) -> None:
        """Take a job to be published, or set aside, with the draft of its result, or of its reason."""
        job, state = outcome.job, State.PUBLISHING if isinstance(outcome, Done) else State.QUARANTINING
        self._stages.put(Stage.READY, Leaving(job, state, 0, draft, self._place.way(job, state, 0), outcome))

    def resume(self, intended: list[Leaving], visible: list[Leaving]) -> None:
        """Take what an earlier run put on record: drafts without a name, and results whose inputs are not retired."""
        self._stages.put(Stage.INTENDED, *intended)
        self._stages.put(Stage.VISIBLE, *visible)
        for it in (*intended, *visible):  # what that run made of these folders and names may not be on disk
            for name in it.way.names:
                self._folders.touch_all(*name)

    def __bool__(self) -> bool:
        """Whether there is anything to do now."""
        return bool(self._stages)

    def release(self) -> None:
        """Let what had something in its way be tried again."""
        for stage, it in self.unretired.released():
            self._stages.put(stage, it)

    def settle(self) -> None:
        """Bring everything to its end. Raises SystemFault, after which it can be called again."""
        self._probed = False
        self._check_roots()
        with self._folders:
            self._write()
            self._reveal()
            self._retire()

    def carried(self, it: Leaving, error: OSError | SystemFault | None) -> None:
        """Go on with an input that was carried to another file system, or was not. Raises SystemFault."""
        if error is None:
            self._stages.put(Stage.CARRIED, it)
        elif isinstance(error, FileExistsError):
            self._stages.put(Stage.COLLIDED, it)
        elif isinstance(error, SystemFault):
            self._let_wait(Stage.VISIBLE, it, str(error))
        else:
            self._fail(Stage.VISIBLE, it, error)

    def abandon(self) -> list[Job]:
        """Give up what is not on record, and return its jobs; the rest is taken up at the next start.

        So is the draft of what was about to be on record: where the ledger failed, it may be there all the same.
        """
        ready = self._stages.taken(Stage.READY)
        for it in ready:
            self._discard_draft(it)
        return [it.job for it in (*self._stages.taken(Stage.CHECKED), *ready)]

    # Stage one: durable, checked, on record ------------------------------------------------------------------------

    def _write(self) -> None:
        while self._stages.at(Stage.READY) or self._stages.at(Stage.CHECKED):
            self._sync_drafts()
            self._check_roots()
            self._stages.each(Stage.READY, self._check, BATCH)
            self._ledger.intend([it.intent for it in self._stages.at(Stage.CHECKED)])
            self._stages.put(Stage.INTENDED, *self._stages.taken(Stage.CHECKED))

    def _sync_drafts(self) -> None:
        """Sync the next drafts. Where that fails they are given up: the kernel says only once that it lost something.

        Raises SystemFault.
        """
        drafts: dict[Root, list[Draft]] = {}
        for it in islice(self._stages.at(Stage.READY), BATCH):
            drafts.setdefault(it.way.root, []).append(it.draft)
        try:
            for root, written in drafts.items():
                root.to_disk(written)
        except SystemFault as fault:
            if fault.errno not in _UNOPENED:
                reason = f"cannot be written for now: {fault}"
                self._stages.each(Stage.READY, lambda it: self._give_up(it, _anew(it.job, reason)), BATCH)
            raise

    def _check_roots(self) -> None:
        for root in self._place.roots:
            root.check()

    def _check(self, it: Leaving) -> Onward:
        """Give it a number, unless its input is another one by now, or its draft is gone."""
        missed = self._missed(it)
        draft = None if missed else it.way.root.vouched(it.draft)
        if draft:
            return Stage.CHECKED, self._numbered(it._replace(draft=draft))
        self._give_up(it, missed or self._lost(it))
        return None

    def _lost(self, it: Leaving) -> Returned | Stalled:
        """Say what it means for a job that its draft is not there, or not as it was written. Raises SystemFault."""
        root = it.way.root
        if sameness.has_inode(root.seen(it.draft), it.draft):
            why = f"{root.path}: a file has another size there than was written: look after its disk or mount"
            return Stalled(it.job, SystemFault(why, root=root.path))
        return _anew(it.job, "its draft was removed, or lost by its disk")

    def _numbered(self, it: Leaving) -> Leaving:
        """Give it a free number; or leave it its own where none is found: its rename meets what is wrong there."""
        try:
            return self._numbers.numbered(it)
        except OSError as error:
            self._blame(error)
            return it

    def _missed(self, it: Leaving) -> Returned | None:
        """Return the job of an input that is not there as it was worked on; None where it is."""
        job = it.job
        try:
            status = self._folders.status(self._place.inbox_path, job.file.path)
        except OSError as error:
            self._blame(error)
            return _anew(job, f"cannot be read for now: {error.strerror}")
        if status is None:
            return Returned(job, State.VANISHED, "removed")
        return None if sameness.is_still(status, job.file.version) else _anew(job, "changed")

    # Stage two: visible --------------------------------------------------------------------------------------------

    def _reveal(self) -> None:
        self._stages.each(Stage.SHOWN, self._look_again, len(self._stages.at(Stage.SHOWN)))
        self._stages.each(Stage.INTENDED, self._show)
        self._numbers.forget()
        self._sync()
        self._stages.put(Stage.VISIBLE, *self._stages.taken(Stage.SHOWN))

    def _look_again(self, it: Leaving) -> Onward:
        """Show once more what was shown before a sync failed, and is hidden: a disk that came back lost that."""
        is_hidden = sameness.has_inode(it.way.root.seen(it.draft), it.draft)
        return Stage.INTENDED if is_hidden else Stage.SHOWN, it

    def _show(self, it: Leaving) -> Onward:
        if reveal.show(self._folders, it.way, it.draft, lambda there: self._is_outdated(it, there)):
            return Stage.SHOWN, it
        if not self._numbers.is_kept(it):
            return Stage.INTENDED, self._renumbered(it)
        message = f"{it.way.visible} in the outbox is not what watcherd wrote for this file: move it, then retry"
        self._withdraw(it, Failed(it.job, Failure.RESULT_OCCUPIED, message))
        return None

    def _is_outdated(self, it: Leaving, there: os.stat_result) -> bool:
        """Whether this is the result of an earlier version of a kept file, for this to replace."""
        return self._numbers.is_kept(it) and reveal.is_earlier(self._place, self._ledger, it.job, there)

    def _renumbered(self, it: Leaving, above: int = -1) -> Leaving:
        again = self._numbers.numbered(it, above)
        self._ledger.intend([again.intent])
        return again

    def _withdraw(self, it: Leaving, undone: Failed | Returned) -> None:
        if self._numbers.is_kept(it):
            reveal.spare(self._place, self._ledger, it)
        # On record first: an intention whose draft is gone would be taken for a visible result at the next start.
        self._ledger.withdraw(it.job)
        self._give_up(it, undone)

    # Stage three: retired ------------------------------------------------------------------------------------------

    def _retire(self) -> None:
        # Once more where a fault came before the sync: a disk that came back may have lost what was done.
        self._stages.put(Stage.VISIBLE, *self._stages.taken(Stage.RETIRED))
        self._wait_for_inbox()
        self._stages.each(Stage.CARRIED, self._discard_input)
        while self._stages.at(Stage.COLLIDED) or self._stages.at(Stage.VISIBLE):
            self._stages.each(Stage.COLLIDED, self._rename)
            self._stages.each(Stage.VISIBLE, self._retire_input)
        self._sync()
        retired = self._stages.taken(Stage.RETIRED)
        for state, end in _ENDS.items():
            if ids := [it.job.id for it in retired if it.state is state]:
                self._ledger.finish(ids, end)
        for it in retired:
            claimed = not self.unretired.leave(it)
            self._tell(Exit(it.job, _ENDS[it.state], it.way.visible, it.outcome, claimed))

    def _wait_for_inbox(self) -> None:
        """Let inputs wait while their inbox is away."""
        stages = (Stage.VISIBLE, Stage.CARRIED)
        if any(map(self._stages.at, stages)) and self._inputs.are_away():
            for stage in stages:
                self._stages.each(stage, partial(self._let_wait, stage, reason="its inbox is away"))

    def _rename(self, it: Leaving) -> Onward:
        """Give both names of a visible job a greater number: that of its input was taken meanwhile.

        It is on record first. Where the rename fails after that, it is tried again until one was done, or done by the
        next start, which looks for the result under all numbers before.
        """
        again = self._renumbered(it, above=it.number)
        reveal.rename(self._folders, it.way, again.way, it.draft)
        return Stage.VISIBLE, again

    def _retire_input(self, it: Leaving) -> Onward:
        try:
            taken = self._inputs.retire(it.job, it.way)
        except FileExistsError:
            return Stage.COLLIDED, it
        if taken is not Taken.ELSEWHERE:
            return Stage.RETIRED, it
        self._carry(it)
        return None

    def _discard_input(self, it: Leaving) -> Onward:
        is_discarded = self._custody.discard(it.job, it.way)
        return Stage.RETIRED if is_discarded else Stage.VISIBLE, it  # the latter to be carried once more

    # What all stages need ------------------------------------------------------------------------------------------

    def _fail(self, stage: Stage, it: Leaving, error: OSError) -> None:
        """Let a job leave, or wait at its stage, where `error` is its alone. Raises SystemFault."""
        self._blame(error)
        if it.state is State.PUBLISHING and stage is Stage.INTENDED:
            self._withdraw(it, _unplaced(it.job, error))
        else:  # visible, or a quarantine, which has no other place to go: only time helps
            self._custody.tell_where(it.job, error)
            self._let_wait(stage, it, _said(error))

    def _let_wait(self, stage: Stage, it: Leaving, reason: str) -> None:
        """Let a job wait to be tried again at a stage. Raises SystemFault where too many do."""
        if hindered := self.unretired.put(stage, it, reason):
            self._tell(hindered)

    def _give_up(self, it: Leaving, undone: Failed | Stalled | Returned) -> None:
        self._discard_draft(it)
        self._tell(undone)

    def _discard_draft(self, it: Leaving) -> None:
        with suppress(SystemFault):  # its root removes it as soon as it can
            it.way.root.discard(it.draft.name)

    def _blame(self, error: OSError) -> None:
        """Raise SystemFault where an error is not of one file alone: where a root fails, or the process does."""
        if fault := beneath.shortage(error):
            raise fault from error
        if not self._probed:
            for root in self._place.roots:
                root.probe()
            self._probed = True

    def _sync(self) -> None:
        try:
            self._folders.sync()
        except OSError as error:
            raise SystemFault(_said(error), root=str(error.filename or ""), errno=error.errno) from error


def _unplaced(job: Job, error: OSError) -> Failed | Returned:
    """Say what it means for a file that its result cannot be placed: nothing where a disk fails, if only for it."""
    if error.errno in _FAILING:
        # The probe found room: it is the folder that takes no more names (ext4's index), or the quota of its owner.
        mend = ": collect results from its folder, or raise the quota" if error.errno in beneath.FULL else ""
        return _anew(job, f"cannot be placed for now: {_said(error)}{mend}")
    return Failed(job, Failure.UNPLACEABLE, _said(error))


def _anew(job: Job, reason: str) -> Returned:
    """Give a job back to settle anew, each time for longer, as one does that changed."""
    return Returned(job, State.WAITING, reason, changed=True)


def _said(error: OSError) -> str:
    if error.errno == errno.EXDEV:  # from root to root it would have been carried
        mend = "unmount it, or give it an inbox of its own"
        return f"{error.filename}: a file system is mounted inside a folder of this inbox: {mend}"
    # None, or its number, where a descriptor failed.
    where = f": {error.filename}" if error.filename and isinstance(error.filename, str) else ""
    return f"{error.strerror or error}{where}"
