"""The values that travel, and the three kinds of error, held against the words that the contract uses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from watcherd.model import (
    ROUNDING,
    Failure,
    File,
    FileFault,
    Kind,
    Record,
    Refused,
    SystemFault,
    Version,
    WatcherdError,
    readable,
)
from watcherd.states import State


def test_what_the_content_is_to_blame_for_is_not_tried_again():
    assert {failure for failure in Failure if failure.passing} == {
        Failure.TIMEOUT,
        Failure.CRASHED,
        Failure.UNPLACEABLE,
    }


SECOND = 10**9
SHOWN = Version(size=5, mtime_ns=9 * SECOND, ctime_ns=0, inode=77)
PUBLISHED = Record(
    1,
    File("scans", "a.txt", Version(1, 2, 3, 4)),
    Kind.TEXT,
    State.PUBLISHED,
    inode=SHOWN.inode,
    result_size=SHOWN.size,
    result_mtime_ns=SHOWN.mtime_ns,
    at=10,
)


@pytest.mark.parametrize(
    ("seen", "exact", "is_it"),
    [
        (SHOWN, True, True),
        (SHOWN._replace(ctime_ns=1), True, True),
        (SHOWN._replace(mtime_ns=SHOWN.mtime_ns + 1), True, False),
        (SHOWN._replace(mtime_ns=SHOWN.mtime_ns - 1), True, False),
        (SHOWN._replace(mtime_ns=(10 + ROUNDING) * SECOND), False, True),
        (SHOWN._replace(mtime_ns=(10 + ROUNDING) * SECOND + 1), False, False),
        (SHOWN._replace(size=6), False, False),
        (SHOWN._replace(inode=78), True, False),
    ],
)
def test_a_result_is_known_by_its_inode_its_size_and_its_time_as_far_as_that_stays(seen, exact, is_it):
    assert PUBLISHED.is_shown_by(seen, exact=exact) is is_it


@pytest.mark.parametrize("exact", [False, True])
def test_a_result_of_which_nothing_more_is_on_record_is_known_by_its_inode_and_the_time_of_its_row(exact):
    earlier = replace(PUBLISHED, result_size=0, result_mtime_ns=0)
    assert earlier.is_shown_by(SHOWN, exact=exact)
    assert not earlier.is_shown_by(SHOWN._replace(mtime_ns=13 * SECOND), exact=exact)


def test_the_three_kinds_of_error_tell_what_their_fate_needs():
    assert FileFault(Failure.CORRUPT, "bad", "a trace").trace == "a trace"
    assert SystemFault("full", root="/out", errno=28).errno == 28
    assert all(issubclass(kind, WatcherdError) for kind in (FileFault, SystemFault, Refused))


@pytest.mark.parametrize(
    ("text", "shown"), [("b\udcff", "b\ufffd"), ("\ud800", "\ufffd" * 3), ("\ud800\udcff", None)]
)
def test_any_text_can_be_written_also_one_with_surrogates_that_stand_for_no_byte(text, shown):
    written = readable(text).encode().decode()
    assert shown in {None, written}
