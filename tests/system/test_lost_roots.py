"""An outbox, archive or failed folder that cannot be used: nothing lands elsewhere, and nobody is charged."""

import os
import shutil
import subprocess

import pytest

ROOTS = ["outbox", "archive", "failed"]


@pytest.fixture(params=ROOTS)
def root(site, request):
    """Return one of the folders that we write to, each in turn."""
    return getattr(site, request.param)


class Work:
    """Files that are dropped while a folder cannot be used, and what must have come of them in the end."""

    def __init__(self, site):
        self.site = site
        self.names = []

    def drop(self):
        """Drop good ones and a bad one."""
        self.names = self.site.texts(10)
        self.site.drop("bad.txt", bytes(3000))

    def is_done(self):
        """Require that each came to its end, and was charged for what is wrong with itself alone."""
        self.site.await_empty_inbox()
        assert [self.site.words(name) for name in self.names] == list(range(1, 11))
        assert self.site.await_failure("bad.txt")["attempts"] == 1
        assert not self.site.rows("path", "attempts > 0 AND path != CAST('bad.txt' AS BLOB)")
        assert not self.site.drafts()


@pytest.fixture
def work(site):
    """Give files to drop, and the requirement that each came to its end."""
    return Work(site)


def test_nothing_lands_on_the_mount_point_of_an_unmounted_folder(site, mounts, root, work, said_once):
    mounts.mount(root)
    daemon = site.start()
    subprocess.run([shutil.which("umount"), "--lazy", root], check=True)
    work.drop()
    assert str(root) in said_once(daemon)
    assert os.listdir(root) == []
    mounts.mount(root)
    daemon.wait("intake.resumed", 10)
    work.is_done()


def test_a_retry_puts_nothing_on_the_mount_point_of_an_unmounted_inbox(site, mounts):
    mounts.mount(site.inbox)
    daemon = site.start()
    site.drop("bad.txt", bytes(3000))
    site.await_failure("bad.txt")
    subprocess.run([shutil.which("umount"), "--lazy", site.inbox], check=True)
    daemon.wait("inbox.lost", 10)
    told = site.command("retry", "bad.txt")
    assert told.returncode == 1
    assert b"its inbox is away" in told.stdout
    assert os.listdir(site.inbox) == []
    mounts.mount(site.inbox)
    daemon.wait("inbox.recovered", 10)
    assert site.command("retry", "bad.txt").returncode == 0
    assert site.await_failure("bad.txt")["attempts"] == 1


def test_a_read_only_folder_pauses_intake_until_it_can_be_written_to(site, mounts, root, work, said_once):
    mounts.mount(root)
    daemon = site.start()
    mounts.remount(root, "ro")
    work.drop()
    assert str(root) in said_once(daemon)
    mounts.remount(root, "rw")
    daemon.wait("intake.resumed", 10)
    work.is_done()


def test_a_folder_without_permission_pauses_intake_until_it_has_it_back(site, as_nobody, root, work, said_once):
    site.configure(inbox={"settle": "200ms"})
    daemon = site.start(prefix=as_nobody)
    root.chmod(0o555)  # and our own folder in there is still open
    work.drop()
    assert str(root) in said_once(daemon)
    root.chmod(0o755)
    daemon.wait("intake.resumed", 10)
    work.is_done()


def test_a_folder_that_fails_at_the_start_keeps_its_own_inbox_waiting_and_no_other(site, other, root, said_once):
    away = site.base / "away"
    root.exists() and root.rmdir()
    root.symlink_to(away / root.name)  # which cannot be made either: `away` is missing
    site.drop("a.txt")
    site.drop("b.txt", root=other / "in")
    daemon = site.start()
    site.wait_for((other / "out/b.txt.words.json").exists, "the other inbox's result")
    assert str(root) in said_once(daemon)
    assert site.has("a.txt")
    (away / root.name).mkdir(parents=True)
    assert site.await_words("a.txt") == 3
    site.await_empty_inbox()
    daemon.wait("intake.resumed", 10)
    assert (site.inbox / ".watcherd/owner").exists()
    assert daemon.stop() == 0
    assert not list(site.base.rglob("owner")), "a note was left behind"
    site.audit()


def test_an_inbox_whose_outbox_is_missing_is_told_once_and_what_others_set_aside_is_listed_and_put_back(site, other):
    site.drop("bad.txt", bytes(3000))
    daemon = site.start()
    site.await_failure("bad.txt")
    (other / "out").rename(other / "away")
    listed = site.command("failures")
    assert (listed.returncode, b"bad.txt" in listed.stdout) == (1, True)
    retried = site.command("retry", "bad.txt")
    assert (retried.returncode, retried.stdout) == (1, b"scans\tbad.txt\tput back\n")
    said = f"watcherd: {other}/out: it is missing: mount it, or bring it back\n"
    assert listed.stderr.decode() == retried.stderr.decode() == said
    (other / "away").rename(other / "out")
    site.await_failure("bad.txt")
    assert site.command("failures").returncode == 0
    assert daemon.stop() == 0


def test_a_retry_of_a_file_whose_inbox_cannot_be_asked_does_not_say_that_it_is_not_quarantined(site, other):
    site.write("bad.txt", bytes(3000), root=other / "in")
    daemon = site.start()
    daemon.wait("file.quarantined", path="bad.txt")
    (other / "out").rename(other / "away")
    retried = site.command("retry", "bad.txt")
    (other / "away").rename(other / "out")
    assert retried.returncode == 1
    assert b"watcherd: bad.txt is not quarantined in an inbox that can be asked;" in retried.stderr


