import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.intake.settle import (
    BETWEEN_LOOKS,
    COARSE_TICK,
    LONGEST_OPEN,
    LONGEST_SETTLE,
    How,
    Pace,
    Reason,
    Settling,
    Sighting,
    Wait,
    Writer,
    stretched,
    wait_of,
)
from watcherd.model import Version

V1, V2 = Version(1, 1, 1, 1), Version(2, 2, 2, 1)
PACE = Pace(settle=1.0, unasked=10.0)
COARSE = Pace(settle=1.0, unasked=10.0, coarse=True)
FRESH = Sighting("a.txt", V1, How.SEEN, changed_ago=0.1, written_ago=0.1)


def test_a_fresh_file_waits_for_its_quiet_time():
    assert wait_of(FRESH, None, 100.0, PACE, Writer.FREE) == Wait(101.0, Reason.SETTLING, Settling(V1, 100.0))


def test_quiet_for_settle_and_no_writer_is_complete():
    assert wait_of(FRESH, Settling(V1, 99.0), 100.0, PACE, Writer.FREE) is None


def test_a_change_starts_the_clock_again():
    verdict = wait_of(FRESH._replace(version=V2), Settling(V1, 0.0), 100.0, PACE, Writer.FREE)
    assert verdict == Wait(101.0, Reason.CHANGING, Settling(V2, 100.0, changed=True))
    assert wait_of(FRESH._replace(version=V2), verdict.settling, 100.5, PACE, Writer.FREE) == verdict


def test_the_clock_of_a_file_with_other_names_runs_on_when_one_of_them_is_renamed():
    renamed = V1._replace(ctime_ns=2)
    linked = FRESH._replace(version=renamed, linked=True)
    assert wait_of(linked, Settling(V1, 99.5), 100.0, PACE, Writer.FREE) == Wait(
        100.5, Reason.SETTLING, Settling(renamed, 99.5)
    )
    assert wait_of(linked._replace(linked=False), Settling(V1, 99.5), 100.0, PACE, Writer.FREE).until == 101.0
    assert wait_of(linked._replace(version=V2), Settling(V1, 99.5), 100.0, PACE, Writer.FREE).until == 101.0


def test_a_file_with_a_writer_waits_however_long_it_was_quiet():
    old = FRESH._replace(changed_ago=1e6)
    verdict = wait_of(old, None, 100.0, PACE, Writer.WRITTEN)
    assert (verdict.until, verdict.reason) == (101.0, Reason.WRITTEN)
    assert wait_of(old, Settling(V1, 0.0), 1e6, PACE, Writer.WRITTEN).reason is Reason.WRITTEN


@pytest.mark.parametrize(("stood", "until"), [(4.0, 1.0), (80.0, 10.0), (1e6, LONGEST_SETTLE)])
def test_the_longer_a_file_stands_open_as_it_is_the_less_often_it_is_looked_at(stood, until):
    assert wait_of(FRESH, Settling(V1, 0.0), stood, PACE, Writer.WRITTEN).until == stood + until
    assert wait_of(FRESH._replace(version=V2), Settling(V1, 0.0), stood, PACE, Writer.WRITTEN).until == stood + 1.0


@pytest.mark.parametrize(("how", "writer"), [(How.SEEN, Writer.WRITTEN), (How.CREATED, Writer.UNKNOWN)])
def test_a_file_that_is_being_written_is_looked_at_a_few_times_a_second_however_short_its_quiet_time(how, writer):
    verdict = wait_of(FRESH._replace(how=how), None, 100.0, Pace(0.0, 0.0), writer)
    assert verdict.until == 100.0 + BETWEEN_LOOKS


def test_a_file_renamed_into_place_skips_the_quiet_time():
    assert wait_of(FRESH._replace(how=How.RENAMED), None, 0.0, PACE, Writer.FREE) is None


@pytest.mark.parametrize("writer", [Writer.WRITTEN, Writer.UNKNOWN])
def test_a_renamed_file_skips_nothing_unless_the_kernel_says_that_nobody_writes(writer):
    assert isinstance(wait_of(FRESH._replace(how=How.RENAMED), None, 0.0, PACE, writer), Wait)


