"""An audit beside a daemon that starts, an owner who takes a file, a disk that fails; and after a crash."""

import errno
import json
import os
from contextlib import ExitStack

import pytest

from watcherd import audit, beneath, evidence, volumes
from watcherd import settings as configuration
from watcherd.intake.probe import Looks
from watcherd.ledger.ledger import Intent, Ledger
from watcherd.model import Draft, File, Job, Kind, Record, Version
from watcherd.publish.aside.reason import stamp
from watcherd.publish.inputs.custody import ours_of
from watcherd.service import locks
from watcherd.states import State


@pytest.fixture
def audited(site):
    """Return a function that audits a site whose daemon did nothing yet; it returns what is wrong, and what runs."""
    for folder in (site.state, site.failed, site.archive):
        folder.mkdir(exist_ok=True)
    Ledger(site.state / "ledger.db").close()

    def audited():
        found = audit.audit(configuration.load({}, {}, site.base, site.config))
        return [(it.what, os.path.relpath(it.where, site.base)) for it in found.wrong], found.running

    return audited


def test_what_a_daemon_that_started_meanwhile_has_in_hand_is_not_wrong_and_an_input_left_behind_still_is(
    site, audited, monkeypatch
):
    site.write("new.txt")
    assert audited() == ([("unaccounted", "inbox/new.txt")], False)
    left = File("scans", "left.txt", beneath.version_of(site.write("left.txt").stat()))
    with Ledger(site.state / "ledger.db") as ledger:
        ledger.register("scans", str(site.inbox))
        ledger.remember([Record(0, left, Kind.TEXT, State.PUBLISHED)])
    admitted = audit.admitted
    with ExitStack() as late:

        def while_one_starts(*of):
            late.enter_context(locks.state(str(site.state)))
            return admitted(*of)

        monkeypatch.setattr(audit, "admitted", while_one_starts)
        assert audited() == ([("input", "inbox/left.txt")], True)


def test_a_newer_file_is_not_taken_for_the_input_of_its_name_that_is_done(site, audited):
    before = File("scans", "a.txt", beneath.version_of(site.write("a.txt").stat()))
    with Ledger(site.state / "ledger.db") as ledger:
        ledger.register("scans", str(site.inbox))
        ledger.remember([Record(0, before, Kind.TEXT, State.PUBLISHED)])
    site.write("a.txt", b"newer")
    assert audited() == ([("unaccounted", "inbox/a.txt")], False)


def test_a_kept_file_that_is_done_is_accounted_for_also_where_a_remount_gave_it_another_inode(site, audited):
    site.configure(inbox={"after": "keep"})
    version = beneath.version_of(site.write("a.txt").stat())
    with Ledger(site.state / "ledger.db") as ledger:
        ledger.register("scans", str(site.inbox))
        then = File("scans", "a.txt", version._replace(inode=version.inode + 1))
        ledger.remember([Record(0, then, Kind.TEXT, State.PUBLISHED)])
    assert audited() == ([], False)


@pytest.mark.parametrize(
    ("state", "name"),
    [(State.PUBLISHED, "outbox/a.txt.words.json"), (State.QUARANTINED, "failed/a.txt.error.json")],
)
def test_results_are_as_we_wrote_them_where_inodes_do_not_last_also_where_one_of_that_name_was_collected_before(
    site, audited, monkeypatch, state, name
):
    (result := site.base / name).write_text("{}")
    file, (size, mtime_ns, *_) = File("scans", "a.txt", Version(1, 2, 3, 4)), beneath.version_of(result.stat())
    before, that, later = (
        Record(0, file, Kind.TEXT, state, number=number, result=Draft("", 7, size, time_ns))
        for number, time_ns in ((0, mtime_ns - 1), (0, mtime_ns), (1, mtime_ns + 1))
    )
    with Ledger(site.state / "ledger.db") as ledger:
        ledger.register("scans", str(site.inbox))
        ledger.remember([before, that, later])
    monkeypatch.setattr(volumes, "renumbers", lambda _: True)
    assert audited() == ([], False)
    os.utime(result, ns=(0, 0))
    assert audited() == ([("result", name)] * 2, False)


