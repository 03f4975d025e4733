"""Which room is built when, and what is wired to what: settings become the plain values that rooms take.

This is honest glue, and the only place that knows every room.
"""

from __future__ import annotations

from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING

from watcherd import processors
from watcherd.intake.gate import BLOCK
from watcherd.intake.intake import Intake
from watcherd.intake.terms import Desk
from watcherd.lanes.alone import Alone
from watcherd.lanes.bench import Bench
from watcherd.lanes.lane import Lane
from watcherd.lanes.order import HAND_FILES, Order
from watcherd.lanes.processes import IsolatedWorkers
from watcherd.lanes.threads import Threads
from watcherd.ledger.claims import Claims
from watcherd.model import Kind
from watcherd.plain import inbox_of, limits_of, place_of, policy_of, retry_command, workers_of
from watcherd.publish.pruning import Pruning
from watcherd.publish.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from watcherd.lanes.slot import Pool
    from watcherd.ledger.ledger import Ledger
    from watcherd.premises import Premises
    from watcherd.publish.batch import Exit
    from watcherd.publish.roots.place import Place
    from watcherd.settings import Settings

#: Files that one inbox may have in flight, in lengths of a queue: parked and queued for both lanes, in work, on
#: their way out. A kind may park a whole block, however short its queue is, and must leave room for the other kind.
CLAIMS = 6


@dataclass(frozen=True, slots=True)
class Died:
    """A thread ended that must not: `error` is why."""

    room: str
    error: BaseException


#: What a main thread waits at: numbers of signals, and rooms that died.
Mailbox = SimpleQueue[int | Died]


def deaths(mailbox: Mailbox) -> Iterator[Died]:
    """Empty the mailbox, and yield the rooms that died."""
    while not mailbox.empty():
        message = mailbox.get_nowait()
        if isinstance(message, Died):
            yield message


@dataclass(frozen=True, slots=True, kw_only=True)
class Ears:
    """Who is told what happens in the rooms, from their threads.

    `on_death` hears of every thread that ends and must not, `on_end` of every file that is published or quarantined.
    """

    on_death: Callable[[Died], None]
    on_end: Callable[[Exit], None] = lambda _: None

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
    settings: Settings, ledger: Ledger, lock: int, premises: Mapping[str, Premises], ears: Ears, *, once: bool
) -> tuple[Mapping[Kind, Lane], list[Line]]:
    """Build the lanes, and a line for each inbox, which waits until its premises are ready. Raises SystemFault.

    Workers inherit `lock`, the state's: a daemon that is started while they still live waits for their end. With
    `once` the inboxes are scanned once.
    """
    places = {name: place_of(name, settings, ledger, awaited=True) for name in settings.inbox}
    lines: dict[str, Line] = {}
    orders = {kind: _order(kind, settings, lambda inbox: lines[inbox].intake.wake()) for kind in Kind}
    alone = Alone()
    lanes = {
        kind: Lane(
            kind,
            orders[kind],
            _pool(kind, settings, lock, once=once),
            workers=workers_of(kind, settings),
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
        lines[name] = _line(place, settings, ledger, orders, premises[name], ears, once=once)
    return lanes, list(lines.values())


def _line(  # noqa: PLR0913, PLR0917 (what it is wired to)
    place: Place,
    settings: Settings,
    ledger: Ledger,
    orders: Mapping[Kind, Order],
    premises: Premises,
    ears: Ears,
    *,
    once: bool,
) -> Line:
    name, note = place.inbox, premises.note

    def wake() -> None:  # `intake` is built below, before anybody wakes it
        intake.wake()

    claims = Claims(CLAIMS * max(settings.queue.capacity, BLOCK), wake)
    publisher = Publisher(
        place,
        ledger,
        claims,
        policy=policy_of(settings),
        least_free=settings.min_free.of,
        retry_command=retry_command(settings, name),
        prepare=premises.prepare_again,
        is_away=lambda: note.in_doubt() or intake.is_away(),
        on_pause=wake,
        on_end=ears.on_end,
        on_death=ears.of(f"publisher of {name}"),
    )
    desk = Desk(
        offer=lambda jobs: orders[jobs[0].kind].offer(*jobs),
        put=publisher.put,
        paused=lambda: bool(publisher.paused),
        doubted=note.in_doubt,
        on_found=note.renew,
        on_death=ears.of(f"intake of {name}"),
    )
    intake = Intake(inbox_of(place, settings, once=once), ledger, claims, desk)
    return Line(name, place, intake, publisher, Pruning(place, ledger, intake.is_away))


def _order(kind: Kind, settings: Settings, on_room: Callable[[str], None]) -> Order:
    # A text takes as long as it has bytes. A small image may unfold to a large one: a file behind it would wait.
    at_once = 1 if processors.TABLE[kind].isolated else HAND_FILES
    return Order(
        settings.inbox,
        capacity=settings.queue.capacity,
        workers=workers_of(kind, settings),
        on_room=on_room,
        at_once=at_once,
    )


def _pool(kind: Kind, settings: Settings, lock: int, *, once: bool) -> Pool:
    processor = processors.TABLE[kind]
    if not processor.isolated:
        return Threads(processors.load(processor.module))  # at once: later, descriptors may be short
    image = settings.image
    return IsolatedWorkers(
        processor.module, memory=image.memory, recycle_after=image.recycle_after, keep_open=[lock], warm=not once
    )


def _bench(place: Place) -> Bench:
    outbox = place.outbox
    return Bench(place.inbox_path, outbox.new_draft, outbox.written, outbox.discard, outbox.fault)
