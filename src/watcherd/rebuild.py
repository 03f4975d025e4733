"""A new ledger in place of a damaged one: what the folders still prove is put on record again.

Any other input that is still in its inbox is processed as if it were new. One whose result was visible, and which was
not retired yet, has a second result then, under a number: nothing is lost, and nothing overwritten.
"""

from __future__ import annotations

import errno
import os
import time
from itertools import count, islice
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from watcherd import evidence
from watcherd.access import error_as_fault
from watcherd.ledger.answers import BLOCK
from watcherd.ledger.database import Damaged, let_go, require_sound
from watcherd.ledger.ledger import Ledger
from watcherd.plain import inbox_of, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watcherd.intake.terms import Inbox
    from watcherd.model import Record
    from watcherd.publish.roots.place import Place
    from watcherd.settings import Settings

log = structlog.get_logger(__name__)


def mend(ledger: Path, settings: Settings, checkpoint: Callable[[], None]) -> None:
    """Put a new ledger in the place of a damaged one, which is set aside; leave a sound one alone.

    The new one gets its place only when it holds all that the folders prove: a start that is cut short before that
    finds the damaged one again. `checkpoint` is called before each file, and may raise. Raises Refused where the
    ledger is a database of something else, SystemFault where it cannot be replaced.
    """
    try:
        require_sound(ledger)
    except Damaged as damage:
        aside = _free(f"{ledger}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
        log.warning("ledger.damaged", reason=damage.why, moved_to=str(aside))
        with error_as_fault(str(ledger.parent)):
            let_go(ledger)
            _replace(ledger, _made(ledger.with_name(f"{ledger.name}.new"), settings, checkpoint), aside)


def _free(path: str) -> Path:
    """Return `path`, with a number if it is taken: no damaged ledger replaces an earlier one."""
    names = (f"{path}-{number}" if number else path for number in count())
    return Path(next(name for name in names if not os.path.lexists(name)))


def _replace(ledger: Path, new: Path, aside: Path) -> None:
    """Set the damaged ledger aside with its log of changes, and put the new one in its place.

    In between an empty one is there, which a start after a kill takes for damaged: the old one without its log may
    pass for sound, and be out of date.
    """
    empty = ledger.with_name(f"{ledger.name}.empty")
    empty.touch(0o600)
    try:
        os.link(ledger, aside)
    except OSError:  # a file system without second names: for an instant there is no ledger
        os.rename(ledger, aside)
    os.replace(empty, ledger)
    for suffix in ("-wal", "-shm"):
        if os.path.lexists(f"{ledger}{suffix}"):
            os.rename(f"{ledger}{suffix}", f"{aside}{suffix}")
    os.replace(new, ledger)


def _made(path: Path, settings: Settings, checkpoint: Callable[[], None]) -> Path:
    """Make a ledger of what the folders of all inboxes prove. Raises SystemFault."""
    path.unlink(missing_ok=True)  # of a start that was cut short; SQLite removes the log of an empty one
    with Ledger(path, durable=settings.is_durable) as ledger:
        for name in settings.inbox:
            place = place_of(name, settings, ledger)
            _from_folders(place, inbox_of(place, settings), ledger, checkpoint)
    if os.path.lexists(f"{path}-wal"):  # a full disk: SQLite says nothing of what it could not take over from there
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    return path


def _from_folders(place: Place, inbox: Inbox, ledger: Ledger, checkpoint: Callable[[], None]) -> None:
    with error_as_fault(place.inbox_path):
        # Of the damaged ledger, whose name is not known. Archive and failed may be shared with other machines.
        for draft in place.outbox.leftovers(inf, of_any=True):
            checkpoint()
            place.outbox.discard(draft)
        aside = evidence.found_aside(place, inbox, evidence.raise_unless_closed, checkpoint)
        quarantined = _remembered(ledger, aside)
        kept = _remembered(ledger, evidence.kept(place, inbox, ledger, checkpoint))
    place.rest()
    log.warning("ledger.rebuilt", inbox=place.inbox, quarantined=quarantined, kept=kept)


def _remembered(ledger: Ledger, records: Iterator[Record]) -> int:
    """Put all that is found on record, a block at a time; return how many there are. A million take a minute."""
    known = 0
    while block := list(islice(records, BLOCK)):
        ledger.remember(block)
        known += len(block)
    return known
