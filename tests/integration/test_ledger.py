"""The ledger, in real SQLite: what it refuses, what survives what, and a dict that it is held against."""

# ruff: noqa: SLF001 (what is broken on purpose is broken from inside)

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.integration.conftest import as_nobody, failing, limited

from watcherd.decide import ENDS, Retry
from watcherd.ledger import database
from watcherd.ledger.answers import BLOCK, LAST
from watcherd.ledger.database import VERSION, connect, prepare, require_sound
from watcherd.ledger.ledger import Intent, Ledger
from watcherd.model import Draft, Failure, File, Job, Kind, Record, Refused, SystemFault, Version, signed
from watcherd.sameness import is_as_written
from watcherd.states import State


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path):
    with Ledger(path) as opened:
        opened.register("scans", "/srv/scans")
        yield opened


def job(ledger, path, inbox="scans", *, size=1, **charges):
    number = ledger.next_id()
    return Job(number, File(inbox, path, Version(size, 2, 3, number)), Kind.TEXT, **charges)


def handed(ledger, *paths, **charges):
    jobs = [job(ledger, path, **charges) for path in paths]
    ledger.hand_over(jobs)
    return jobs


def intend(ledger, job, state=State.PUBLISHING, number=0, inode=77):
    ledger.intend([Intent(job, state, number, Draft(f"draft-{job.id}", inode, 5, 6))])


def seen(mtime):
    """Return what a `stat` shows of the result that `intend` speaks of, changed at `mtime`, on a server."""
    return os.stat_result((0, 77, os.makedev(0, 49), 1, 0, 0, 5, 0, 0, 0), {"st_mtime_ns": int(mtime * 1e9)})


def told(ledger, statement):
    """Return what the connection that writes says."""
    return ledger._writer.execute(statement).fetchone()[0]


def crash(ledger):
    """End it as SIGKILL does: without a flush."""
    ledger._writer.close()
    ledger._reader.close()


