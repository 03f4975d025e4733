"""The folders of each inbox before it is served: made where they are missing, and noted as ours.

Where those of one inbox fail, as on a disk that is not mounted, it waits until they are well, and no other does.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from watcherd import beneath
from watcherd.access import error_as_fault
from watcherd.beneath import FULL
from watcherd.model import After, SystemFault
from watcherd.service.locks import Note, leave, refusal_as_fault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack

    from watcherd.settings import Settings
    from watcherd.settings.shape import Inbox


class Premises:
    """The folders of one inbox; `note` says in the inbox that it is ours, `outbox_note` in the outbox."""

    def __init__(self, inbox: Inbox, state: str) -> None:
        self.note = Note(str(inbox.path), state)
        self.outbox_note = Note(str(inbox.outbox), state)
        self._ready = False
        self._inbox = inbox

    def prepare(self) -> None:
        """Make archive and failed where they are missing, and note that the outbox is ours. Once done, do nothing.

        Raises SystemFault, and Refused where another daemon has the outbox.
        """
        if self._ready:
            return
        outbox = str(self._inbox.outbox)
        with error_as_fault(outbox):
            os.stat(outbox)  # first: where it is missing, what is beside it may be a bare mount point
        make(str(self._inbox.failed))
        if self._inbox.after is After.ARCHIVE:
            make(str(self._inbox.archive))
        _write(self.outbox_note)
        self._ready = self.outbox_note.is_written  # else it is tried again before anything is put there

    def prepare_again(self) -> None:
        """Do the same while the daemon runs. Raises only SystemFault."""
        with refusal_as_fault(str(self._inbox.outbox)):
            self.prepare()

    def note_inbox(self) -> None:
        """Note that the inbox is ours; one that is missing, or cannot be seen, is waited for. Raises as `prepare`."""
        if os.path.isdir(self._inbox.path):
            _write(self.note)


def prepare(settings: Settings, stack: ExitStack, *, once: bool) -> Mapping[str, Premises]:
    """Prepare the folders of all inboxes; the notes in them are taken back when `stack` ends.

    Raises Refused where a folder is somebody else's; with `once`, as nobody waits, SystemFault where no inbox can be
    served.
    """
    premises = {name: Premises(inbox, str(settings.state)) for name, inbox in settings.inbox.items()}
    stack.callback(leave, [note for each in premises.values() for note in (each.outbox_note, each.note)])
    faults = [fault for each in premises.values() if (fault := _fault_of(each))]
    if once and len(faults) == len(premises):
        raise faults[0]
    return premises


def _fault_of(premises: Premises) -> SystemFault | None:
    """Prepare what can be; the rest is left to its publisher and its intake, which say why it waits."""
    fault = None
    for step in (premises.prepare, premises.note_inbox):  # both, as either may be refused: another daemon has it
        try:
            step()
        except SystemFault as its:
            fault = fault or its
    return fault


def _write(note: Note) -> None:
    """Write a note. A full disk is no fault here: it pauses its inbox later, and must not stop the others.

    A note not written for that is written later: an inbox's before anything is taken from it, an outbox's with the
    next look at what pauses it.
    """
    try:
        note.write()
    except SystemFault as fault:
        if fault.errno not in FULL:
            raise


def make(path: str, mode: int = 0o777) -> None:
    """Make a folder where it is missing, and those around it with the same mode; on disk. Raises SystemFault."""
    with error_as_fault(path):
        for folder in (*reversed(Path(path).parents), Path(path)):
            if not folder.is_dir():
                folder.mkdir(mode, exist_ok=True)
                with suppress(PermissionError), beneath.folder(str(folder.parent)) as around:
                    beneath.sync_names(around)
