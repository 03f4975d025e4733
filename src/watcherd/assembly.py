"""Which room is built when, and what is wired to what: settings become the plain values that rooms take.

This is honest glue, and the only place that knows every room.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from watcherd import processors
from watcherd.beneath import FULL, told_plainly
from watcherd.decide import RetryPolicy
from watcherd.intake.gate import BLOCK
from watcherd.intake.intake import Intake
from watcherd.intake.rules import Rules
from watcherd.intake.terms import Desk, Inbox
from watcherd.lanes.alone import Alone
from watcherd.lanes.lane import Bench, Lane
from watcherd.lanes.order import HAND_FILES, Order
from watcherd.lanes.processes import IsolatedWorkers
from watcherd.lanes.threads import Threads
from watcherd.ledger.claims import Claims
from watcherd.ledger.database import EMPTY, damaged
from watcherd.ledger.ledger import Ledger
from watcherd.model import After, Kind, Limits, Refused, SystemFault
from watcherd.paths import quoted
from watcherd.publish.place import Affixes, Place
from watcherd.publish.pruning import Pruning
from watcherd.publish.publisher import Publisher
from watcherd.publish.quarantine import CameBack
from watcherd.publish.root import Root
from watcherd.service.locks import Note, leave
from watcherd.settings import chunk, workers
from watcherd.settings.layers import PREFIX, ROLES
from watcherd.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack

    from watcherd.lanes.lane import Pool
    from watcherd.model import Done, Failed
    from watcherd.publish.batch import Exit
    from watcherd.settings import Settings
    from watcherd.settings.shape import Image, Text

#: What one inbox may have in flight, in queues' lengths: parked and queued for both lanes, in work, on its way out. A
#: kind parks as many as it leads through at once, however short its queue is, and must leave room for the other.
CLAIMS = 6


@dataclass(frozen=True, slots=True)
class Died:
    """A thread ended that must not: `error` is why."""

    room: str
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class Ears:
    """Who is told what happens in the rooms, from their threads.

    `on_death` hears of every thread that ends and must not, `on_end` of every file that is published or quarantined.
    """

    on_death: Callable[[Died], None]
    on_end: Callable[[Exit, Done | Failed | None], None] = lambda *_: None

    def of(self, room: str) -> Callable[[BaseException], None]:
        """Return what a room calls when it dies."""
        return lambda error: self.on_death(Died(room, error))


@dataclass(frozen=True, slots=True)
class Line:
    """What serves one inbox."""

    name: str
    place: Place
    intake: Intake
    publisher: Publisher
    pruning: Pruning


def build(  # noqa: PLR0913 (what everything hangs on)
    settings: Settings, ledger: Ledger, lock: int, notes: Mapping[str, Note], ears: Ears, *, once: bool
) -> tuple[Mapping[Kind, Lane], list[Line]]:
    """Build the lanes, and a line for each inbox, whose folders have been prepared. Raises SystemFault.

    Workers inherit `lock`, the state's: a daemon that is started while they still live waits for their end. With
    `once` the inboxes are scanned once.
    """
    places = {name: place_of(name, settings, ledger) for name in settings.inbox}
    lines: dict[str, Line] = {}
    orders = {kind: _order(kind, settings, lambda inbox: lines[inbox].intake.wake()) for kind in Kind}
    alone = Alone()
    lanes = {
        kind: Lane(
            kind,
            orders[kind],
            _pool(kind, settings, lock, once=once),
            workers=_workers(kind, settings),
            limits=limits_of(kind, settings),
            benches={name: _bench(place) for name, place in places.items()},
            record=ledger.hand_over,
            deliver=lambda outcome: lines[outcome.job.file.inbox].publisher.put(outcome),
            alone=alone,
            on_death=ears.of(f"{kind} lane"),
        )
        for kind in Kind
    }
    for name, place in places.items():
        publisher, claims = _publisher(place, settings, ledger, ears, lines, notes[name])
        desk = _desk(name, ledger, orders, publisher, notes[name], ears)
        intake = Intake(inbox_of(name, settings, once=once), claims, desk)
        claims.wake = intake.wake
        lines[name] = Line(name, place, intake, publisher, Pruning(place, ledger, intake.is_away))
    return lanes, list(lines.values())


def _publisher(  # noqa: PLR0913, PLR0917 (what it is wired to)
    place: Place, settings: Settings, ledger: Ledger, ears: Ears, lines: Mapping[str, Line], note: Note
) -> tuple[Publisher, Claims]:
    claims = Claims(CLAIMS * max(settings.queue.capacity, BLOCK))
    publisher = Publisher(
        place,
        ledger,
        claims,
        policy=policy_of(settings),
        least_free=settings.min_free.of,
        retry_command=_retry_command(settings, place.inbox),
        durable=settings.durability == "full",
        is_away=lambda: bool(note.doubt) or lines[place.inbox].intake.is_away(),
        on_pause=lambda: claims.wake(),  # noqa: PLW0108 (it is set when there is an intake to wake)
        on_end=ears.on_end,
        on_death=ears.of(f"publisher of {place.inbox}"),
    )
    return publisher, claims


def _desk(  # noqa: PLR0913, PLR0917 (what it is wired to)
    name: str, ledger: Ledger, orders: Mapping[Kind, Order], publisher: Publisher, note: Note, ears: Ears
) -> Desk:
    def condemn(failed: Failed) -> None:
        ledger.hand_over([failed.job])
        publisher.put(failed)

    return Desk(
        lookup=lambda paths: ledger.lookup(name, paths),
        ended=lambda paths: ledger.ended(name, paths),
        offer=lambda jobs: orders[jobs[0].kind].offer(*jobs),
        condemn=condemn,
        came_back=lambda record: publisher.put(CameBack(record)),
        drop=lambda path: ledger.drop(name, path),
        doubted=lambda: bool(note.doubt),
        next_id=ledger.next_id,
        earliest_due=lambda: ledger.earliest_due(name),
        due=lambda now, furthest, most: ledger.due(name, now, furthest, most),
        suspects=lambda: [record.file.path for record in ledger.unfinished(name, State.WORKING)],
        paused=lambda: bool(publisher.paused),
        on_found=note.renew,
        on_fault=publisher.put,
        on_death=ears.of(f"intake of {name}"),
    )


# Settings → the plain values that rooms take ------------------------------------------------------------------------


def ledger_of(settings: Settings) -> Ledger:
    """Open the ledger for a command that makes none. Raises Refused where there never was one, and SystemFault."""
    path = settings.state / "ledger.db"
    try:
        size = os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"there is no ledger in {settings.state}: no watcherd has run with this state directory"
        raise Refused(message) from error
    except OSError as error:
        raise SystemFault(f"the ledger {path} cannot be used: {error.strerror}", root=str(path.parent)) from error
    if not size:  # left for the daemon to find: a new one would hide that the folders have to be asked
        raise damaged(path, EMPTY)
    return Ledger(path)


def unheard_of(settings: Settings) -> tuple[list[str], list[str]]:
    """Return the inboxes of which nothing is on record, and those on record that the settings do not name.

    A daemon may have others than who asks: by a flag, or by a variable of its own. Raises what `ledger_of` raises.
    """
    with ledger_of(settings) as ledger:
        recorded = ledger.roots()
    named = {os.path.realpath(inbox.path) for inbox in settings.inbox.values()}
    return sorted(named - recorded), sorted(recorded - named)


def place_of(name: str, settings: Settings, ledger: Ledger) -> Place:
    """Return where the files of an inbox go, and register the inbox with the ledger. Raises SystemFault."""
    inbox = settings.inbox[name]
    root = os.path.realpath(inbox.path)
    ledger.register(name, root)
    durable = settings.durability == "full"
    outbox, failed = (Root(str(path), ledger.id, durable=durable) for path in (inbox.outbox, inbox.failed))
    archive = Root(str(inbox.archive), ledger.id, durable=durable) if inbox.after is After.ARCHIVE else failed
    affixes = {kind: Affixes(row.prefix, row.suffix) for kind, row in processors.TABLE.items()}
    return Place(
        inbox=name, root=root, after=inbox.after, outbox=outbox, archive=archive, failed=failed, affixes=affixes
    )


def prepare(settings: Settings, stack: ExitStack) -> Mapping[str, Note]:
    """Make all inboxes' folders, and note in them whose they are: that is taken back when `stack` ends.

    Raises SystemFault, and Refused where a folder is somebody else's.
    """
    noted: list[Note] = []
    stack.callback(leave, noted)
    return {name: _prepared(name, settings, noted) for name in settings.inbox}


def _prepared(name: str, settings: Settings, noted: list[Note]) -> Note:
    inbox, state = settings.inbox[name], str(settings.state)
    make(str(inbox.failed))
    if inbox.after is After.ARCHIVE:
        make(str(inbox.archive))
    outbox_note, note = Note(str(inbox.outbox), state), Note(str(inbox.path), state)
    noted += [outbox_note, note]
    _write(outbox_note)
    if os.path.isdir(inbox.path):  # one that is missing, or cannot be looked at, is waited for
        _write(note)
    return note


def _write(note: Note) -> None:
    """Write a note, if there is room: a full disk pauses its inbox, as it would later, and keeps no other from work.

    An inbox's is written before anything is taken from it, an outbox's by the next start.
    """
    try:
        note.write()
    except SystemFault as fault:
        if fault.errno not in FULL:
            raise


def make(path: str, mode: int = 0o777) -> None:
    """Make a folder where it is missing, and those around it with the same mode. Raises SystemFault."""
    with told_plainly(path):
        for folder in (*reversed(Path(path).parents), Path(path)):
            if not folder.is_dir():
                folder.mkdir(mode, exist_ok=True)


def inbox_of(name: str, settings: Settings, *, root: str = "", once: bool = False) -> Inbox:
    """Return what an intake is to know of its inbox; where its `root` is known, no folder is looked at."""
    inbox = settings.inbox[name]
    extensions = {kind: frozenset(_table(kind, settings).extensions) for kind in Kind}
    return Inbox(
        name=name,
        root=root or os.path.realpath(inbox.path),
        after=inbox.after,
        recursive=inbox.recursive,
        rules=Rules(extensions, inbox.include, inbox.exclude),
        settle=inbox.settle,
        rescan=inbox.rescan,
        policy=policy_of(settings),
        once=once,
        named=str(inbox.path),
    )


def policy_of(settings: Settings) -> RetryPolicy:
    """Return how often a failing file is tried, and how long between."""
    retry = settings.retry
    return RetryPolicy(attempts=retry.attempts, backoff=retry.backoff, max_backoff=retry.max_backoff)


def limits_of(kind: Kind, settings: Settings) -> Limits:
    """Return what one job of a kind may take."""
    text, image = settings.text, settings.image
    return Limits(
        max_bytes=text.max_bytes,
        encoding=text.encoding,
        chunk=text.chunk or chunk(),
        max_pixels=image.max_pixels,
        memory=image.memory,
        timeout=_table(kind, settings).timeout,
    )


def _workers(kind: Kind, settings: Settings) -> int:
    return _table(kind, settings).workers or workers()


def _table(kind: Kind, settings: Settings) -> Text | Image:
    return settings.text if kind is Kind.TEXT else settings.image


def _order(kind: Kind, settings: Settings, room: Callable[[str], None]) -> Order:
    # A text takes as long as it has bytes. A small image may unfold to a large one: a file behind it would wait.
    hand = 1 if processors.TABLE[kind].isolated else HAND_FILES
    return Order(
        settings.inbox, capacity=settings.queue.capacity, workers=_workers(kind, settings), room=room, hand=hand
    )


def _pool(kind: Kind, settings: Settings, lock: int, *, once: bool) -> Pool:
    processor = processors.TABLE[kind]
    if not processor.isolated:
        return Threads(processors.load(processor.module))  # here and now: later, descriptors may be short
    image = settings.image
    return IsolatedWorkers(
        processor.module, memory=image.memory, recycle_after=image.recycle_after, keep_open=[lock], warm=not once
    )


def _bench(place: Place) -> Bench:
    outbox = place.outbox
    return Bench(place.root, outbox.new_draft, outbox.hasten, outbox.discard, outbox.fault)


def _retry_command(settings: Settings, name: str) -> str:
    """Return the command that retries a file of this inbox, up to the file's path."""
    program, inbox, place = _program(), settings.inbox[name], settings.layers.place
    said = [place("state"), *(place("inbox", name, key) for key in (*ROLES, "after"))]
    if not any(it.startswith(("--", PREFIX, "$")) for it in said):
        which = f"{name}/" if len(settings.inbox) > 1 else ""  # another may have set aside by that path, too
        return f"{program} --config {quoted(said[1].rpartition(':')[0])} retry -- {which}"
    # What came by a flag or a variable is unknown to who retries, so all is said by flags.
    roles = {"inbox": inbox.path, "outbox": inbox.outbox, "archive": inbox.archive, "failed": inbox.failed}
    flags = {**roles, "state": settings.state, "after": inbox.after}
    return f"{program} retry {' '.join(f'--{flag} {quoted(str(value))}' for flag, value in flags.items())} -- "


def _program() -> str:
    """Return what a shell is to call us by: our name where it finds us by that, else where we are."""
    if shutil.which("watcherd"):
        return "watcherd"
    script = os.path.abspath(sys.argv[0])
    return quoted(script) if os.path.basename(script) == "watcherd" else f"{quoted(sys.executable)} -m watcherd"
