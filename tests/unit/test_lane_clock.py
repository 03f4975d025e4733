"""The time that counts against a file, held against one that says of each second whether it does."""

from hypothesis import given
from hypothesis import strategies as st

from watcherd.lanes.clock import Clock

SECONDS = st.integers(0, 10**6)


class Hands:
    """What a clock goes by; tests move it."""

    def __init__(self):
        self.time = 1000

    def __call__(self):
        """Return seconds."""
        return self.time


@given(st.lists(st.tuples(SECONDS, st.lists(SECONDS, max_size=4)), max_size=20))
def test_of_the_time_between_two_visits_of_its_keeper_counts_what_was_announced(visits):
    hands = Hands()
    clock = Clock(hands)
    counted = clock.now()
    for announced, steps in visits:
        assert clock.keep(announced) == announced
        left = announced
        for seconds in steps:
            hands.time += seconds
            counted += min(seconds, left)
            left -= min(seconds, left)
            assert clock.now() == counted


def test_before_anybody_keeps_it_no_time_counts():
    hands = Hands()
    clock = Clock(hands)
    hands.time += 10**6
    assert clock.now() == hands.time - 10**6
