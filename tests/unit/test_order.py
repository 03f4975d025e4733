"""What waits for a worker: bounded, shared fairly, handed over in portions, and closed for good."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from watcherd.lanes.order import HAND_BYTES, HAND_FILES, MOST_STUCK, Order
from watcherd.model import File, Job, Kind, Version


def job(number, inbox="one", *, size=10, alone=False):
    return Job(number, File(inbox, f"{number}.txt", Version(size, 0, 0, number)), Kind.TEXT, alone=alone)


def order(*inboxes, capacity=8, workers=1, on_room=lambda _: None):
    return Order(inboxes or ("one",), capacity=capacity, workers=workers, on_room=on_room)


def ids(jobs):
    return [it.id for it in jobs]


def test_an_inbox_has_its_share_of_the_capacity_and_no_more():
    waiting = order("one", "two", capacity=8)
    assert [waiting.offer(job(n)) for n in range(5)] == [True] * 4 + [False]
    assert waiting.offer(job(9, "two"))
    assert len(waiting) == 5


def test_every_inbox_has_room_for_one_however_many_there_are():
    waiting = order("one", "two", "three", capacity=1)
    assert all(waiting.offer(job(n, name)) for n, name in enumerate(("one", "two", "three")))
    assert not waiting.offer(job(3, "one"))


def test_inboxes_take_turns():
    waiting = order("one", "two", capacity=64)
    for n in range(6):
        waiting.offer(job(n, "one"))
    waiting.offer(job(10, "two"))
    waiting.offer(job(11, "two"))
    assert ids(waiting.take()) == [0, 10, 1, 11, 2, 3, 4, 5]


def test_an_inbox_in_which_workers_are_stuck_has_no_turn_until_one_of_them_comes_back():
    waiting = order("one", "two", capacity=64)
    for _ in range(MOST_STUCK):
        waiting.stuck("one")
    waiting.offer(job(0, "one"))
    waiting.offer(job(1, "two"))
    assert ids(waiting.take()) == [1]
    waiting.unstuck("one")
    assert ids(waiting.take()) == [0]


def test_an_inbox_loses_the_turn_that_it_had_when_workers_get_stuck_there():
    waiting = order("one", "two", capacity=64)
    waiting.offer(job(0, "one"))
    waiting.offer(job(1, "two"))
    for _ in range(MOST_STUCK):
        waiting.stuck("one")
    assert ids(waiting.take()) == [1]


def test_a_worker_that_comes_back_before_it_was_said_to_be_stuck_is_not_held_against_its_inbox():
    waiting = order()
    for _ in range(MOST_STUCK):
        waiting.unstuck("one")
        waiting.stuck("one")
    waiting.offer(job(0))
    assert ids(waiting.take()) == [0]


def test_one_inbox_is_served_in_the_order_of_its_arrivals():
    waiting = order(capacity=8)
    for n in range(8):
        waiting.offer(job(n))
    assert ids(waiting.take()) == list(range(8))


def test_what_waits_is_shared_between_the_workers():
    waiting = order(capacity=8, workers=4)
    for n in range(8):
        waiting.offer(job(n))
    assert len(waiting.take()) == 2


def test_a_hand_holds_no_more_files_than_are_worth_it():
    waiting = order(capacity=100)
    for n in range(100):
        waiting.offer(job(n))
    assert len(waiting.take()) == HAND_FILES


def test_where_bytes_say_nothing_of_the_time_a_hand_holds_one_file():
    waiting = Order(("one",), capacity=8, workers=1, on_room=lambda _: None, at_once=1)
    for number in range(3):
        waiting.offer(job(number))
    assert [ids(waiting.take()) for _ in range(3)] == [[0], [1], [2]]


def test_a_hand_holds_no_more_bytes_than_are_worth_it():
    waiting = order(capacity=8)
    for n in range(4):
        waiting.offer(job(n, size=HAND_BYTES // 2))
    assert len(waiting.take()) == 2


def test_a_large_file_goes_by_itself():
    waiting = order(capacity=8)
    waiting.offer(job(1, size=HAND_BYTES * 100))
    waiting.offer(job(2, size=1))
    assert ids(waiting.take()) == [1]


@pytest.mark.parametrize("suspect", [0, 1, 2])
def test_a_suspect_is_handed_over_alone(suspect):
    waiting = order(capacity=8)
    for n in range(3):
        waiting.offer(job(n, alone=n == suspect))
    hands = []
    while len(waiting):
        hands.append(ids(waiting.take()))
    assert [suspect] in hands


def test_room_is_told_of_once_when_a_share_that_was_full_is_half_empty():
    told = []
    waiting = order(capacity=4, workers=4, on_room=told.append)
    for n in range(4):
        waiting.offer(job(n))
    assert not waiting.offer(job(4))
    waiting.take()
    assert told == []
    waiting.take()
    assert told == ["one"]
    waiting.take()
    assert told == ["one"]


def test_nobody_is_told_of_room_who_was_not_refused():
    told = []
    waiting = order(capacity=4, on_room=told.append)
    waiting.offer(job(1))
    waiting.take()
    assert told == []


def test_jobs_that_could_not_be_begun_wait_again_also_beyond_the_share():
    waiting = order(capacity=2)
    waiting.offer(job(1))
    waiting.offer(job(2))
    assert not waiting.take_back([job(3)])
    assert len(waiting) == 3
    assert not waiting.offer(job(4), job(5))
    assert len(waiting) == 3


def test_a_closed_queue_takes_and_hands_out_nothing():
    waiting = order(capacity=4)
    waiting.offer(job(1))
    waiting.close()
    assert waiting.take() == []
    assert not waiting.offer(job(2))
    assert ids(waiting.take_back([job(3)])) == [3]
    assert len(waiting) == 1


def test_a_worker_that_waits_gets_what_comes_and_is_let_go_at_the_close():
    waiting, hands = order(capacity=4), deque()

    def work():
        while hand := waiting.take():
            hands.append(ids(hand))

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    offered = [n for n in range(1000) if waiting.offer(job(n))]
    waiting.close()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    handed = sorted(n for hand in hands for n in hand)
    assert handed == offered[: len(offered) - len(waiting)]


@given(st.lists(st.sampled_from(["one", "two", "three"]), max_size=60), st.integers(1, 8))
def test_no_inbox_waits_longer_than_one_turn_of_the_others(arrivals, workers):
    waiting = order("one", "two", "three", capacity=180, workers=workers)
    for number, inbox in enumerate(arrivals):
        waiting.offer(job(number, inbox))
    served = []
    while len(waiting):
        served += [it.file.inbox for it in waiting.take()]
    for inbox in set(arrivals):
        places = [n for n, name in enumerate(served) if name == inbox]
        assert places[0] < 3
        assert all(after - before <= 3 for before, after in pairwise(places))


class OrderAgainstLists(RuleBasedStateMachine):
    """Whatever is offered, taken and taken back: nothing is lost, doubled or overtaken within its inbox."""

    def __init__(self):
        super().__init__()
        self.rooms: list[str] = []
        self.order = Order(("one", "two"), capacity=12, workers=2, on_room=self.rooms.append)
        self.model: dict[str, deque[Job]] = {"one": deque(), "two": deque()}
        self.refused: set[str] = set()
        self.number = 0

    @rule(inbox=st.sampled_from(["one", "two"]), size=st.integers(0, HAND_BYTES), alone=st.booleans())
    def offer(self, inbox, size, alone):
        """Offer a job; a full share refuses it."""
        self.number += 1
        arrival = job(self.number, inbox, size=size, alone=alone)
        taken = self.order.offer(arrival)
        assert taken == (len(self.model[inbox]) < 6)
        if taken:
            self.model[inbox].append(arrival)
        else:
            self.refused.add(inbox)

    @precondition(lambda self: any(self.model.values()))
    @rule(back=st.booleans())
    def take(self, back):
        """Take a hand, and give it back if `back`."""
        self.rooms.clear()
        hand = self.order.take()
        assert hand
        assert len(hand) == 1 or not any(it.alone for it in hand)
        assert len(hand) == 1 or sum(it.file.version.size for it in hand) <= HAND_BYTES
        for taken in hand:
            assert self.model[taken.file.inbox].popleft() is taken
        roomy = {inbox for inbox in self.refused if len(self.model[inbox]) <= 3}
        assert set(self.rooms) == roomy
        self.refused -= roomy
        if back:
            assert not self.order.take_back(hand)
            for returned in hand:
                self.model[returned.file.inbox].append(returned)

    @invariant()
    def holds_what_it_should(self):
        """As many wait as were offered and not taken."""
        assert len(self.order) == sum(map(len, self.model.values()))


TestOrderAgainstLists = OrderAgainstLists.TestCase
