import errno
import itertools
import os
import random
import tracemalloc
from types import SimpleNamespace

import pytest

from watcherd import beneath
from watcherd.decide import RetryPolicy
from watcherd.intake import scan
from watcherd.intake.rules import Rules
from watcherd.intake.scan import Cursor, walk
from watcherd.intake.terms import Inbox
from watcherd.model import After, Kind

RULES = Rules({Kind.TEXT: frozenset({".txt"})}, exclude=("no/",))


class Listener:
    """Remembers what it is told."""

    def __init__(self):
        self.folders, self.refusals, self.ignores = [], [], []

    def entered(self, _, folder):
        """Remember."""
        self.folders.append(folder)

    def refused(self, folder, error):
        """Remember."""
        self.refusals.append((folder, error.errno))

    def ignored(self, path, reason):
        """Remember."""
        self.ignores.append((path, reason))


@pytest.fixture
def listener():
    return Listener()


def inbox(root):
    return Inbox(
        name="scans", root=str(root), after=After.ARCHIVE, rules=RULES,
        settle=None, rescan=None, policy=RetryPolicy(),
    )  # fmt: skip


def walked(root, listener, **terms):
    return [path for block in walk(inbox(root), Kind.TEXT, listener, **terms) for path in block]


def test_a_walk_finds_every_file_that_is_taken_and_enters_each_folder_before_it_lists_it(tmp_path, listener):
    for path in ("a.txt", "b.bin", "sub/c.txt", "sub/deep/d.txt", "no/e.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert sorted(walked(tmp_path, listener)) == ["a.txt", "sub/c.txt", "sub/deep/d.txt"]
    assert sorted(listener.folders) == ["", "sub", "sub/deep"]
    assert listener.ignores == [("b.bin", "no processor claims its extension")]
    assert sorted(walked(tmp_path, listener, top="sub")) == ["sub/c.txt", "sub/deep/d.txt"]


def test_links_are_not_followed_and_other_things_are_named(tmp_path, listener):
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "fifo.t")
    assert walked(tmp_path, listener) == []
    link = "is a symbolic link"
    assert sorted(listener.ignores) == [("fifo.t", "is a FIFO"), ("link", link), ("loop", link)]


def test_a_folder_that_became_a_link_meanwhile_is_not_entered(tmp_path, listener):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").touch()
    walking = walk(inbox(tmp_path), Kind.TEXT, listener)
    assert next(walking) == ["a.txt"]
    (tmp_path / "sub").rmdir()
    (tmp_path / "sub").symlink_to("/etc")
    assert list(walking) == []
    assert listener.folders == [""]
    assert listener.refusals == []


def test_a_root_that_is_gone_is_refused_and_a_folder_that_is_gone_is_not(tmp_path, listener):
    assert walked(tmp_path / "gone", listener) == []
    assert walked(tmp_path, listener, top="gone") == []
    assert listener.refusals == [("", 2)]


class Unknown:
    """An entry whose type is not in the listing, and cannot be asked for."""

    def __init__(self, name):
        self.name = name

    def is_file(self, **_):
        """Fail."""
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_what_cannot_be_looked_at_hides_no_neighbour_and_may_be_what_its_name_says(tmp_path, listener, monkeypatch):
    def few(descriptor):
        with os.scandir(descriptor) as entries:
            yield [*map(Unknown, ("a.txt", "sub", ".sub")), *entries]

    (tmp_path / "b.txt").touch()
    monkeypatch.setattr("watcherd.intake.scan._few", few)
    assert walked(tmp_path, listener) == ["a.txt", "b.txt"]
    assert listener.refusals == [("sub", errno.EIO)]


def test_what_is_no_file_and_goes_while_its_folder_is_listed_hides_no_neighbour(tmp_path, listener, monkeypatch):
    def few(descriptor):
        with os.scandir(descriptor) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        link.unlink()
        yield found

    link = tmp_path / "sub" / "a"
    link.parent.mkdir()
    link.symlink_to("b.txt")
    (tmp_path / "sub" / "b.txt").touch()
    monkeypatch.setattr("watcherd.intake.scan._few", few)
    assert walked(tmp_path, listener, top="sub") == ["sub/b.txt"]


def test_a_path_longer_than_the_kernel_takes_is_walked(tmp_path, listener):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("a.txt", os.O_CREAT, dir_fd=here))
    os.close(here)
    (found,) = walked(tmp_path, listener)
    assert len(found) > 6000


@pytest.fixture
def strides(monkeypatch):
    """Set how many entries are looked at for a block."""

    def of(entries):
        monkeypatch.setattr(scan, "STRIDE", entries)
        monkeypatch.setattr(scan, "FEW", 1)

    return of


def test_blocks_are_small_whatever_is_found(tmp_path, strides, listener):
    strides(10)
    for number in range(25):
        (tmp_path / f"{number}.{'bin' if number % 2 else 'txt'}").touch()
    blocks = list(walk(inbox(tmp_path), Kind.TEXT, listener))
    assert len(blocks) == 3
    assert max(map(len, blocks)) <= 10


