"""What still tells a file that something was done to: held against real files, and against each of their facts."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.beneath import version_of
from watcherd.model import Draft, Ended, File, Kind, Record, Version
from watcherd.sameness import (
    ROUNDING,
    has_inode,
    has_time,
    is_as_written,
    is_copy,
    is_still,
    is_unwritten,
    looks_like,
    resembles,
    stood_still,
)
from watcherd.states import State

DISK, SERVER = os.makedev(8, 1), os.makedev(0, 49)
KNOWN = Version(size=3, mtime_ns=5, ctime_ns=7, inode=11)


def found(version, *, links=1, device=DISK):
    """Return what `os.stat` reports of a file at this version."""
    size, mtime_ns, ctime_ns, inode = version
    facts = {"st_mtime_ns": mtime_ns, "st_ctime_ns": ctime_ns}
    return os.stat_result((0o100644, inode, device, links, 0, 0, size, 0, 0, 0), facts)


@pytest.fixture
def file(tmp_path):
    """Make a file of some age."""
    path = tmp_path / "a.txt"
    path.write_text("text")
    os.utime(path, ns=(5, 5))
    return path


def told(path, known):
    """Return by which of the three a file is told, from the strictest on."""
    status = path.stat()
    return [is_still(status, known), is_unwritten(status, known), looks_like(status, known)]


def test_a_file_to_which_nothing_was_done_is_told_by_all(file):
    assert told(file, version_of(file.stat())) == [True, True, True]


def test_a_file_that_was_written_into_is_told_by_its_inode_alone(file):
    known = version_of(file.stat())
    file.write_text("another")
    assert (told(file, known), has_inode(file.stat(), known)) == ([False, False, False], True)
    assert not has_inode(None, known)


def test_a_file_that_was_renamed_is_unwritten(file):
    known = version_of(file.stat())
    assert told(file.rename(file.with_name("b.txt")), known) == [False, True, True]


def test_a_file_of_which_another_name_is_renamed_is_still_what_it_was(file):
    os.link(file, file.with_name("other"))
    known = version_of(file.stat())
    file.with_name("other").rename(file.with_name("elsewhere"))
    assert told(file, known) == [True, True, True]


def test_a_file_that_was_restored_looks_like_the_one_before(file):
    known = version_of(file.stat())
    assert told(shutil.copy2(file, file.with_name("b.txt")), known) == [False, False, True]


@pytest.mark.parametrize("linked", [False, True])
def test_a_file_that_was_written_into_is_told_by_none(file, linked):
    if linked:
        os.link(file, file.with_name("other"))
    known = version_of(file.stat())
    file.write_text("TEXT")
    assert told(file, known) == [False, False, False]


def test_what_is_not_there_is_no_file():
    assert not is_unwritten(None, KNOWN)
    assert not looks_like(None, KNOWN)


facts = st.integers(0, 1)


@given(st.builds(Version, facts, facts, facts, facts), st.builds(Version, facts, facts, facts, facts))
def test_what_was_found_is_told_as_its_version_is_and_the_stricter_imply_the_laxer(seen, known):
    for linked in (False, True):
        status = found(seen, links=1 + linked)
        assert is_still(status, known) is stood_still(seen, known, linked=linked)
        assert is_still(status, known) <= is_unwritten(status, known) <= looks_like(status, known)
        assert looks_like(status, known) is resembles(seen, known)
        assert looks_like(status, known) is looks_like(status, Ended(known.size, known.mtime_ns, State.PUBLISHED))


def test_a_time_that_no_ledger_can_hold_is_known_again():
    for time in (1 << 63, -(1 << 63) - 1):
        seen = found(KNOWN._replace(mtime_ns=time, ctime_ns=time))
        held = version_of(seen)
        assert is_still(seen, held)
        assert has_time(seen, held.mtime_ns / 1e9)
        assert is_as_written(seen, replace(PUBLISHED, result=Draft("", 11, 3, held.mtime_ns)))


SECOND = 10**9
SHOWN = Version(size=5, mtime_ns=9 * SECOND, ctime_ns=0, inode=77)
PUBLISHED = Record(
    1,
    File("scans", "a.txt", Version(1, 2, 3, 4)),
    Kind.TEXT,
    State.PUBLISHED,
    result=Draft("", SHOWN.inode, SHOWN.size, SHOWN.mtime_ns),
    at=10,
)


@pytest.mark.parametrize(
    ("seen", "device", "is_it"),
    [
        (SHOWN, DISK, True),
        (SHOWN._replace(ctime_ns=1), DISK, True),
        (SHOWN._replace(mtime_ns=SHOWN.mtime_ns + 1), DISK, False),
        (SHOWN._replace(mtime_ns=SHOWN.mtime_ns - 1), DISK, False),
        (SHOWN._replace(mtime_ns=(10 + ROUNDING) * SECOND), SERVER, True),
        (SHOWN._replace(mtime_ns=(10 + ROUNDING) * SECOND + 1), SERVER, False),
        (SHOWN._replace(size=6), SERVER, False),
        (SHOWN._replace(inode=78), DISK, False),
    ],
)
def test_a_result_is_known_by_its_inode_its_size_and_its_time_as_far_as_that_stays(seen, device, is_it):
    assert is_as_written(found(seen, device=device), PUBLISHED) is is_it


@pytest.mark.parametrize(
    ("seen", "is_it"),
    [
        (SHOWN._replace(inode=78), True),
        (SHOWN._replace(inode=78, mtime_ns=SHOWN.mtime_ns + 1), False),
        (SHOWN._replace(inode=78, size=6), False),
        (SHOWN._replace(mtime_ns=SHOWN.mtime_ns + 1), False),
    ],
)
def test_a_result_that_was_renumbered_is_known_by_its_size_and_its_time(seen, is_it):
    assert looks_like(found(seen), PUBLISHED.result) is is_it


@pytest.mark.parametrize("device", [DISK, SERVER])
def test_a_result_of_which_nothing_more_is_on_record_is_known_by_its_inode_and_the_time_of_its_row(device):
    earlier = replace(PUBLISHED, result=Draft("", SHOWN.inode))
    assert is_as_written(found(SHOWN, device=device), earlier)
    assert not is_as_written(found(SHOWN._replace(mtime_ns=13 * SECOND), device=device), earlier)


@pytest.mark.parametrize(
    ("copy", "is_it"),
    [
        (KNOWN._replace(ctime_ns=8, inode=12), True),
        (KNOWN._replace(mtime_ns=2 * SECOND + 4), True),
        (KNOWN._replace(mtime_ns=2 * SECOND + 5), False),
        (KNOWN._replace(size=4), False),
    ],
)
def test_a_copy_is_known_by_its_size_and_its_time_as_far_as_a_file_system_can_hold_that(copy, is_it):
    assert is_copy(found(copy), found(KNOWN)) is is_copy(found(KNOWN), found(copy)) is is_it


def test_a_time_that_is_said_is_that_of_a_file_as_far_as_a_file_system_can_hold_it():
    assert has_time(found(SHOWN), 9.5)
    assert has_time(found(SHOWN), 7.5)
    assert not has_time(found(SHOWN), 11.0)
    assert not has_time(None, 9.0)
