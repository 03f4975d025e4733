"""A new ledger in place of a damaged one: what the folders prove, and what proves nothing."""

import base64
import errno
import json
import os
import shutil
import sqlite3
import time
from contextlib import ExitStack, closing, suppress

import pytest
from structlog.testing import capture_logs
from tests.integration.conftest import held

from watcherd import rebuild
from watcherd import settings as configuration
from watcherd.ledger.ledger import Ledger
from watcherd.model import File, Kind, Record, Stopped, SystemFault, Version
from watcherd.publish.aside.reason import stamp
from watcherd.publish.roots.names import derived
from watcherd.publish.roots.place import Place
from watcherd.publish.roots.root import Root
from watcherd.states import State

TEXT = b"three words here\n"


@pytest.fixture
def ledger(site):
    for folder in (site.state, site.failed, site.archive):
        folder.mkdir(exist_ok=True)
    path = site.state / "ledger.db"
    path.write_bytes(b"these are notes, and no database\n" * 300)
    return path


@pytest.fixture
def rebuilt(site, ledger):
    """Return a function that makes the ledger anew, and returns the files that are on record then."""

    def rebuilt():
        rebuild.mend(ledger, configuration.load({}, {}, site.base, site.config), lambda: None)
        return sorted(os.fsdecode(path) for (path,) in site.rows("path"))

    return rebuilt


@pytest.fixture
def kept(site):
    """Return a function that keeps a text and its result, about which `facts` may say something else."""
    site.configure(inbox={"after": "keep"})

    def kept(name="a.txt", **facts):
        source = site.write(name, TEXT)
        facts = {"source": name, "words": 3, "bytes": len(TEXT)} | facts
        return source, site.write(f"{name}.words.json", json.dumps(facts).encode(), root=site.outbox)

    return kept


@pytest.fixture
def set_aside(site):
    """Return a function that sets a file aside with its reason, of which `facts` may say something else."""

    def set_aside(lies="bad.txt", **facts):
        bad = site.write(lies, bytes(300), root=site.failed)
        usual = {"class": "not-text", "message": "it is binary", "attempts": 2, "inbox": "scans", "path": lies}
        facts = usual | {"modified": stamp(bad.stat().st_mtime)} | facts
        return bad, site.write(derived(lies, suffix=".error.json"), json.dumps(facts).encode(), root=site.failed)

    return set_aside


def draft(inbox, number):
    """Name a draft of a ledger that is lost, for an inbox."""
    return Root(str(inbox), "0badcafe", str(inbox)).name_of(number)


# What was kept -----------------------------------------------------------------------------------------------------


def test_a_kept_text_and_a_kept_picture_with_their_results_are_done(site, rebuilt, kept):
    _, result = kept("sub/a.txt")
    site.write("b.png")
    picture = site.write("grayscale_b.png", root=site.outbox)
    site.write("c.txt")  # which has none
    assert rebuilt() == ["b.png", "sub/a.txt"]
    inodes = {(file.stat().st_ino,) for file in (result, picture)}
    assert {*site.rows("result", "state = 'published'")} == inodes


def test_what_is_not_kept_is_not_done_because_of_what_looks_like_its_result(site, rebuilt, kept):
    kept()
    site.configure()
    assert rebuilt() == []


@pytest.mark.parametrize("facts", [{"source": "b.txt"}, {"bytes": len(TEXT) + 1}])
def test_a_result_of_another_text_proves_nothing(rebuilt, kept, facts):
    kept(**facts)
    assert rebuilt() == []


def test_a_result_of_the_same_instant_counts_and_one_older_than_its_picture_does_not(site, rebuilt, kept):
    source, result = kept()
    os.utime(result, ns=(0, source.stat().st_mtime_ns))
    newer = site.write("b.png")
    os.utime(site.write("grayscale_b.png", root=site.outbox), ns=(0, newer.stat().st_mtime_ns - 1))
    assert rebuilt() == ["a.txt"]


def test_a_result_made_after_the_last_change_counts_also_where_its_source_claims_a_later_time(rebuilt, kept):
    for name in ("a.txt", "changed.txt"):
        source, result = kept(name)
        os.utime(source, (0, time.time() + 3600))
        os.utime(result, ns=(0, source.stat().st_ctime_ns - (name == "changed.txt")))
    assert rebuilt() == ["a.txt"]


