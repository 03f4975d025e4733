"""Names that are taken: each input keeps a result and an archive of its own, and nobody's file is overwritten."""

import pytest

MINE = b"written by somebody else"


def test_two_photos_of_one_name_have_two_results_and_two_archives_of_the_same_number(site, picture):
    site.start()
    for seed in (1, 2):
        site.drop("photo.jpg", picture((32, 32), "JPEG", seed))
        site.await_empty_inbox()
    assert (site.archive / "photo.jpg").read_bytes() == picture((32, 32), "JPEG", 1)
    assert (site.archive / "photo.1.jpg").read_bytes() == picture((32, 32), "JPEG", 2)
    assert sorted(path.name for path in site.outbox.glob("*.jpg")) == ["grayscale_photo.1.jpg", "grayscale_photo.jpg"]


def test_twenty_texts_of_one_name_have_results_that_match_their_archives(site):
    site.start()
    for words in range(1, 21):
        site.drop("a.txt", b"word " * words)
        site.wait_for(lambda: not site.has("a.txt"), "its end")
    for name in ["a.txt", *(f"a.{number}.txt" for number in range(1, 20))]:
        assert site.words(name) == len((site.archive / name).read_bytes().split())


@pytest.mark.parametrize("taken", ["outbox/a.txt.words.json", "archive/a.txt"])
def test_somebody_s_own_file_where_one_of_ours_belongs_is_left_as_it_is(site, taken):
    site.write(taken, MINE, root=site.base)
    site.drop("a.txt")
    site.run_until_empty()
    assert (site.base / taken).read_bytes() == MINE
    assert site.words("a.1.txt") == 3
    assert (site.archive / "a.1.txt").exists()


def test_a_folder_where_a_result_belongs_is_left_as_it_is(site):
    (site.outbox / "a.txt.words.json").mkdir()
    site.drop("a.txt")
    site.run_until_empty()
    assert site.words("a.1.txt") == 3


def test_a_file_in_the_place_of_a_folder_of_results_harms_only_what_belongs_there(site):
    site.configure(retry={"attempts": 2, "backoff": "100ms"})
    site.write("sub", MINE, root=site.outbox)
    site.drop("sub/a.txt")
    site.drop("b.txt")
    site.start()
    site.await_words("b.txt")
    assert site.await_failure("sub/a.txt")["class"] == "unplaceable"
    assert (site.outbox / "sub").read_bytes() == MINE


def test_a_kept_text_whose_result_is_somebody_s_own_is_result_occupied(site):
    site.configure(inbox={"after": "keep"})
    site.write("a.txt.words.json", MINE, root=site.outbox)
    site.drop("a.txt")
    daemon = site.start()
    daemon.wait("file.quarantined", path="a.txt")
    assert site.failure("a.txt")["class"] == "result-occupied"
    assert (site.outbox / "a.txt.words.json").read_bytes() == MINE
    assert site.has("a.txt")


def test_texts_of_one_stem_and_two_extensions_have_two_results(site):
    site.drop("a.txt", b"one")
    site.drop("a.md", b"one two")
    site.run_until_empty()
    assert (site.words("a.txt"), site.words("a.md")) == (1, 2)


def test_a_bad_file_of_a_name_that_was_set_aside_before_gets_a_number_for_both(site):
    site.start()
    for size in (300, 301):
        site.drop("bad.txt", bytes(size))
        site.await_empty_inbox()
    assert [(site.failed / name).stat().st_size for name in ("bad.txt", "bad.1.txt")] == [300, 301]
    assert site.failure("bad.1.txt")["class"] == "not-text"
