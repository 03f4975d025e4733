"""A batch whose n-th call of the system fails, for every n: in the end, everything has happened exactly once.

Every function of the kernel through which publishing changes or reads folders is counted, and one call of them fails,
before it did anything or right after it did. What is checked is what a user sees.

Where it only matters what was done so far, those that read are not counted: to die before one of them, or after it,
is to die before the next that changes something; and to fail after it has read is to fail before.
"""

# ruff: noqa: SLF001 (what is broken on purpose is broken from inside)

from __future__ import annotations

import errno
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from watcherd.ledger.ledger import Ledger
from watcherd.model import After, Failed, Returned, SystemFault
from watcherd.publish.inputs.carrier import Carrier
from watcherd.publish.roots import disk, rename
from watcherd.publish.roots.folders import Folders
from watcherd.publish.roots.root import Root
from watcherd.publish.unretired import Hindered
from watcherd.states import State

CALLS = ("open", "stat", "lstat", "access", "fsync", "unlink", "mkdir", "rename", "listdir")
READS = {"os.stat", "os.lstat", "os.access", "os.listdir", "os.pread", "os.listxattr"}


def all_of_them(_name, _flags):
    return True


def that_change(name, flags):
    """Whether a call changes what is on disk; `flags` are those of an open."""
    return flags & os.O_CREAT if name == "os.open" else name not in READS


def that_open(name, _flags):
    """Whether a call takes a descriptor: no other runs out of them."""
    return name in {"os.open", "os.listdir"} or name.startswith("ledger.")


#: More calls than this are of each in a batch, every one of which was broken.
FEWEST = {all_of_them: 90, that_change: 35, that_open: 20}


_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 (asked for by name)


class Cut(BaseException):
    """The process dies here."""


class Faults:
    """Lets the n-th call raise `error`, or die, before or after it acts."""

    def __init__(self, monkeypatch, ledger_class) -> None:
        self.left = -1
        self.error: BaseException | None = None
        self.acts_first = False
        self.counts = all_of_them
        self.hit = ""
        self.is_dead = False
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrap(f"os.{name}", getattr(os, name)))
        monkeypatch.setattr(rename, "_renameat2", self._wrap("renameat2", rename._renameat2))
        monkeypatch.setattr(disk, "sync_all", self._wrap("syncfs", disk.sync_all))
        for name in ("intend", "forget", "withdraw"):
            monkeypatch.setattr(ledger_class, name, self._wrap(f"ledger.{name}", getattr(ledger_class, name)))

    def arm(self, n: int, error: BaseException, *, acts_first: bool = False, of=all_of_them) -> None:
        """Let the n-th call from now on fail, `of` those."""
        self.left, self.error, self.acts_first, self.counts, self.hit = n, error, acts_first, of, ""

    def disarm(self) -> None:
        """Let everything succeed."""
        self.left = -1
        self.is_dead = False

    def _wrap(self, name, real):
        def call(*args, **keywords):
            if self.is_dead:
                raise Cut  # and cleans nothing up
            if not self.counts(name, args[1] if name == "os.open" else 0):
                return real(*args, **keywords)
            self.left -= 1
            if self.left != 0:
                return real(*args, **keywords)
            self.hit = name
            self.is_dead = isinstance(self.error, Cut)
            if name == "os.access" and isinstance(self.error, OSError):
                return False  # it tells no errors
            if self.acts_first:
                done = real(*args, **keywords)
                if name == "os.open":
                    os.close(done)
            if name.startswith("ledger.") and isinstance(self.error, OSError):
                raise SystemFault("the ledger", root="") from self.error
            raise self.error

        return call


@pytest.fixture
def faults(monkeypatch):
    return Faults(monkeypatch, Ledger)


@pytest.fixture
def bases():
    """Yield folders without end, in memory where there is such a file system: thousands of syncs are due."""
    with TemporaryDirectory(dir=_MEMORY) as folder:

        def numbered():
            for n in range(1, 10_000):
                base = Path(folder, str(n))
                base.mkdir()
                yield n, base

        yield numbered()


