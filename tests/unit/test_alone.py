"""Working side by side, or alone: held by threads that watch each other."""
# ruff: noqa: SLF001 (whether somebody waits is only seen from inside)

import random
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from watcherd.lanes.alone import Alone

DEADLINE = 10.0


class Watched:
    """An `Alone` that knows who is inside, and what they saw of each other."""

    def __init__(self):
        self.alone = Alone()
        self.lock = threading.Lock()
        self.inside = []
        self.disturbed = []
        self.most = 0

    def work(self, *, alone):
        """Be inside for a moment."""
        assert self.alone.enter(alone=alone)
        with self.lock:
            self.inside.append(alone)
            self.most = max(self.most, len(self.inside))
            if any(self.inside) and len(self.inside) > 1:
                self.disturbed.append(list(self.inside))
        threading.Event().wait(0.0001)  # lets the others run
        with self.lock:
            self.inside.remove(alone)
        self.alone.leave(alone=alone)


def start(act, *arguments, **keywords):
    thread = threading.Thread(target=act, args=arguments, kwargs=keywords, daemon=True)
    thread.start()
    return thread


def joined(*threads, seconds=DEADLINE):
    for thread in threads:
        thread.join(seconds)
    return not any(thread.is_alive() for thread in threads)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.booleans(), max_size=6), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_who_works_alone_never_meets_anybody_and_everybody_gets_their_turn(plans, chance: random.Random):
    chance.shuffle(plans)
    watched = Watched()

    def follow(plan):
        for alone in plan:
            watched.work(alone=alone)

    assert joined(*[start(follow, plan) for plan in plans])
    assert not watched.disturbed


def test_any_number_work_side_by_side():
    alone = Alone()
    assert all(alone.enter(alone=False) for _ in range(5))


def test_who_wants_to_be_alone_waits_until_the_others_have_left():
    alone = Alone()
    alone.enter(alone=False)
    wanting = start(alone.enter, alone=True)
    assert not joined(wanting, seconds=0.05)
    alone.leave(alone=False)
    assert joined(wanting)


def test_who_wants_to_be_alone_goes_before_those_that_come_later():
    alone, order = Alone(), []
    alone.enter(alone=False)
    wanting = start(lambda: alone.enter(alone=True) and order.append("alone"))
    while not alone._wanting:
        threading.Event().wait(0.001)
    later = start(lambda: alone.enter(alone=False) and order.append("beside"))
    assert not joined(later, seconds=0.05)
    alone.leave(alone=False)
    assert joined(wanting)
    alone.leave(alone=True)
    assert joined(later)
    assert order == ["alone", "beside"]


def test_once_closed_nothing_begins_and_who_waits_is_turned_back():
    alone, answers = Alone(), []
    alone.enter(alone=True)
    waiting = [start(lambda it: answers.append(alone.enter(alone=it)), wanted) for wanted in (True, False)]
    assert not joined(*waiting, seconds=0.05)
    alone.close()
    assert joined(*waiting)
    assert answers == [False, False]
    assert not alone.enter(alone=False)


def test_what_had_begun_when_it_was_closed_ends_as_usual():
    alone = Alone()
    alone.enter(alone=True)
    alone.close()
    alone.leave(alone=True)
    assert not alone.enter(alone=True)
