"""SIGKILL before any call that changes the disk, on the way into quarantine and back: set aside once, and whole."""

import json
from itertools import count

import pytest
from tests.system.account import visible

BAD = bytes(3000)


@pytest.fixture(params=["archive", "delete", "keep", "failed elsewhere"])
def way(site, load, request):
    """Configure what becomes of a done input, each in turn; return it. Elsewhere is another file system."""
    after = "archive" if request.param == "failed elsewhere" else request.param
    if request.param == "failed elsewhere":
        request.getfixturevalue("mounts").mount(site.failed)
    load.configure(inbox={"after": after})
    return after


def quarantined(site):
    """Return how many files are on record as set aside."""
    return len(site.rows("id", "state = 'quarantined'"))


def is_set_aside(site, names, after):
    """Require that these bad files are set aside once, each with its reason, and that nothing else is there."""
    reasons = [f"{name}.error.json" for name in names]
    assert visible(site.failed) == sorted(reasons if after == "keep" else [*names, *reasons])
    assert site.left() == (sorted(names) if after == "keep" else [])
    root = site.inbox if after == "keep" else site.failed
    assert {(root / name).read_bytes() for name in names} == {BAD}
    assert not site.drafts()
    assert not visible(site.outbox)
    assert sorted(row["path"] for row in json.loads(site.command("failures", "--json").stdout)) == sorted(names)
    site.audit()


def test_a_kill_before_any_call_of_a_quarantine_sets_aside_once(site, cut, load, way):
    names, serial = [], count()

    def add():
        for _ in range(2):
            names.append(f"{next(serial)}.txt")
            site.drop(names[-1], BAD)

    def is_done():
        return len(visible(site.failed)) and quarantined(site) == len(names)

    def hold():
        load.run_until(is_done).process.wait()
        is_set_aside(site, names, way)

    add()
    hold()
    cut.everywhere(lambda prefix: load.run_until(is_done, prefix), prepare=add, hold=hold)


def test_a_kill_before_any_call_of_a_retry_leaves_the_file_and_its_reason_or_the_file_where_it_came_from(
    site, cut, load, way
):
    names = ["sub/bad.txt", "worse.txt"]
    for name in names:
        site.drop(name, BAD)

    def retry(prefix):
        return site.daemon("--config", site.config, "retry", "--all", prefix=prefix).spawn()

    def is_over():  # what was put back is as bad as it was, and is set aside as before
        all_seen = site.daemons[-1].events("inbox.rescanned") and (way == "keep" or not site.left())
        return all_seen and quarantined(site) >= 2

    def hold():
        load.run_until(is_over).process.wait()
        is_set_aside(site, names, way)

    hold()
    cut.everywhere(retry, prepare=lambda: None, hold=hold)


@pytest.fixture(params=["archive", "archive, failed elsewhere", "delete, failed elsewhere"])
def mended(site, load, request):
    """Run a daemon; return the names of files that it set aside and that were mended, and what adds one."""
    after, _, elsewhere = request.param.partition(", ")
    if elsewhere:
        request.getfixturevalue("mounts").mount(site.failed)
    load.configure(inbox={"after": after})
    site.start()
    names, serial = [], count()

    def mend():
        names.append(f"{next(serial)}.txt")
        site.drop(names[-1], BAD)
        site.await_failure(names[-1])
        site.write(names[-1], b"mended", root=site.failed)

    return names, mend


@pytest.fixture(params=["retry", "start"])
def hold(site, mended, request):
    """Return what has a retry that was cut short finished, and requires that each file was processed once."""
    names, _ = mended

    def finish():
        if request.param == "start":
            running = next(daemon for daemon in reversed(site.daemons) if daemon.events("daemon.ready"))
            assert running.stop() == 0
            site.start()
        if request.param == "retry" or visible(site.failed):  # or it was cut short before it was on record
            assert site.command("retry", "--all").returncode == 0

    def finish_and_hold():
        site.await_empty_inbox()  # the daemon takes what is back, before anybody finishes what was cut short
        finish()
        site.wait_for(lambda: not site.left() and len(visible(site.outbox)) == len(names), "their results")
        site.wait_for(lambda: not site.drafts(), "no draft")
        assert visible(site.outbox) == sorted(f"{name}.words.json" for name in names)
        assert visible(site.archive) in ([], sorted(names))
        assert visible(site.failed) == []
        site.audit()

    return finish_and_hold


def retry_all(site):
    """Return what runs a retry of all, behind the prefix of its command."""
    return lambda prefix: site.daemon("--config", site.config, "retry", "--all", prefix=prefix).spawn()


def test_a_kill_before_any_call_of_a_retry_beside_a_running_daemon_has_a_file_processed_once(site, cut, mended, hold):
    cut.everywhere(retry_all(site), prepare=mended[1], hold=hold)


@pytest.mark.parametrize("mended", ["archive, failed elsewhere", "delete, failed elsewhere"], indirect=True)
@pytest.mark.parametrize("call", ["unlinkat failed/#.txt", "fsync failed"])
def test_a_kill_between_a_retried_file_s_copy_and_the_end_of_both_processes_it_once(site, cut, mended, hold, call):
    cut.at(retry_all(site), call, 1, prepare=mended[1], hold=hold)
