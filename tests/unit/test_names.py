"""The names that are derived from a source's: short enough, readable, and never the same for two."""

from __future__ import annotations

import os
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from watcherd.publish.roots.names import LONGEST, derived

#: Any name that the kernel can hold: 1 to 255 bytes without a slash or NUL, also those that are no text.
names = (
    st.binary(min_size=1, max_size=255).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_")).map(os.fsdecode)
)
readable = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=255
).filter(lambda name: len(os.fsencode(name)) <= LONGEST)
numbers = st.integers(0, 10**6)
affixes = st.sampled_from([("", ".words.json"), ("grayscale_", ""), ("", ""), ("", ".error.json")])


@pytest.mark.parametrize(
    ("source", "number", "prefix", "suffix", "expected"),
    [
        ("a.txt", 0, "", ".words.json", "a.txt.words.json"),
        ("a.txt", 1, "", ".words.json", "a.1.txt.words.json"),
        ("b.jpg", 0, "grayscale_", "", "grayscale_b.jpg"),
        ("b.jpg", 1, "grayscale_", "", "grayscale_b.1.jpg"),
        ("a.txt", 1, "", "", "a.1.txt"),
        ("a.txt", 0, "", ".error.json", "a.txt.error.json"),
        ("README", 2, "", ".words.json", "README.2.words.json"),
        (".bashrc", 1, "", "", ".bashrc.1"),
        ("v1.2.tar.gz", 3, "", "", "v1.2.tar.3.gz"),
        ("ends.", 1, "", "", "ends.1."),
        ("a." + "x" * 32, 1, "", "", "a.1." + "x" * 32),
        ("no extension." + "x" * 33, 1, "", "", "no extension." + "x" * 33 + ".1"),
        ("a" * 251 + ".txt", 0, "", "", "a" * 251 + ".txt"),
        ("no extension. " + "x" * 40, 1, "", "", "no extension. " + "x" * 40 + ".1"),
    ],
)
def test_the_names_of_the_contract(source, number, prefix, suffix, expected):
    assert derived(source, number, prefix=prefix, suffix=suffix) == expected


@given(names | readable, numbers, affixes)
@example("ä" * 127, 0, ("grayscale_", ""))
@example("x" * 255, 10**6, ("", ".words.json"))
@example("x" * 223 + "." + "y" * 31, 1, ("grayscale_", ""))
def test_no_name_is_longer_than_the_kernel_allows(source, number, around):
    prefix, suffix = around
    name = derived(source, number, prefix=prefix, suffix=suffix)
    assert 0 < len(os.fsencode(name)) <= LONGEST
    assert name.endswith(suffix)
    assert "/" not in name


@given(names | readable, names | readable, affixes)
def test_two_sources_never_share_a_name(one, other, around):
    prefix, suffix = around
    if one != other:
        assert derived(one, prefix=prefix, suffix=suffix) != derived(other, prefix=prefix, suffix=suffix)


@given(names | readable, numbers, numbers, affixes)
def test_two_numbers_never_share_a_name(source, one, other, around):
    prefix, suffix = around
    if one != other:
        assert derived(source, one, prefix=prefix, suffix=suffix) != derived(
            source, other, prefix=prefix, suffix=suffix
        )


@given(names | readable, numbers, affixes)
def test_a_name_survives_the_way_to_the_kernel_and_back(source, number, around):
    prefix, suffix = around
    name = derived(source, number, prefix=prefix, suffix=suffix)
    assert os.fsdecode(os.fsencode(name)) == name


@given(readable)
def test_no_character_is_cut_in_half(source):
    assert derived(source, suffix=".words.json").isprintable() or not source.isprintable()


def test_a_long_name_is_its_longest_beginning_the_hash_of_its_source_and_its_ending():
    source = "é" * 125 + ".txt"  # 254 bytes
    name = derived(source, 7, suffix=".words.json")
    ending = f"~{sha256(os.fsencode(source)).hexdigest()[:8]}.7.words.json"
    assert name.endswith(ending)
    assert name.removesuffix(ending) == "é" * ((LONGEST - len(ending)) // 2)


def test_of_a_long_name_in_long_characters_no_more_is_cut_than_must_be():
    source = "\N{GRINNING FACE}" * 63
    name = derived(source, suffix=".words.json")
    assert name == f"{source[:58]}~{sha256(source.encode()).hexdigest()[:8]}.words.json"


def test_a_long_picture_keeps_its_extension():
    name = derived("p" * 250 + ".jpeg", prefix="grayscale_")
    assert name.startswith("grayscale_ppp")
    assert name.endswith(".jpeg")
    assert len(name) == LONGEST


def test_what_is_no_text_is_cut_by_bytes():
    source = os.fsdecode(b"\xff" * 251 + b".txt")
    raw = os.fsencode(derived(source, suffix=".words.json"))
    assert len(raw) == LONGEST
    assert raw.startswith(b"\xff" * 200)
