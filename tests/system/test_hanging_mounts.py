"""A mount that does not answer, as of a dead server: it holds up its own inbox, no other one, and no stop."""

import pytest

LARGE = b"some words that fill a page\n" * 500_000


@pytest.fixture
def other(site):
    """Give the folders of a second inbox."""
    other = site.base / "other"
    for name in ("in", "out"):
        (other / name).mkdir(parents=True)
    site.configure(
        stop_timeout="1s",
        inbox={"settle": "100ms", "rescan": "200ms"},
        **{"inbox.other": {"path": other / "in", "outbox": other / "out"}},
    )
    return other


def hang_while_at_work(site, server):
    """Start a daemon, give it more texts than it has workers, and let their mount hang while they are read."""
    for number in range(12):
        site.write(f"{number}.txt", LARGE, root=server.source)
    daemon = site.daemon().start()
    daemon.wait("file.published", inbox="scans")
    site.await_work()
    server.hang()
    return daemon


def test_a_mount_that_hangs_holds_up_no_other_inbox_and_no_stop(site, served, other, picture):
    server = served(site.inbox)
    daemon = hang_while_at_work(site, server)
    names = [site.drop(f"{number}.txt", root=other / "in").name for number in range(20)]
    names += [site.drop(f"{number}.png", picture(), root=other / "in").name for number in range(20)]
    for name in names:
        daemon.wait("file.published", inbox="other", path=name)
    daemon.wait("worker.stuck", inbox="scans")
    assert daemon.stop() == 0
    server.answer()
    site.run_until_empty()
    assert not site.rows("path", "attempts > 0")
    site.audit()
