"""Old rows: forgotten once what they speak of is gone, and never before."""
# ruff: noqa: SLF001 (what is played or broken is played from inside)

import errno
import os
import time
from itertools import count, cycle
from threading import Event
from types import SimpleNamespace

import pytest
from tests.integration.assembled.conftest import leave_behind, named, quick, running
from tests.integration.conftest import failing

from watcherd import drain as draining
from watcherd import pruner
from watcherd.ledger.ledger import Ledger
from watcherd.pruner import Pruner
from watcherd.publish.pruning import Look


def pruner_of(rooms, *, history=-60.0):
    """Return what prunes as if all rows were old, or with that `history`."""
    return Pruner(rooms.lines, lambda: history)


def forget_all(rooms):
    return pruner_of(rooms).prune()


def paths(site):
    return sorted(os.fsdecode(path) for (path,) in site.rows("path"))


def published(site, *names):
    site.wait_for(lambda: len(site.rows("id", "state = 'published'")) == len(names))


def test_old_rows_of_files_that_are_gone_are_forgotten(site):
    with running(quick(site)) as rooms:
        site.drop("a.txt")
        published(site, "a.txt")
        pruner_of(rooms, history=60.0).prune()
        assert paths(site) == ["a.txt"]
        assert forget_all(rooms) == pruner.EVERY
        assert paths(site) == []


def test_old_rows_are_looked_for_some_at_a_time_and_all_in_the_end(site, monkeypatch):
    monkeypatch.setattr("watcherd.publish.pruning.STRIDE", 2)
    names = site.texts(5)
    with running(quick(site)) as rooms:
        published(site, *names)
        young = pruner_of(rooms, history=60.0)
        assert [young.prune() for _ in range(4)] == [*[pruner.MORE] * 2, pruner.EVERY, pruner.MORE]
        assert len(paths(site)) == 5
        site.wait_for(lambda: forget_all(rooms) == pruner.EVERY and not paths(site))


def test_old_rows_of_kept_files_last_while_the_file_does(site):
    with running(quick(site, {"after": "keep"})) as rooms:
        site.drop("kept.txt")
        site.drop("gone.txt")
        published(site, "kept.txt", "gone.txt")
        for gone in (site.inbox / "gone.txt", *site.outbox.glob("*.json")):
            gone.unlink()
        forget_all(rooms)
        assert paths(site) == ["kept.txt"]


def test_of_a_kept_file_s_old_rows_only_the_one_that_proves_its_result_lasts(site):
    with running(quick(site, {"after": "keep"})) as rooms:
        site.drop("a.txt", b"one")
        published(site, "a.txt")
        site.drop("a.txt", b"one two")
        published(site, "a.txt", "again")
        forget_all(rooms)
        assert len(paths(site)) == 1
        site.drop("a.txt", b"one two three")
        site.wait_for(lambda: site.words("a.txt") == 3)


def test_nothing_is_forgotten_of_kept_files_while_there_is_none_as_before_their_inbox_is_mounted(site):
    with running(quick(site, {"after": "keep"})) as rooms:
        site.drop("a.txt")
        published(site, "a.txt")
        (site.inbox / "a.txt").rename(site.base / "a.txt")
        (site.outbox / "a.txt.words.json").unlink()
        forget_all(rooms)
        assert paths(site) == ["a.txt"]
        site.drop("b.txt")
        published(site, "a.txt", "b.txt")
        forget_all(rooms)
        assert paths(site) == ["b.txt"]


def test_nothing_is_forgotten_of_an_inbox_that_is_away(site):
    with running(quick(site, {"after": "keep"})) as rooms:
        site.drop("a.txt")
        published(site, "a.txt")
        site.inbox.rename(site.base / "away")
        forget_all(rooms)
        assert paths(site) == ["a.txt"]
        (site.base / "away").rename(site.inbox)


def test_rows_of_what_is_set_aside_last_until_it_is_taken_away(site):
    with running(quick(site)) as rooms:
        site.drop("a.txt", b"\x00\x01\x02" * 100)
        site.await_failure("a.txt")
        forget_all(rooms)
        assert paths(site) == ["a.txt"]
        (site.failed / "a.txt").unlink()
        forget_all(rooms)
        assert paths(site) == []
        assert site.failure("a.txt") is None


def test_rows_of_what_is_set_aside_last_while_nothing_is_there_as_before_the_failed_folder_is_mounted(site):
    with running(quick(site)) as rooms:
        site.drop("a.txt", b"\x00\x01\x02" * 100)
        site.await_failure("a.txt")
        site.wait_for(lambda: site.rows("id", "state = 'quarantined'"))
        for path in site.failed.glob("a.txt*"):
            path.rename(site.base / path.name)
        forget_all(rooms)
        assert paths(site) == ["a.txt"]


def test_the_reason_of_what_was_dragged_back_under_a_numbered_name_goes_with_its_row(site):
    with running(quick(site)) as rooms:
        for content in (b"\0" * 300, b"\0" * 400):
            site.drop("a.txt", content)
            site.await_empty_inbox()
        numbered = site.failed / "a.1.txt"
        site.wait_for(lambda: len(site.rows("id", "state = 'quarantined'")) == 2)
        numbered.write_text("mended")
        numbered.rename(site.inbox / numbered.name)
        published(site, numbered.name)
        forget_all(rooms)
        assert sorted(path.name for path in site.failed.glob("a*")) == ["a.txt", "a.txt.error.json"]
        assert paths(site) == ["a.txt"]


