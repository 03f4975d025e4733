"""Threads whose death is heard of."""

from __future__ import annotations

import threading

import pytest

from watcherd import lifeline


@pytest.mark.parametrize("end", [ZeroDivisionError("a bug"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_whatever_a_thread_dies_of_is_heard_of(end):
    def act():
        raise end

    heard = []
    thread = lifeline.thread(act, name="one", on_death=heard.append)
    thread.start()
    thread.join()
    assert heard == [end]


def test_a_thread_that_comes_to_its_end_says_nothing():
    heard, named = [], []
    thread = lifeline.thread(lambda: named.append(threading.current_thread().name), name="one", on_death=heard.append)
    thread.start()
    thread.join()
    assert (named, heard) == (["one"], [])