def test_a_block_is_small_where_each_entry_takes_long(tmp_path, monkeypatch, listener):
    clock = itertools.count()  # each look at it is a second on
    monkeypatch.setattr(scan, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    for number in range(100):
        (tmp_path / f"{number}.txt").touch()
    blocks = list(walk(inbox(tmp_path), Kind.TEXT, listener))
    assert max(map(len, blocks)) <= scan.FEW
    assert sum(map(len, blocks)) == 100


def test_a_block_is_handed_over_after_a_folder_that_cannot_be_listed_as_that_may_take_long(
    tmp_path, monkeypatch, listener
):
    opened = beneath.folder

    def folder(root, path):
        if path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(root, path)

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(beneath, "folder", folder)
    walking = walk(inbox(tmp_path), Kind.TEXT, listener)
    assert [(next(walking), len(listener.refusals)) for _ in range(3)] == [([], 0), ([], 1), ([], 2)]


def test_blocks_are_in_the_order_of_names(tmp_path, strides, listener):
    strides(10)
    for number in random.sample(range(100), 100):
        (tmp_path / f"{number:02}.txt").touch()
    assert [block == sorted(block) for block in walk(inbox(tmp_path), Kind.TEXT, listener)] == [True] * 11


def peak_of_a_scan(root, listener):
    """Return the bytes that a scan of this folder's whole holds at most, whatever was allocated before it."""
    cursor = Cursor(lambda top: walk(inbox(root), Kind.TEXT, listener, top))
    cursor.ask()
    tracemalloc.start()
    try:
        while cursor.wants:
            cursor.take(256)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_files(tmp_path, listener):
    for few in range(2_000):
        (tmp_path / f"{few}.txt").touch()
    peak = peak_of_a_scan(tmp_path, listener)
    for more in range(2_000, 10_000):
        (tmp_path / f"{more}.txt").touch()
    assert peak_of_a_scan(tmp_path, listener) < 1.5 * peak


def scripted(*blocks):
    """Make a cursor over these blocks; the walk of a folder yields its name."""
    return Cursor(lambda top: iter([[top]] if top else [list(block) for block in blocks]))


def drained(cursor):
    taken = []
    while cursor.wants:
        taken += cursor.take(2)
    return taken


def test_a_cursor_hands_out_no_more_than_asked_and_forgets_nothing():
    cursor = scripted("abc", "", "d")
    asked = cursor.ask()
    assert cursor.take(2) == ["a", "b"]
    assert cursor.answered < asked
    assert drained(cursor) == ["c", "d"]
    assert cursor.answered == asked


def test_a_scan_asked_for_while_one_runs_follows_it():
    cursor = scripted("a")
    first = cursor.ask()
    cursor.take(1)
    second = cursor.ask()
    assert cursor.take(1) == []
    assert first <= cursor.answered < second
    assert drained(cursor) == ["a"]
    assert cursor.answered == second


def test_a_scan_asked_for_twice_before_it_begins_is_one():
    cursor = scripted("a")
    cursor.ask()
    twice = cursor.ask()
    assert drained(cursor) == ["a"]
    assert cursor.answered == twice


def test_a_folder_asked_for_goes_before_the_rest_of_the_whole():
    cursor = scripted("a", "b")
    cursor.ask()
    cursor.take(1)
    cursor.ask_folder("sub")
    cursor.ask_folder("sub")
    assert drained(cursor) == ["sub", "b"]


def test_folders_that_are_asked_for_faster_than_they_are_scanned_do_not_hold_up_the_whole():
    cursor = scripted("a", "b")
    asked = cursor.ask()
    taken = []
    for number in range(100):
        cursor.ask_folder(f"{number}/one")
        cursor.ask_folder(f"{number}/two")
        taken += cursor.take(1)
    assert [path for path in taken if "/" not in path] == ["a", "b"]
    assert cursor.answered == asked


def test_folders_that_are_asked_for_together_wait_for_one_stride_of_the_whole_at_most():
    cursor = scripted("a", "b")
    cursor.ask()
    for folder in ("one", "two", "three"):
        cursor.ask_folder(folder)
    assert cursor.take(1) == ["one"]
    for folder in ("four", "five"):
        cursor.ask_folder(folder)
    assert drained(cursor) == ["two", "three", "a", "four", "five", "b"]


def test_a_folder_asked_for_while_another_is_scanned_follows_it():
    cursor = Cursor(lambda top: iter([[f"{top}/1"], [f"{top}/2"]]))
    cursor.ask_folder("one")
    assert cursor.take(2) == ["one/1"]
    cursor.ask_folder("two")
    assert drained(cursor) == ["one/2", "two/1", "two/2"]


def test_a_suspended_cursor_has_nothing_open(tmp_path, strides, listener):
    strides(1)
    (tmp_path / "sub").mkdir()
    for path in ("a.txt", "b.txt", "sub/a.txt", "sub/b.txt"):
        (tmp_path / path).touch()
    cursor = Cursor(lambda top: walk(inbox(tmp_path), Kind.TEXT, listener, top))
    cursor.ask()
    cursor.take(1)
    cursor.ask_folder("sub")
    cursor.take(1)
    before = len(os.listdir("/proc/self/fd"))
    cursor.suspend()
    assert len(os.listdir("/proc/self/fd")) < before - 1  # both walks had folders open
    assert sorted(drained(cursor)) == ["a.txt", "b.txt", "sub/a.txt", "sub/b.txt"]


def test_a_suspended_cursor_begins_again():
    cursor = scripted("ab")
    cursor.ask()
    cursor.take(1)
    cursor.suspend()
    assert drained(cursor) == ["a", "b"]


def test_a_scan_asked_for_while_one_ran_is_done_also_where_that_one_was_suspended():
    cursor = scripted("ab")
    cursor.ask()
    cursor.take(1)
    asked = cursor.ask()
    cursor.suspend()
    assert drained(cursor) == ["a", "b"]
    assert cursor.answered == asked


def test_a_folder_that_was_asked_for_before_a_cursor_was_suspended_is_scanned_with_the_whole():
    cursor = scripted("ab")
    cursor.ask_folder("sub")
    cursor.suspend()
    assert drained(cursor) == ["a", "b"]


def test_a_suspended_cursor_that_wanted_nothing_wants_nothing():
    cursor = scripted("ab")
    cursor.suspend()
    assert not cursor.wants