def test_a_result_that_was_collected_is_not_wrong_where_that_of_another_file_has_its_name_since(site, audited):
    result = site.write("a.1.txt.words.json", b"{}", root=site.outbox)
    size, mtime_ns, _, inode = beneath.version_of(result.stat())
    known = Draft("", inode, size, mtime_ns)
    file, other = (File("scans", path, Version(1, 2, 3, 4)) for path in ("a.1.txt", "a.txt"))
    collected = Record(0, file, Kind.TEXT, State.PUBLISHED, result=known._replace(inode=inode + 1))
    with Ledger(site.state / "ledger.db") as ledger:
        ledger.register("scans", str(site.inbox))
        ledger.remember([collected, Record(0, other, Kind.TEXT, State.PUBLISHED, number=1, result=known)])
    assert audited() == ([], False)


def test_a_result_that_its_disk_lost_the_content_of_is_told_also_where_no_size_of_it_is_on_record(site, audited):
    result = site.write("a.txt.words.json", b"", root=site.outbox)
    file = File("scans", "a.txt", Version(1, 2, 3, 4))
    with Ledger(site.state / "ledger.db") as ledger:
        ledger.register("scans", str(site.inbox))
        ledger.remember([Record(0, file, Kind.TEXT, State.PUBLISHED, result=Draft("", result.stat().st_ino))])
    assert audited() == ([("result", "outbox/a.txt.words.json")], False)


def test_a_file_that_its_owner_takes_meanwhile_is_not_wrong(site, audited, monkeypatch):
    new, writer = site.write("new.txt"), Looks.writer

    def once_it_is_gone(self, path):
        new.unlink()
        return writer(self, path)

    monkeypatch.setattr(Looks, "writer", once_it_is_gone)
    assert audited() == ([], False)


def test_a_file_whose_folder_becomes_a_file_meanwhile_is_not_wrong(site, audited, monkeypatch):
    new, status = site.write("sub/new.txt"), Looks.status

    def once_it_is_gone(self, path):
        new.unlink()
        new.parent.rmdir()
        new.parent.touch()
        return status(self, path)

    monkeypatch.setattr(Looks, "status", once_it_is_gone)
    assert audited() == ([], False)


def test_a_file_that_cannot_be_looked_at_is_told_and_what_is_beside_it_too(site, audited, monkeypatch):
    site.write("new.txt")
    unread, lstat = site.write("unread.txt").stat(), os.lstat

    def look(name, **at):
        found = lstat(name, **at)
        if os.path.samestat(found, unread):
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)
        return found

    monkeypatch.setattr(os, "lstat", look)
    found, _ = audited()
    assert sorted(found) == [("unaccounted", "inbox/new.txt"), ("unreadable", "inbox/unread.txt")]


