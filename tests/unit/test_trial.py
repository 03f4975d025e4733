import pytest

from watcherd.publish.health import LONGEST, MOST, PROOF, SHORTEST, Trial

FULL = "/out: No space left on device"


def test_a_fault_that_comes_back_on_trial_is_no_news():
    trial = Trial()
    assert trial.is_news(FULL)
    trial.hold(FULL)
    trial.begin(FULL, 0.0)
    assert not trial.is_news(FULL)
    assert trial.is_news("/out: Read-only file system")


def test_a_pause_is_over_once_the_fault_has_stayed_away_and_that_is_said_once():
    trial = Trial()
    trial.begin(FULL, 10.0)
    assert trial.passed(10.0 + PROOF - 0.1) == ""
    assert trial.passed(10.0 + PROOF) == FULL
    assert trial.passed(10.0 + 2 * PROOF) == ""
    assert not trial.runs
    assert trial.is_news(FULL)


def test_a_fault_that_comes_back_on_trial_begins_the_proof_again():
    trial = Trial()
    trial.begin(FULL, 0.0)
    trial.hold(FULL)
    assert trial.passed(PROOF) == ""


def test_trials_become_rarer_while_the_fault_comes_back_and_no_rarer_than_the_longest():
    trial = Trial()
    holds = [trial.hold(FULL)]
    for _ in range(5):
        trial.begin(FULL, 0.0)
        holds.append(trial.hold(FULL))
    assert holds == pytest.approx([SHORTEST, 2.0, LONGEST, LONGEST, LONGEST, LONGEST])


def test_looking_in_vain_during_a_pause_makes_trials_no_rarer():
    trial = Trial()
    trial.tell(FULL)
    assert [trial.hold(FULL) for _ in range(3)] == [SHORTEST] * 3


def test_another_fault_on_trial_is_no_reason_to_wait_longer():
    trial = Trial()
    trial.begin(FULL, 0.0)
    assert trial.hold("/out: Read-only file system") == SHORTEST


def test_faults_that_come_by_turns_are_told_once_each_until_all_is_well():
    trial = Trial()
    news = []
    for reason in ("full", "gone", "full", "gone"):
        news.append(trial.is_news(reason))
        trial.tell(reason)
        trial.hold(reason)
    trial.begin("gone", 10)
    assert (news, trial.is_news("full")) == ([True, True, False, False], False)
    assert trial.passed(10 + PROOF) == "gone"
    assert trial.is_news("full")


def test_no_more_faults_are_remembered_than_a_few():
    trial = Trial()
    for number in range(10 * MOST):
        trial.tell(str(number))
    assert sum(not trial.is_news(str(number)) for number in range(10 * MOST)) <= MOST
