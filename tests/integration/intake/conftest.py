"""A real intake on a real folder; only the rooms around it are played here."""

import itertools
import os
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.integration.conftest import as_nobody

from watcherd.decide import ENDS, RetryPolicy
from watcherd.intake.intake import Intake
from watcherd.intake.rules import Rules
from watcherd.intake.terms import Desk, Inbox
from watcherd.ledger.claims import Claims
from watcherd.model import After, CameBack, Ended, Failed, File, Kind, Record, Version
from watcherd.states import State

RULES = Rules({Kind.TEXT: frozenset({".txt"}), Kind.IMAGE: frozenset({".png"})})
DEADLINE = 10.0


class Watching:
    """An intake with lanes that only collect, a ledger that is a dict, and somebody who waits for what happens."""

    def __init__(self, root, **terms):
        self.root = Path(root)
        self.jobs, self.condemned, self.dropped, self.faults, self.came_back = [], [], [], [], []
        self.records, self.dues, self.suspects = {}, {}, []
        self.capacity = dict.fromkeys(Kind, 10**9)
        self.paused = self.idle = self.doubted = False
        self.found = 0  # times that the inbox was there again
        self.looks = 0  # at whether it is paused, while it is
        self.death = None
        self.before_offer = lambda _: None
        self.before_lookup = self.before_due = self.before_condemn = self.before_found = lambda: None
        self.claims = Claims(10_000)
        inbox = Inbox(
            name="scans", root=str(root), after=After.ARCHIVE, rules=RULES,
            settle=0.2, rescan=None, policy=RetryPolicy(),
        )  # fmt: skip
        self.inbox = replace(inbox, **terms)
        self.intake = Intake(self.inbox, self._ledger(), self.claims, self._desk())
        self.claims.wake = self.intake.wake

    def _desk(self):
        return Desk(
            offer=self._offer, put=self._put, paused=self._is_paused, doubted=lambda: self.doubted,
            on_found=self._found, on_death=self._died,
        )  # fmt: skip

    def _ledger(self):
        ids = itertools.count(1)
        return SimpleNamespace(
            lookup=self._lookup, ended=self._ended, unfinished=self._unfinished, earliest_due=self._earliest_due,
            due=self._due, drop=self._drop, hand_over=self._hand_over, next_id=lambda: next(ids),
        )  # fmt: skip

    def _lookup(self, _, paths):
        self.before_lookup()
        return {path: self.records[path] for path in paths if path in self.records}

    def _ended(self, inbox, paths):
        done = {path: it for path, it in self._lookup(inbox, paths).items() if it.state in ENDS}
        return {path: Ended(*it.file.version[:2], it.state) for path, it in done.items()}

    def _unfinished(self, inbox, state):
        assert state is State.WORKING
        return [Record(0, File(inbox, path, Version(0, 0, 0, 0)), Kind.TEXT, state) for path in self.suspects]

    def _earliest_due(self, _):
        return min(self.dues.values(), default=None)

    def _due(self, _, now, furthest, most):
        self.before_due()
        due = [path for path, due in self.dues.items() if due <= now or due > furthest]
        return sorted(due, key=self.dues.get)[:most]

    def _drop(self, _, path):
        self.dues.pop(path, None)
        self.dropped.append(path)

    def _hand_over(self, _):
        self.before_condemn()

    def _put(self, it):
        match it:
            case Failed():
                self.condemned.append(it)
            case CameBack():
                self.came_back.append(it.record)
            case _:
                self.faults.append(it)

    def _offer(self, jobs):
        return next((taken for taken, job in enumerate(jobs) if not self._takes(job)), len(jobs))

    def _takes(self, job):
        self.before_offer(job)
        if sum(other.kind is job.kind for other in self.jobs) >= self.capacity[job.kind]:
            return False
        self.dues.pop(job.file.path, None)
        self.jobs.append(job)
        return True

    def _is_paused(self):
        self.looks += self.paused
        return self.paused

    def _found(self, was_lost):
        self.before_found()
        self.found += was_lost

    def _died(self, error):
        self.death = error

    def __enter__(self):
        self.intake.start()
        if self.idle:
            self.until(lambda: self.intake.last_scan)
        return self

    def __exit__(self, *_):
        self.intake.stop()
        assert self.intake.join(DEADLINE)
        if self.death is not None:
            raise self.death

    @property
    def paths(self):
        """What was offered, in order."""
        return [job.file.path for job in self.jobs]

    def until(self, happened, within=DEADLINE):
        """Wait until `happened()`; fail at the deadline."""
        tick, rounds = threading.Event(), itertools.count()
        while not happened():
            assert next(rounds) < within / 0.005, (
                f"not within {within} s; so far {self.paths} {self.intake.waiting()}"
            )
            tick.wait(0.005)

    def job(self, path):
        """Wait for the job of `path`."""
        self.until(lambda: path in self.paths)
        return next(job for job in self.jobs if job.file.path == path)

    def scanned(self):
        """Begin only when the first scan has ended: what comes now comes to an idle inbox."""
        self.idle = True
        return self

    def renamed_in(self, path, content=b"some words"):
        """Deliver a file as careful programs do."""
        with tempfile.NamedTemporaryFile(dir=self.root.parent, delete=False) as draft:
            draft.write(content)
        os.rename(draft.name, self.root / path)

    def record(self, path, state, **facts):
        """Put the file at `path`, as it is now, on record."""
        status = os.stat(self.root / path)
        version = Version(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        self.records[path] = Record(1, File("scans", path, version), Kind.TEXT, state, **facts)
        if state is State.RETRYING:
            self.dues[path] = facts.get("due", 0.0)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def watching(root):
    """Make an intake of the inbox at `root`; give terms to differ from the usual ones."""
    return lambda **terms: Watching(root, **terms)


@pytest.fixture
def unprivileged():
    """Be nobody for a while; yields an intake of nobody's inbox."""
    with tempfile.TemporaryDirectory() as place:
        inbox = Path(place, "inbox")
        inbox.mkdir()
        for folder in (place, inbox):
            os.chmod(folder, 0o777)  # noqa: S103 (a stranger is to work there)
        watching = Watching(inbox, settle=0.05).scanned()
        with as_nobody():
            yield watching