def _fill(scene):
    """Put everything that a batch can meet into one: numbers, folders, a quarantine, one gone, one edited."""
    (scene.outbox / "taken.txt.words.json").write_text("a user's")
    (scene.archive / "held.txt").write_text("a user's")
    (scene.failed / "bad.txt").write_text("a user's")
    jobs = scene.add("a.txt", "taken.txt", "held.txt", "sub/b.txt", "gone.txt", "edited.txt")
    jobs += scene.add("bad.txt", "sub/bad.txt", state=State.QUARANTINING)
    os.unlink(scene.inbox / "gone.txt")
    scene.drop("edited.txt", b"edited since")
    return jobs


@pytest.fixture
def settle_and_lose(scene, monkeypatch):
    """Return a function: a sync of the batch, the first or second of two, fails, and its disk has lost a rename."""

    def settle(nth, before, after):
        def sync(folders):
            syncs.append(folders)
            if len(syncs) < nth:
                return real(folders)
            os.rename(after, before)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        syncs, real = [], Folders.sync
        with monkeypatch.context() as context:
            context.setattr(Folders, "sync", sync)
            with pytest.raises(SystemFault):
                scene.batch.settle()

    return settle


def test_a_result_whose_rename_its_disk_lost_is_shown_again_before_its_input_is_retired(scene, look, settle_and_lose):
    (job,) = scene.add("a.txt")
    result = scene.outbox / "a.txt.words.json"
    settle_and_lose(1, scene.outbox / ".watcherd" / scene.place.outbox.name_of(job.id), result)
    scene.settle()
    assert look.tree(scene.outbox) == {result.name}
    assert look.tree(scene.archive) == {"a.txt"}
    assert scene.states("a.txt") == [State.PUBLISHED]


def test_a_result_that_was_collected_since_a_sync_failed_is_not_missed(scene, look, settle_and_lose):
    scene.add("a.txt")
    settle_and_lose(1, scene.state / "collected", scene.outbox / "a.txt.words.json")
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.archive) == {"a.txt"}


def test_an_input_whose_retirement_its_disk_lost_is_retired_again(scene, look, settle_and_lose):
    scene.add("a.txt")
    settle_and_lose(2, scene.inbox / "a.txt", scene.archive / "a.txt")
    assert scene.settle() == [State.PUBLISHED]
    assert look.tree(scene.inbox) == set()
    assert look.tree(scene.archive) == {"a.txt"}


def test_an_input_whose_retirement_its_disk_lost_as_the_next_one_failed_is_retired_again(scene, look, monkeypatch):
    def lose(source, name, *more):
        if name == "b.txt":
            os.rename(scene.archive / "a.txt", scene.inbox / "a.txt")
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(source, name, *more)

    def probe(root):
        raise SystemFault("it is gone", root=root.path)

    real = rename._renameat2
    scene.add("a.txt", "b.txt")
    with monkeypatch.context() as context:
        context.setattr(rename, "_renameat2", lose)
        context.setattr(Root, "probe", probe)
        with pytest.raises(SystemFault):
            scene.batch.settle()
    assert scene.settle() == [State.PUBLISHED] * 2
    assert look.tree(scene.inbox) == set()
    assert look.tree(scene.archive) == {"a.txt", "b.txt"}


def _settle(scene, ended):
    try:
        scene.batch.settle()
    finally:
        ended += scene.told()


def _go_on(scene, ended):
    """Go on as the publisher does, whose look around comes first."""
    for _ in range(3):
        for it in scene.place.roots:
            it.rest()
            it.probe()
        scene.batch.release()
        _settle(scene, ended)


def _assert_each_ended_once(jobs, ended, n, call):
    """Require that each job left the batch once; return what a failure tells: the call, and what ended."""
    where = (n, call, ended)
    left = Counter(it.job.id for it in ended if not isinstance(it, Hindered))
    assert left == dict.fromkeys((job.id for job in jobs), 1), where
    return where


