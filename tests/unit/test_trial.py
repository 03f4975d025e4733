from watcherd.publish.health import MOST, PROOF, Trial

FULL = "/out: No space left on device"


def test_a_fault_that_comes_back_on_trial_is_no_news():
    trial = Trial()
    assert trial.is_news(FULL)
    trial.end()
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
    trial.end()
    assert trial.passed(PROOF) == ""


def test_faults_that_come_by_turns_are_told_once_each_until_all_is_well():
    trial = Trial()
    news = []
    for reason in ("full", "gone", "full", "gone"):
        news.append(trial.is_news(reason))
        trial.tell(reason)
        trial.end()
    trial.begin("gone", 10)
    assert (news, trial.is_news("full")) == ([True, True, False, False], False)
    assert trial.passed(10 + PROOF) == "gone"
    assert trial.is_news("full")


def test_no_more_faults_are_remembered_than_a_few():
    trial = Trial()
    for number in range(10 * MOST):
        trial.tell(str(number))
    assert sum(not trial.is_news(str(number)) for number in range(10 * MOST)) <= MOST
