import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.intake.rules import NEVER_ENTERED, Ignored, Rules
from watcherd.model import Kind

EXTENSIONS = {Kind.TEXT: frozenset({".txt", ".MD"}), Kind.IMAGE: frozenset({".jpg"})}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.txt", Kind.TEXT),
        ("a.TXT", Kind.TEXT),
        ("deep/er/b.md", Kind.TEXT),
        ("photo.one.JPG", Kind.IMAGE),
        ("with space/\U0001f600.txt", Kind.TEXT),
        ("undecodable\udcff.txt", Kind.TEXT),
        ("new\nline.txt", Kind.TEXT),
        ("a.tmp/b.txt", Kind.TEXT),
    ],
)
def test_a_name_says_the_kind_in_any_case_of_its_extension(path, kind):
    assert Rules(EXTENSIONS).kind(path) is kind


@pytest.mark.parametrize(
    "name",
    [
        ".a.txt", "a.txt~", "a.txt.tmp", "a.TXT.PART", "a.temp", "a.partial", "a.filepart", "a.crdownload",
        "a.download", "a.txt.swp", "~$a.txt", "Thumbs.db", "desktop.ini",
    ],
)  # fmt: skip
@pytest.mark.parametrize("folder", ["", "sub/"])
def test_names_of_unfinished_and_private_files_are_never_taken(name, folder):
    extensions = {Kind.TEXT: frozenset({"." + name.rpartition(".")[2].lower(), ".txt", ".txt~"})}
    assert "unfinished" in Rules(extensions).kind(folder + name).reason


@pytest.mark.parametrize("path", ["a", "txt", "a.xyz", "txt.", "a.txt/b", "sub.txt/readme", ""])
def test_what_no_processor_claims_is_ignored_and_the_reason_says_so(path):
    assert Rules(EXTENSIONS).kind(path) == Ignored("no processor claims its extension")


def test_only_what_include_names_and_a_processor_claims_is_taken():
    rules = Rules(EXTENSIONS, include=("scans/", "*.md", "*.xyz"))
    assert rules.kind("scans/2024/a.txt") is Kind.TEXT
    assert rules.kind("b.md") is Kind.TEXT
    assert rules.kind("b.txt") == Ignored("matches no pattern of include")
    assert isinstance(rules.kind("b.xyz"), Ignored)


def test_exclude_beats_include():
    rules = Rules(EXTENSIONS, include=("*.txt",), exclude=("draft*",))
    assert rules.kind("a.txt") is Kind.TEXT
    assert rules.kind("draft1.txt") == Ignored("matches a pattern of exclude")


def test_a_later_pattern_takes_back_an_earlier_one():
    rules = Rules(EXTENSIONS, exclude=("*.txt", "!keep.txt"))
    assert isinstance(rules.kind("a.txt"), Ignored)
    assert rules.kind("keep.txt") is Kind.TEXT


@pytest.mark.parametrize(
    "folder", [".watcherd", "sub/.git", *sorted(NEVER_ENTERED), "System Volume Information", "x/@eaDir"]
)
def test_folders_of_other_programs_are_never_entered(folder):
    assert not Rules(EXTENSIONS).enters(folder)


def test_an_excluded_folder_is_not_entered_and_an_anchored_pattern_means_the_root():
    rules = Rules(EXTENSIONS, exclude=("/old/", "cache/"))
    assert not rules.enters("old")
    assert rules.enters("sub/old")
    assert not rules.enters("sub/cache")


def test_without_recursion_only_what_lies_in_the_root_is_taken_and_no_folder_entered():
    rules = Rules(EXTENSIONS, recursive=False)
    assert rules.kind("a.txt") is Kind.TEXT
    assert "not recursive" in rules.kind("sub/a.txt").reason
    assert not rules.enters("sub")


@pytest.mark.parametrize("pattern", ["*.txt", "two*/", "**/a.*", "two\nlines/", "/two\nlines/a.txt"])
def test_patterns_mean_folders_with_a_newline_in_their_name_too(pattern):
    path = "two\nlines/below/a.txt" if pattern.startswith("*") else "two\nlines/a.txt"
    assert isinstance(Rules(EXTENSIONS, exclude=(pattern,)).kind(path), Ignored)
    assert Rules(EXTENSIONS, include=(pattern,)).kind(path) is Kind.TEXT
    assert not Rules(EXTENSIONS, exclude=("cache/",)).enters("two\nlines/cache")


@given(st.text(alphabet=st.characters(exclude_characters="/\0"), min_size=1))
def test_an_extension_admits_any_name_that_is_not_private(stem):
    kind = Rules(EXTENSIONS).kind(f"folder/{stem}.txt")
    assert (kind is Kind.TEXT) is not stem.startswith((".", "~$"))


def test_rules_of_the_same_words_are_equal():
    assert Rules(EXTENSIONS, exclude=("a",)) == Rules(dict(EXTENSIONS), exclude=("a",))
