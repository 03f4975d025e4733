"""Signals as messages: whoever waits at a mailbox finds them there.

Python runs a handler in the main thread, once that thread gets to it. A signal that comes in the instant before it
falls asleep at a lock wakes nobody, and would be heard of when the wait ends (measured: one in 150 on a busy
machine). What happens in the instant of the signal is a byte in the pipe of `signal.set_wakeup_fd`; so a thread
listens there, and handlers do nothing.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING

from watcherd.lifeline import Thread
from watcherd.model import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds within which a second signal counts as the first: some senders signal a process and then its group.
ECHO = 0.1

STOP = (signal.SIGTERM, signal.SIGINT)
RELOAD = signal.SIGHUP

_END = b"\0"  # no signal has this number


@contextmanager
def delivered(put: Callable[[int], None], *, last: bool = False) -> Iterator[Callable[[], None]]:
    """Call `put` with the number of each signal to stop or to reload, from a thread of its own.

    Yield a checkpoint, for what takes long and reads no mailbox: it raises Stopped once a signal to stop has come.

    A second one to stop ends the process at once with status 128 + n, and its workers with it. SIGIO, which ends a
    process that does not mind it, is ignored. With `last` the process ends with the block: after it all of them are
    ignored, as they would turn a good end into one by a signal. The main thread must enter this.
    """
    stops: list[int] = []

    def checkpoint() -> None:
        if stops:
            raise Stopped(stops[0])

    heard, said = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(said, False)
    listener = Thread(target=_listen, args=(heard, put, stops), name="signals", daemon=True)
    listener.start()
    # The pipe is set before the first handler and taken back after the last: no signal falls between the two.
    woken = signal.set_wakeup_fd(said, warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in (*STOP, RELOAD)}
    before[signal.SIGIO] = signal.signal(signal.SIGIO, signal.SIG_IGN)
    after = dict.fromkeys(before, signal.SIG_IGN) if last else before
    try:
        yield checkpoint
    finally:
        for number, handler in after.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(woken)
        os.write(said, _END)
        listener.join()
        os.close(heard)
        os.close(said)


def _listen(heard: int, put: Callable[[int], None], stops: list[int]) -> None:
    """Pass on what is heard; other signals of this process that have a handler come by here too."""
    stopped_at = inf
    while (byte := os.read(heard, 1)) != _END:
        number, now = byte[0], time.monotonic()
        if number in STOP and now > stopped_at + ECHO:
            os._exit(128 + number)
        if number in STOP:
            stopped_at = min(stopped_at, now)
            stops.append(number)
        if number in {*STOP, RELOAD}:
            put(number)
