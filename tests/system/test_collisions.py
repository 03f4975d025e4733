"""Names that are taken: each input keeps a result and an archive of its own, and nobody's file is overwritten."""

import os

MINE = b"written by somebody else"


def test_twenty_texts_of_one_name_have_results_that_match_their_archives(site):
    site.start()
    for words in range(1, 21):
        site.drop("a.txt", b"word " * words)
        site.wait_for(lambda: not site.has("a.txt"), "its end")
    for name in ["a.txt", *(f"a.{number}.txt" for number in range(1, 20))]:
        assert site.words(name) == len((site.archive / name).read_bytes().split())


def test_somebody_s_own_file_where_one_of_ours_belongs_is_left_as_it_is(site):
    theirs = [site.write(name, MINE, root=site.base) for name in ("outbox/a.txt.words.json", "archive/b.txt")]
    folders = [site.outbox / "c.txt.words.json", site.archive / "d.txt"]
    for folder in folders:
        folder.mkdir()
    for name in "abcd":
        site.drop(f"{name}.txt")
    site.run_until_empty()
    assert [path.read_bytes() for path in theirs] == [MINE] * 2
    assert [os.listdir(folder) for folder in folders] == [[], []]
    assert [site.words(f"{name}.1.txt") for name in "abcd"] == [3] * 4
    assert all((site.archive / f"{name}.1.txt").exists() for name in "abcd")


def test_a_file_in_the_place_of_a_folder_of_results_harms_only_what_belongs_there(site):
    site.configure(retry={"attempts": 2, "backoff": "100ms"})
    site.write("sub", MINE, root=site.outbox)
    site.drop("sub/a.txt")
    site.drop("b.txt")
    site.start()
    site.await_words("b.txt")
    assert site.await_failure("sub/a.txt")["class"] == "unplaceable"
    assert (site.outbox / "sub").read_bytes() == MINE