def test_each_folder_of_our_own_that_cannot_be_listed_is_told(site, audited, monkeypatch):
    unread = [str(site.write(".watcherd/draft", root=root).parent) for root in (site.failed, site.archive)]
    listdir = os.listdir

    def list_all_but_these(folder):
        if folder in unread:
            raise OSError(errno.EIO, os.strerror(errno.EIO), folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", list_all_but_these)
    assert audited() == ([("unreadable", "archive/.watcherd"), ("unreadable", "failed/.watcherd")], False)


def test_a_folder_of_what_was_set_aside_that_cannot_be_listed_is_told(site, audited, monkeypatch):
    scandir, unread = os.scandir, site.write("sub/bad.txt", root=site.failed).parent.stat().st_ino

    def scan(folder):
        if os.stat(folder).st_ino == unread:
            raise OSError(errno.EIO, os.strerror(errno.EIO), folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scan)
    assert audited() == ([("unreadable", "failed/sub")], False)


def set_aside(site, lies):
    """Set a file aside by hand: where it lies, and with its reason in the failed folder. Return both."""
    bad = site.write("bad.txt", root=lies)
    facts = {"class": "not-text", "message": "", "attempts": 1, "inbox": "scans", "path": "bad.txt"}
    facts |= {"modified": stamp(bad.stat().st_mtime)}
    return bad, site.write("bad.txt.error.json", json.dumps(facts).encode(), root=site.failed)


@pytest.mark.parametrize(("after", "lies"), [("archive", "failed"), ("keep", "failed"), ("keep", "inbox")])
def test_what_was_set_aside_and_is_not_on_record_is_told_once_where_it_lies(site, audited, after, lies):
    site.configure(inbox={"after": after})
    set_aside(site, getattr(site, lies))
    assert audited() == ([("unaccounted", f"{lies}/bad.txt")], False)


def test_what_was_set_aside_when_a_run_died_before_that_was_on_record_is_told_as_unfinished_alone(site, audited):
    bad, reason = set_aside(site, site.failed)
    with Ledger(site.state / "ledger.db") as ledger:
        ledger.register("scans", str(site.inbox))
        job = Job(ledger.next_id(), File("scans", "bad.txt", beneath.version_of(bad.stat())), Kind.TEXT)
        ledger.hand_over([job])
        ledger.intend([Intent(job, State.QUARANTINING, 0, Draft("its draft", reason.stat().st_ino))])
    assert audited() == ([("unfinished", "inbox/bad.txt")], False)


def test_a_reason_of_what_was_set_aside_that_cannot_be_read_is_told(site, audited, monkeypatch):
    reason = site.write("bad.txt.error.json", root=site.failed)
    (site.failed / "link.txt.error.json").symlink_to(reason)
    read = os.read

    def read_all_but_one(descriptor, size):
        if os.path.samestat(os.fstat(descriptor), reason.stat()):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", read_all_but_one)
    assert audited() == ([("unreadable", "failed/bad.txt.error.json")], False)


def test_a_reason_that_goes_meanwhile_with_its_file_is_not_wrong(site, audited, monkeypatch):
    reason, facts_in = site.write("bad.txt.error.json", root=site.failed), evidence.facts_in

    def once_it_is_gone(*of):
        reason.unlink()
        return facts_in(*of)

    monkeypatch.setattr(evidence, "facts_in", once_it_is_gone)
    assert audited() == ([], False)


def test_any_draft_in_an_outbox_is_told_that_is_not_on_its_way_nor_says_that_it_is_for_another_inbox(site, audited):
    for root in (site.outbox, site.archive, site.failed):
        site.write(".watcherd/ffffffff-00000000-1", root=root)
        site.write(".watcherd/ffffffff-00000000-00000000-1", root=root)
    assert audited() == ([("draft", "outbox/.watcherd/ffffffff-00000000-1")], False)


@pytest.mark.parametrize(("state", "folder"), [(State.PUBLISHING, "outbox"), (State.QUARANTINING, "failed")])
def test_after_a_crash_it_tells_what_is_unfinished_and_nothing_that_belongs_to_it(site, audited, state, folder):
    path = site.drop("a.txt")
    with Ledger(site.state / "ledger.db") as ledger:
        ledger.register("scans", str(site.inbox))
        job = Job(ledger.next_id(), File("scans", "a.txt", beneath.version_of(path.stat())), Kind.TEXT)
        draft = Draft(f"{ledger.id}-00000000-{job.id}", 1)
        ledger.hand_over([job])
        ledger.intend([Intent(job, state, 0, draft)])
    for root, name in ((site.base / folder, draft.name), (site.inbox, "owner"), (site.outbox, "owner")):
        site.write(f".watcherd/{name}", root=root)
    path.rename(site.inbox / ours_of(job))
    assert audited() == ([("unfinished", "inbox/a.txt")], False)
