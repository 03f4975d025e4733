"""What is decided: admission by the record, the cost of a failure, the length of a back-off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.decide import (
    KILLS_BEFORE_ALONE,
    Admit,
    Condemn,
    Later,
    Leave,
    Quarantine,
    Retry,
    RetryPolicy,
    admission,
    backoff,
    fate,
)
from watcherd.model import After, Failed, Failure, File, Job, Kind, Record, Version
from watcherd.states import State

POLICY = RetryPolicy(attempts=3, backoff=1.0, max_backoff=300.0)
VERSION = Version(size=10, mtime_ns=1_000, ctime_ns=2_000, inode=3)
NEWER = VERSION._replace(mtime_ns=1_001)
NOW = 1_000_000.0

dice = st.floats(0, 1, exclude_max=True)
policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 10),
    backoff=st.floats(0.001, 60),
    max_backoff=st.floats(60, 3600),
)


def record(state, **facts):
    return Record(1, File("scans", "a.txt", VERSION), Kind.TEXT, state, **facts)


def failed(failure, attempts=0, kills=0, *, charged=True):
    return Failed(Job(1, File("scans", "a.txt", VERSION), Kind.TEXT, attempts, kills), failure, "", charged)


def decide(state, version=VERSION, after=After.ARCHIVE, **facts):
    return admission(record(state, **facts), version, after, POLICY, NOW)


def test_a_file_without_a_record_is_admitted_without_charges():
    assert admission(None, VERSION, After.ARCHIVE, POLICY, NOW) == Admit(attempts=0, kills=0, alone=False)


@pytest.mark.parametrize("after", After)
@pytest.mark.parametrize("version", [VERSION, NEWER])
@pytest.mark.parametrize("state", [State.PUBLISHING, State.QUARANTINING])
def test_what_is_on_its_way_out_is_left_alone_also_where_a_newer_file_has_its_name(state, version, after):
    assert decide(state, version, after) == Leave(f"is {state} already")


@pytest.mark.parametrize("state", [State.WORKING, State.RETRYING, State.PUBLISHED, State.QUARANTINED])
def test_another_version_is_a_new_arrival(state):
    assert decide(state, NEWER, attempts=2, kills=2, due=NOW + 9) == Admit()


@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
@pytest.mark.parametrize("state", [State.PUBLISHED, State.QUARANTINED])
def test_an_input_that_should_have_gone_and_is_there_is_worked_on(state, after):
    assert decide(state, after=after) == Admit()


@pytest.mark.parametrize("state", [State.PUBLISHED, State.QUARANTINED])
def test_a_kept_file_stays_done_also_after_a_restore_that_gave_it_another_inode(state):
    restored = VERSION._replace(ctime_ns=9, inode=99)
    assert decide(state, restored, After.KEEP) == Leave(f"is {state} already")


@pytest.mark.parametrize("state", [State.PUBLISHED, State.QUARANTINED])
@pytest.mark.parametrize("edited", [NEWER, VERSION._replace(size=11)])
def test_a_kept_file_that_was_edited_is_worked_on_again(state, edited):
    assert decide(state, edited, After.KEEP) == Admit()


def test_a_retry_waits_until_it_is_due():
    assert decide(State.RETRYING, due=NOW + 5) == Later()


@pytest.mark.parametrize("after", After)
def test_a_retry_that_is_due_carries_its_charges(after):
    assert decide(State.RETRYING, after=after, due=NOW, attempts=2, kills=1, alone=True) == Admit(2, 1, alone=True)


def test_a_clock_that_was_set_back_delays_a_retry_by_no_more_than_the_longest_back_off():
    assert decide(State.RETRYING, due=NOW + POLICY.max_backoff) == Later()
    assert decide(State.RETRYING, due=NOW + POLICY.max_backoff + 1) == Admit()


@pytest.mark.parametrize("after", After)
def test_a_suspect_of_an_unclean_end_runs_alone_and_uncharged(after):
    assert decide(State.WORKING, after=after, attempts=1, kills=1) == Admit(1, 1, alone=True)


def test_a_suspect_that_ran_alone_is_charged():
    assert decide(State.WORKING, alone=True, kills=2) == Admit(1, 2, alone=True)


def test_a_suspect_that_ran_alone_too_often_is_condemned():
    decision = decide(State.WORKING, alone=True, attempts=2)
    assert isinstance(decision, Condemn)
    assert (decision.attempts, decision.failure) == (3, Failure.CRASHED)


@given(dice)
def test_a_failure_that_cannot_pass_sets_a_file_aside_at_once(chance):
    for failure in Failure:
        if not failure.passing:
            verdict = fate(failed(failure), POLICY, chance)
            assert verdict == Quarantine(1)


@given(policies, dice)
def test_a_failure_that_may_pass_is_tried_as_often_as_the_policy_says(policy, chance):
    attempts, tries = 0, 0
    while True:
        tries += 1
        verdict = fate(failed(Failure.TIMEOUT, attempts), policy, chance)
        if isinstance(verdict, Quarantine):
            break
        assert verdict.attempts == attempts + 1
        attempts = verdict.attempts
    assert tries == verdict.attempts == policy.attempts


def test_a_file_that_failed_is_tried_again_beside_others():
    verdict = fate(failed(Failure.TIMEOUT, kills=7), POLICY, 0)
    assert verdict == Retry(attempts=1, kills=7, delay=1.0, alone=False)


@given(st.integers(0, 50), st.integers(0, 50), dice)
def test_a_kill_from_outside_is_never_charged_and_after_three_the_file_runs_alone(attempts, kills, chance):
    verdict = fate(failed(Failure.CRASHED, attempts, kills, charged=False), POLICY, chance)
    assert isinstance(verdict, Retry)
    assert (verdict.attempts, verdict.kills) == (attempts, kills + 1)
    assert verdict.alone == (kills + 1 >= KILLS_BEFORE_ALONE)


@given(st.integers(1, 100_000), policies, dice)
def test_a_back_off_has_its_bounds(failures, policy, chance):
    assert policy.backoff * 0.75 <= backoff(failures, policy, chance) <= policy.max_backoff


def test_the_first_back_off_is_the_configured_one():
    assert [backoff(failures, POLICY, 0) for failures in (1, 2, 3)] == [1, 2, 4]
    assert backoff(1, POLICY, 1) == 0.75


@given(st.integers(1, 30), policies)
def test_a_back_off_doubles_up_to_its_longest(failures, policy):
    expected = min(2 * backoff(failures, policy, 0), policy.max_backoff)
    assert backoff(failures + 1, policy, 0) == pytest.approx(expected)