def test_an_old_ctime_at_first_sight_skips_the_quiet_time():
    assert wait_of(FRESH._replace(changed_ago=1.0), None, 0.0, PACE, Writer.FREE) is None


def test_an_old_ctime_skips_nothing_once_the_clock_runs():
    # Else a file system whose clock runs ahead would admit what changes under our eyes.
    verdict = wait_of(FRESH._replace(changed_ago=9.0, version=V2), Settling(V1, 0.0), 0.5, PACE, Writer.FREE)
    assert isinstance(verdict, Wait)


def test_an_old_mtime_proves_nothing():
    assert isinstance(wait_of(FRESH._replace(written_ago=1e9), None, 0.0, PACE, Writer.FREE), Wait)


def test_where_nobody_can_be_asked_the_quiet_time_is_the_long_one():
    assert wait_of(FRESH._replace(changed_ago=1e6), None, 0.0, PACE, Writer.UNKNOWN).until == 10.0
    assert wait_of(FRESH, Settling(V1, 0.0), 10.0, PACE, Writer.UNKNOWN) is None


def test_where_nobody_can_be_asked_a_created_file_waits_for_its_close():
    created = wait_of(FRESH._replace(how=How.CREATED), None, 0.0, PACE, Writer.UNKNOWN)
    assert created == Wait(10.0, Reason.OPEN, Settling(V1, 0.0, open=True))
    still = wait_of(FRESH, created.settling, 50.0, PACE, Writer.UNKNOWN)
    assert still.reason is Reason.OPEN
    for how in (How.CLOSED, How.RENAMED):
        assert wait_of(FRESH._replace(how=how), still.settling, 50.0, PACE, Writer.UNKNOWN) is None


def test_a_close_is_not_waited_for_where_the_kernel_says_that_nobody_writes():
    assert wait_of(FRESH, Settling(V1, 99.0, open=True), 100.0, PACE, Writer.FREE) is None


def test_a_close_that_never_comes_is_not_waited_for_for_ever():
    opened = Settling(V1, 1000.0, open=True)
    assert isinstance(wait_of(FRESH, opened, 999.0 + LONGEST_OPEN, PACE, Writer.UNKNOWN), Wait)
    assert wait_of(FRESH, opened, 1000.0 + LONGEST_OPEN, PACE, Writer.UNKNOWN) is None


def test_a_link_was_never_open():
    linked = FRESH._replace(how=How.CREATED, linked=True)
    assert wait_of(linked, None, 0.0, PACE, Writer.UNKNOWN).reason is Reason.SETTLING


@pytest.mark.parametrize("how", [How.RENAMED, How.SEEN])
def test_a_file_that_changed_under_us_skips_nothing_and_waits_its_longer_time(how):
    restless = FRESH._replace(how=how, changed_ago=1e6, restless=8.0)
    assert wait_of(restless, None, 0.0, PACE, Writer.FREE).until == 8.0
    assert wait_of(restless, Settling(V1, 0.0), 8.0, PACE, Writer.FREE) is None


def test_the_quiet_time_doubles_up_to_a_minute():
    times = [stretched(0.0, PACE)]
    for _ in range(7):
        times.append(stretched(times[-1], PACE))
    assert times == [2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_SETTLE, LONGEST_SETTLE, LONGEST_SETTLE]


def test_no_settle_at_all_still_doubles_from_something():
    assert stretched(0.0, Pace(0.0, 0.0)) == 1.0


def test_a_file_written_within_the_tick_is_looked_at_again():
    just = FRESH._replace(how=How.RENAMED, written_ago=COARSE_TICK / 2)
    assert wait_of(just, None, 0.0, COARSE, Writer.FREE) == Wait(COARSE_TICK / 2, Reason.SETTLING, Settling(V1, -1.0))
    assert wait_of(just, None, 0.0, PACE, Writer.FREE) is None
    ahead = just._replace(written_ago=-COARSE_TICK / 2)
    assert wait_of(ahead, None, 0.0, COARSE, Writer.FREE) == Wait(COARSE_TICK, Reason.SETTLING, Settling(V1, -1.0))
    assert wait_of(just._replace(written_ago=COARSE_TICK), None, 0.0, COARSE, Writer.FREE) is None


