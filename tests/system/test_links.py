"""Links, hard and symbolic: no file outside of the inbox is read, and none outside of where results go is written."""

import os
from contextlib import suppress

import pytest


@pytest.fixture
def elsewhere(site):
    """Give a folder outside of all that is ours, with somebody's file in it."""
    elsewhere = site.base / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.txt").write_bytes(b"somebody's own words")
    return elsewhere


@pytest.mark.parametrize("root", ["outbox", "archive", "failed"])
def test_a_link_in_the_place_of_a_folder_that_we_write_to_leads_nobody_outside(site, elsewhere, root):
    site.configure(retry={"attempts": 2, "backoff": "100ms"})
    getattr(site, root).mkdir(exist_ok=True)
    os.symlink(elsewhere, getattr(site, root) / "sub")
    content = bytes(3000) if root == "failed" else b"three small words"
    site.drop("sub/a.txt", content)
    site.drop("beside.txt")
    daemon = site.start()
    site.await_words("beside.txt")
    if root == "outbox":
        assert site.await_failure("sub/a.txt")["class"] == "unplaceable"
    else:
        daemon.wait("file.unretired", path="sub/a.txt")
        assert (site.inbox / "sub/a.txt").read_bytes() == content
    assert os.listdir(elsewhere) == ["a.txt"]
    assert (elsewhere / "a.txt").read_bytes() == b"somebody's own words"


@pytest.mark.parametrize("root", ["outbox", "archive"])
def test_links_swapped_for_folders_that_we_write_to_lead_nobody_outside(site, elsewhere, bring_back, root):
    site.configure(inbox={"settle": "50ms"})
    site.start()
    folder = getattr(site, root) / "sub"
    names = [f"sub/{number}.txt" for number in range(200)]
    for name in names:
        site.drop(name)
        if folder.is_dir():
            away = folder.rename(folder.with_name("away"))
            with suppress(FileExistsError):
                os.symlink(elsewhere, folder)
                os.unlink(folder)
            bring_back(away, folder)
    site.await_empty_inbox(60)
    assert os.listdir(elsewhere) == ["a.txt"]
    found = [path.name for path in site.outbox.rglob("*.json")]
    assert sorted(found) == sorted(f"{os.path.basename(name)}.words.json" for name in names)


@pytest.mark.parametrize("after", ["archive", "delete"])
def test_a_hard_link_to_somebody_s_file_takes_the_link_and_leaves_the_file(site, elsewhere, after):
    site.configure(inbox={"after": after})
    os.link(elsewhere / "a.txt", site.inbox / "linked.txt")
    site.run_until_empty()
    assert site.words("linked.txt") == 3
    assert (elsewhere / "a.txt").read_bytes() == b"somebody's own words"
    assert (elsewhere / "a.txt").stat().st_nlink == (2 if after == "archive" else 1)


def test_two_names_of_one_file_have_a_result_and_an_archive_each(site):
    os.link(site.drop("one.txt"), site.inbox / "other.txt")
    site.run_until_empty()
    assert site.words("one.txt") == site.words("other.txt") == 3
    assert (site.archive / "one.txt").samefile(site.archive / "other.txt")


@pytest.mark.parametrize("settle", ["0ms", "200ms"])
def test_many_names_of_one_file_do_not_make_each_other_wait(site, settle):
    site.configure(inbox={"settle": settle})
    first = site.write("0.txt")
    for number in range(1, 300):
        os.link(first, site.inbox / f"{number}.txt")
    daemon = site.run_until_empty()
    assert len(list(site.archive.glob("*.txt"))) == 300
    assert not daemon.events("file.changed")
