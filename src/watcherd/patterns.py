"""Gitignore patterns as pathspec reads them, without the time that many stars take: names are a stranger's (pure).

By pathspec's own expression `*_*_*_*_*.csv` takes 24 s to miss a name of 250 underscores, in which no other thread
runs. What stands between two stars may as well be at the first place where it fits as at any later one, so no other
is tried (by atomic groups; Python's own `fnmatch` does the same). So may what stands before the last of several
`**/`: in every way, four of them take 27 s to miss a path of 400 folders.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

if TYPE_CHECKING:
    from collections.abc import Iterable

# What pathspec makes of a pattern: a star, a bracket of its own, and what else fits one character of a name.
_STAR = r"\[\^/\]\*"
_BRACKET = r"\[(?!\^/\])(\^?\]?)([^]]*)\]"
_ONE = r"\(\?!/\)\[\^?\]?(?:\\.|[^]\\])*\]|\\.|\[\^/\](?![*+])|[^][(){}?*+|^$./\\]"

# And of a `**/` at the beginning, and further on.
_ANY_FOLDERS, _BETWEEN_FOLDERS = "^(?:.+/)?", "(?:/.+)?/"

_BRACKETS = re.compile(rf"\\.|{_BRACKET}", re.DOTALL)
_SPECIAL = re.compile(r"([\[&|~])")  # `re` warns of these in brackets, where they may come to mean more
_STARS = re.compile(f"(?:{_STAR})+")
_BETWEEN = re.compile(f"{_STAR}((?:{_ONE})+)(?={_STAR})", re.DOTALL)


def compiled(patterns: Iterable[str]) -> GitIgnoreSpec:
    """Return what tells whether a path, by `in_one_line`, fits. Raises ValueError where one is none."""
    try:
        return GitIgnoreSpec.from_lines(map(in_one_line, patterns), _pattern, backend="simple")
    except re.error as error:  # of a range that runs backwards, as [z-a]
        raise ValueError(str(error)) from error


def in_one_line(text: str) -> str:
    """Replace newlines, which the dots of pathspec's expressions do not match, by a byte that no name has."""
    return text.replace("\n", "\0")


def _pattern(line: str) -> GitIgnoreSpecPattern:
    regex, include = GitIgnoreSpecPattern.pattern_to_regex(line)
    return GitIgnoreSpecPattern(regex and re.compile(_bounded(regex)), include)


def _bounded(regex: str) -> str:
    regex = _STARS.sub("[^/]*", _BRACKETS.sub(_within_a_name, regex))
    return _at_first_folders(_BETWEEN.sub(r"(?>[^/]*?\1)", regex))


def _at_first_folders(regex: str) -> str:
    """Fit what stands before the last `**/` where it first does; what comes last shows whether a folder is meant."""
    first, *others = regex.split(_BETWEEN_FOLDERS)
    if not others:
        return regex
    if first.startswith(_ANY_FOLDERS):
        first = f"^(?>(?:.+?/)??{first.removeprefix(_ANY_FOLDERS)}(?=/))"
    *between, last = others
    return "".join([first, *(f"(?>(?:/.+?)??/{names}(?=/))" for names in between), _BETWEEN_FOLDERS, last])


def _within_a_name(found: re.Match[str]) -> str:
    """Return a bracket that fits no slash, as git has it; what is escaped is none."""
    begin, rest = found.groups()
    return found[0] if rest is None else f"(?!/)[{begin}" + _SPECIAL.sub(r"\\\1", rest) + "]"
