"""Signals as a real process gets them; each process says what it was told."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread

import pytest

from watcherd.model import Stopped
from watcherd.service import signals

pytestmark = pytest.mark.usefixtures("uncounted")

PROCESS = """
import os, queue, signal, sys
from watcherd.service import signals
signals.ECHO = float(sys.argv[1])
mailbox = queue.SimpleQueue()
with signals.delivered(mailbox.put):
    print("ready", flush=True)
    while True:
        print(signal.Signals(mailbox.get()).name, flush=True)
"""


@contextmanager
def process(echo=0.0):
    command = [sys.executable, "-c", PROCESS, str(echo)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as it:
        try:
            assert it.stdout.readline() == "ready\n"
            yield it
        finally:
            it.kill()


def said(it):
    return it.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_becomes_a_message(number):
    with process() as it:
        it.send_signal(number)
        assert said(it) == number.name


@pytest.mark.parametrize(("first", "second"), [("SIGTERM", "SIGTERM"), ("SIGINT", "SIGTERM"), ("SIGTERM", "SIGINT")])
def test_a_second_signal_to_stop_ends_the_process_at_once_with_its_number(first, second):
    with process() as it:
        it.send_signal(signal.Signals[first])
        assert said(it) == first
        it.send_signal(signal.Signals[second])
        assert it.wait(10) == 128 + signal.Signals[second]


def test_an_echo_of_the_first_signal_ends_nothing():
    with process(echo=60) as it:
        for _ in range(3):
            it.send_signal(signal.SIGINT)
            assert said(it) == "SIGINT"
        assert it.poll() is None


def test_echoes_do_not_put_off_the_second_signal(monkeypatch):
    now, ended, mailbox = [100.0], [], SimpleQueue()
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(signals.os, "_exit", ended.append)
    with signals.delivered(mailbox.put):
        for later in (0.0, 0.06, 0.06):
            now[0] += later
            signal.raise_signal(signal.SIGTERM)
            mailbox.get(timeout=10)
    assert ended == [128 + signal.SIGTERM]


def test_a_signal_is_told_while_the_main_thread_is_busy_elsewhere():
    told = SimpleQueue()
    with signals.delivered(told.put):
        waiting = Thread(target=lambda: told.put(told.get(timeout=10)))
        waiting.start()
        os.kill(os.getpid(), signal.SIGTERM)
        waiting.join()  # a lock, at which a handler of Python's would not be run
    assert told.get() == signal.SIGTERM


@pytest.mark.parametrize("number", signals.STOP)
def test_what_takes_long_hears_at_its_next_checkpoint_that_a_signal_to_stop_came_and_which(number):
    told = SimpleQueue()
    with signals.delivered(told.put) as checkpoint:
        for harmless in ((), (signal.SIGHUP,)):
            for each in harmless:
                signal.raise_signal(each)
                told.get(timeout=10)
            checkpoint()
        signal.raise_signal(number)
        told.get(timeout=10)
        with pytest.raises(Stopped) as stopped:
            checkpoint()
    assert stopped.value.number == number


def test_a_signal_that_comes_the_instant_it_is_handled_is_told(monkeypatch):
    install, told = signal.signal, SimpleQueue()

    def install_and_signal(number, handler):
        before = install(number, handler)
        if number == signal.SIGTERM and before == signal.SIG_DFL:
            signal.raise_signal(number)
        return before

    monkeypatch.setattr(signals.signal, "signal", install_and_signal)
    with signals.delivered(told.put):
        assert told.get(timeout=10) == signal.SIGTERM


def test_any_number_of_reloads_stop_nothing():
    with process() as it:
        for _ in range(3):
            it.send_signal(signal.SIGHUP)
            assert said(it) == "SIGHUP"
        it.send_signal(signal.SIGTERM)
        assert said(it) == "SIGTERM"
        it.send_signal(signal.SIGHUP)
        assert said(it) == "SIGHUP"


def test_the_kernel_s_word_of_a_broken_lease_is_ignored():
    with process() as it:
        it.send_signal(signal.SIGIO)  # ends a process that does not mind it
        it.send_signal(signal.SIGHUP)
        assert said(it) == "SIGHUP"


def test_afterwards_the_handlers_are_what_they_were():
    numbers = (*signals.STOP, signals.RELOAD, signal.SIGIO)
    before = [signal.getsignal(number) for number in numbers]
    with pytest.raises(LookupError), signals.delivered(lambda _: None):
        raise LookupError
    assert [signal.getsignal(number) for number in numbers] == before
