from watcherd.intake import restless
from watcherd.intake.restless import LONGEST, Restless
from watcherd.intake.settle import Pace

PACE = Pace(settle=1.0, unasked=10.0)


def test_each_change_asks_more_quiet_and_none_is_asked_once_an_hour_was_calm():
    asked = Restless()
    assert asked.quiet("a", 1, 0.0) == 0.0
    for now, seconds in [(0.0, 2.0), (10.0, 4.0), (20.0, 8.0)]:
        asked.changed("a", 1, PACE, now)
        assert asked.quiet("a", 1, now) == seconds
    assert asked.quiet("a", 1, 20.0 + LONGEST) == 0.0


def test_another_file_of_the_same_name_is_asked_nothing():
    asked = Restless()
    asked.changed("a", 1, PACE, 0.0)
    assert asked.quiet("a", 2, 0.0) == 0.0


def test_the_last_to_have_changed_are_remembered(monkeypatch):
    monkeypatch.setattr(restless, "MOST", 2)
    asked = Restless()
    for path in "abac":
        asked.changed(path, 1, PACE, 0.0)
    assert [path for path in "abc" if asked.quiet(path, 1, 0.0)] == ["a", "c"]
