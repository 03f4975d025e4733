"""The clock of the machine is set back while the daemon runs: nothing waits for it to catch up."""

import glob

import pytest

DAY = 86_400


@pytest.fixture
def clock(site, lacking):
    """Give a daemon's environment in which the time of day follows a file, and a function that sets it so far back.

    What counts seconds since the machine's start is left alone, as it is when somebody sets the clock.
    """
    libraries = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not libraries:
        lacking("faketime is not installed")
    offset = site.base / "offset"

    def set_back(seconds):
        offset.with_suffix(".new").write_text(f"-{seconds}\n", "ascii")
        offset.with_suffix(".new").replace(offset)

    set_back(0)
    environment = {
        "LD_PRELOAD": libraries[0],
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    return environment, set_back


@pytest.fixture
def unplaceable(site):
    """Drop a text whose result cannot be placed, as a file is where its folder belongs; return its daemon's start."""
    (site.outbox / "sub").write_bytes(b"somebody's")
    site.drop("sub/a.txt")

    def start(**how):
        daemon = site.start(**how)
        return daemon, daemon.wait("file.retrying", path="sub/a.txt", **{"class": "unplaceable"})

    return start


def test_a_clock_that_is_set_back_holds_up_neither_a_retry_nor_a_new_file(site, clock, unplaceable):
    environment, set_back = clock
    site.configure(retry={"backoff": "2s", "max_backoff": "3s"})
    daemon, retrying = unplaceable(environment=environment)
    set_back(DAY)
    (site.outbox / "sub").unlink()
    site.drop("renamed.txt")
    site.write("written.txt")
    assert site.await_words("renamed.txt") == 3
    assert site.await_words("written.txt") == 3
    assert site.await_words("sub/a.txt") == 3
    published = daemon.wait("file.published", path="sub/a.txt")
    assert published["timestamp"] < retrying["timestamp"]  # or the clock was not set back at all


@pytest.mark.parametrize("after", ["archive", "delete", "keep"])
def test_a_result_that_was_written_before_the_clock_was_set_back_is_known_as_ours(site, clock, after):
    environment, set_back = clock
    set_back(DAY)  # for watcherd alone: to files the kernel, or the server of a mount, gives its own time
    site.configure(inbox={"after": after})
    daemon = site.start(environment=environment)
    site.drop("good.txt")
    site.drop("bad.txt", bytes(3000))
    site.await_words("good.txt")
    site.wait_for(lambda: site.failure("bad.txt"), "the reason")
    assert daemon.stop() == 0
    assert site.audit()["finished"] == 2


def test_a_retry_that_was_put_on_record_before_the_clock_was_set_back_is_due_at_the_next_start(
    site, clock, unplaceable
):
    environment, set_back = clock
    site.configure(retry={"backoff": "4m"})
    daemon, _ = unplaceable()
    assert daemon.stop() == 0
    set_back(DAY)
    (site.outbox / "sub").unlink()
    site.start(environment=environment)
    assert site.await_words("sub/a.txt") == 3