def _assert_all_is_well(scene, look):
    outbox, failed = look.tree(scene.outbox), look.tree(scene.failed)
    sources = {name.removesuffix(".words.json") for name in outbox}
    assert len(sources) == 5
    assert {"taken.txt", "sub/b.txt"} < sources
    assert (scene.outbox / "taken.txt.words.json").read_text() == "a user's"
    assert (scene.failed / "bad.txt").read_text() == "a user's"
    assert len(failed) == 5
    assert {f"{name}.error.json" for name in failed if name.endswith(".txt")} - failed == {"bad.txt.error.json"}
    if scene.after is After.ARCHIVE:
        assert (scene.archive / "held.txt").read_text() == "a user's"
        assert look.tree(scene.archive) - {"held.txt"} == sources - {"taken.txt"}
    assert look.tree(scene.inbox) == {"edited.txt"}
    assert look.drafts(scene.inbox, scene.outbox, scene.archive, scene.failed) == set()


@pytest.mark.parametrize(
    ("after", "number", "acts_first", "of"),
    [
        (After.ARCHIVE, errno.EIO, False, all_of_them),
        (After.ARCHIVE, errno.EIO, True, that_change),
        (After.ARCHIVE, errno.EMFILE, False, that_open),
        (After.DELETE, errno.EIO, False, all_of_them),
        (After.DELETE, errno.ENOSPC, True, that_change),
    ],
)
def test_whichever_call_fails_everything_is_published_exactly_once(  # noqa: PLR0913, PLR0917 (fixtures and cases)
    scene_of, look, faults, bases, after, number, acts_first, of
):
    for n, base in bases:
        scene = scene_of(after, base)
        jobs = _fill(scene)
        ended: list = []
        faults.arm(n, OSError(number, os.strerror(number), "x"), acts_first=acts_first, of=of)
        with suppress(SystemFault):
            _settle(scene, ended)
        faults.disarm()
        if not faults.hit:
            assert n > FEWEST[of]
            break
        _go_on(scene, ended)
        where = _assert_each_ended_once(jobs, ended, n, faults.hit)
        assert not scene.batch, where
        _try_again(scene, ended)
        _told(where, lambda scene=scene: _assert_all_is_well(scene, look))


def _try_again(scene, ended):
    """Do once more what was given up, as its retry would."""
    for it in ended:
        if isinstance(it, Failed) or (isinstance(it, Returned) and "for now" in it.reason):
            _do(scene, it.job)
    _go_on(scene, [])


def _do(scene, job):
    if job.file.path.endswith("bad.txt"):
        scene.set_aside(job)
    else:
        scene.publish(job)


@pytest.mark.parametrize("after", [After.ARCHIVE, After.DELETE])
def test_wherever_the_process_dies_the_next_start_finishes_it(scene_of, look, faults, bases, after):
    for n, base in bases:
        scene = scene_of(after, base)
        _fill(scene)
        faults.arm(n, Cut(), of=that_change)
        with suppress(Cut):
            scene.batch.settle()
        faults.disarm()
        if not faults.hit:
            assert n > FEWEST[that_change]
            break
        scene.start_again()
        scene.batch.settle()
        _work_again(scene)
        _told((n, faults.hit), lambda scene=scene: _assert_all_is_well(scene, look))


def _work_again(scene):
    """Do what was being worked on when the process died, as the next start's scan would."""
    for record in scene.ledger.unfinished("scans", State.WORKING):
        path = record.file.path
        if not (scene.inbox / path).exists() or path == "edited.txt":
            continue
        _do(scene, scene.job(path, content=None))
    scene.batch.settle()


def _told(where, check):
    try:
        check()
    except AssertionError as error:
        raise AssertionError(where) from error


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("acts_first", [False, True])
def test_a_kept_result_is_replaced_whole_or_not_yet_whatever_fails(  # noqa: PLR0913, PLR0917 (fixtures and cases)
    scene_of, look, faults, bases, acts_first, dies
):
    for n, base in bases:
        scene = scene_of(After.KEEP, base)
        first = scene.job("a.txt", content=b"1")
        scene.publish(first, b"first")
        scene.batch.settle()
        scene.told()
        scene.claims.release("a.txt")
        second = scene.job("a.txt", content=b"22")
        scene.publish(second, b"second")
        faults.arm(n, Cut() if dies else OSError(errno.EIO, "", "x"), acts_first=acts_first)
        with suppress(Cut, SystemFault):
            scene.batch.settle()
        faults.disarm()
        if not faults.hit:
            break
        assert (scene.outbox / "a.txt.words.json").read_bytes() in {b"first", b"second"}
        if dies:
            scene.start_again()
            scene.claims.release("a.txt")
            _work_again(scene)
        ended: list = []
        _go_on(scene, ended)
        _try_again(scene, ended)
        assert look.tree(scene.outbox) == {"a.txt.words.json"}, (n, faults.hit)
        assert scene.states("a.txt") == [State.PUBLISHED], (n, faults.hit)
        assert look.drafts(scene.outbox) == set(), (n, faults.hit)