def came_again(ledger, path, times, state=State.PUBLISHED):
    """Put on record that a file of this name came and was published, or ended otherwise, so many times."""
    for _ in range(times // 1000 or 1):
        jobs = [job(ledger, path) for _ in range(min(times, 1000))]
        ledger.remember([Record(0, it.file, it.kind, state) for it in jobs])


def steps(connection, act):
    """Return how many steps of SQLite's machine `act` takes."""
    taken = []
    connection.set_progress_handler(lambda: taken.append(1), 1)
    act()
    connection.set_progress_handler(None, 1)
    return len(taken)


def to_the_version_before(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """ALTER TABLE file DROP COLUMN result_size; ALTER TABLE file DROP COLUMN result_mtime_ns;
               PRAGMA user_version = 1"""
        )


def record(ledger, path):
    return ledger.lookup("scans", [path]).get(path)


# What it refuses ----------------------------------------------------------------------------------------------------


def test_a_ledger_of_a_newer_version_is_refused_and_left_as_it_is(path):
    Ledger(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(Refused, match="newer watcherd"):
        Ledger(path)


def test_a_ledger_of_the_version_before_is_brought_to_this_one_and_keeps_what_it_knew(path):
    with Ledger(path) as ledger:
        ledger.register("scans", "/srv/scans")
        intend(ledger, *handed(ledger, "a.txt"))
    to_the_version_before(path)
    for _ in range(2):
        with Ledger(path) as ledger:
            ledger.register("scans", "/srv/scans")
            assert is_as_written(seen(time.time()), record(ledger, "a.txt"))
            assert told(ledger, "PRAGMA user_version") == VERSION
            intend(ledger, *handed(ledger, "b.txt"))
            assert record(ledger, "b.txt").result.size == 5


def test_a_ledger_of_the_version_before_that_another_writes_to_for_long_is_a_fault_of_the_system(path, monkeypatch):
    Ledger(path).close()
    to_the_version_before(path)
    monkeypatch.setattr(database, "PATIENCE", 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SystemFault, match="locked"):
            Ledger(path)
    with Ledger(path) as ledger:
        assert told(ledger, "PRAGMA user_version") == VERSION


@pytest.mark.parametrize("statement", range(3))
@pytest.mark.parametrize("there", [False, True], ids=["none", "of the version before"])
def test_a_ledger_that_another_makes_or_brings_to_this_version_meanwhile_is_opened(path, there, statement):
    if there:
        Ledger(path).close()
        to_the_version_before(path)
    met = []

    def other(said):
        met.append(said)
        if len(met) == statement + 1:
            Ledger(path).close()

    with closing(connect(path)) as connection:
        connection.set_trace_callback(other)
        identity = prepare(connection, path)
        assert not connection.in_transaction
    assert len(met) > statement
    with Ledger(path) as ledger:
        assert (told(ledger, "SELECT id FROM ledger"), told(ledger, "PRAGMA user_version")) == (identity, VERSION)


def test_a_ledger_is_for_the_eyes_of_its_owner_alone_whatever_the_umask(path):
    before = os.umask(0)
    try:
        with Ledger(path) as opened:
            opened.register("scans", "/srv/scans")
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys((path.name, f"{path.name}-wal", f"{path.name}-shm"), 0o600)


def test_a_file_that_is_no_database_is_refused(path):
    path.write_bytes(b"these are my notes, and no database at all\n" * 100)
    with pytest.raises(Refused, match="damaged"):
        Ledger(path)
    assert path.read_bytes().startswith(b"these are my notes")


def test_a_database_of_something_else_is_refused_and_left_as_it_is(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(Refused, match="something else"):
        Ledger(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]


def test_a_damaged_ledger_is_refused_in_one_line(path):
    with Ledger(path) as ledger:
        ledger.register("scans", "/srv/scans")
        handed(ledger, *[f"{n}.txt" for n in range(2000)])
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (os.path.getsize(path) - 4096))
    with (  # noqa: PT012 (any may find it)
        pytest.raises(Refused, match=r"damaged .*: start watcherd again") as refusal,
        Ledger(path) as ledger,
    ):
        ledger.register("scans", "/srv/scans")
        ledger.lookup("scans", ["1.txt"])
    assert "\n" not in str(refusal.value)


def test_damage_where_ids_are_counted_is_refused_in_one_line_too(path):
    with Ledger(path) as ledger:
        where = told(ledger, "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_sequence'") - 1
        size = told(ledger, "PRAGMA page_size")
    with open(path, "r+b") as file:
        file.seek(where * size)
        file.write(b"\xa5" * size)
    with pytest.raises(Refused, match="damaged"):
        Ledger(path)


@pytest.mark.parametrize("index", ["file_unfinished", "file_by_path"])
def test_a_row_that_an_index_does_not_hold_is_damage(path, index):
    with Ledger(path) as ledger:
        ledger.register("scans", "/srv/scans")
        pages = dict(ledger._writer.execute("SELECT name, rootpage FROM sqlite_master"))
        size = told(ledger, "PRAGMA page_size")
    page = pages[index]
    of_the_index = slice((page - 1) * size, page * size)
    before = path.read_bytes()
    with Ledger(path) as ledger:
        ledger.register("scans", "/srv/scans")
        handed(ledger, "a.txt")
    content = bytearray(path.read_bytes())
    content[of_the_index] = before[of_the_index]
    path.write_bytes(content)
    with pytest.raises(Refused, match=f"damaged .*{index}"):
        require_sound(path)


@pytest.mark.parametrize("bit", [1, 1 << 7])
@pytest.mark.parametrize("word", ["kind", "state", "failure", "name of the table"])
def test_a_bit_that_is_flipped_in_a_word_of_ours_is_damage(path, word, bit):
    with Ledger(path) as ledger:
        ledger.register("scans", "/srv/scans")
        (bad,) = handed(ledger, "a.txt")
        ledger.note_failure(bad, Failure.CORRUPT, "why", 0)
    content = bytearray(path.read_bytes())
    row = content.index(b"textworking")
    failure, name = content.index(b"corruptwhy"), content.index(b"filefile")
    where = {"kind": row, "state": row + len("text"), "failure": failure, "name of the table": name}
    content[where[word]] ^= bit
    path.write_bytes(content)
    with pytest.raises(Refused, match="damaged"):
        require_sound(path)
    with (  # noqa: PT012 (either may find it)
        pytest.raises((Refused, SystemFault), match=r"start watcherd again|cannot be used"),
        Ledger(path) as ledger,
    ):
        ledger.register("scans", "/srv/scans")
        ledger.lookup("scans", ["a.txt"])


def test_a_check_that_a_disk_fails_for_an_instant_finds_no_damage(path, monkeypatch):
    with Ledger(path):
        pass
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as failing:
        failing.execute("CREATE TABLE unread (x CHECK (x))")
        failing.execute("PRAGMA ignore_check_constraints = ON")
        failing.execute("INSERT INTO unread VALUES (0)")
        failing.execute("PRAGMA ignore_check_constraints = OFF")
        connections = iter([failing])
        monkeypatch.setattr(database, "connect", lambda path: next(connections, None) or connect(path))
        require_sound(path)
    assert next(connections, None) is None


def test_a_ledger_that_cannot_be_asked_for_is_a_fault_of_the_system(path):
    with pytest.raises(SystemFault, match="cannot be used: File name too long"):
        require_sound(path.with_name("x" * 256))


def test_changes_that_are_cut_short_beside_an_open_ledger_are_damage(path):
    with Ledger(path) as ledger:
        ledger.register("scans", "/srv/scans")
        handed(ledger, "a.txt")
        os.truncate(f"{path}-wal", 0)
        with pytest.raises(Refused, match=r"damaged \(it was cut short\)"):
            ledger.lookup("scans", ["a.txt"])


def test_a_log_of_changes_that_its_disk_fails_to_read_is_a_fault_of_the_system(ledger, path, monkeypatch):
    handed(ledger, "a.txt")
    log, pread = os.stat(f"{path}-wal"), os.pread

    def read_all_but_the_log(descriptor, size, at):
        if os.path.samestat(os.fstat(descriptor), log):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, size, at)

    monkeypatch.setattr(os, "pread", read_all_but_the_log)
    with pytest.raises(SystemFault, match="cannot be used: Input/output error"):
        require_sound(path)


def test_what_is_called_malformed_while_the_ledger_is_sound_is_a_disk_that_failed_to_read(path):
    Ledger(path).close()
    with pytest.raises(SystemFault, match="cannot be used: disk I/O error"), database.told_plainly(path):
        raise sqlite3.DatabaseError("database disk image is malformed")


@pytest.mark.usefixtures("ledger")
def test_a_ledger_in_use_keeps_its_log_of_changes_from_a_command_that_ends_also_once_it_was_checked(path):
    command = (
        "import pathlib, sys; from watcherd.ledger.ledger import Ledger; Ledger(pathlib.Path(sys.argv[1])).close()"
    )
    log = os.stat(f"{path}-wal")
    for _ in range(2):
        subprocess.run([sys.executable, "-c", command, path], check=True)
        assert os.path.samestat(log, os.stat(f"{path}-wal"))
        require_sound(path)


def test_no_room_for_the_smallest_file_is_told_as_a_full_disk(path):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    with pytest.raises(SystemFault, match="database or disk is full"), database.told_plainly(path):
        raise error


def test_a_ledger_is_whole_without_its_log_of_changes_from_its_first_moment(path):
    with Ledger(path) as ledger:
        copy = path.with_name("copy.db")
        copy.write_bytes(path.read_bytes())
        with Ledger(copy) as copied:
            assert copied.id == ledger.id


def test_a_state_folder_that_is_not_there_is_a_fault_of_the_system(tmp_path):
    with pytest.raises(SystemFault, match="cannot be used"):
        Ledger(tmp_path / "missing" / "ledger.db")


def test_a_full_disk_is_a_fault_of_the_system_and_takes_nothing_back(ledger):
    ledger._writer.execute(f"PRAGMA max_page_count = {told(ledger, 'PRAGMA page_count')}")
    handed_over = 0
    with pytest.raises(SystemFault, match="full"):  # noqa: PT012 (it is to be filled)
        while True:
            handed(ledger, *[f"{handed_over}-{n}.txt" for n in range(100)])
            handed_over += 1
    ledger._writer.execute("PRAGMA max_page_count = 1000000")
    assert len(ledger.unfinished("scans", State.WORKING)) == handed_over * 100
    ledger.probe()
    handed(ledger, "after.txt")


def test_a_disk_that_fails_as_a_change_is_committed_is_told_in_its_own_words(ledger, path):
    written = os.path.getsize(f"{path}-wal")
    with limited(resource.RLIMIT_FSIZE, written), pytest.raises(SystemFault, match="cannot be used: disk I/O error"):
        handed(ledger, "a.txt")
    assert record(ledger, "a.txt") is None
    handed(ledger, "after.txt")


@pytest.mark.parametrize("allocates", [True, False], ids=["as most can", "where no space can be set aside"])
def test_a_folder_without_room_to_grow_is_a_fault_of_the_system(ledger, monkeypatch, allocates):
    if not allocates:
        monkeypatch.setattr(os, "posix_fallocate", failing(errno.ENOTSUP))
    ledger.probe()
    free, size = ledger.free()
    assert 0 < free < size
    monkeypatch.setattr("watcherd.ledger.ledger.SPACE", 1 << 20)
    said = f"cannot use the folder {ledger.folder}"
    with limited(resource.RLIMIT_FSIZE, 1 << 19), pytest.raises(SystemFault, match=said) as raised:
        ledger.probe()
    assert raised.value.root == ledger.folder


def test_an_answer_for_which_memory_is_short_is_the_system_s_fault(ledger):
    taken = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    with limited(resource.RLIMIT_AS, taken + (64 << 20)), pytest.raises(SystemFault) as raised:
        ledger._ask("SELECT hex(zeroblob(400000000))")
    assert raised.value.errno == errno.ENOMEM


def test_a_folder_that_is_closed_to_us_is_told_in_the_same_words_each_time(ledger):
    def told():
        with pytest.raises(SystemFault) as raised:
            ledger.probe()
        return str(raised.value)

    Path(ledger.folder).chmod(0o500)
    with as_nobody():
        assert told() == told()
    Path(ledger.folder).chmod(0o700)


# What is asked ------------------------------------------------------------------------------------------------------


def test_many_paths_are_looked_up_in_blocks(ledger):
    paths = [f"{n}.txt" for n in range(3 * BLOCK)]
    handed(ledger, *paths[::2])
    assert set(ledger.lookup("scans", paths)) == set(paths[::2])
    assert ledger.lookup("scans", []) == {}


def test_a_path_has_ended_only_if_its_latest_version_has(ledger):
    paths = [f"{n}.txt" for n in range(2 * BLOCK)]
    jobs = handed(ledger, *paths)
    ledger.finish([it.id for it in jobs], State.QUARANTINED)
    handed(ledger, *paths[1:])
    version = jobs[0].file.version
    assert ledger.ended("scans", paths) == {paths[0]: (version.size, version.mtime_ns, State.QUARANTINED)}


@pytest.mark.parametrize("inode", [1 << 62, 1 << 63, (1 << 64) - 1])
def test_every_value_comes_back_as_it_went_in(ledger, inode):
    name = os.fsdecode(b"sub/\xff\n.jpg")
    given = Job(
        ledger.next_id(), File("scans", name, Version(1 << 40, -5, 1 << 62, inode)), Kind.IMAGE, 2, 1, alone=True
    )
    ledger.hand_over([given])
    intend(ledger, given, inode=inode)
    assert record(ledger, name).result.inode == inode
    assert ledger.outlived([(replace(record(ledger, name), id=0), inode)]) == {0}
    found = record(ledger, name)
    assert (found.file, found.kind, found.attempts, found.kills, found.alone) == (given.file, Kind.IMAGE, 2, 1, True)
    ledger.remember([replace(found, state=State.PUBLISHED)])
    again = record(ledger, name)
    assert (again.file, again.kind, again.attempts, again.result.inode) == (given.file, Kind.IMAGE, 2, inode)


def test_an_inbox_is_its_folder_and_its_name_a_label(path):
    with Ledger(path) as ledger:
        ledger.register("scans", "/srv/scans")
        handed(ledger, "a.txt")
    with Ledger(path) as ledger:
        ledger.register("renamed", "/srv/scans")
        ledger.register("scans", "/srv/other")
        assert ledger.lookup("renamed", ["a.txt"])["a.txt"].file.inbox == "renamed"
        assert ledger.lookup("scans", ["a.txt"]) == {}


def test_a_lookup_gives_the_latest_of_a_path(ledger):
    for _ in range(3):
        (latest,) = handed(ledger, "a.txt")
        intend(ledger, latest)
        ledger.finish([latest.id], State.PUBLISHED)
    assert record(ledger, "a.txt").id == latest.id


def test_retries_come_when_they_are_due_the_earliest_first(ledger):
    for path, due in (("late.txt", 30.0), ("soon.txt", 10.0), ("never.txt", 99.0)):
        (given,) = handed(ledger, path)
        ledger.retry(given, Retry(1, 0, 0.0), due, Failure.TIMEOUT, "slow")
    assert ledger.earliest_due("scans") == 10.0
    assert ledger.due("scans", 30.0, 100.0) == ["soon.txt", "late.txt"]
    assert ledger.due("scans", 9.0, 100.0) == []


def test_as_many_retries_of_one_kind_as_are_told_at_once_hide_none_of_another(ledger):
    (text,) = handed(ledger, "a.txt")
    pictures = [job(ledger, f"{n}.jpg")._replace(kind=Kind.IMAGE) for n in range(BLOCK + 1)]
    ledger.hand_over(pictures)
    for due, given in enumerate((*pictures, text)):
        ledger.retry(given, Retry(1, 0, 0.0), float(due), Failure.UNPLACEABLE, "in the way")
    found = ledger.due("scans", 5000.0, 9000.0)
    assert sorted(found) == sorted(["a.txt", *(it.file.path for it in pictures[:BLOCK])])


def test_a_retry_that_is_further_away_than_any_is_put_off_is_due(ledger):
    for path, due in (("soon.txt", 10.0), ("before_the_clock_was_set_back.txt", 99.0)):
        (given,) = handed(ledger, path)
        ledger.retry(given, Retry(1, 0, 0.0), due, Failure.TIMEOUT, "slow")
    assert ledger.due("scans", 9.0, 50.0) == ["before_the_clock_was_set_back.txt"]


def test_nothing_is_due_where_nothing_waits(ledger):
    assert ledger.earliest_due("scans") is None


def test_what_is_old_and_over_is_listed_in_portions(ledger):
    jobs = handed(ledger, *[f"{n}.txt" for n in range(5)], "unfinished.txt")
    ledger.finish([it.id for it in jobs[:5]], State.PUBLISHED)
    ledger.flush()
    first = ledger.older("scans", 1 << 40, after=0, limit=3)
    rest = ledger.older("scans", 1 << 40, after=first[-1].id, limit=3)
    assert [it.file.path for it in (*first, *rest)] == [f"{n}.txt" for n in range(5)]
    assert ledger.older("scans", 1 << 40, after=0, upto=first[-1].id) == first
    assert ledger.older("scans", 0, after=0) == []


def test_to_look_for_old_rows_among_some_costs_the_same_however_many_there_are(ledger):
    def look():
        assert ledger.older("scans", 0, after=0, upto=ledger.ahead(0, 1000)) == []

    came_again(ledger, "a.txt", 2000)
    few = steps(ledger._reader, look)
    came_again(ledger, "b.txt", 8000)
    assert steps(ledger._reader, look) == pytest.approx(few, rel=0.01)
    assert ledger.ahead(0, 10_000) < ledger.ahead(0, 10_001) == LAST


def test_the_proof_of_a_result_is_the_latest_that_was_published(ledger):
    for inode in (5, 6):
        (given,) = handed(ledger, "a.txt")
        intend(ledger, given, inode=inode)
        ledger.finish([given.id], State.PUBLISHED)
    (newer,) = handed(ledger, "a.txt")
    intend(ledger, newer, State.QUARANTINING, inode=7)
    ledger.finish([newer.id], State.QUARANTINED)
    ledger.flush()
    assert ledger.result("scans", "a.txt").result.inode == 6
    assert ledger.result("scans", "b.txt") is None
    assert [it.id for it in ledger.quarantined("scans")] == [newer.id]


def test_a_later_result_is_of_the_same_path_or_of_another_that_found_its_name_free(ledger):
    for path, inode in (("a.txt", 5), ("a.txt", 6), ("a.1.txt", 7)):
        (given,) = handed(ledger, path)
        intend(ledger, given, inode=inode)
        ledger.finish([given.id], State.PUBLISHED)
    ledger.flush()
    latest = record(ledger, "a.txt")
    earlier = replace(latest, id=latest.id - 1)
    for asked, inode, outlived in (
        (earlier, 5, False),
        (earlier, 6, True),
        (earlier, 7, True),
        (earlier, 8, False),
        (latest, 6, False),
        (latest, 7, True),
    ):
        assert ledger.outlived([(asked, inode)]) == ({asked.id} if outlived else set())
    assert ledger.outlived([(earlier, 6), (latest, 6)]) == {earlier.id}
    assert ledger.outlived([]) == set()
    (given,) = handed(ledger, "b.txt")
    intend(ledger, given, inode=6)
    ledger.finish([given.id], State.PUBLISHED)
    ledger.flush()
    assert ledger.outlived([(earlier, 6), (latest, 6)]) == {earlier.id, latest.id}


def test_the_roots_that_are_told_are_those_of_which_anything_is_on_record(ledger):
    assert ledger.roots() == set()
    handed(ledger, "a.txt")
    assert ledger.roots() == {"/srv/scans"}


@pytest.mark.parametrize("mtime_ns", [5, 1 << 63])
def test_of_the_results_of_a_path_those_are_told_that_ended_so_and_had_the_size_and_time_of_what_was_found(
    ledger, mtime_ns
):
    file, found = File("scans", "a.txt", Version(1, 2, 3, 4)), SimpleNamespace(st_size=2, st_mtime_ns=mtime_ns)
    that = Record(0, file, Kind.TEXT, State.PUBLISHED, result=Draft("", 1, 2, signed(mtime_ns)))
    others = (
        replace(that, file=file._replace(path="b.txt")),
        replace(that, state=State.QUARANTINED),
        replace(that, result=that.result._replace(size=3)),
        replace(that, result=that.result._replace(mtime_ns=6)),
    )
    ledger.remember([that, *others])
    assert [row.id for row in ledger.results("scans", "a.txt", State.PUBLISHED, found)] == [ledger.first]


@pytest.mark.parametrize(
    ("rows", "lasting"),
    [
        ([(State.PUBLISHED, 0), (State.PUBLISHED, 0), (State.PUBLISHED, 1)], [False, True, True]),
        ([(State.PUBLISHED, 0), (State.PUBLISHED, 1), (State.PUBLISHED, 2)], [True, True, True]),
        ([(State.PUBLISHED, 0), (State.QUARANTINED, 0)], [True, True]),
        ([(State.QUARANTINED, 0), (State.QUARANTINED, 0)], [False, True]),
        ([(State.QUARANTINED, 0), (State.QUARANTINED, 0), (State.PUBLISHED, 0)], [False, False, True]),
    ],
)
def test_a_row_lasts_unless_the_next_that_has_names_like_it_has_the_same_ones(ledger, rows, lasting):
    for state, number in rows:
        (given,) = handed(ledger, "a.txt")
        intend(ledger, given, State.PUBLISHING if state is State.PUBLISHED else State.QUARANTINING, number)
        ledger.finish([given.id], state)
    ledger.flush()
    found = ledger.older("scans", 1 << 40, after=0)
    assert [row.id in ledger.lasting(found) for row in found] == lasting


def test_the_room_that_is_told_is_that_of_its_file_system(ledger):
    free, size = ledger.free()
    status = os.statvfs(ledger.folder)
    assert size == status.f_blocks * status.f_frsize
    assert 0 <= free <= size
    assert free % status.f_frsize == 0


@pytest.mark.parametrize("replaced", [False, True])
def test_a_ledger_whose_file_is_gone_says_so(ledger, path, replaced):
    path.rename(path.with_name("away"))
    if replaced:
        path.write_bytes(b"")
    with pytest.raises(SystemFault, match="was removed or replaced"):
        ledger.free()


# What is told -------------------------------------------------------------------------------------------------------


def test_an_attempt_replaces_what_was_unfinished_of_its_path_and_nothing_else(ledger):
    published, publishing, retrying, working = (job(ledger, "a.txt") for _ in range(4))
    for given in (published, publishing):
        ledger.hand_over([given])
        intend(ledger, given)
    ledger.finish([published.id], State.PUBLISHED)
    ledger.hand_over([retrying])
    ledger.retry(retrying, Retry(1, 0, 0.0), 1.0, None, "")
    ledger.hand_over([working])
    with closing(sqlite3.connect(ledger._path)) as connection:
        rows = dict(connection.execute("SELECT id, state FROM file"))
    assert rows == {published.id: "published", publishing.id: "publishing", working.id: "working"}


def test_of_what_was_worked_on_alone_only_the_last_stays_a_suspect_that_was_alone(path):
    with Ledger(path) as earlier:
        earlier.register("scans", "/srv/scans")
        handed(earlier, "guilty.txt", alone=True)
    with Ledger(path) as ledger:
        ledger.register("scans", "/srv/scans")
        handed(ledger, "innocent.txt", alone=True)
        handed(ledger, "last.txt", alone=True)
        names = ["guilty.txt", "innocent.txt", "last.txt"]
        assert [record(ledger, name).alone for name in names] == [True, False, True]


def test_one_that_is_to_be_tried_again_alone_is_so_also_once_another_was_worked_on_alone(ledger):
    (killed,) = handed(ledger, "killed.txt", alone=True)
    ledger.retry(killed, Retry(0, 4, 0.0, alone=True), 1.0, None, "")
    handed(ledger, "last.txt", alone=True)
    assert record(ledger, "killed.txt").alone


def test_one_whose_intention_was_withdrawn_is_no_suspect_that_was_alone(ledger):
    (given,) = handed(ledger, "innocent.txt", alone=True)
    intend(ledger, given)
    handed(ledger, "last.txt", alone=True)
    ledger.withdraw(given)
    assert [record(ledger, name).alone for name in ("innocent.txt", "last.txt")] == [False, True]


def test_a_hand_over_that_failed_leaves_the_one_before_it_to_the_next(ledger):
    (innocent,) = handed(ledger, "innocent.txt", alone=True)
    with pytest.raises(sqlite3.IntegrityError):
        ledger.hand_over([innocent._replace(file=innocent.file._replace(path="of the same id.txt"))])
    handed(ledger, "last.txt", alone=True)
    assert not record(ledger, "innocent.txt").alone


def test_a_hand_over_costs_the_same_whatever_is_in_flight_and_was_done(ledger):
    def hand_over():
        handed(ledger, "a.txt", "b.txt")

    hand_over()
    few = steps(ledger._writer, hand_over)
    ledger.finish([done.id for done in handed(ledger, *(f"done {n}.txt" for n in range(500)))], State.PUBLISHED)
    handed(ledger, *(f"{n}.txt" for n in range(500)))
    for number in range(100):
        handed(ledger, f"suspect {number}.txt", alone=True)
    assert steps(ledger._writer, hand_over) == pytest.approx(few, rel=0.5)


def test_many_files_are_put_on_record_at_once_without_a_temporary_file(ledger):
    """SQLite keeps the pages that a statement changes, to take it back alone; where they are many, in such a file."""
    opened = set()

    def look():
        for descriptor in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # of that listing
                opened.add(os.readlink(f"/proc/self/fd/{descriptor}"))

    names = [f"{number * 0x9E3779B1 % (1 << 32):0200}.txt" for number in range(2200)]  # each far from the one before
    handed(ledger, *names[:2000])
    ledger._writer.set_progress_handler(look, 100)
    handed(ledger, *names[2000:])
    assert str(ledger._path) in opened
    assert not [file for file in opened if "etilqs" in file]  # as SQLite calls them


def test_a_name_that_came_ten_thousand_times_costs_no_more_than_one_that_came_once(ledger):
    came_again(ledger, "latest.txt", 10_000)
    came_again(ledger, "once.txt", 1)
    for connection, act in (
        (ledger._reader, lambda path: ledger.lookup("scans", [path])),
        (ledger._reader, lambda path: ledger.ended("scans", [path])),
        (ledger._reader, lambda path: ledger.result("scans", path)),
        (ledger._writer, lambda path: handed(ledger, path)),
        (ledger._writer, lambda path: ledger.drop("scans", path)),
    ):
        often, once = (steps(connection, partial(act, path)) for path in ("latest.txt", "once.txt"))
        assert often < 2 * once


def test_a_name_that_was_set_aside_ten_thousand_times_is_asked_for_by_the_latest_of_them(ledger):
    came_again(ledger, "often.txt", 10_000, State.QUARANTINED)
    came_again(ledger, "less.txt", 1_000, State.QUARANTINED)
    often, less = (
        steps(ledger._reader, partial(ledger.namesakes, "scans", path)) for path in ("often.txt", "less.txt")
    )
    assert often < 2 * less
    assert ledger.namesakes("scans", "often.txt")[0] == record(ledger, "often.txt")


def test_of_what_is_set_aside_only_that_is_asked_for_which_is_on_its_way_back(ledger):
    came_again(ledger, "a.txt", 3, State.QUARANTINED)
    middle = ledger.quarantined("scans")[1]
    ledger.send_back(middle.id, 5.0)
    assert ledger.quarantined("scans", sent_back=True) == [replace(middle, due=5.0)]


def test_what_is_finished_is_known_at_once_and_written_with_whatever_is_next(ledger):
    (given,) = handed(ledger, "a.txt")
    intend(ledger, given)
    ledger.finish([given.id], State.PUBLISHED)
    assert record(ledger, "a.txt").state is State.PUBLISHED
    with closing(sqlite3.connect(ledger._path)) as connection:
        assert connection.execute("SELECT state FROM file").fetchone() == ("publishing",)
        handed(ledger, "b.txt")
        assert connection.execute("SELECT state FROM file ORDER BY id").fetchone() == ("published",)


def published(ledger, monkeypatch, shown):
    """Return the record of a file that is finished now, and whose result was about to be shown at that time."""
    (given,) = handed(ledger, "a.txt")
    with monkeypatch.context() as then:
        then.setattr("time.time", lambda: shown)
        intend(ledger, given)
    ledger.finish([given.id], State.PUBLISHED)
    ledger.flush()
    return record(ledger, "a.txt")


def test_what_is_finished_once_the_clock_was_set_back_still_proves_its_result(ledger, monkeypatch):
    written = time.time() + 3600
    assert is_as_written(seen(written), published(ledger, monkeypatch, written))


def test_a_result_that_is_changed_while_its_input_cannot_be_taken_is_not_proved_ours_once_it_is(ledger, monkeypatch):
    shown = time.time() - 10
    assert not is_as_written(seen(time.time()), published(ledger, monkeypatch, shown))


def test_a_crash_keeps_attempts_and_intentions_and_forgets_only_that_inputs_were_retired(path):
    ledger = Ledger(path)
    ledger.register("scans", "/srv/scans")
    first, second = handed(ledger, "a.txt", "b.txt")
    intend(ledger, first, number=3)
    ledger.finish([first.id], State.PUBLISHED)
    crash(ledger)
    with Ledger(path) as again:
        again.register("scans", "/srv/scans")
        (found,) = again.unfinished("scans", State.PUBLISHING, State.QUARANTINING)
        assert (found.id, found.number, found.result[:2]) == (first.id, 3, (f"draft-{first.id}", 77))
        assert again.drafts() == {f"draft-{first.id}"}
        assert record(again, "b.txt").state is State.WORKING
        assert again.next_id() > second.id


def test_no_id_is_given_twice_though_a_power_cut_or_an_older_copy_has_lost_those_that_were_given_last(
    path, monkeypatch
):
    with Ledger(path) as ledger:
        given = [ledger.next_id() for _ in range(100)]
    later = time.time() + 1
    monkeypatch.setattr(time, "time", lambda: later)
    with Ledger(path) as ledger:
        assert ledger.first > given[-1]
    monkeypatch.setattr(time, "time", lambda: 0)
    with Ledger(path) as ledger:
        ledger.register("scans", "/srv/scans")
        (job,) = handed(ledger, "a.txt")
    with Ledger(path) as ledger:
        assert ledger.first > job.id


def test_whoever_uses_it_once_it_is_closed_meets_the_system_s_fault(path):
    with Ledger(path) as closed:
        closed.register("scans", "/srv/scans")
    for use in (lambda: closed.forget([1]), lambda: record(closed, "a.txt"), lambda: closed.earliest_due("scans")):
        with pytest.raises(SystemFault, match="closed"):
            use()


def test_a_close_writes_what_was_only_known_in_memory(path):
    with Ledger(path) as ledger:
        ledger.register("scans", "/srv/scans")
        (given,) = handed(ledger, "a.txt")
        ledger.finish([given.id], State.PUBLISHED)
    with Ledger(path) as again:
        again.register("scans", "/srv/scans")
        assert record(again, "a.txt").state is State.PUBLISHED
        assert again.id == ledger.id


def test_a_close_on_a_full_disk_is_a_close_and_leaves_the_row_to_the_next_start(path, monkeypatch):
    def fail(*_, **__):
        raise SystemFault("the ledger cannot be used: database or disk is full", root=str(path.parent))

    with Ledger(path) as ledger:
        ledger.register("scans", "/srv/scans")
        (given,) = handed(ledger, "a.txt")
        intend(ledger, given)
        ledger.finish([given.id], State.PUBLISHED)
        monkeypatch.setattr(ledger, "_transaction", fail)
    with Ledger(path) as again:
        again.register("scans", "/srv/scans")
        assert record(again, "a.txt").state is State.PUBLISHING


@pytest.mark.parametrize("charges", [{"attempts": 1}, {"kills": 1}, {"alone": True}])
def test_what_is_given_back_keeps_earlier_charges_and_else_leaves_no_row(ledger, charges):
    fresh, charged = job(ledger, "fresh.txt"), job(ledger, "charged.txt", **charges)
    ledger.hand_over([fresh, charged])
    ledger.give_back([fresh, charged])
    assert record(ledger, "fresh.txt") is None
    found = record(ledger, "charged.txt")
    assert found.state is State.RETRYING
    assert (found.attempts, found.kills, found.alone) == (charged.attempts, charged.kills, charged.alone)
    assert ledger.due("scans", 0.0, 1.0) == ["charged.txt"]
    assert ledger.earliest_due("scans") == 0.0


def test_an_intention_that_was_withdrawn_proves_nothing_any_more(ledger):
    (given,) = handed(ledger, "a.txt")
    intend(ledger, given, number=4)
    ledger.withdraw(given)
    found = record(ledger, "a.txt")
    assert (found.state, found.number, found.result[:2]) == (State.WORKING, 0, ("", 0))
    assert ledger.drafts() == set()


def test_why_a_file_is_set_aside_is_on_record(ledger):
    (given,) = handed(ledger, "a.txt")
    ledger.note_failure(given, Failure.CORRUPT, "bad", 2)
    found = record(ledger, "a.txt")
    assert (found.failure, found.message, found.attempts) == (Failure.CORRUPT, "bad", 2)


def test_why_a_file_fails_is_on_record_also_where_that_names_what_is_no_text(ledger):
    noted, again = handed(ledger, "noted.txt", "again.txt")
    why = os.fsdecode(b"cannot read \xff.txt")
    ledger.note_failure(noted, Failure.CORRUPT, why, 1)
    ledger.retry(again, Retry(1, 0, 0.0), 1.0, None, why)
    for name in ("noted.txt", "again.txt"):
        assert record(ledger, name).message == "cannot read \ufffd.txt"


def test_a_file_that_waited_for_its_retry_and_is_gone_is_dropped_and_its_history_is_not(ledger):
    (published,) = handed(ledger, "a.txt")
    ledger.finish([published.id], State.PUBLISHED)
    (given,) = handed(ledger, "a.txt")
    ledger.retry(given, Retry(1, 0, 0.0), 1.0, None, "")
    ledger.drop("scans", "a.txt")
    assert record(ledger, "a.txt").id == published.id


def test_a_transaction_that_fails_halfway_leaves_no_half(ledger):
    (given,) = handed(ledger, "a.txt")
    ledger.finish([given.id], State.PUBLISHED)
    with pytest.raises(sqlite3.IntegrityError):
        ledger.hand_over([job(ledger, "b.txt"), given])
    assert record(ledger, "b.txt") is None
    assert record(ledger, "a.txt").state is State.PUBLISHED


def test_what_was_noted_is_not_forgotten_where_its_commit_fails(ledger):
    (given,) = handed(ledger, "a.txt")
    intend(ledger, given)
    ledger.finish([given.id], State.PUBLISHED)
    commit = (sqlite3.SQLITE_TRANSACTION, "COMMIT")
    ledger._writer.set_authorizer(lambda *asked: sqlite3.SQLITE_DENY if asked[:2] == commit else sqlite3.SQLITE_OK)
    with pytest.raises(SystemFault, match="cannot be used"):
        ledger.flush()
    assert record(ledger, "a.txt").state is State.PUBLISHED
    ledger._writer.set_authorizer(None)
    ledger.flush()
    assert ledger.ended("scans", ["a.txt"])


def test_without_durability_no_commit_waits_for_the_disk(path):
    with Ledger(path, durable=False) as ledger:
        ledger.register("scans", "/srv/scans")
        (given,) = handed(ledger, "a.txt")
        intend(ledger, given)
        assert told(ledger, "PRAGMA synchronous") == 1
    with Ledger(path) as ledger:
        ledger.register("scans", "/srv/scans")
        intend(ledger, given)
        assert told(ledger, "PRAGMA synchronous") == 2


def test_that_a_file_is_on_its_way_back_is_on_disk_before_it_moves_and_so_is_a_probe(ledger):
    (given,) = handed(ledger, "a.txt")
    for act in (lambda: ledger.send_back(given.id, 1.0), ledger.probe):
        ledger.forget([])
        assert told(ledger, "PRAGMA synchronous") == 1
        act()
        assert told(ledger, "PRAGMA synchronous") == 2


def test_that_an_intention_is_none_any_more_is_on_disk_before_its_draft_is_removed(ledger):
    (given,) = handed(ledger, "a.txt")
    for act in (lambda: ledger.withdraw(given), lambda: ledger.forget([given.id], lastingly=True)):
        ledger.forget([])
        assert told(ledger, "PRAGMA synchronous") == 1
        act()
        assert told(ledger, "PRAGMA synchronous") == 2


def test_threads_write_and_read_past_each_other(ledger):
    errors: list[BaseException] = []

    def write(name):
        try:
            for n in range(50):
                (given,) = handed(ledger, f"{name}/{n}.txt")
                intend(ledger, given)
                ledger.finish([given.id], State.PUBLISHED)
                assert record(ledger, f"{name}/{n}.txt").state is State.PUBLISHED
        except BaseException as error:  # noqa: BLE001 (it is told below)
            errors.append(error)

    threads = [Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    ledger.flush()
    assert len(ledger.older("scans", 1 << 40, after=0)) == 200


def test_a_kept_file_costs_no_more_than_250_bytes(path):
    with Ledger(path) as ledger:
        ledger.register("scans", "/srv/scans")
        for block in range(20):
            jobs = [job(ledger, f"2026/10/scan {block * 1000 + n:08}.jpg", size=3_000_000) for n in range(1000)]
            ledger.hand_over(jobs)
            ledger.intend([Intent(it, State.PUBLISHING, 0, Draft(f"0123abcd-{it.id}", it.id)) for it in jobs])
            ledger.finish([it.id for it in jobs], State.PUBLISHED)
    assert os.path.getsize(path) / 20_000 < 250


class LedgerAgainstDict(RuleBasedStateMachine):
    """Whatever is told, and however often it is reopened or killed, it knows what a dict would know."""

    paths = st.sampled_from(["a.txt", "sub/b.txt", os.fsdecode(b"\xff.txt")])

    def __init__(self):
        super().__init__()
        self.folder = TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)  # noqa: S108 (asked for by name)
        self.model: dict[str, tuple[int, State, int, int]] = {}  # path → id, state, attempts, number
        self.jobs: dict[str, Job] = {}
        self.unwritten: set[str] = set()
        self._open()

    def _open(self):
        self.ledger = Ledger(Path(self.folder.name, "ledger.db"))
        self.ledger.register("scans", "/srv/scans")

    def teardown(self):
        """Close it."""
        self.ledger.close()
        self.folder.cleanup()

    def _is(self, path, *states):
        return path in self.model and self.model[path][1] in states

    @rule(path=paths, attempts=st.integers(0, 2))
    def hand_over(self, path, attempts):
        """Begin an attempt."""
        if self._is(path, State.PUBLISHING):
            return
        if not self._is(path, State.WORKING, State.RETRYING):
            self.forget_all_of(path)
        self.jobs[path] = job(self.ledger, path, attempts=attempts)
        self.ledger.hand_over([self.jobs[path]])
        self.unwritten.clear()
        self.model[path] = (self.jobs[path].id, State.WORKING, attempts, 0)

    def forget_all_of(self, path):
        """Let history go: what is below a row that is taken back is another test's."""
        if path in self.model:
            self.ledger.forget([self.model.pop(path)[0]])
            self.unwritten.clear()

    @rule(path=paths, number=st.integers(0, 3))
    def intend(self, path, number):
        """Put on record what will become visible."""
        if self._is(path, State.WORKING):
            intend(self.ledger, self.jobs[path], number=number)
            self.unwritten.clear()
            self.model[path] = (self.model[path][0], State.PUBLISHING, self.model[path][2], number)

    @rule(path=paths)
    def finish(self, path):
        """Note that an input was retired."""
        if self._is(path, State.PUBLISHING):
            self.ledger.finish([self.model[path][0]], State.PUBLISHED)
            self.unwritten.add(path)
            self.model[path] = (self.model[path][0], State.PUBLISHED, *self.model[path][2:])

    @rule(path=paths)
    def retry(self, path):
        """Charge an attempt."""
        if self._is(path, State.WORKING):
            attempts = self.model[path][2] + 1
            self.ledger.retry(self.jobs[path], Retry(attempts, 0, 0.0), 1.0, None, "")
            self.unwritten.clear()
            self.model[path] = (self.model[path][0], State.RETRYING, attempts, 0)

    @rule(path=paths)
    def give_back(self, path):
        """Take an attempt back."""
        if self._is(path, State.WORKING):
            self.ledger.give_back([self.jobs[path]])
            self.unwritten.clear()
            number, _, attempts, _ = self.model.pop(path)
            if attempts:
                self.model[path] = (number, State.RETRYING, attempts, 0)

    @rule()
    def reopen(self):
        """Stop and start."""
        self.ledger.close()
        self.unwritten.clear()
        self._open()

    @precondition(lambda self: self.model)
    @rule()
    def die(self):
        """Be killed, and start."""
        crash(self.ledger)
        for path in self.unwritten:
            number, _, attempts, shared = self.model[path]
            self.model[path] = (number, State.PUBLISHING, attempts, shared)
        self.unwritten.clear()
        self._open()

    @invariant()
    def knows_what_the_dict_knows(self):
        """Look everything up."""
        found = self.ledger.lookup("scans", ["a.txt", "sub/b.txt", os.fsdecode(b"\xff.txt"), "never.txt"])
        assert {path: (it.id, it.state, it.attempts, it.number) for path, it in found.items()} == self.model
        ended = self.ledger.ended("scans", [*found, "never.txt"])
        assert {path: it.state for path, it in ended.items()} == {
            path: it[1] for path, it in self.model.items() if it[1] in ENDS and path not in self.unwritten
        }
        due = {path for path, it in self.model.items() if it[1] is State.RETRYING}
        assert set(self.ledger.due("scans", 1.0, 1.0)) == due


LedgerAgainstDict.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestLedgerAgainstDict = LedgerAgainstDict.TestCase
