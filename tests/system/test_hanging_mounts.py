"""A mount that does not answer, as of a dead server: it holds up its own inbox, no other one, and no stop."""

import signal
import subprocess
import sys
import time

import pytest
from tests.conftest import SOON

LARGE = b"some words that fill a page\n" * 500_000

#: Seconds after which nothing is waited for any more that hangs, and some for a busy machine.
PATIENCE = 5.0 + 5.0


@pytest.fixture
def quick(site, other):
    """Let the inboxes settle at once, and a stop be short; return the second one's folders."""
    site.configure(
        stop_timeout="1s",
        inbox={"settle": "100ms", "rescan": "200ms"},
        **{"inbox.other": {"path": other / "in", "outbox": other / "out"}},
    )
    return other


def hang_while_at_work(site, server):
    """Start a daemon, give it more texts than it has workers, and let their mount hang while they are read.

    The server is to be slow, or they may all have been read by then.
    """
    for number in range(12):
        site.write(f"{number}.txt", LARGE, root=server.source)
    daemon = site.daemon().start()
    daemon.wait("file.published", inbox="scans")
    site.await_work()
    server.hang()
    return daemon


def drop_into(site, other, picture):
    """Drop texts and images into the other inbox; return their names."""
    names = [site.drop(f"{number}.txt", root=other / "in").name for number in range(20)]
    return names + [site.drop(f"{number}.png", picture(), root=other / "in").name for number in range(20)]


def stop(daemon, server):
    """Let the daemon stop beside a mount that hangs: it says in time that it did, and ends once the server answers.

    The kernel lets no process end whose request a server has read, and not answered.
    """
    begin = time.monotonic()
    daemon.send(signal.SIGTERM)
    daemon.wait("daemon.stopped")
    assert time.monotonic() - begin < PATIENCE
    server.answer()
    assert daemon.process.wait(SOON) == 0


def test_a_mount_that_hangs_holds_up_no_other_inbox_and_no_stop(site, served, quick, picture):
    server = served(site.inbox, "--read-rate=30M")
    daemon = hang_while_at_work(site, server)
    for name in drop_into(site, quick, picture):
        daemon.wait("file.published", inbox="other", path=name)
    daemon.wait("worker.stuck", inbox="scans")
    stop(daemon, server)
    site.run_until_empty()
    assert not site.rows("path", "attempts > 0")
    site.audit()


def test_a_mount_that_is_slow_is_not_taken_for_one_that_hangs(site, served):
    site.configure(inbox={"settle": "100ms", "rescan": "200ms", "after": "keep"})
    served(site.inbox, "--read-rate=80k")
    daemon = site.start()
    site.write("a.txt", b"some words " * 75_000)
    assert site.await_words("a.txt", 2 * SOON) == 150_000
    assert not daemon.events("worker.stuck")


def test_a_reload_beside_a_mount_that_hangs_fails_and_holds_up_no_stop(site, served, quick):  # noqa: ARG001 (short)
    server = served(site.inbox, "--read-rate=30M")
    daemon = hang_while_at_work(site, server)
    daemon.wait("worker.stuck")
    daemon.send(signal.SIGHUP)
    assert "does not answer" in daemon.wait("daemon.reload_failed")["problems"][0]
    stop(daemon, server)


def test_a_command_that_a_mount_holds_up_says_so_and_can_be_given_a_limit_as_a_reload_is(site, served):
    server = served(site.base / "remote")
    site.archive = server.path / "archive"  # of which the kernel knows nothing yet that it could answer itself
    site.configure()
    server.hang()
    done = site.command("config", prefix=("timeout", "8"))
    assert (done.returncode, b"does not answer" in done.stderr) == (124, True)


#: A check whose mount hangs once the settings have been read from it: its server is stopped in between, all of it, as
#: the kernel lets no process end whose request it has read, and not answered.
HUNG_CHECK = """
import os, pathlib, signal, sys
from watcherd.cli import machine
server, examine = int(sys.argv.pop(1)), machine.examine
def examined(settings):
    os.kill(server, signal.SIGSTOP)
    while any(b") T" not in stat.read_bytes() for stat in pathlib.Path(f"/proc/{server}/task").glob("*/stat")):
        pass
    return examine(settings)
machine.examine = examined
from watcherd.__main__ import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_check_that_a_mount_holds_up_can_be_ended(site, served, number):
    server = served(site.inbox)
    command = [sys.executable, "-c", HUNG_CHECK, str(server.pid), "--config", site.config, "check"]
    ends = lambda: signal.signal(number, signal.SIG_DFL)  # noqa: E731 (which who runs the tests may ignore)
    check = subprocess.Popen(command, preexec_fn=ends)  # noqa: PLW1509 (no lock is taken there)
    try:
        site.wait_for(lambda: server.holds_up(check.pid), "a check that waits for its mount")
        check.send_signal(number)
        assert check.wait(PATIENCE) == -number
    finally:
        server.answer()
        check.wait(SOON)


@pytest.mark.parametrize("root", ["outbox", "archive"])
def test_a_folder_that_hangs_where_results_or_inputs_go_holds_up_no_other_inbox_and_no_stop(
    site, served, quick, picture, root
):
    server = served(getattr(site, root))
    daemon = site.daemon().start()
    for name in ("scans", "other"):
        daemon.wait("inbox.rescanned", inbox=name)
    site.drop("first.txt")
    daemon.wait("file.published", path="first.txt")
    server.hang()
    for number in range(20):
        site.drop(f"{number}.txt")
        site.drop(f"{number}.png", picture())
    begin = time.monotonic()
    for name in drop_into(site, quick, picture):
        daemon.wait("file.published", inbox="other", path=name)
    assert time.monotonic() - begin < PATIENCE
    stop(daemon, server)
    site.run_until_empty()
    assert len([*site.outbox.glob("*.*")]) == 41
    assert not site.rows("path", "attempts > 0")
    assert not site.drafts()
    site.audit()