def test_an_empty_result_proves_nothing(site, rebuilt, kept):
    kept("a.txt")
    site.write("b.png")
    site.write("grayscale_b.png", b"", root=site.outbox)
    assert rebuilt() == ["a.txt"]


# What was set aside ------------------------------------------------------------------------------------------------


def test_what_was_set_aside_is_known_with_all_that_its_reason_says(site, rebuilt, set_aside):
    bad, reason = set_aside("sub/bad.txt")
    assert rebuilt() == ["sub/bad.txt"]
    known = site.rows("state, failure, message, attempts, number, result, inode")
    assert known == [("quarantined", "not-text", "it is binary", 2, 0, reason.stat().st_ino, bad.stat().st_ino)]


def test_what_was_set_aside_when_its_inbox_had_another_name_is_known(site, rebuilt, set_aside):
    set_aside(inbox="letters", root=str(site.inbox.resolve()))
    assert rebuilt() == ["bad.txt"]


def test_what_was_set_aside_below_more_folders_than_python_s_stack_holds_is_known(
    site, rebuilt, set_aside, deep, too_deep
):
    path, bottom = "d/" * too_deep + "bad.txt", deep(site.failed, "d", too_deep)
    for it in set_aside(path=path):
        os.rename(it, it.name, dst_dir_fd=bottom)
    assert rebuilt() == [path]


def test_each_of_several_bad_files_that_had_one_name_is_known(site, rebuilt, set_aside):
    for lies in ("2.bad.txt", "2.bad.1.txt", "2.bad.2.txt", "2.bad.123456.txt"):
        set_aside(lies, path="2.bad.txt")
    assert rebuilt() == ["2.bad.txt"] * 4
    assert sorted(site.rows("number")) == [(0,), (1,), (2,), (123456,)]


def test_bad_files_of_one_folder_are_put_on_record_block_by_block(rebuilt, set_aside, monkeypatch):
    for name in ("a.txt", "b.txt", "c.txt"):
        set_aside(name)
    blocks, remember = [], Ledger.remember
    monkeypatch.setattr(rebuild, "BLOCK", 2)
    monkeypatch.setattr(
        Ledger, "remember", lambda self, records: (blocks.append(len(records)), remember(self, records))
    )
    assert rebuilt() == ["a.txt", "b.txt", "c.txt"]
    assert blocks == [2, 1]


def test_what_somebody_gave_a_greater_number_than_a_ledger_holds_proves_nothing(rebuilt, set_aside):
    set_aside("bad.20261126142800123456.txt", path="bad.txt")
    assert rebuilt() == []


def test_a_bad_file_whose_name_leaves_no_room_for_a_number_is_known_with_it(site, rebuilt, set_aside):
    path = f"{'x' * 250}.txt"
    set_aside(derived(path, 7), path=path)
    assert (rebuilt(), site.rows("number")) == ([path], [(7,)])


def test_a_bad_file_that_somebody_carried_elsewhere_is_not_looked_for_under_a_thousand_numbers(
    rebuilt, set_aside, monkeypatch
):
    set_aside("carried/bad.txt", path="bad.txt")
    tried, way = [], Place.way
    monkeypatch.setattr(Place, "way", lambda *its: tried.append(its) or way(*its))
    assert rebuilt() == []
    assert len(tried) == 1


def test_a_bad_file_that_is_kept_is_known_where_it_is(site, rebuilt, kept, set_aside):
    kept("good.txt")
    bad, _ = set_aside()
    bad.rename(site.inbox / "bad.txt")
    assert rebuilt() == ["bad.txt", "good.txt"]


@pytest.mark.parametrize("modified", [None, "2001-01-01T00:00:00Z"])
def test_a_reason_of_another_version_of_a_kept_file_proves_nothing(site, rebuilt, set_aside, modified):
    site.configure(inbox={"after": "keep"})
    set_aside(modified=modified)[0].rename(site.inbox / "bad.txt")
    assert rebuilt() == []