# To another file system ---------------------------------------------------------------------------------------------


@pytest.fixture
def far_faults(monkeypatch):
    """Let calls fail, or be the last ones, also of those by which files are carried to another file system."""
    made = Faults(monkeypatch, Ledger)
    for name in ("link", "write", "pread", "fchmod", "fchown", "utime", "listxattr", "rmdir"):
        monkeypatch.setattr(os, name, made._wrap(f"os.{name}", getattr(os, name)))
    for name in ("fsync", "fdatasync"):  # thousands are due, on a disk: none has to be waited for here
        monkeypatch.setattr(os, name, made._wrap(f"os.{name}", lambda _: None))
    return made


def _carry(scene):
    """Carry what waits for it, as the carrier does."""
    for it in scene.carried:
        report = Carrier(scene.place, scene.ended.append, scene.deaths.append)._carried(it, lambda: None)
        scene.batch.carried(report.leaving, report.error)
    scene.carried.clear()


def _settle_far(scene, ended):
    """Settle all, with what has to be carried: what waits aside is tried again."""
    try:
        for _ in range(4):
            scene.batch.settle()
            _carry(scene)
            scene.batch.release()
        scene.batch.settle()
    finally:
        ended += scene.told()


def _far_scenes(scene_of, bases, tmp_path):
    """Yield scenes without end whose archive and failed folder are on another file system."""
    for n, base in bases:
        here = tmp_path / str(n)
        here.mkdir()
        yield n, scene_of(After.ARCHIVE, base, archive=here / "archive", failed=here / "failed")


def test_wherever_the_process_dies_on_the_way_to_another_file_system_the_next_start_finishes_it(
    scene_of, look, far_faults, bases, tmp_path
):
    for n, scene in _far_scenes(scene_of, bases, tmp_path):
        _fill(scene)
        far_faults.arm(n, Cut(), of=that_change)
        with suppress(Cut):
            _settle_far(scene, [])
        far_faults.disarm()
        if not far_faults.hit:
            assert n > 90  # calls of one batch, each of which was broken
            break
        scene.carried.clear()
        scene.start_again()
        _settle_far(scene, [])
        _work_again(scene)
        _settle_far(scene, [])
        _told((n, far_faults.hit), lambda scene=scene: _assert_all_is_well(scene, look))


@pytest.mark.parametrize(
    ("number", "acts_first", "of"), [(errno.EIO, True, all_of_them), (errno.ENOSPC, False, that_change)]
)
def test_whichever_call_fails_on_the_way_to_another_file_system_everything_is_published_exactly_once(  # noqa: PLR0913, PLR0917 (fixtures and cases)
    scene_of, look, far_faults, bases, tmp_path, number, acts_first, of
):
    for n, scene in _far_scenes(scene_of, bases, tmp_path):
        jobs = _fill(scene)
        ended: list = []
        far_faults.arm(n, OSError(number, os.strerror(number), "x"), acts_first=acts_first, of=of)
        with suppress(SystemFault):
            _settle_far(scene, ended)
        far_faults.disarm()
        if not far_faults.hit:
            assert n > 90  # calls of one batch, each of which was broken
            break
        _settle_far(scene, ended)
        where = _assert_each_ended_once(jobs, ended, n, far_faults.hit)
        _try_again(scene, ended)
        _settle_far(scene, [])
        _told(where, lambda scene=scene: _assert_all_is_well(scene, look))
