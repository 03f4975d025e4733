"""A reload: what it changes, what needs a restart, and what it leaves alone."""
# ruff: noqa: SLF001 (what is played or broken is played from inside)

import errno
import os

import pytest
from tests.integration.assembled.conftest import QUICK, named, quick, running

from watcherd import beneath
from watcherd import rooms as together
from watcherd.model import Failed, Failure, File, Job, Kind
from watcherd.settings import ConfigurationError, Problem


def reload_to(rooms, settings, monkeypatch):
    """Reload, and leave the logs to the test."""
    monkeypatch.setattr(together.logs, "set_level", lambda _: None)
    rooms.reload(lambda: settings)


def test_a_reload_changes_what_can_change_live_and_names_what_needs_a_restart(site, events, monkeypatch):
    with running(quick(site)) as rooms:
        site.drop("a.log")
        site.await_words("a.log")
        wanted = quick(site, {"exclude": ["*.log"], "after": "delete"}, text={"workers": 2, "timeout": "7s"},
                       queue={"capacity": 9}, image={"workers": 1, "memory": "2GiB"})  # fmt: skip
        reload_to(rooms, wanted, monkeypatch)
        (reloaded,) = named(events, "daemon.reloaded")
        assert reloaded["changed"] == ["inbox.scans.exclude", "text.timeout"]
        assert reloaded["needs_restart"] == ["image.memory", "inbox.scans.after", "queue.capacity"]
        assert rooms.lanes[Kind.TEXT].limits.timeout == 7
        assert rooms.lanes[Kind.IMAGE].limits.memory == 1 << 30
        site.wait_for(lambda: [it["reason"] for it in named(events, "inbox.rescanned")][-1:] == ["update"])
        site.drop("b.log")
        site.drop("c.txt")
        site.await_words("c.txt")
        site.wait_for(lambda: site.left() == ["b.log"])
        assert (site.archive / "c.txt").exists()


def test_a_reload_of_min_free_pauses_an_inbox_and_ends_its_pause(site, monkeypatch):
    with running(quick(site, min_free="0%")) as rooms:
        reload_to(rooms, quick(site, min_free="99.9%"), monkeypatch)
        site.wait_for(lambda: "min_free" in rooms.lines[0].publisher.paused)
        reload_to(rooms, quick(site, min_free="0%"), monkeypatch)
        site.wait_for(lambda: not rooms.lines[0].publisher.paused)


def test_a_reload_changes_how_often_a_failing_file_is_tried(site, monkeypatch):
    with running(quick(site, {"exclude": ["a.txt"]})) as rooms:
        reload_to(rooms, quick(site, {"exclude": ["a.txt"]}, retry={"attempts": 1}), monkeypatch)
        version = beneath.version_of(os.lstat(site.drop("a.txt")))
        job = Job(rooms.ledger.next_id(), File("scans", "a.txt", version), Kind.TEXT)
        rooms.ledger.hand_over([job])
        rooms.lines[0].publisher.put(Failed(job, Failure.TIMEOUT, "too long"))
        assert site.await_failure("a.txt")["attempts"] == 1


def test_a_reload_scans_an_inbox_of_which_it_changes_something_and_no_other(site, events, monkeypatch):
    folders = {name: site.base / f"other-{name}" for name in ("path", "outbox", "archive", "failed")}
    for folder in folders.values():
        folder.mkdir()
    other = {"inbox.other": {**folders, **QUICK}}
    with running(quick(site, **other)) as rooms:
        reload_to(rooms, quick(site, {"exclude": ["*.log"]}, **other), monkeypatch)
        site.wait_for(lambda: not any(line.intake._updated for line in rooms.lines))
        site.wait_for(lambda: {event["inbox"] for event in named(events, "inbox.rescanned")} == {"scans", "other"})
        site.wait_for(lambda: "update" in [event["reason"] for event in named(events, "inbox.rescanned")])
    updated = [event["inbox"] for event in named(events, "inbox.rescanned") if event["reason"] == "update"]
    assert updated == ["scans"]


def test_the_same_file_loaded_again_changes_nothing_and_still_names_what_needs_a_restart(site, events, monkeypatch):
    with running(quick(site)) as rooms:
        for _ in range(2):
            reload_to(rooms, quick(site, queue={"capacity": 9}, stop_timeout="3s"), monkeypatch)
        assert rooms.settings.stop_timeout == 3
    first, second = named(events, "daemon.reloaded")
    assert (first["changed"], second["changed"]) == (["stop_timeout"], [])
    assert first["needs_restart"] == second["needs_restart"] == ["queue.capacity"]


def test_an_inbox_that_is_added_or_removed_needs_a_restart(site, events, monkeypatch):
    other = {name: site.base / f"other-{name}" for name in ("path", "outbox", "archive", "failed")}
    with running(quick(site)) as rooms:
        wanted = quick(site, **{"inbox.other": other})
        without = wanted.model_copy(update={"inbox": {"other": wanted.inbox["other"]}})
        reload_to(rooms, without, monkeypatch)
    (reloaded,) = named(events, "daemon.reloaded")
    assert reloaded["changed"] == []
    assert {key.split(".")[1] for key in reloaded["needs_restart"]} == {"other", "scans"}


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError([Problem("watcherd.toml", "stat", "is no key", "write state")]),
        OSError(errno.EIO, "is no key, nor anything else"),
    ],
)
def test_a_configuration_that_cannot_be_read_changes_nothing_and_is_logged(site, events, error):
    def bad():
        raise error

    with running(quick(site)) as rooms:
        before = rooms.settings
        rooms.reload(bad)
        assert rooms.settings is before
    (failed,) = named(events, "daemon.reload_failed")
    assert failed["log_level"] == "error"
    assert "is no key" in failed["problems"][0]