def test_a_bad_file_that_was_mended_where_it_lies_is_known(rebuilt, set_aside):
    os.utime(set_aside()[0], (1, 1))
    assert rebuilt() == ["bad.txt"]


def test_a_bad_file_that_was_set_aside_before_inputs_were_kept_is_known_where_it_lies(site, rebuilt, set_aside):
    site.configure(inbox={"after": "keep"})
    bad, _ = set_aside()
    site.write("bad.txt")
    assert rebuilt() == ["bad.txt"]
    assert site.rows("inode") == [(bad.stat().st_ino,)]


def test_a_kept_file_is_known_for_done_beside_a_bad_one_of_its_name_that_was_set_aside_before_inputs_were_kept(
    site, rebuilt, kept, set_aside
):
    _, result = kept()
    bad, _ = set_aside("a.txt")
    assert rebuilt() == ["a.txt", "a.txt"]
    assert site.rows("inode", "state = 'quarantined'") == [(bad.stat().st_ino,)]
    assert site.rows("result", "state = 'published'") == [(result.stat().st_ino,)]


def test_a_bad_picture_that_is_kept_beside_a_younger_result_of_what_it_replaced_is_set_aside_and_not_done(
    site, rebuilt, set_aside
):
    site.configure(inbox={"after": "keep"})
    set_aside("bad.png")[0].rename(site.inbox / "bad.png")
    site.write("grayscale_bad.png", b"a grey picture", root=site.outbox)
    assert rebuilt() == ["bad.png"]
    assert site.rows("state") == [("quarantined",)]


