"""A fault of the system is not a fault of the file: intake pauses, says why once, and resumes by itself."""

import signal
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.conftest import wait_for


@pytest.fixture
def faulty(strace):
    """Return a context manager: while it lasts, these calls of a daemon on these paths fail."""

    @contextmanager
    def failing(daemon, fault, *paths):
        watched = [option for path in paths for option in ("-P", path)]
        tracer = subprocess.Popen([*strace("-o", "/dev/null", *watched, "-e", f"inject={fault}", "-p", daemon.pid)])
        wait_for(lambda: all(map(is_traced, Path(f"/proc/{daemon.pid}/task").iterdir())), "strace")
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()

    def is_traced(task):
        return "TracerPid:\t0\n" not in (task / "status").read_text("ascii")

    return failing


def test_a_ledger_that_somebody_holds_locked_pauses_intake_once_and_charges_nobody(site, said_once):
    daemon = site.start()
    with closing(sqlite3.connect(site.state / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        names = site.texts(20)
        assert "locked" in said_once(daemon, 8)
        other.execute("ROLLBACK")
    site.wait_for(lambda: any(map(site.words, names)), "the first result", 5)
    daemon.wait("intake.resumed", 10)
    site.await_empty_inbox()
    assert [site.words(name) for name in names] == list(range(1, 21))
    assert not site.rows("id", "attempts > 0")


def test_a_disk_that_fails_to_read_the_ledger_pauses_intake_until_it_reads_again(site, faulty, paused):
    ledger = site.state / "ledger.db"
    daemon = site.start()
    site.texts(20)
    site.await_empty_inbox()
    with faulty(daemon, "pread64:error=EIO", ledger, f"{ledger}-wal"):
        site.texts(20, "more")
        assert paused(daemon) == f"the ledger {ledger} cannot be used: Input/output error"
    site.await_empty_inbox(5)
    daemon.wait("intake.resumed")
    assert daemon.stop() == 0
    site.audit()


def test_a_read_of_the_ledger_that_fails_once_is_no_damage(site, faulty):
    ledger = site.state / "ledger.db"
    daemon = site.start()
    site.texts(20)
    site.await_empty_inbox()
    with faulty(daemon, "pread64:error=EIO:when=1", ledger, f"{ledger}-wal"):
        site.texts(20, "more")
        daemon.wait("intake.paused", reason=f"the ledger {ledger} cannot be used: disk I/O error")
        site.await_empty_inbox(5)
    assert daemon.stop() == 0
    assert not site.rows("id", "attempts > 0")
    site.audit()


def test_a_folder_of_an_outbox_that_its_disk_fails_charges_no_file_and_holds_up_no_other(site, faulty):
    site.drop("sub/before.txt")
    daemon = site.start()
    site.await_empty_inbox()
    with faulty(daemon, "renameat2:error=EIO", site.outbox / "sub"):
        site.drop("sub/a.txt")
        changed = daemon.wait("file.changed", path="sub/a.txt")
        assert changed["reason"] == "cannot be placed for now: Input/output error: a.txt.words.json"
        site.drop("b.txt")
        site.await_words("b.txt", 5)
    site.await_words("sub/a.txt")
    assert not daemon.events("file.retrying")
    assert daemon.stop() == 0
    site.audit()


def test_a_stop_during_a_pause_is_a_clean_one(site, mounts):
    mounts.mount(site.outbox)
    daemon = site.start()
    mounts.remount(site.outbox, "ro")
    site.texts(20)
    daemon.wait("intake.paused")
    assert daemon.stop() == 0
    mounts.remount(site.outbox, "rw")
    site.run_until_empty()
    assert not site.drafts()
    assert not site.rows("id", "attempts > 0")


@pytest.mark.parametrize("after", ["archive", "keep"])
def test_an_input_that_fails_whenever_it_is_closed_is_processed_as_any_other(site, strace, picture, after):
    site.configure(inbox={"after": after})
    paths = [site.drop("a.txt"), site.drop("a.png", picture())]
    watched = (option for path in paths for option in ("-P", path))
    site.start(prefix=strace("-o", "/dev/null", *watched, "-e", "inject=close:error=EIO"))
    assert site.await_words("a.txt") == 3
    site.wait_for((site.outbox / "grayscale_a.png").exists, "the grey picture")
    assert not site.rows("id", "attempts > 0")
    site.wait_for(lambda: not site.drafts(), "no draft")
