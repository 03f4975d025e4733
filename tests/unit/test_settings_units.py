"""Durations, sizes and shares as people write them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from watcherd.settings.units import (
    LARGEST,
    LONGEST,
    MinFree,
    Unreadable,
    duration,
    duration_text,
    min_free,
    size,
    size_text,
)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        *(("250ms", 0.25), ("5s", 5), ("2m", 120), ("1.5h", 5400), ("90d", 7_776_000), ("1h30m", 5400)),
        *((" 5 s ", 5), ("5 MIN", 300), ("1w", 604_800), ("0s", 0), ("1_500ms", 1.5)),
    ],
)
def test_a_duration_is_read_as_people_write_it(written, seconds):
    assert duration(written) == seconds


@pytest.mark.parametrize("written", ["", "5", "-5s", "5 parsecs", "5sx", "s", 5, 5.0, None, True, ["5s"]])
def test_what_is_no_duration_is_refused_with_what_to_write(written):
    with pytest.raises(Unreadable, match="no duration") as refused:
        duration(written)
    assert "s" in refused.value.mend


def test_a_number_without_unit_is_mended_with_seconds():
    with pytest.raises(Unreadable) as refused:
        duration(30)
    assert '"30s"' in refused.value.mend


@pytest.mark.parametrize("written", ["999999999d", "9" * 400 + "s"])
def test_a_duration_beyond_a_century_is_refused(written):
    with pytest.raises(Unreadable, match="too large"):
        duration(written)


@given(st.floats(1e-9, LONGEST))
@example(0.0)
@example(0.000_01)
def test_a_written_duration_reads_as_itself(seconds):
    assert duration(duration_text(seconds)) == pytest.approx(seconds, rel=1e-8)


@given(st.floats(1e-9, 0.99))
@example(0.000_000_1)
@example(0.333)
def test_a_written_share_reads_as_itself(share):
    assert min_free(str(MinFree(share=share))).share == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0s"),
        (0.25, "250ms"),
        (1, "1s"),
        (90, "90s"),
        (120, "2m"),
        (3600, "1h"),
        (7_776_000, "90d"),
        (1.5, "1500ms"),
    ],
)
def test_a_duration_is_written_with_the_largest_whole_unit(seconds, written):
    assert duration_text(seconds) == written


@pytest.mark.parametrize(
    ("written", "count"),
    [
        *(("64MiB", 64 << 20), ("2GB", 2_000_000_000), ("2G", 2 << 30), ("512", 512), (512, 512), ("7B", 7)),
        *(("1.5 kib", 1536), ("1tib", 1 << 40), ("0.5PB", 5 * 10**14), ("1_000_000", 10**6), ("1_024 MiB", 1 << 30)),
    ],
)
def test_a_size_is_read_as_people_write_it(written, count):
    assert size(written) == count


@pytest.mark.parametrize("written", ["", "MiB", "-1MiB", "1 XB", "1i", "1%", "_1", "1_", "1__0", -1, 1.5, True, None])
def test_what_is_no_size_is_refused(written):
    with pytest.raises(Unreadable, match="no size"):
        size(written)


def test_a_size_that_no_kernel_can_hold_is_refused():
    assert size(LARGEST) == LARGEST
    for larger in (LARGEST + 1, "9" * 400 + ".5", "8192.0PiB"):
        with pytest.raises(Unreadable, match="too large"):
            size(larger)


@given(st.integers(0, LARGEST))
def test_a_written_size_reads_as_itself(count):
    assert size(size_text(count)) == count


def test_a_size_is_written_in_binary_units_where_it_is_whole_in_them():
    assert [size_text(count) for count in (1 << 30, 10**9, 1500, 0)] == ["1GiB", "1GB", "1500B", "0B"]


def test_a_size_is_written_with_the_largest_unit_in_which_it_is_whole():
    assert [size_text(count) for count in (10**10, 512_000, 500 << 10)] == ["10GB", "500KiB", "500KiB"]


def test_a_share_is_of_the_file_system_and_a_size_is_not():
    assert min_free("1%").of(1000) == 10
    assert min_free("2KiB").of(1000) == 2048


@pytest.mark.parametrize("written", ["100%", "250%"])
def test_a_share_that_leaves_nothing_is_refused(written):
    with pytest.raises(Unreadable, match="leaves nothing"):
        min_free(written)


@pytest.mark.parametrize("written", ["", "much", "-1%", None, 0.5])
def test_what_is_neither_share_nor_size_is_refused(written):
    with pytest.raises(Unreadable, match="neither a share nor a size"):
        min_free(written)


def test_what_must_stay_free_is_written_as_it_was_read():
    assert [str(min_free(written)) for written in ("1%", "0.5%", "2GiB")] == ["1%", "0.5%", "2GiB"]
