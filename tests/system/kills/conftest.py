"""A run that is cut short before each of its calls in turn, and what there is to work on meanwhile."""

import random
import signal
import sys
from collections import Counter
from itertools import count
from pathlib import Path

import pytest
from tests.conftest import SOAK, SOON
from tests.system.account import ended, fill, finish

#: Of the calls of a run every so many-th is cut, from anywhere on: each test run cuts others. All of them with SOAK.
STEP = 1 if SOAK else 16

#: How often a cut is tried: of two runs that do the same, one may make a call less, as it settles more at once, or as
#: a daemon beside it was first.
TRIES = 20

#: The last of some calls may never come again on a machine that has other things to do: so many of a hundred cuts.
MISSED = 5


class Cut:
    """Runs of one command, each killed before another of the calls that a whole one makes."""

    def __init__(self, site):
        self.site = site
        self._serial = count()

    def everywhere(self, run, *, prepare, hold):
        """Prepare, run and hold to account: whole, and then killed before each of the calls that were made.

        `run` is given the prefix of its command, and returns the Daemon, which is about to end.
        """
        whole = []
        for _ in range(2):  # which calls there are in one as in the other: more of a kind, the more is settled apart
            prepare()
            whole.append(Counter(self.once(run)))
            hold()
        cuts = sample(whole[0] & whole[1])
        missed = [cut for cut in cuts if not self._tried(run, *cut, prepare, hold)]
        assert len(missed) * 100 <= len(cuts) * MISSED, f"in {TRIES} runs each there was none of {missed}"

    def at(self, run, call, number, prepare, hold):
        """Prepare, run and hold to account, until a run was killed before the n-th of such calls."""
        assert self._tried(run, call, number, prepare, hold), f"in {TRIES} runs there was no {call}, {number}"

    def _tried(self, run, call, number, prepare, hold):
        for _ in range(TRIES):
            prepare()
            calls = self.once(run, call, number)
            was_killed = self.site.daemons[-1].was_killed
            sys.stdout.write(f"{call}, {number}: {'killed' if was_killed else f'whole, of {len(calls)} calls'}\n")
            hold()
            if was_killed:
                return True
            number = min(number, max(calls.count(call), 1))  # it made fewer this time: then the last of them
        return False

    def once(self, run, call="", number=0):
        """Run, killed before the n-th of such calls, if any; return the calls that were made."""
        trace = self.site.base / f"calls-{next(self._serial)}"
        tracer = Path(__file__).with_name("tracer.py")
        daemon = run([sys.executable, "-S", "-E", tracer, self.site.base, trace, call, str(number)])
        status = daemon.process.wait(SOON)  # and its workers' end, as all are traced
        daemon.was_killed = status == 128 + signal.SIGKILL
        assert daemon.was_killed or status == 0, daemon.tail()
        return trace.read_text("utf-8").splitlines()


def sample(calls):
    """Return which calls are to be cut: all of them, or some, each time others, of any place."""
    if SOAK:
        return [(call, number) for call, times in calls.items() for number in range(1, times + 1)]
    some = [(call, random.randint(1, times)) for call, times in calls.items()]
    return some[random.randrange(STEP) :: STEP]


@pytest.fixture
def cut(site):
    """Give what cuts a run short before each of its calls."""
    return Cut(site)


class Load:
    """The files of a test, dropped a folder at a time, and a daemon's run over them."""

    def __init__(self, site, picture):
        self.site, self.inputs = site, {}
        self._picture = picture
        self._serial = count()

    def configure(self, inbox=(), **tables):
        """Configure the site: one worker of a kind, as runs are to be alike, and no time to settle."""
        one = {"text": {"workers": 1}, "image": {"workers": 1}}
        self.site.configure(inbox={"settle": "50ms", **dict(inbox)}, **one | tables)

    def add(self, texts=3, images=1):
        """Drop a folder of files."""
        self.inputs |= fill(self.site, self._picture, f"{next(self._serial)}", texts=texts, images=images)

    def begin(self):
        """Have a first run behind us: one that makes the ledger and the folders is another one."""
        self.add()
        self.finish()

    def is_done(self):
        """Whether all came to their end."""
        return ended(self.site) >= len(self.inputs)

    def run(self, prefix=()):
        """Run the daemon until all is done and it has stopped, or until it is dead; return it."""
        return self.run_until(self.is_done, prefix)

    def run_until(self, is_done, prefix=(), begin=lambda _: None):
        """Run the daemon until something is so, or until it is dead; `begin` is done once it is ready."""
        daemon = self.site.daemon(prefix=prefix).spawn()
        if self._comes(daemon, lambda: daemon.events("daemon.ready")):
            begin(daemon)
            if self._comes(daemon, is_done):
                daemon.stop_if_it_lives()
        return daemon

    def _comes(self, daemon, condition):
        """Wait for something, and return whether the daemon still lives then."""
        self.site.wait_for(lambda: daemon.process.poll() is not None or condition(), "its end, or its work's", 60)
        return daemon.process.poll() is None

    def finish(self):
        """Let another run do what is left."""
        finish(self.site, self.is_done)


@pytest.fixture
def load(site, picture):
    """Give files to work on, and the daemon's run over them."""
    load = Load(site, picture)
    load.configure()
    return load


def pytest_collection_modifyitems(items):
    """Give each of these tests the time for all its runs."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(7200 if SOAK else 240))