def test_a_file_renamed_into_place_within_the_tick_waits_for_no_more_than_that_if_it_stands_still():
    just = FRESH._replace(how=How.RENAMED, written_ago=COARSE_TICK / 2)
    wait = wait_of(just, None, 0.0, COARSE, Writer.FREE)
    again = FRESH._replace(written_ago=COARSE_TICK)
    assert wait_of(again, wait.settling, wait.until, COARSE, Writer.FREE) is None
    changed = wait_of(again._replace(version=V2), wait.settling, wait.until, COARSE, Writer.FREE)
    assert changed.until == wait.until + COARSE.settle


def test_a_file_of_a_time_to_come_waits_no_longer_than_others():
    ahead = FRESH._replace(how=How.RENAMED, written_ago=-3600.0)
    assert [wait_of(ahead, None, 0.0, pace, Writer.FREE) for pace in (PACE, COARSE)] == [None, None]


@pytest.mark.parametrize(("second", "tick"), [(7, 1), (8, 2)])  # FAT holds every second one, and says no odd one
def test_where_times_are_whole_seconds_a_file_is_taken_once_its_second_is_over(second, tick):
    version = V1._replace(mtime_ns=second * 10**9)
    just = FRESH._replace(version=version, how=How.RENAMED, written_ago=0.25)
    wait = wait_of(just, None, 0.0, PACE, Writer.FREE)
    assert (wait.until, wait.reason) == (pytest.approx(tick + COARSE_TICK - 0.25), Reason.SETTLING)
    assert wait_of(just._replace(written_ago=wait.until + 0.25), None, 0.0, PACE, Writer.FREE) is None


def test_a_quiet_time_shorter_than_the_tick_is_no_proof_within_it():
    just, unsettled = FRESH._replace(written_ago=COARSE_TICK / 2), Pace(0.0, 0.0, coarse=True)
    wait = wait_of(just, Settling(V1, 5.0), 5.0, unsettled, Writer.UNKNOWN)
    assert wait.until == pytest.approx(5.0 + COARSE_TICK / 2)


def test_no_verdict_asks_to_look_again_at_once():
    eager = Pace(0.0, 0.0)
    for writer in Writer:
        for how in How:
            verdict = wait_of(FRESH._replace(how=how), None, 5.0, eager, writer)
            assert verdict is None or verdict.until > 5.0


LOOKS = st.lists(
    st.tuples(
        st.floats(0.01, 2.0),  # seconds since the look before
        st.booleans(),  # whether it was written in between
        st.sampled_from(list(Writer)),
        st.sampled_from(list(How)),
        st.floats(0.0, 3.0),  # the age of the ctime
        st.sampled_from([0.0, 2.0, 4.0]),
    ),
    min_size=1,
    max_size=12,
)


@given(LOOKS)
def test_nothing_is_complete_that_has_a_writer_or_was_not_quiet(looks):
    """The model: quiet since the last change that we saw, for as long as is asked, and nobody writing."""
    now, size, since, settling, fresh = 0.0, 0, None, None, True
    for pause, written, writer, how, age, restless in looks:
        now += pause
        size += written
        if since is None or written:
            since = now
        version = Version(size, size + 1, size, 1)  # no whole second, which is waited for besides
        sighting = Sighting("a", version, how, age, age, linked=True, restless=restless)
        verdict = wait_of(sighting, settling, now, PACE, writer)
        quiet = now >= since + max(PACE.settle if writer is Writer.FREE else PACE.unasked, restless)
        skips = writer is Writer.FREE and not restless and (how is How.RENAMED or (fresh and age >= PACE.settle))
        assert (verdict is None) is (writer is not Writer.WRITTEN and (quiet or skips))
        if verdict is None:
            return
        settling, fresh = verdict.settling, False
