"""Mounts of others, where files come and go without an event: found out by itself, and held to the same promises."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import SOAK, files


def test_the_mount_tells_how_it_must_be_looked_at_and_a_file_without_an_event_is_found(site, remote):
    daemon = site.start()
    watching = daemon.wait("inbox.watching")
    assert {key: watching[key] for key in ("file_system", "events", "lease", "settle", "rescan")} == {
        "file_system": "fuse",
        "events": False,
        "lease": False,
        "settle": 10,
        "rescan": 5,
    }
    with (remote.source / "inbox/slow.txt").open("wb", buffering=0) as writer:
        writer.write(b"half a ")
        site.write("sub/quick.txt", root=remote.source / "inbox")
        site.never(lambda: site.words("sub/quick.txt") is not None, "an end before it was quiet for long", 4)
        writer.write(b"file and no more\n")
    assert site.await_words("sub/quick.txt") == 3
    assert site.await_words("slow.txt") == 6  # its writer paused for less than the quiet time


def test_whatever_happens_behind_such_a_mount_each_file_comes_to_its_one_end(site, remote, picture):
    site.configure(inbox={"settle": "500ms", "rescan": "500ms"}, retry={"backoff": "100ms"})
    behind = remote.source / "inbox"
    daemon = site.start()
    for number in range(40):
        site.drop(f"{number % 4}/{number}.txt", b"word " * (number + 1), root=behind)
    for number in range(5):
        site.drop(f"{number}.png", picture(seed=number), root=behind)
    site.drop("bad.txt", bytes(3000), root=behind)
    (behind / "1").rename(behind / "moved")
    site.wait_for(lambda: any(site.outbox.rglob("*.json")), "the first results")
    daemon.kill()
    daemon = site.start()
    site.await_empty_inbox()
    site.drop("2/2.txt", b"another of the same name", root=behind)
    site.await_empty_inbox()
    assert site.await_failure("bad.txt")["class"] == "not-text"
    assert daemon.stop() == 0
    texts = [b"another of the same name", *(b"word " * (number + 1) for number in range(40))]
    assert sorted(path.read_bytes() for path in site.archive.rglob("*.txt")) == sorted(texts)
    assert site.words("2/2.1.txt") == 5
    assert len([*site.archive.glob("*.png")]) == len([*site.outbox.glob("*.png")]) == 5
    assert not site.drafts()
    site.audit()


def test_an_outbox_whose_server_dies_while_a_picture_is_made_keeps_no_draft_of_it(site, served, heavy):
    server = served(site.outbox)
    site.drop("a.webp", heavy)
    daemon = site.start()
    site.wait_for(lambda: daemon.worker_at(site.inbox / "a.webp"), "work")
    server.end()
    daemon.wait("intake.paused")
    served(site.outbox, source=server.source)
    site.await_empty_inbox()
    daemon.wait("intake.resumed")
    assert not site.drafts()


@pytest.mark.parametrize("after", ["archive", "delete"])
def test_a_mount_whose_server_dies_is_lost_and_recovered_once_another_serves_it(site, served, after):
    site.configure(inbox={"after": after, "settle": "500ms", "rescan": "500ms"})
    server = served(site.inbox)
    daemon = site.start()
    for death in range(1, 6):
        site.drop(f"{death}-before.txt", root=server.source)
        site.await_words(f"{death}-before.txt")  # and now it is being retired
        server.end()
        site.wait_for(lambda death=death: len(daemon.events("inbox.lost")) == death, "its loss")
        assert os.listdir(site.inbox) == []  # nothing lands on the mount point
        site.drop(f"{death}-meanwhile.txt", root=server.source)
        server = served(site.inbox, source=server.source)
        site.wait_for(lambda death=death: len(daemon.events("inbox.recovered")) == death, "its recovery")
        site.await_empty_inbox()
    assert daemon.stop() == 0
    names = sorted(f"{death}-{when}.txt" for death in range(1, 6) for when in ("before", "meanwhile"))
    assert files(site.outbox) == [f"{name}.words.json" for name in names]
    assert files(site.archive) == (names if after == "archive" else [])
    assert not site.drafts()
    site.audit()


@pytest.mark.parametrize("after", ["archive", "delete"])
def test_where_no_rename_spares_what_is_there_a_newer_file_that_is_renamed_over_an_input_is_not_lost(
    site, remote, after
):
    site.configure(inbox={"after": after, "settle": "100ms", "rescan": "300ms"})
    site.start()
    for number in range(40):
        site.drop(f"{number}.txt", b"one")
        newer = site.write("newer", b"one two", root=remote.source)
        ends = time.monotonic() + 30
        is_time = is_half_taken if number % 2 else is_shown
        while not is_time(remote.source, f"{number}.txt"):  # no pause: the window is narrow
            assert time.monotonic() < ends
        newer.rename(remote.source / f"inbox/{number}.txt")
    site.await_empty_inbox()
    words = [[site.words(f"{number}.txt"), site.words(f"{number}.1.txt")] for number in range(40)]
    assert words == [[1, 2]] * 40
    archived = [path.read_bytes() for path in site.archive.rglob("*.txt")]
    assert archived.count(b"one two") == (40 if after == "archive" else 0)


def is_shown(source, name):
    """Whether a result is there: its input is about to be taken."""
    return os.path.exists(source / f"outbox/{name}.words.json")


def is_half_taken(source, name):
    """Whether an input has a second name, or has lost its first: in between, an unlink would hit what is newer."""
    try:
        return os.stat(source / "inbox" / name).st_nlink > 1
    except FileNotFoundError:
        return True


#: Seconds over which the cost of doing nothing is measured, from the end of a scan: each is paid for before the next.
IDLE = 600


def cpu(pid):
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not SOAK, reason="takes a quarter of an hour: make soak")
@pytest.mark.timeout(3600)
def test_an_idle_inbox_of_100000_kept_files_without_events_costs_less_than_2_percent_of_a_core(site, served):
    server, kept = served(site.inbox), {"after": "keep", "settle": "100ms"}
    site.configure(inbox=kept, log={"level": "warning"})
    for number in range(100_000):
        site.write(f"{number // 1000}/{number}.txt", root=server.source)
    daemon = site.daemon().spawn()
    for number in range(100):
        folder = site.outbox / str(number)
        site.wait_for(lambda folder=folder: folder.is_dir() and len(os.listdir(folder)) == 1000, "results", 1800)
    site.configure(inbox={"after": "keep"})
    daemon.process.send_signal(signal.SIGHUP)  # a scan, whose end is said
    daemon.wait("inbox.rescanned", 600, reason="update")
    before = cpu(daemon.process.pid)
    time.sleep(IDLE)
    used = cpu(daemon.process.pid) - before
    sys.stderr.write(f"{used:.2f} s of processor time in {IDLE} s\n")
    assert used < 0.02 * IDLE
