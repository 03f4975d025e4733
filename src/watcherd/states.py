"""The states of one version of a file, and what may follow what (pure).

     WAITING ─a▶ QUEUED ─e▶ WORKING ─h▶ PUBLISHING ─q▶ PUBLISHED
                    ▲        i│ ▲─────r─────┘
                    └──m── RETRYING                       QUARANTINING ─u▶ QUARANTINED

     back to WAITING: f k n s v · to QUARANTINING: d j p · to VANISHED: c g l o t w · to IGNORED: b

PUBLISHING and QUARANTINING are the two steps that a crash may cut in half: the ledger says what was about to become
visible, and the next start finishes it. WAITING, QUEUED, IGNORED and VANISHED have no row in the ledger.
"""

from __future__ import annotations

from enum import StrEnum, unique
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@unique
class State(StrEnum):
    """Where one version of a file is on its way. The last four are terminal."""

    WAITING = "waiting"  # still written, settling, or unreadable for now
    QUEUED = "queued"  # complete and admitted, waits in memory for a worker
    WORKING = "working"  # handed to a worker, the attempt is on record
    RETRYING = "retrying"  # failed, and will be admitted again when due
    PUBLISHING = "publishing"  # its draft is durable, its name may be visible, its input is not yet retired
    QUARANTINING = "quarantining"  # decided against, not yet moved aside
    PUBLISHED = "published"  # its result is durable and its input retired
    QUARANTINED = "quarantined"  # set aside with its reason
    IGNORED = "ignored"  # no rule or processor wants it
    VANISHED = "vanished"  # removed by its owner before it was taken


#: The states of what is set aside, or is about to be.
ASIDE = frozenset({State.QUARANTINING, State.QUARANTINED})

#: What leads from where to where, by its letter in the drawing. Tests publish with a ledger that takes no other step.
TRANSITIONS: Mapping[str, tuple[State, State]] = MappingProxyType(
    {
        "a": (State.WAITING, State.QUEUED),  # it is complete, wanted, and its lane has room
        "b": (State.WAITING, State.IGNORED),  # no rule or processor wants it, or it is no regular file
        "c": (State.WAITING, State.VANISHED),  # its owner removed it
        "d": (State.WAITING, State.QUARANTINING),  # a suspect that ended the daemon alone, as often as it may try
        "e": (State.QUEUED, State.WORKING),  # a worker took it, and the attempt is on record
        "f": (State.QUEUED, State.WAITING),  # the daemon stops: it is still in its inbox
        "g": (State.QUEUED, State.VANISHED),  # its owner removed it
        "h": (State.WORKING, State.PUBLISHING),  # its draft is durable and the intent on record
        "i": (State.WORKING, State.RETRYING),  # it may pass: a failure, a kill from outside, a fault of the system
        "j": (State.WORKING, State.QUARANTINING),  # it failed for good
        "k": (State.WORKING, State.WAITING),  # it changed, cannot be read, or the stop's deadline came: uncharged
        "l": (State.WORKING, State.VANISHED),  # its owner removed it
        "m": (State.RETRYING, State.QUEUED),  # it is due
        "n": (State.RETRYING, State.WAITING),  # its file is another version now
        "o": (State.RETRYING, State.VANISHED),  # its owner removed it
        "p": (State.RETRYING, State.QUARANTINING),  # it is judged again instead of tried again
        "q": (State.PUBLISHING, State.PUBLISHED),  # the result is visible, the input retired, both on disk
        "r": (State.PUBLISHING, State.WORKING),  # the result could not be placed, and that is judged as a failure
        "s": (State.PUBLISHING, State.WAITING),  # the input changed before its result had a name
        "t": (State.PUBLISHING, State.VANISHED),  # the input went before its result had a name
        "u": (State.QUARANTINING, State.QUARANTINED),  # reason visible, input set aside, both on disk
        "v": (State.QUARANTINING, State.WAITING),  # the input changed before it was set aside
        "w": (State.QUARANTINING, State.VANISHED),  # the input went before it was set aside
    }
)
