"""How long a drain waits where something is paused."""

from watcherd.drain import PATIENCE, Patience


def after(*steps):
    """Return what is said after each step of (files that have ended, seconds, whether something is paused)."""
    patience = Patience()
    return [patience.is_over(files, now, paused=paused) for files, now, paused in steps]


LONG = PATIENCE + 1


def test_it_is_over_once_nothing_has_ended_for_long_while_something_is_paused():
    assert after((0, 0, True), (0, PATIENCE, True), (0, LONG, True)) == [False, False, True]


def test_work_that_takes_long_is_no_pause():
    assert after((0, 0, False), (0, 100, False), (0, 101, True)) == [False, False, False]


def test_a_file_that_ends_begins_it_anew():
    assert after((0, 0, True), (1, LONG, True), (1, LONG + 1, True)) == [False, False, False]


def test_a_pause_that_comes_back_before_any_file_has_ended_is_the_same_one():
    assert after((0, 0, True), (0, 2, False), (0, LONG, False), (0, LONG, True)) == [False, False, False, True]
