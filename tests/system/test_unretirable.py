"""Inputs and places that cannot be moved or used: each waits aside, said once, and holds up nobody."""

import json
import os
import shutil
import subprocess
from collections import Counter

import pytest
from tests.system.account import visible

#: More inputs that cannot be taken than may wait aside in one inbox.
MANY = 4096 + 256


@pytest.fixture
def immutable(lacking):
    """Return a function that makes a file immutable, and one that lets all be moved again."""
    chattr = shutil.which("chattr")
    if os.geteuid() != 0 or chattr is None:
        lacking("only root can make a file immutable, with chattr")
    fixed = []

    def fix(*paths):
        if subprocess.run([chattr, "+i", *paths], check=False, capture_output=True).returncode:
            pytest.skip("no file can be made immutable here")
        fixed.extend(paths)

    def let_go():
        if fixed:
            subprocess.run([chattr, "-i", *fixed], check=True)
            fixed.clear()

    yield fix, let_go
    let_go()


@pytest.mark.parametrize("after", ["archive", "delete"])
def test_a_file_that_cannot_be_moved_waits_aside_and_holds_up_nobody(site, immutable, after):
    fix, let_go = immutable
    site.configure(inbox={"after": after})
    fix(site.drop("fixed.txt"))
    daemon = site.start()
    for name in site.texts(20):
        site.await_words(name)
    daemon.wait("file.unretired", path="fixed.txt")
    assert not daemon.events("intake.paused")
    let_go()
    site.await_empty_inbox()
    assert daemon.stop() == 0
    assert len(daemon.events("file.unretired")) == 1
    assert [path.name for path in site.outbox.glob("fixed*")] == ["fixed.txt.words.json"]
    assert (site.archive / "fixed.txt").exists() == (after == "archive")
    site.audit()


def test_a_bad_file_that_cannot_be_moved_is_set_aside_once_it_can_and_holds_up_nobody(site, immutable):
    fix, let_go = immutable
    fix(site.drop("bad.txt", bytes(3000)))
    daemon = site.start()
    for name in site.texts(20):
        site.await_words(name)
    daemon.wait("file.unretired", path="bad.txt")
    site.never(lambda: len(daemon.events("file.unretired")) > 1, "a second word of it", 3)
    assert not daemon.events("intake.paused")
    let_go()
    assert site.await_failure("bad.txt", 5)["attempts"] == 1
    daemon.wait("file.quarantined", path="bad.txt")
    assert daemon.stop() == 0
    assert sorted(path.name for path in site.failed.glob("bad*")) == ["bad.txt", "bad.txt.error.json"]
    site.audit()


def test_a_bad_file_that_cannot_be_moved_is_among_the_failures_with_what_holds_it(site, immutable):
    fix, let_go = immutable
    fix(site.drop("bad.txt", bytes(3000)))
    daemon = site.start()
    daemon.wait("file.unretired", path="bad.txt")
    (row,) = json.loads(site.command("failures", "--json").stdout)
    assert (row["class"], row["where"]) == ("not-text", f"{site.inbox}/bad.txt")
    assert "file.unretired" in row["held"]
    refused = site.command("retry", "--all")
    assert refused.returncode == 1
    assert b"not set aside yet" in refused.stdout
    let_go()
    daemon.wait("file.quarantined", path="bad.txt")
    site.wait_for(site.is_settled, "its record")
    (row,) = json.loads(site.command("failures", "--json").stdout)
    assert (row["where"], row["held"]) == (f"{site.failed}/bad.txt", None)


def test_a_bad_file_that_is_kept_need_not_be_moved_and_has_its_reason_at_once(site, immutable):
    fix, _ = immutable
    site.configure(inbox={"after": "keep"})
    fix(site.drop("bad.txt", bytes(3000)))
    daemon = site.start()
    daemon.wait("file.quarantined", path="bad.txt")
    site.never(lambda: daemon.events("file.unretired") or daemon.events("intake.paused"), "a word of it", 2)
    assert daemon.stop() == 0
    assert site.left() == ["bad.txt"]
    assert visible(site.failed) == ["bad.txt.error.json"]
    site.audit()


