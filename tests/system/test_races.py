"""People who do things at the worst moment: each version that stayed has its one result, and nothing is lost."""

import os
import random
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest


def replaced_again_and_again(site, seed):
    """Rename ever longer texts over one name; return the words of those that stayed until they were taken."""
    dice = random.Random(seed)
    stayed = {60}
    for words in range(1, 61):
        site.drop("a.txt", b"word " * words)
        if dice.random() < 0.2:
            # With a result of its own: what is taken in its predecessor's place is given back.
            site.wait_for(lambda words=words: words in counted(site).values() and not site.has("a.txt"), "its end")
            stayed.add(words)
    site.await_empty_inbox()
    return stayed


def counted(site):
    """Return the words of each result, by the name of its source."""
    names = [path.name.removesuffix(".words.json") for path in site.outbox.glob("*.json")]
    return {name: site.words(name) for name in names}


def test_a_newer_file_renamed_over_an_input_again_and_again_mixes_nothing_up(site):
    daemon = site.start()
    stayed = replaced_again_and_again(site, seed=1)
    assert daemon.stop() == 0
    results = counted(site)
    archived = {path.name: len(path.read_bytes().split()) for path in site.archive.glob("*.txt")}
    assert {name: results[name] for name in archived} == archived
    assert stayed <= set(archived.values())
    # A version that was replaced in the instant before it was taken has a result alone.
    assert len(set(results.values())) == len(results)
    assert not site.drafts()


def test_with_delete_a_newer_file_is_never_deleted_in_the_place_of_its_predecessor(site):
    site.configure(inbox={"after": "delete"})
    daemon = site.start()
    stayed = replaced_again_and_again(site, seed=2)
    assert daemon.stop() == 0
    results = counted(site)
    assert stayed <= set(results.values())
    assert len(set(results.values())) == len(results)
    assert not site.drafts()


@pytest.mark.parametrize("after", ["archive", "delete"])
def test_a_newer_file_that_comes_as_its_predecessor_is_retired_is_not_taken_for_it(site, after):
    site.configure(inbox={"after": after})
    site.start()
    for number in range(0, 20, 2):
        site.drop("a.txt", b"word " * (number + 1))
        newer = site.write("newer", b"word " * (number + 2), root=site.base)
        ends = time.monotonic() + 30
        while not os.path.exists(site.outbox / result_name(number)):  # no pause: the window is narrow
            assert time.monotonic() < ends
        newer.rename(site.inbox / "a.txt")
        site.wait_for((site.outbox / result_name(number + 1)).exists, "the result of the newer one")
        site.wait_for(lambda: not site.has("a.txt"), "its end")
    assert sorted(counted(site).values()) == list(range(1, 21))


def result_name(number):
    return f"a.{number}.txt.words.json" if number else "a.txt.words.json"


@pytest.mark.parametrize("after", ["archive", "delete"])
def test_an_image_that_is_replaced_while_it_is_worked_on_gets_the_newer_one_s_result(site, heavy, picture, after):
    site.configure(inbox={"after": after})
    site.drop("a.webp", heavy)
    daemon = site.start()
    site.await_work()
    newer = picture((30, 20), "WEBP")
    site.drop("a.webp", newer)
    site.await_empty_inbox()
    assert daemon.stop() == 0
    assert [event["size"] for event in daemon.events("file.published")] == ["30x20"]
    assert len([*site.outbox.glob("*.webp")]) == 1


def test_a_text_that_is_appended_to_while_it_waits_is_counted_whole(site):
    daemon = site.start()
    written = 0
    for _ in range(40):
        with (site.inbox / "a.txt").open("ab") as file:
            file.write(b"word " * 50)
            written += 50
    site.await_empty_inbox()
    assert daemon.stop() == 0
    assert sum(counted(site).values()) == written


