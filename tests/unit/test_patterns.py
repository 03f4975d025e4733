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


names = st.sampled_from(["a", "b", "ab", "aa"])
parts = st.sampled_from(["**", "**", "a", "b", "*", "a*", "*b", "?", "a*a"])
lines = st.tuples(
    st.sampled_from(["", "!", "/"]), st.lists(parts, min_size=1, max_size=8), st.sampled_from(["", "/"])
)


@given(
    st.lists(lines.map(lambda line: line[0] + "/".join(line[1]) + line[2]), min_size=1, max_size=3),
    st.lists(st.lists(names, min_size=1, max_size=10).map("/".join), max_size=20),
)
@example(["**/a/**/b", "!a/"], ["a/b/a/b/b"])
def test_patterns_of_any_folders_fit_what_they_do_for_pathspec_and_weigh_as_much(patterns, paths):
    plain = GitIgnoreSpec.from_lines(patterns)
    ours = compiled(patterns)
    for path in paths:
        assert ours.check_file(path).include == plain.check_file(path).include


@pytest.mark.parametrize("start", ["**/", "", "/**/"])
@pytest.mark.parametrize("name", ["a", "a*", "*", "?", "a/a", "*/a*"])
def test_the_deepest_path_of_a_stranger_is_held_against_many_folders_at_once(start, name):
    pattern = start + f"{name}/**/" * 8 + "b.txt"
    assert not fits(pattern, "a/" * 2000 + "c.txt")
    assert fits(pattern, "a/" * 2000 + "b.txt")


@pytest.mark.parametrize("pattern", ["[[]draft] *.txt", "[&&[]draft*", "[a||[]*", "[~~[]*t", "[]a[]d*"])
def test_a_bracket_may_hold_any_sign_and_nothing_is_warned_of(pattern):
    assert fits(pattern, "[draft] one.txt")
    assert not fits(pattern, r"\draft] one.txt")


def test_a_bracket_fits_no_slash():
    assert fits("a[!b]c", "adc")
    assert not fits("a[!b]c", "a/c")
    assert not fits("*[+-9]*c", "a/c")
