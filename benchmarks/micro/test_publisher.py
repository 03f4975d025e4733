"""A batch of results on its way out, with real folders, a real ledger and real syncs."""

import os

import pytest

from watcherd import beneath
from watcherd.ledger.ledger import Ledger
from watcherd.model import After, Done, File, Job, Kind, Words
from watcherd.publish.batch import Batch
from watcherd.publish.roots.place import Affixes, Place
from watcherd.publish.roots.root import Root

WORDS = Words(words=2, lines=1, characters=8, bytes=8, encoding="utf-8")
AFFIXES = {Kind.TEXT: Affixes("", ".words.json"), Kind.IMAGE: Affixes("grayscale_", "")}


class Desk:
    """An inbox with its ledger; `fill` does what comes before a batch is settled."""

    def __init__(self, base, after):
        for name in ("inbox", "outbox", "archive", "failed", "state"):
            (base / name).mkdir()
        self.inbox = base / "inbox"
        self.ledger = Ledger(base / "state/ledger.db")
        self.ledger.register("scans", str(self.inbox))
        outbox, archive, failed = (Root(str(base / name), self.ledger.id) for name in ("outbox", "archive", "failed"))
        self.place = Place(
            inbox="scans",
            inbox_path=str(self.inbox),
            after=after,
            outbox=outbox,
            archive=archive,
            failed=failed,
            affixes=AFFIXES,
        )
        self.batch = Batch(
            self.place,
            self.ledger,
            durable=True,
            carry=lambda _: None,
            tell=lambda _: None,
            is_away=lambda: False,
            alive=lambda: None,
        )
        self.serial = 0

    def fill(self, count):
        jobs = [self.job() for _ in range(count)]
        self.ledger.hand_over(jobs)
        for job in jobs:
            draft = self.place.outbox.write_draft(job.id, b'{"source": "a.txt", "words": 2}\n')
            self.batch.add(Done(job, draft, WORDS, 0.001), draft)

    def job(self):
        self.serial += 1
        path = self.inbox / f"{self.serial}.txt"
        path.write_bytes(b"one two\n")
        version = beneath.version_of(os.lstat(path))
        return Job(self.ledger.next_id(), File("scans", path.name, version), Kind.TEXT)


@pytest.mark.parametrize("after", list(After))
@pytest.mark.parametrize("count", [1, 256])
def test_a_batch_is_settled(benchmark, tmp_path, count, after):
    desk = Desk(tmp_path, after)
    benchmark.group = f"{count} files"
    benchmark.pedantic(desk.batch.settle, setup=lambda: desk.fill(count), rounds=20 if count > 1 else 100)
    results = len(os.listdir(tmp_path / "outbox"))
    assert results >= (20 * 256 if count > 1 else 100)