@pytest.mark.parametrize("root", ["inbox", "failed"])
def test_a_folder_that_a_disk_does_not_read_is_not_taken_for_an_empty_one(
    site, rebuilt, set_aside, monkeypatch, root
):
    site.configure(inbox={"after": "keep"})
    site.write("sub/good.png")
    site.write("sub/grayscale_good.png", root=site.outbox)
    set_aside("sub/bad.txt")[0].rename(site.inbox / "sub/bad.txt")
    scandir, unread = os.scandir, os.stat(getattr(site, root) / "sub").st_ino

    def scan(folder):
        if os.stat(folder).st_ino == unread:
            raise OSError(errno.EIO, os.strerror(errno.EIO), folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(SystemFault, match="Input/output error"):
        rebuilt()
    monkeypatch.undo()
    assert rebuilt() == ["sub/bad.txt", "sub/good.png"]


@pytest.mark.parametrize("flaw", ["missing", "a file"])
def test_an_inbox_that_is_missing_is_not_taken_for_one_that_keeps_nothing(site, rebuilt, kept, flaw):
    kept()
    site.inbox.rename(site.base / "unmounted")
    if flaw == "a file":
        site.inbox.touch()
    with pytest.raises(SystemFault, match=str(site.inbox)):
        rebuilt()
    site.inbox.unlink(missing_ok=True)
    (site.base / "unmounted").rename(site.inbox)
    assert rebuilt() == ["a.txt"]


def test_what_a_disk_does_not_read_is_not_taken_for_nothing(site, rebuilt, kept, set_aside, monkeypatch):
    _, result = kept("good.txt")
    bad, reason = set_aside()
    bad.rename(site.inbox / "bad.txt")
    read = os.read
    for unread in (result, reason):

        def read_all_but_one(descriptor, size, unread=unread):
            if os.path.samestat(os.fstat(descriptor), unread.stat()):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return read(descriptor, size)

        monkeypatch.setattr(os, "read", read_all_but_one)
        with pytest.raises(SystemFault, match=f"Input/output error .*{unread}"):
            rebuilt()
    monkeypatch.undo()
    assert rebuilt() == ["bad.txt", "good.txt"]


@pytest.mark.parametrize(
    "facts",
    [
        {"inbox": "other"},
        {"root": "/other"},
        {"path": "other.txt"},
        {"class": "bad-luck"},
        {"class": None},
        {"message": None},
        {"attempts": None},
        {"attempts": -1},
        {"attempts": 1 << 63},
    ],
)
def test_a_reason_of_something_else_proves_nothing(rebuilt, set_aside, facts):
    set_aside(**facts)
    assert rebuilt() == []


@pytest.mark.parametrize("path", ["bad.bin", ".hidden/bad.txt"])
def test_what_the_rules_admit_no_more_is_not_known(rebuilt, set_aside, path):
    set_aside(path)
    assert rebuilt() == []


def test_a_bad_file_whose_name_is_no_text_is_known(rebuilt, set_aside):
    path = os.fsdecode(b"bad-\xff.txt")
    set_aside(path, path="bad-\ufffd.txt", path_b64=base64.b64encode(os.fsencode(path)).decode())
    assert rebuilt() == [path]


def test_a_reason_whose_message_is_no_text_is_known(rebuilt, set_aside):
    set_aside(message="\ud800")
    assert rebuilt() == ["bad.txt"]


@pytest.mark.parametrize("after", ["archive", "keep"])
def test_a_reason_of_a_path_that_no_file_can_have_proves_nothing(site, rebuilt, set_aside, after):
    site.configure(inbox={"after": after})
    path = f"{'x' * 260}\0.txt"
    set_aside(derived(path), path=path)
    assert rebuilt() == []


def test_what_is_no_file_and_has_the_name_of_a_reason_or_a_result_proves_nothing(site, rebuilt, kept):
    _, result = kept()
    result.unlink()
    result.mkdir()
    site.failed.joinpath("bad.txt.error.json").symlink_to("bad.txt.error.json")
    os.mkfifo(site.failed / "worse.txt.error.json")
    assert rebuilt() == []


def test_a_reason_without_its_file_proves_nothing(rebuilt, set_aside):
    set_aside()[0].unlink()
    assert rebuilt() == []


# What is in the way ------------------------------------------------------------------------------------------------


def test_drafts_for_its_inbox_are_removed_from_its_outbox_and_nothing_else_and_nothing_stays_open_there(
    site, rebuilt
):
    others, ours = (
        [draft(site.outbox, 1), "owner", "somebody-s.txt"],
        [draft(site.inbox, 1), draft(site.inbox, "probe")],
    )
    for root in (site.outbox, site.archive, site.failed):
        for name in (*others, *ours):
            site.write(f".watcherd/{name}", root=root)
    rebuilt()
    assert sorted(os.listdir(site.outbox / ".watcherd")) == sorted(others)
    for root in (site.archive, site.failed):  # which other machines may share, whose inboxes have the same path there
        assert set(os.listdir(root / ".watcherd")) >= {*others, *ours}
    assert held(site.outbox) == []


def test_what_is_wrong_with_it_is_said_and_not_to_start_once_more(ledger, rebuilt):
    ledger.write_bytes(b"")
    with capture_logs() as events:
        rebuilt()
    assert [event["reason"] for event in events if event["event"] == "ledger.damaged"] == ["it is empty"]


@pytest.mark.parametrize("fails", [None, PermissionError(1, "Operation not permitted")])
def test_the_damaged_one_is_set_aside_with_its_log_also_where_a_file_has_one_name_only(
    site, ledger, rebuilt, monkeypatch, fails
):
    ledger.write_bytes(b"")
    (site.state / "ledger.db-wal").write_bytes(b"the log of its changes")

    def link(*_):
        raise fails

    if fails:
        monkeypatch.setattr(os, "link", link)
    with capture_logs() as events:
        rebuilt()
    (aside,) = [event["moved_to"] for event in events if event["event"] == "ledger.damaged"]
    held = {
        path.name: path.read_bytes() for path in site.state.iterdir() if path.name.startswith("ledger.db.damaged")
    }
    assert held == {os.path.basename(aside): b"", f"{os.path.basename(aside)}-wal": b"the log of its changes"}


def with_a_log_that_damages(ledger):
    """Put a ledger there that knows nothing, and is sound but for its log of changes."""
    ledger.unlink()
    Ledger(ledger).close()
    log = ledger.with_name("ledger.db-wal")
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("PRAGMA writable_schema = 1")
        with connection:
            connection.execute("DELETE FROM sqlite_master WHERE name = 'file_by_path'")
        both = ledger.read_bytes(), log.read_bytes()
    ledger.write_bytes(both[0])
    log.write_bytes(both[1])


@pytest.mark.parametrize("last", range(3))
def test_a_kill_while_the_damaged_one_is_set_aside_leaves_none_that_passes_for_sound(
    ledger, rebuilt, kept, monkeypatch, last
):
    kept()
    with_a_log_that_damages(ledger)
    names, left = {name: getattr(os, name) for name in ("link", "rename", "replace")}, iter(range(last))

    class Killed(BaseException):
        """As by a kill before a call."""

    def killed(name):
        def call(*arguments):
            if next(left, None) is None:
                raise Killed
            names[name](*arguments)

        return call

    for name in names:
        monkeypatch.setattr(os, name, killed(name))
    with pytest.raises(Killed):
        rebuilt()
    monkeypatch.undo()
    assert rebuilt() == ["a.txt"]


@pytest.mark.parametrize("left", [{"", "-wal", "-shm"}, {"-wal", "-shm"}, {"-wal"}])
def test_what_a_start_that_was_cut_short_left_of_a_new_one_is_not_in_it(ledger, rebuilt, left):
    with Ledger(ledger.with_name("earlier.db")) as earlier:
        earlier.register("scans", "/srv/scans")
        file = File("scans", "a.txt", Version(1, 2, 3, 4))
        earlier.remember([Record(0, file, Kind.TEXT, State.PUBLISHED)])
        for suffix in left:  # its log holds all of it
            shutil.copy(f"{ledger.parent}/earlier.db{suffix}", f"{ledger}.new{suffix}")
    assert rebuilt() == []


def test_a_new_one_that_the_disk_did_not_take_whole_replaces_nothing(ledger, rebuilt, kept, monkeypatch):
    kept()
    close, damaged = Ledger.close, ledger.read_bytes()
    with ExitStack() as late:

        def close_as_on_a_full_disk(self):  # whoever closes last takes over what is in the log of changes
            other = late.enter_context(closing(sqlite3.connect(f"{ledger}.new")))
            other.execute("SELECT count(*) FROM file").fetchone()
            close(self)

        monkeypatch.setattr(Ledger, "close", close_as_on_a_full_disk)
        with pytest.raises(SystemFault, match="No space left"):
            rebuilt()
    assert ledger.read_bytes() == damaged
    monkeypatch.undo()
    assert rebuilt() == ["a.txt"]


def test_a_signal_to_stop_ends_it_before_whichever_file_and_the_next_start_finds_the_damaged_one_again(
    site, ledger, rebuilt, kept, set_aside
):
    damaged = ledger.read_bytes()
    kept()
    site.write("new.txt")  # which has no result
    set_aside()[0].unlink()  # of which nothing is known then
    for files in range(4):
        site.write(f".watcherd/{draft(site.inbox, 1)}", root=site.outbox)
        left = iter(range(files))

        def checkpoint(left=left):
            if next(left, None) is None:
                raise Stopped

        with pytest.raises(Stopped):
            rebuild.mend(ledger, configuration.load({}, {}, site.base, site.config), checkpoint)
        assert ledger.read_bytes() == damaged
    assert rebuilt() == ["a.txt"]


def test_the_damaged_one_is_not_held_open_once_it_is_set_aside(ledger, rebuilt):
    damaged = ledger.stat().st_ino
    rebuilt()
    held = [number for number in os.listdir("/proc/self/fd") if _inode_behind(number) == damaged]
    assert not held


def _inode_behind(number):
    with suppress(OSError):  # of the listing itself
        return os.fstat(int(number)).st_ino
    return None


def test_no_damaged_one_takes_the_place_of_an_earlier_one_of_the_same_second(site, ledger, rebuilt, monkeypatch):
    monkeypatch.setattr("watcherd.rebuild.time.strftime", lambda *_: "20260101T000000")
    for content in (b"first", b"second", b"third"):
        ledger.write_bytes(content)
        rebuilt()
    asides = [site.state / f"ledger.db.damaged-20260101T000000{number}" for number in ("", "-1", "-2")]
    assert [aside.read_bytes() for aside in asides] == [b"first", b"second", b"third"]


def test_a_sound_one_is_left_as_it_is(site, ledger, rebuilt):
    rebuilt()
    before = ledger.stat().st_ino, os.listdir(site.state)
    rebuilt()
    assert (ledger.stat().st_ino, os.listdir(site.state)) == before