def test_a_bad_file_whose_reason_cannot_be_placed_is_kept_and_has_it_once_it_can(site):
    site.configure(inbox={"after": "keep"})
    site.write("sub", b"somebody's", root=site.failed)
    site.drop("sub/bad.txt", bytes(3000))
    daemon = site.start()
    for name in site.texts(20):
        site.await_words(name)
    daemon.wait("file.unretired", path="sub/bad.txt")
    (row,) = json.loads(site.command("failures", "--json").stdout)
    assert row["held"]
    site.never(lambda: len(daemon.events("file.unretired")) > 1, "a second word of it", 3)
    (site.failed / "sub").unlink()
    daemon.wait("file.quarantined", 5, path="sub/bad.txt")
    assert site.failure("sub/bad.txt")["class"] == "not-text"
    assert daemon.stop() == 0
    assert "sub/bad.txt" in site.left()
    site.audit()


def test_a_draft_that_cannot_be_removed_holds_up_nobody_and_is_removed_by_the_next_start_that_can(
    site, immutable, heavy
):
    fix, let_go = immutable
    site.drop("a.webp", heavy)
    daemon = site.start()
    site.wait_for(lambda: daemon.worker_at(site.inbox / "a.webp"), "work")
    fix(*site.drafts())  # it cannot be written to any more either
    daemon.wait("intake.paused")
    site.drop("beside.txt")
    site.await_empty_inbox()
    assert daemon.stop() == 0
    let_go()
    assert site.start().stop() == 0
    assert not site.drafts()
    site.audit()


def test_2000_inputs_that_cannot_be_archived_hold_up_no_other_file_of_their_inbox(site):
    site.write("sub", b"somebody's", root=site.archive)
    for number in range(2000):
        site.write(f"sub/{number}.txt")
    daemon = site.daemon().start()
    daemon.wait("file.unretired")
    site.wait_for(lambda: len(os.listdir(site.outbox / "sub")) == 2000, "their results", 60)
    site.drop("beside.txt")
    assert site.await_words("beside.txt") == 3
    site.wait_for((site.archive / "beside.txt").exists, "its archive")
    (site.archive / "sub").unlink()
    site.await_empty_inbox(90)
    assert daemon.stop() == 0
    assert len(os.listdir(site.archive / "sub")) == len(os.listdir(site.outbox / "sub")) == 2000
    site.audit()


def test_as_many_as_may_wait_aside_pause_their_inbox_and_it_goes_on_by_itself_once_they_can_be_taken(
    site, other, immutable, said_once
):
    fix, let_go = immutable
    fix(*[site.write(f"sub/{number}.txt") for number in range(MANY)])
    daemon = site.daemon().start()
    daemon.wait("intake.paused", 60)
    reason = said_once(daemon)
    assert reason == f"4,096 inputs cannot be taken out of {site.inbox}: `file.unretired` says why of each"
    for name in site.texts(20, other / "in"):
        site.wait_for((other / "out" / f"{os.path.basename(name)}.words.json").exists, "a result of the other inbox")
    let_go()
    daemon.wait("intake.resumed", 60)
    site.await_empty_inbox(60)
    assert daemon.stop() == 0
    assert len(daemon.events("intake.paused")) == len(daemon.events("intake.resumed")) == 1
    assert max(Counter(event["path"] for event in daemon.events("file.unretired")).values()) == 1
    assert len(os.listdir(site.archive / "sub")) == len(os.listdir(site.outbox / "sub")) == MANY
    site.audit()


def test_an_input_on_a_file_system_that_is_mounted_inside_its_inbox_waits_aside_and_it_is_said_what_to_do(
    site, mounts
):
    mounts.mount(site.inbox / "disk")
    site.write("disk/a.txt")
    site.drop("b.txt")
    daemon = site.start()
    assert "a file system is mounted inside" in daemon.wait("file.unretired", path="disk/a.txt")["reason"]
    site.await_words("b.txt")
    assert "inbox.scans.path" in site.command("check").stdout.decode()
    mounts.unmount(site.inbox / "disk")
    site.await_empty_inbox()
    assert daemon.stop() == 0
    site.audit()
