"""A scene to publish in: real folders, a real ledger, and what an intake and a lane would have done before."""

# ruff: noqa: SLF001 (a crash is played by closing what nobody else may close, and a ledger held to its states)

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from tests.conftest import wait_for

from watcherd import beneath
from watcherd.beneath import OURS
from watcherd.decide import RetryPolicy
from watcherd.ledger.claims import Claims
from watcherd.ledger.ledger import Ledger
from watcherd.model import After, Done, Failed, Failure, File, Job, Kind, Returned, Stalled, Words
from watcherd.publish import recovery
from watcherd.publish.aside import wayback
from watcherd.publish.batch import Batch
from watcherd.publish.inputs.carrier import Carrier
from watcherd.publish.publisher import Publisher
from watcherd.publish.roots.place import Affixes, Place
from watcherd.publish.roots.root import Root
from watcherd.publish.unretired import Hindered
from watcherd.states import TRANSITIONS, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from watcherd.publish.batch import Exit, News
    from watcherd.publish.inputs.carrier import Carried
    from watcherd.publish.leaving import Leaving

WORDS = Words(words=2, lines=1, characters=8, bytes=8, encoding="utf-8")


class Scene:
    """One inbox and its folders beneath `base`; `folders` moves some of them elsewhere."""

    def __init__(self, base: Path, after: After = After.ARCHIVE, **folders: Path) -> None:
        self.after = after
        self.state = base / "state"
        self.inbox, self.outbox, self.archive, self.failed = (
            folders.get(name, base / name) for name in ("inbox", "outbox", "archive", "failed")
        )
        for folder in (self.state, self.inbox, self.outbox, self.archive, self.failed):
            folder.mkdir(exist_ok=True)
        self.carried: list[Leaving] = []
        self.ended: list[Exit] = []
        self.deaths: list[BaseException] = []
        self.publishers: list[Publisher] = []
        self.is_away: Callable[[], bool] = lambda: False
        self.open()

    # One life of the daemon -----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin a life."""
        self.ledger = Ledger(self.state / "ledger.db")
        _hold_to_the_drawing(self.ledger)
        self.ledger.register("scans", str(self.inbox))
        self.claims = Claims(10_000)
        self.place = Place(
            inbox="scans",
            inbox_path=str(self.inbox),
            after=self.after,
            outbox=Root(str(self.outbox), self.ledger.id),
            archive=Root(str(self.archive), self.ledger.id),
            failed=Root(str(self.failed), self.ledger.id),
            affixes={Kind.TEXT: Affixes("", ".words.json"), Kind.IMAGE: Affixes("grayscale_", "")},
        )
        self.news: list[News] = []
        self.batch = Batch(
            self.place,
            self.ledger,
            carry=self.carried.append,
            tell=self.news.append,
            is_away=lambda: self.is_away(),  # noqa: PLW0108 (a test may set another one)
            alive=lambda: None,
        )

    def crash(self) -> None:
        """End this life as SIGKILL does: what the ledger only knows in memory is lost. Begin the next one."""
        self.ledger._writer.close()
        self.ledger._reader.close()
        for root in self.place.roots:
            root.rest()
        self.open()

    def start_again(self) -> None:
        """End this life as SIGKILL does, and take up in the next one what it left."""
        self.crash()
        self.recover()

    def close(self) -> None:
        """End it properly."""
        for publisher in self.publishers:
            publisher.stop(10)
        self.ledger.close()
        for root in (self.place.outbox, self.place.archive, self.place.failed):
            root.rest()

    # What comes before the publisher --------------------------------------------------------------------------------

    def drop(self, path: str, content: bytes = b"one two\n") -> Path:
        """Write a file into the inbox."""
        target = self.inbox / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return target

    def job(self, path: str, kind: Kind = Kind.TEXT, content: bytes | None = b"one two\n", **charges) -> Job:
        """Drop `content`, unless it is None, and admit the file."""
        if content is not None:
            self.drop(path, content)
        version = beneath.version_of(os.lstat(self.inbox / path))
        job = Job(self.ledger.next_id(), File("scans", path, version), kind, **charges)
        assert self.claims.claim(path)
        self.ledger.hand_over([job])
        return job

    def done(self, job: Job, content: bytes | None = None) -> Done:
        """Do the job's work: its draft says what it was made of, if nothing else."""
        text = f"{job.file.path} {job.id}".encode("utf-8", "surrogateescape") if content is None else content
        return Done(job, self.place.outbox.write_draft(job.id, text), WORDS, 0.001)

    def add(self, *paths: str, state: State = State.PUBLISHING, **more) -> list[Job]:
        """Admit files, do their work and put it into the batch."""
        jobs = [self.job(path, **more) for path in paths]
        for job in jobs:
            if state is State.PUBLISHING:
                self.publish(job)
            else:
                self.set_aside(job)
        return jobs

    def publish_and_edit(self, path: str = "a.txt") -> Job:
        """Publish a kept file, and put it into the batch once more, edited; return the job of that."""
        self.add(path)
        assert self.settle() == [State.PUBLISHED]
        self.claims.release(path)
        (job,) = self.add(path, content=b"edited")
        return job

    def publish(self, job: Job, content: bytes | None = None) -> None:
        """Do a job's work, and put it into the batch."""
        done = self.done(job, content)
        self.batch.add(done, done.draft)

    def set_aside(self, job: Job) -> None:
        """Put a job that failed into the batch."""
        self.batch.add(Failed(job, Failure.CORRUPT, "bad"), self.place.failed.write_draft(job.id, b"{}"))

    def publisher(self, **more) -> Publisher:
        """Make a publisher that is stopped with the scene."""
        options = {
            "policy": RetryPolicy(backoff=0.01),
            "least_free": lambda _: 0,
            "retry_command": "watcherd retry -- ",
            "prepare": lambda: None,
            "is_away": lambda: False,
            "on_pause": lambda: None,
            "on_end": self.ended.append,
            "on_death": self.deaths.append,
        }
        publisher = Publisher(self.place, self.ledger, self.claims, **{**options, **more})
        self.publishers.append(publisher)
        return publisher

    # What can be seen -----------------------------------------------------------------------------------------------

    def states(self, *paths: str) -> list[State | None]:
        """Return what the ledger says of these paths."""
        found = self.ledger.lookup("scans", paths)
        return [found[path].state if path in found else None for path in paths]

    def record(self, path: str):
        """Return the record of a path."""
        return self.ledger.lookup("scans", [path]).get(path)

    def told(self) -> list[News]:
        """Return what the batch told of jobs since this was last asked."""
        told = self.news.copy()
        self.news.clear()
        return told

    def recover(self) -> None:
        """Take up what an earlier run left."""
        recovery.recover(self.place, self.ledger, self.batch, lambda: None, away=False)
        wayback.finish(self.place, self.ledger)

    def settle(self) -> list[str]:
        """Settle the batch; return how its jobs ended, or left, or that they are hindered or stalled."""
        self.batch.settle()
        return [_came_to(news) for news in self.told()]

    def carry(self) -> list[str]:
        """Carry what waits for it, and settle again; return as `settle` does."""
        reports: list[Carried] = []
        carrier = Carrier(self.place, reports.append, self.deaths.append)
        for it in self.carried:
            carrier.take(it)
        carrier.stop(10)
        self.carried.clear()
        for report in reports:
            self.batch.carried(report.leaving, report.error)
        return self.settle()


