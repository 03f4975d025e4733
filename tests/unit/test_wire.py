from __future__ import annotations

import errno
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.lanes import wire
from watcherd.lanes.slot import DraftError
from watcherd.model import Failure, FileFault, Limits, Picture, Words

PICTURE = Picture(format="PNG", mode="L", width=3, height=2)
RESULTS = st.one_of(
    st.builds(
        Picture,
        format=st.sampled_from(["PNG", "JPEG"]),
        mode=st.sampled_from(["L", "LA"]),
        width=st.integers(0),
        height=st.integers(0),
    ),
    st.builds(
        Words,
        words=st.integers(0),
        lines=st.integers(0),
        characters=st.integers(0),
        bytes=st.integers(0),
        encoding=st.text(max_size=9),
    ),
)


@given(st.builds(Limits, max_pixels=st.integers(1), timeout=st.floats(0.1, 1e6)))
def test_every_limit_arrives_as_it_was_sent(limits):
    assert wire.read_request(wire.request(7, limits)) == (7, limits)


@given(RESULTS)
def test_every_result_arrives_as_it_was_sent(result):
    assert wire.read_answer(wire.answer(7, result), 7) == result


@given(st.sampled_from(Failure), st.text(), st.text())
def test_a_fault_arrives_with_its_class_its_message_and_its_trace(failure, message, trace):
    with pytest.raises(FileFault) as caught:
        wire.read_answer(wire.answer(7, FileFault(failure, message, trace)), 7)
    assert (caught.value.failure, str(caught.value), caught.value.trace) == (failure, message, trace)


def test_the_longest_words_still_fit_a_packet():
    longest = "\N{GRINNING FACE}" * 1_000_000
    assert len(wire.answer(7, FileFault(Failure.CRASHED, longest, longest))) <= wire.LONGEST
    assert len(wire.answer(7, OSError(errno.EIO, longest))) <= wire.LONGEST


@pytest.mark.parametrize("kind", [OSError, DraftError])
def test_an_error_of_the_kernel_s_arrives_with_its_number_and_its_side(kind):
    with pytest.raises(OSError, match="full") as caught:
        wire.read_answer(wire.answer(7, kind(errno.ENOSPC, "full")), 7)
    assert type(caught.value) is kind
    assert caught.value.errno == errno.ENOSPC


@given(st.binary(max_size=200))
def test_garbage_is_a_value_error(packet):
    with pytest.raises(ValueError, match=r"."):
        wire.read_answer(packet, 7)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(
    st.fixed_dictionaries(
        {"id": st.just(7)},
        optional={
            "failure": JSON | st.sampled_from(Failure),
            "message": JSON,
            "trace": JSON,
            "errno": JSON,
            "draft": JSON,
            "result": JSON | st.sampled_from(["Picture", "Words"]),
            "fields": JSON,
        },
    )
)
def test_an_answer_of_the_wrong_form_is_a_value_error_and_nothing_worse(said):
    try:
        wire.read_answer(json.dumps(said).encode(), 7)
    except (ValueError, OSError, FileFault) as error:
        assert not isinstance(error, FileFault) or type(said["message"]) is str  # noqa: PT017 (any may come)


def test_a_number_where_a_word_belongs_is_no_result():
    forged = wire.answer(7, PICTURE).replace(b'"PNG"', b"5")
    with pytest.raises(ValueError, match="not an answer"):
        wire.read_answer(forged, 7)


def test_the_answer_to_another_job_is_no_answer():
    with pytest.raises(ValueError, match="job 6 instead of 7"):
        wire.read_answer(wire.answer(6, PICTURE), 7)


def test_json_nested_without_end_is_a_value_error():
    with pytest.raises(ValueError, match="not an answer"):
        wire.read_answer(b"[" * 60_000, 7)
