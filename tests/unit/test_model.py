"""The values that travel, and the three kinds of error, held against the words that the contract uses."""

from __future__ import annotations

import pytest

from watcherd.model import (
    Failure,
    FileFault,
    Refused,
    SystemFault,
    WatcherdError,
)
from watcherd.paths import readable


def test_what_the_content_is_to_blame_for_is_not_tried_again():
    assert {failure for failure in Failure if failure.passing} == {
        Failure.TIMEOUT,
        Failure.CRASHED,
        Failure.UNPLACEABLE,
    }


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
