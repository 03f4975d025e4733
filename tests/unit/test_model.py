"""The states of a file: a table, held against the words that CONTRACT and glossary use for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.model import (
    TRANSITIONS,
    Failure,
    FileFault,
    Refused,
    State,
    SystemFault,
    Version,
    WatcherdError,
)

TERMINAL = {state for state, following in TRANSITIONS.items() if not following}


def _reachable(start: State) -> set[State]:
    found, edge = {start}, [start]
    while edge:
        following = TRANSITIONS[edge.pop()] - found
        found |= following
        edge += following
    return found


def test_every_state_has_its_row():
    assert set(TRANSITIONS) == set(State)


def test_a_file_begins_waiting_and_can_come_to_every_state():
    assert _reachable(State.WAITING) == set(State)


def test_published_quarantined_ignored_and_vanished_are_the_end():
    assert {State.PUBLISHED, State.QUARANTINED, State.IGNORED, State.VANISHED} == TERMINAL


@pytest.mark.parametrize("state", set(State) - TERMINAL)
def test_no_state_is_a_dead_end(state):
    assert _reachable(state) & TERMINAL


@pytest.mark.parametrize("state", [State.PUBLISHED, State.QUARANTINED])
def test_what_becomes_visible_was_on_record_before(state):
    assert {before for before, following in TRANSITIONS.items() if state in following} == {
        State.PUBLISHING if state is State.PUBLISHED else State.QUARANTINING
    }


@given(st.data())
def test_a_walk_that_passes_working_never_ends_ignored_without_waiting_again(data):
    state, path = State.WAITING, [State.WAITING]
    while TRANSITIONS[state] and len(path) < 30:
        state = data.draw(st.sampled_from(sorted(TRANSITIONS[state])))
        path.append(state)
    if path[-1] is State.IGNORED:
        assert path[-2] is State.WAITING


def test_no_one_can_change_the_table():
    with pytest.raises(TypeError):
        TRANSITIONS[State.PUBLISHED] = frozenset({State.WAITING})  # type: ignore[index]  # that it cannot is the test


def test_what_the_content_is_to_blame_for_is_not_tried_again():
    assert {failure for failure in Failure if failure.passing} == {
        Failure.TIMEOUT,
        Failure.CRASHED,
        Failure.UNPLACEABLE,
    }


def test_a_rename_does_not_change_the_content():
    version = Version(size=3, mtime_ns=5, ctime_ns=7, inode=11)
    assert version.same_content(Version(3, 5, 8, 11))
    assert not version.same_content(Version(4, 5, 7, 11))
    assert not version.same_content(Version(3, 6, 7, 11))
    assert not version.same_content(Version(3, 5, 7, 12))


def test_the_three_kinds_of_error_tell_what_their_fate_needs():
    assert FileFault(Failure.CORRUPT, "bad", "a trace").trace == "a trace"
    assert SystemFault("full", root="/out", errno=28).errno == 28
    assert all(issubclass(kind, WatcherdError) for kind in (FileFault, SystemFault, Refused))
