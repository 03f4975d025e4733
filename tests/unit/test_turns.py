"""Turns at the interpreter: one at a time, and nobody waits long for who hangs in one."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from watcherd import turns
from watcherd.turns import Turns


def test_turns_come_one_at_a_time(monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", 60)
    mine, inside = Turns(), []

    def take():
        for _ in range(200):
            with mine.turn():
                inside.append(1)
                assert len(inside) == 1
                inside.pop()

    threads = [Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside == []


def test_a_turn_ends_with_an_error_too():
    mine = Turns()
    with pytest.raises(LookupError), mine.turn():
        raise LookupError
    with mine.turn():
        pass


def test_a_turn_that_is_taken_over_is_held_before_anybody_else_sees_it(monkeypatch):
    seen = []

    class Watched(Turns):
        def __setattr__(self, name, lock):
            seen.append(lock.locked())
            super().__setattr__(name, lock)

    monkeypatch.setattr(turns, "PATIENCE", 0.01)
    mine = Watched()
    with mine.turn(), mine.turn():
        assert seen == [False, True]


def test_nobody_waits_twice_for_who_hangs_in_a_turn(monkeypatch):
    mine, held, go_on = Turns(), Event(), Event()

    def hang():
        with mine.turn():
            held.set()
            go_on.wait(10)

    hanging = Thread(target=hang)
    hanging.start()
    assert held.wait(10)
    monkeypatch.setattr(turns, "PATIENCE", 0.01)
    with mine.turn():
        pass
    monkeypatch.setattr(turns, "PATIENCE", 60)
    with mine.turn():
        pass
    go_on.set()
    hanging.join()
    with mine.turn():
        pass