def test_files_that_are_moved_to_and_fro_all_come_to_one_end(site):
    site.start()
    dice = random.Random(3)
    for name in ("a", "b"):
        (site.inbox / name).mkdir()
    for number in range(150):
        site.write(f"a/{number}.txt", b"word " * (number + 1))
    for _ in range(600):
        number, (source, target) = dice.randrange(150), dice.choice([("a", "b"), ("b", "a")])
        try:
            os.rename(site.inbox / source / f"{number}.txt", site.inbox / target / f"{number}.txt")
        except FileNotFoundError:
            continue
    site.await_empty_inbox()
    # One that was moved there and back in the instant before it was taken has a number in its name.
    paths = site.archive.glob("[ab]/*.txt")
    ended = [(path.name.partition(".")[0], len(path.read_bytes().split())) for path in paths]
    assert sorted(ended) == sorted((str(number), number + 1) for number in range(150))
    # One that was moved in the instant before it was taken has a result under either name.
    results = {str(path.relative_to(site.outbox)) for path in site.outbox.rglob("*.json")}
    archived = {f"{path.relative_to(site.archive)}.words.json" for path in site.archive.glob("[ab]/*.txt")}
    assert archived <= results


def test_swapped_links_lead_nobody_outside_the_inbox(site, bring_back):
    secret = site.base / "secret"
    secret.mkdir()
    (secret / "a.txt").write_bytes(b"secret " * 1000)
    site.start()
    (site.inbox / "sub").mkdir()
    for number in range(200):
        site.drop("sub/a.txt", b"open")
        (site.inbox / "sub").rename(site.inbox / f".away-{number}")
        with suppress(FileExistsError):
            os.symlink(secret, site.inbox / "sub")
            os.unlink(site.inbox / "sub")
        bring_back(site.inbox / f".away-{number}", site.inbox / "sub")
    site.await_empty_inbox()
    for path in site.outbox.rglob("*.json"):
        assert b'"words": 1,' in path.read_bytes()
    assert (secret / "a.txt").exists()


@pytest.mark.parametrize("root", ["outbox", "archive"])
def test_somebody_s_own_file_that_comes_in_the_instant_of_ours_is_left_as_it_is(site, root):
    dice, mine = random.Random(root), b"somebody's own"
    site.archive.mkdir()
    site.start()
    suffix = ".words.json" if root == "outbox" else ""
    theirs = []
    for number in range(120):
        site.drop(f"{number}.txt")
        with suppress(subprocess.TimeoutExpired):
            site.daemons[0].process.wait(dice.uniform(0, 0.02))  # to hit every instant of what takes milliseconds
        with suppress(FileExistsError), (site.base / root / f"{number}.txt{suffix}").open("xb") as file:
            theirs.append(file.name)
            file.write(mine)
    site.await_empty_inbox()
    assert theirs
    assert {Path(name).read_bytes() for name in theirs} == {mine}
    own = set(map(Path, theirs))
    results = {path.name for path in site.outbox.glob("*.json") if path not in own}
    archived = {f"{path.name}.words.json" for path in site.archive.glob("*.txt") if path not in own}
    assert len(results) == 120
    assert archived == results
    site.audit()


def test_a_result_that_is_carried_away_and_its_input_dropped_again_is_made_again(site):
    site.start()
    for words in range(1, 21):
        site.drop("a.txt", b"word " * words)
        assert site.await_words("a.txt") == words
        site.wait_for((site.archive / "a.txt").exists, "the archive")
        (site.outbox / "a.txt.words.json").unlink()
        (site.archive / "a.txt").unlink()


@pytest.mark.parametrize("content", [b"three small words", bytes(3000)], ids=["archive", "failed"])
def test_a_file_that_is_dragged_back_at_once_with_its_times_is_a_new_arrival(site, content):
    daemon = site.start()
    name, rounds = "a.txt", 20
    root, event = (site.archive, "file.published") if content.strip(b"\0") else (site.failed, "file.quarantined")
    site.drop(name, content)
    for round_ in range(1, rounds + 1):
        kept = site.wait_for(lambda: [path for path in root.glob("a*.txt") if not site.has(name)], "its end")[0]
        site.wait_for(lambda round_=round_: len(daemon.events(event)) == round_, "its word")
        kept.rename(site.inbox / name)  # keeps its times
    site.wait_for(lambda: len(daemon.events(event)) == rounds + 1, "the last one's")
    assert not site.rows("path", "attempts > 1")
