"""The number that is given to a name that is taken: free, and found with few looks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watcherd.publish.leaving import first_free


@given(st.sets(st.integers(0, 40)))
def test_a_number_is_free_and_follows_one_that_is_taken(taken):
    number = first_free(taken.__contains__)
    assert number not in taken
    assert number == 0 or number - 1 in taken


@given(st.integers(0, 10**6))
def test_where_none_was_freed_it_is_the_lowest_and_few_are_looked_at(many):
    looks = []

    def is_taken(number):
        looks.append(number)
        return number < many

    assert first_free(is_taken) == many
    assert len(looks) <= 2 * many.bit_length() + 1
