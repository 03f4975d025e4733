"""With `keep` an input stays where it is, and its result follows it."""

import json

import pytest


@pytest.fixture
def keeping(site):
    """Let inputs stay."""
    return site.configure(inbox={"after": "keep"})


def rest(site, daemon, count):
    """Wait until so many files were published, and stop the daemon."""
    site.wait_for(lambda: len(daemon.events("file.published")) >= count, "the results")
    assert daemon.stop() == 0


def test_a_restart_over_files_that_are_done_does_nothing(keeping, picture):
    names = keeping.texts(50)
    keeping.drop("a.png", picture())
    rest(keeping, keeping.start(), 51)
    stamps = {path: path.stat().st_mtime_ns for path in keeping.outbox.glob("*.*")}
    again = keeping.start()
    keeping.drop("new.txt")
    again.wait("file.published", path="new.txt")
    assert [event["path"] for event in again.events("file.published")] == ["new.txt"]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert keeping.left() == sorted(["a.png", "new.txt", *names])


def test_a_changed_source_replaces_its_result(keeping):
    keeping.start()
    keeping.drop("a.txt", b"one")
    keeping.await_words("a.txt")
    keeping.write("a.txt", b"one two")
    keeping.wait_for(lambda: keeping.words("a.txt") == 2, "the new result")
    assert [path.name for path in keeping.outbox.glob("*.json")] == ["a.txt.words.json"]


def test_a_source_that_changed_while_no_daemon_ran_replaces_its_result(keeping):
    keeping.drop("a.txt", b"one")
    rest(keeping, keeping.start(), 1)
    keeping.drop("a.txt", b"one two")
    keeping.start()
    keeping.wait_for(lambda: keeping.words("a.txt") == 2, "the new result")


def test_a_result_that_somebody_replaced_is_theirs(keeping):
    daemon = keeping.start()
    keeping.drop("a.txt", b"one")
    keeping.await_words("a.txt")
    keeping.drop("a.txt.words.json", b'{"words": 1000}', root=keeping.outbox)
    keeping.drop("a.txt", b"one two")
    daemon.wait("file.quarantined", path="a.txt")
    assert keeping.failure("a.txt")["class"] == "result-occupied"
    assert keeping.words("a.txt") == 1000
    assert (keeping.inbox / "a.txt").read_bytes() == b"one two"


def test_a_bad_file_stays_too_and_is_not_tried_at_every_start(keeping):
    keeping.drop("bad.txt", bytes(300))
    daemon = keeping.start()
    daemon.wait("file.quarantined")
    assert daemon.stop() == 0
    assert keeping.has("bad.txt")
    again = keeping.start()
    keeping.drop("good.txt")
    keeping.await_words("good.txt")
    assert not again.events("file.quarantined")


def test_retry_lets_a_kept_file_be_tried_again(keeping):
    keeping.drop("bad.txt", bytes(300))
    daemon = keeping.start()
    daemon.wait("file.quarantined")
    keeping.wait_for(keeping.is_settled, "its record")
    assert json.loads(keeping.command("retry", "bad.txt", "--json").stdout)[0]["refused"] is None
    keeping.wait_for(lambda: len(daemon.events("file.quarantined")) == 2, "another try")