def _hold_to_the_drawing(ledger: Ledger) -> None:
    """Let a ledger refuse each step from state to state that has no letter in the drawing."""
    drawn = ", ".join(f"('{before}', '{after}')" for before, after in TRANSITIONS.values())
    ledger._writer.execute(
        "CREATE TEMP TRIGGER drawn BEFORE UPDATE OF state ON file WHEN OLD.state != NEW.state AND"
        f" (OLD.state, NEW.state) NOT IN (VALUES {drawn}) BEGIN SELECT RAISE(ABORT, 'a step that is not drawn'); END"
    )


def _came_to(news: News) -> str:
    match news:
        case Hindered():
            return "hindered"
        case Failed():
            return State.RETRYING
        case Stalled():
            return "stalled"
        case Returned():
            return news.to
    return news.state


def tree(folder: Path) -> set[str]:
    """Return the paths of all files beneath `folder`, but for our own folder's."""
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() and OURS not in path.parts
    }


def drafts(*folders: Path) -> set[str]:
    """Return the names in our own folders."""
    return {path.name for folder in folders for path in (folder / OURS).glob("*")}


@pytest.fixture
def scene(scene_of):
    return scene_of()


@pytest.fixture
def scene_of(tmp_path):
    """Make scenes of another kind."""
    made: list[Scene] = []

    def make(after: After = After.ARCHIVE, base: Path = tmp_path, **folders: Path) -> Scene:
        made.append(Scene(base, after, **folders))
        return made[-1]

    yield make
    for it in made:
        it.close()


@pytest.fixture
def look():
    return SimpleNamespace(tree=tree, drafts=drafts, eventually=wait_for)
