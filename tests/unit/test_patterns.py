"""Gitignore patterns: what they fit is what pathspec has them fit, at once whatever the name, and without a word."""

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from watcherd.patterns import compiled


def fits(pattern, path):
    return compiled([pattern]).match_file(path)


@pytest.mark.parametrize("between", ["_", "?", "[0-9]", "[!a]", r"\*", "_?[0-9]"])
def test_the_longest_name_of_a_stranger_is_held_against_many_stars_at_once(between):
    pattern = "*" + f"{between}*" * 12 + ".csv"
    assert not fits(pattern, "0_*0" * 62 + ".txt")
    assert fits(pattern, "0_*0" * 62 + ".csv")


@given(
    st.text("ab*?/!\\.-^(", min_size=1, max_size=10),
    st.lists(st.text("ab/.-^(", min_size=1, max_size=10), max_size=20),
)
@example("a*b*c", ["ab/bc", "abc"])
@example("***a", ["ba"])
def test_a_pattern_fits_what_it_does_for_pathspec(pattern, paths):
    try:
        plain = GitIgnoreSpec.from_lines([pattern])
    except ValueError:
        reject()
    for path in paths:
        assert fits(pattern, path) == plain.match_file(path)


@pytest.mark.parametrize("pattern", ["[[]draft] *.txt", "[&&[]draft*", "[a||[]*", "[~~[]*t", "[]a[]d*"])
def test_a_bracket_may_hold_any_sign_and_nothing_is_warned_of(pattern):
    assert fits(pattern, "[draft] one.txt")
    assert not fits(pattern, r"\draft] one.txt")


def test_a_bracket_fits_no_slash():
    assert fits("a[!b]c", "adc")
    assert not fits("a[!b]c", "a/c")
    assert not fits("*[+-9]*c", "a/c")