def test_nothing_lands_on_the_mount_point_of_folders_that_are_not_mounted_at_the_start(site, other, mounts):
    disk = site.base / "disk"
    disk.mkdir()
    site.outbox, site.archive, site.failed = (disk / name for name in ("outbox", "archive", "failed"))
    site.configure(**{"inbox.other": {"path": other / "in", "outbox": other / "out"}})
    site.drop("a.txt")
    site.drop("bad.txt", bytes(3000))
    daemon = site.start()
    site.drop("b.txt", root=other / "in")
    site.wait_for((other / "out/b.txt.words.json").exists, "the other inbox's result")
    daemon.wait("intake.paused")
    assert os.listdir(disk) == []
    mounts.mount(disk)
    site.outbox.mkdir()
    assert site.await_words("a.txt") == 3
    site.await_failure("bad.txt")
    site.await_empty_inbox()
    assert daemon.stop() == 0
    mounts.unmount(disk)
    assert os.listdir(disk) == []


def test_a_start_at_which_no_inbox_can_be_served_ends_with_1_and_makes_nothing(site, other):
    site.outbox.rmdir()
    (other / "out").rmdir()
    ended = site.command("run")
    assert ended.returncode == 1
    mend = f"mount it, or make it: mkdir -p {site.outbox}, or start with --make-folders"
    assert ended.stderr.decode() == f"watcherd: {site.outbox} is missing; {mend}\n"
    assert not (site.base / "state").exists()


def test_a_service_waits_for_the_outbox_of_its_only_inbox(site, said_once):
    site.outbox.rmdir()
    site.drop("a.txt")
    daemon = site.daemon(environment={"NOTIFY_SOCKET": str(site.base / "nobody listens")}).start()
    assert said_once(daemon) == f"cannot use the folder {site.outbox}: No such file or directory"
    assert sorted(os.listdir(site.base)) == ["inbox", "log-0.jsonl", "state", "watcherd.toml"]
    site.outbox.mkdir()
    assert site.await_words("a.txt") == 3
    daemon.wait("intake.resumed", 10)
    assert daemon.stop() == 0
    site.audit()


def test_an_inbox_of_another_daemon_is_refused_also_where_its_outbox_is_missing(site, other):
    site.daemon("run", f"--inbox={other / 'in'}", f"--outbox={other / 'out'}", f"--state={other / 'state'}").start()
    site.configure(**{"inbox.other": {"path": other / "in", "outbox": other / "missing"}})
    ended = site.command("run")
    assert ended.returncode == 1
    assert f"{other / 'in'} is in use by".encode() in ended.stderr


@pytest.mark.usefixtures("other")
def test_an_outbox_that_comes_late_and_is_another_daemon_s_by_then_is_waited_for(site):
    site.outbox.rmdir()
    daemon = site.start()
    daemon.wait("intake.paused")
    theirs = {name: site.base / "theirs" / name for name in ("inbox", "outbox", "state")}
    flags = [f"--{name}={path}" for name, path in theirs.items()]
    second = site.daemon("run", *flags, "--make-folders").start()
    site.outbox.symlink_to(theirs["outbox"])
    site.drop("a.txt")
    site.wait_for(lambda: any("is in use by" in it["reason"] for it in daemon.events("intake.paused")), "their name")
    assert site.has("a.txt")
    assert second.stop() == 0
    assert site.await_words("a.txt") == 3
    assert daemon.stop() == 0


def test_an_idle_outbox_can_be_unmounted(site, mounts):
    mounts.mount(site.outbox)
    site.start()
    site.drop("a.txt")
    site.await_words("a.txt")
    mounts.unmount(site.outbox)


def test_an_inbox_that_comes_back_and_cannot_be_marked_as_ours_pauses_alone_until_it_can(site, other, said_once):
    site.inbox.rmdir()
    daemon = site.daemon().start()
    daemon.wait("inbox.lost")
    again = site.base / "again"
    again.mkdir()
    (again / ".watcherd").touch()
    again.rename(site.inbox)
    assert ".watcherd" in said_once(daemon)
    site.drop("a.txt", root=other / "in")
    site.wait_for((other / "out/a.txt.words.json").exists, "the other inbox's result")
    site.drop("b.txt")
    (site.inbox / ".watcherd").unlink()
    daemon.wait("inbox.recovered")
    assert site.await_words("b.txt") == 3
    assert daemon.stop() == 0


def test_an_inbox_that_is_mounted_after_a_start_has_its_files_retired_and_not_done_again(site):
    site.archive.mkdir()
    (site.archive / "sub").write_bytes(b"somebody's, where the archive of a folder belongs")
    first = site.start()
    site.drop("sub/a.txt")
    first.wait("file.unretired", path="sub/a.txt")
    first.kill()
    (site.archive / "sub").unlink()
    site.inbox.rename(site.base / "disk")
    site.inbox.mkdir()
    again = site.start()
    again.wait("file.unretired", path="sub/a.txt", reason="its inbox is away")
    site.inbox.rename(site.base / "mount point")
    (site.base / "disk").rename(site.inbox)
    again.wait("file.published", path="sub/a.txt")
    site.await_empty_inbox()
    assert again.stop() == 0
    assert [path.name for path in site.outbox.rglob("*.json")] == ["a.txt.words.json"]
    site.audit()
