"""The states of a file: a table, held against the words that contract and glossary use for it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd import states
from watcherd.states import TRANSITIONS, State


def _following(state: State) -> set[State]:
    return {after for before, after in TRANSITIONS.values() if before is state}


TERMINAL = {state for state in State if not _following(state)}


def _reachable(start: State) -> set[State]:
    found, edge = {start}, [start]
    while edge:
        new = _following(edge.pop()) - found
        found |= new
        edge += new
    return found


def test_each_letter_is_a_step_of_its_own():
    assert len(set(TRANSITIONS.values())) == len(TRANSITIONS)


def test_a_file_begins_waiting_and_can_come_to_every_state():
    assert _reachable(State.WAITING) == set(State)


def test_published_quarantined_ignored_and_vanished_are_the_end():
    assert {State.PUBLISHED, State.QUARANTINED, State.IGNORED, State.VANISHED} == TERMINAL


@pytest.mark.parametrize("state", sorted(set(State) - TERMINAL))
def test_no_state_is_a_dead_end(state):
    assert _reachable(state) & TERMINAL


@pytest.mark.parametrize("state", [State.PUBLISHED, State.QUARANTINED])
def test_what_becomes_visible_was_on_record_before(state):
    assert {before for before, after in TRANSITIONS.values() if after is state} == {
        State.PUBLISHING if state is State.PUBLISHED else State.QUARANTINING
    }


@given(st.data())
def test_a_walk_that_passes_working_never_ends_ignored_without_waiting_again(data):
    state, path = State.WAITING, [State.WAITING]
    while state not in TERMINAL and len(path) < 30:
        state = data.draw(st.sampled_from(sorted(_following(state))))
        path.append(state)
    if path[-1] is State.IGNORED:
        assert path[-2] is State.WAITING


def test_no_one_can_change_the_table():
    with pytest.raises(TypeError):
        TRANSITIONS["z"] = (State.PUBLISHED, State.WAITING)  # type: ignore[index]  # that it cannot is the test


def test_the_drawing_leads_each_letter_where_the_table_does():
    drawing = "\n".join(line for line in (states.__doc__ or "").splitlines() if line.startswith("     "))
    letters = re.findall(r"(?<![A-Za-z])[a-z](?![A-Za-z])", drawing)
    for word, group in re.findall(r"to ([A-Z]+): ((?:[a-z] ?)+)", drawing):
        assert {TRANSITIONS[letter][1] for letter in group.split()} == {State[word]}
    assert sorted(letters) == sorted(TRANSITIONS)