def test_a_failed_folder_that_is_away_pauses_and_forgets_nothing(site):
    with running(quick(site)) as rooms:
        site.drop("a.txt", b"\x00\x01\x02" * 100)
        site.await_failure("a.txt")
        site.failed.rename(site.base / "away")
        forget_all(rooms)
        assert paths(site) == ["a.txt"]
        site.wait_for(lambda: rooms.lines[0].publisher.paused)
        (site.base / "away").rename(site.failed)


def test_what_cannot_be_looked_at_is_not_taken_for_gone(site):
    settings = quick(site, {"after": "keep"})
    leave_behind(site, settings, "a.txt")
    with Ledger(settings.state / "ledger.db") as ledger:
        ledger._writer.execute("UPDATE file SET state = 'published', path = ?", (b"x" * 300,))
    with running(settings) as rooms:
        site.wait_for(lambda: not rooms.lines[0].publisher.paused)
        forget_all(rooms)
        assert "x" * 300 in paths(site)


def test_the_dearer_a_look_at_all_old_rows_the_later_the_next(site, monkeypatch):
    monkeypatch.setattr("watcherd.publish.pruning.ROWS", 4)
    monkeypatch.setattr(pruner, "SHARE", 10**12)
    with running(quick(site, {"after": "keep"})) as rooms:
        published(site, *site.texts(10))
        looks = pruner_of(rooms)
        assert [looks.prune() for _ in range(2)] == [pruner.MORE] * 2
        assert looks.prune() > 1000 * pruner.EVERY


def test_a_drain_forgets_old_rows_as_well_however_many(site, monkeypatch):
    monkeypatch.setattr("watcherd.publish.pruning.ROWS", 4)
    settings = quick(site, ledger={"history": "1h"})
    with running(settings):
        published(site, *site.texts(10))
    with Ledger(settings.state / "ledger.db") as ledger:
        ledger._writer.execute("UPDATE file SET at = at - 7200")
    site.drop("new.txt")
    draining.drain(settings)
    assert paths(site) == ["new.txt"]


def test_old_rows_behind_more_lasting_ones_than_a_drain_has_time_for_are_forgotten_by_one_drain_or_another(
    site, monkeypatch
):
    monkeypatch.setattr("watcherd.publish.pruning.ROWS", 1)
    settings, names = quick(site, {"after": "keep"}), ["a.txt", "b.txt", "gone.txt"]
    with running(settings):
        for already, name in enumerate(names):
            site.drop(name)
            published(site, *names[: already + 1])
    for gone in (site.inbox / "gone.txt", site.outbox / "gone.txt.words.json"):
        gone.unlink()
    instants = count()  # of which two are the time for one row
    monkeypatch.setattr(pruner, "time", SimpleNamespace(**{**vars(time), "monotonic": lambda: next(instants)}))
    monkeypatch.setattr(pruner.random, "random", lambda: 0.7)
    with running(settings) as rooms:
        site.wait_for(lambda: not rooms.lines[0].publisher.paused)
        pruner_of(rooms).prune_at_once(pytest.fail, 2)
    assert paths(site) == ["a.txt", "b.txt"]


def test_a_drain_ends_though_a_folder_of_old_rows_hangs(site, monkeypatch):
    answered = Event()
    monkeypatch.setattr("watcherd.publish.pruning.Pruning.prune", lambda *_: answered.wait())
    monkeypatch.setattr(draining, "FORGETTING", 0.05)
    site.drop("a.txt")
    assert draining.drain(quick(site)).left == 0
    answered.set()


def test_a_drain_ends_with_what_forgetting_old_rows_ended_with(site, monkeypatch):
    monkeypatch.setattr("watcherd.publish.pruning.Pruning.prune", failing(errno.ENOMEM))
    with pytest.raises(OSError, match="Cannot allocate memory"):
        draining.drain(quick(site))


def test_a_look_that_forgets_all_that_it_judges_puts_off_the_next_for_no_longer_however_dear(site, monkeypatch):
    monkeypatch.setattr(pruner, "SHARE", 10**9)
    with running(quick(site)) as rooms:
        published(site, *site.texts(10))
        assert forget_all(rooms) == pruner.EVERY
        assert paths(site) == []


def test_a_look_at_all_old_rows_ends_once_those_of_each_inbox_were_looked_at_however_many_each_has():
    def line(parts):
        looks = cycle([*[Look(more=True, in_vain=1.0)] * (parts - 1), Look(more=False, in_vain=1.0)])
        return SimpleNamespace(
            publisher=SimpleNamespace(paused=""), pruning=SimpleNamespace(prune=lambda _: next(looks))
        )

    looks = Pruner([line(2), line(3)], lambda: 0.0)
    assert [looks.prune() for _ in range(6)] == [pruner.MORE, pruner.MORE, pruner.EVERY] * 2


def test_many_old_rows_are_forgotten_a_block_at_a_time(site, monkeypatch):
    monkeypatch.setattr("watcherd.publish.pruning.ROWS", 4)
    with running(quick(site)) as rooms:
        names = site.texts(10)
        published(site, *names)
        assert [forget_all(rooms) for _ in range(3)] == [*[pruner.MORE] * 2, pruner.EVERY]
        assert paths(site) == []


def test_a_kept_file_that_was_gone_for_long_and_is_restored_is_done_and_its_result_still_follows_it(site, events):
    with running(quick(site, {"after": "keep"})) as rooms:
        published(site, *site.texts(2))
        (site.inbox / "text-0001.txt").rename(site.base / "backup")
        forget_all(rooms)
        (site.base / "backup").rename(site.inbox / "text-0001.txt")
        site.drop("text-0001.txt", b"one two three")
        site.wait_for(lambda: site.words("text-0001.txt") == 3 or site.failure("text-0001.txt"))
        assert site.failure("text-0001.txt") is None
    assert len(named(events, "file.published")) == 3
