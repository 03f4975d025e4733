"""A fault of the system is not a fault of the file: intake pauses, says why once, and resumes by itself."""

import os
import resource
import sqlite3
import subprocess
from contextlib import closing

import pytest


def fill_up(root):
    """Take all the room that a small file system has; return the file that holds it."""
    filler = root / ".filler"
    with filler.open("wb", buffering=0) as file:
        size = 1 << 20
        while size >= 1:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    return filler


def repeated(daemon):
    reasons = [event["reason"] for event in daemon.events("intake.paused")]
    return len(reasons) > len(set(reasons)) or daemon.events("intake.resumed")


@pytest.fixture
def paused(site):
    """Return a function that waits for a pause and requires that it charges nothing and is said once."""

    def require(daemon, seconds=3):
        event = daemon.wait("intake.paused")
        site.never(lambda: repeated(daemon), "a second word of the same pause", seconds)
        assert not site.rows("id", "attempts > 0")
        assert not [*site.failed.rglob("*.json")]
        return event["reason"]

    return require


def test_a_full_outbox_pauses_intake_and_charges_nobody(site, mounts, paused, picture):
    mounts.mount(site.outbox, "1M")
    site.configure(min_free="0%")
    daemon = site.start()
    filler = fill_up(site.outbox)
    names = site.texts(30)
    site.drop("a.png", picture((300, 300)))
    assert str(site.outbox) in paused(daemon)
    filler.unlink()
    daemon.wait("intake.resumed", 10)
    site.await_empty_inbox()
    assert [site.words(name) for name in names] == list(range(1, 31))
    assert not site.drafts()


def test_work_goes_on_within_5_seconds_of_the_mend_however_long_the_fault_lasted(site, mounts, paused, picture):
    mounts.mount(site.outbox, "1M")
    site.configure(min_free="0%")
    daemon = site.start()
    filler = fill_up(site.outbox)
    os.truncate(filler, filler.stat().st_size - (16 << 10))  # room for a probe, and not for a result
    site.drop("a.bmp", picture((300, 300), "BMP"))
    assert str(site.outbox) in paused(daemon, 8)
    filler.unlink()
    site.wait_for((site.outbox / "grayscale_a.bmp").exists, "its result", 5)
    daemon.wait("intake.resumed")


FORMATS = {
    "jpg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "tif": "TIFF",
    "bmp": "BMP",
    "gif": "GIF",
    "ppm": "PPM",
    "tga": "TGA",
    "jp2": "JPEG2000",
    "avif": "AVIF",
}


def test_an_outbox_that_is_full_for_pictures_of_every_format_charges_none_of_them(site, mounts, paused, picture):
    mounts.mount(site.outbox, "1M")
    site.configure(min_free="0%", inbox={"exclude": ["*.unknown"]})
    daemon = site.start()
    filler = fill_up(site.outbox)
    for suffix, kind in FORMATS.items():
        site.drop(f"a.{suffix}", picture((100, 100), kind))
    paused(daemon)
    filler.unlink()
    daemon.wait("intake.resumed", 10)
    site.await_empty_inbox()
    assert {path.name for path in site.outbox.glob("g*")} == {f"grayscale_a.{suffix}" for suffix in FORMATS}
    assert daemon.stop() == 0
    assert not site.drafts()


def test_a_full_failed_folder_pauses_intake_and_the_bad_file_is_set_aside_once_there_is_room(site, mounts):
    mounts.mount(site.failed, "1M")
    site.configure(min_free="0%")
    daemon = site.start()
    filler = fill_up(site.failed)
    site.drop("bad.txt", bytes(3000))
    assert str(site.failed) in daemon.wait("intake.paused")["reason"]
    assert site.has("bad.txt")
    filler.unlink()
    daemon.wait("intake.resumed", 10)
    assert site.await_failure("bad.txt")["attempts"] == 1


def test_too_few_descriptors_pause_intake_and_charge_nobody(site, paused, picture):
    daemon = site.start()
    soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{daemon.pid}/fd")), hard))
    names = site.texts(20)
    site.drop("a.png", picture())
    paused(daemon)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
    daemon.wait("intake.resumed", 10)
    site.await_empty_inbox()
    assert [site.words(name) for name in names] == list(range(1, 21))


def test_a_ledger_that_somebody_holds_locked_pauses_intake_and_charges_nobody(site):
    daemon = site.start()
    with closing(sqlite3.connect(site.state / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        names = site.texts(20)
        assert "locked" in daemon.wait("intake.paused", 90)["reason"]  # each thread in turn waits for the lock
        other.execute("ROLLBACK")
    daemon.wait("intake.resumed", 20)
    site.await_empty_inbox()
    assert [site.words(name) for name in names] == list(range(1, 21))
    assert not site.rows("id", "attempts > 0")


def test_a_full_archive_elsewhere_pauses_intake_and_loses_nothing(site, mounts, paused):
    mounts.mount(site.archive, "1M")
    site.configure(min_free="0%")
    daemon = site.start()
    filler = fill_up(site.archive)
    names = site.texts(30)
    assert str(site.archive) in paused(daemon)
    filler.unlink()
    daemon.wait("intake.resumed", 10)
    site.wait_for(lambda: all((site.archive / name).exists() for name in names), "the archives")
    site.await_empty_inbox()
    assert [site.words(name) for name in names] == list(range(1, 31))
    assert daemon.stop() == 0
    assert not site.drafts()


def test_a_full_state_disk_pauses_intake_and_resumes(site, mounts, paused):
    mounts.mount(site.state, "1M")
    daemon = site.start()
    filler = fill_up(site.state)
    names = site.texts(200)
    assert str(site.state) in paused(daemon)
    filler.unlink()
    daemon.wait("intake.resumed", 10)
    site.await_empty_inbox()
    assert [site.words(name) for name in names] == list(range(1, 201))


def test_less_room_than_min_free_pauses_intake_before_anything_fails(site, mounts, paused):
    mounts.mount(site.outbox, "4M")
    site.configure(min_free="2MiB")
    daemon = site.start()
    filler = site.outbox / ".filler"
    filler.write_bytes(bytes(3 << 20))
    assert "min_free" in paused(daemon)
    site.drop("a.txt")
    site.never(lambda: not site.has("a.txt"), "its end", 1)
    filler.unlink()
    site.await_words("a.txt", 10)


def test_nothing_lands_on_the_mount_point_of_an_unmounted_outbox(site, mounts, paused):
    mounts.mount(site.outbox)
    daemon = site.start()
    site.drop("before.txt")
    site.await_words("before.txt")
    subprocess.run(["/bin/umount", "--lazy", site.outbox], check=True)
    site.texts(20)
    assert str(site.outbox) in paused(daemon)
    assert os.listdir(site.outbox) == []
    mounts.mount(site.outbox)
    daemon.wait("intake.resumed", 10)
    site.await_empty_inbox()
    assert site.words("text-0019.txt") == 20


def test_an_idle_outbox_can_be_unmounted(site, mounts):
    mounts.mount(site.outbox)
    site.start()
    site.drop("a.txt")
    site.await_words("a.txt")

    def unmounted():
        return subprocess.run(["/bin/umount", site.outbox], check=False, capture_output=True).returncode == 0

    site.wait_for(unmounted, "a moment to unmount in", 5)


def test_a_read_only_outbox_pauses_intake_and_resumes(site, mounts, paused):
    mounts.mount(site.outbox)
    daemon = site.start()
    mounts.remount(site.outbox, "ro")
    names = site.texts(20)
    assert str(site.outbox) in paused(daemon)
    mounts.remount(site.outbox, "rw")
    daemon.wait("intake.resumed", 10)
    site.await_empty_inbox()
    assert [site.words(name) for name in names] == list(range(1, 21))


def test_an_outbox_without_permission_pauses_intake_and_resumes(site, as_nobody, paused):
    site.configure(inbox={"settle": "200ms"})
    daemon = site.start(prefix=as_nobody)
    site.outbox.chmod(0o555)
    (site.outbox / ".watcherd").chmod(0o555)
    site.texts(5)
    paused(daemon)
    (site.outbox / ".watcherd").chmod(0o700)
    site.outbox.chmod(0o755)
    daemon.wait("intake.resumed", 10)
    site.await_empty_inbox()


def test_the_fault_of_one_inbox_pauses_no_other(site, mounts):
    mounts.mount(site.outbox)
    other = site.base / "other"
    for name in ("in", "out"):
        (other / name).mkdir(parents=True)
    site.configure(**{"inbox.other": {"path": other / "in", "outbox": other / "out"}})
    daemon = site.daemon().start()
    daemon.wait("inbox.rescanned", inbox="scans")
    mounts.remount(site.outbox, "ro")
    site.drop("a.txt")
    daemon.wait("intake.paused", inbox="scans")
    site.drop("b.txt", root=other / "in")
    daemon.wait("file.published", inbox="other")
    mounts.remount(site.outbox, "rw")
    site.await_words("a.txt", 10)


def test_a_file_that_cannot_be_moved_waits_aside_and_holds_up_nobody(site, lacking):
    if os.geteuid() != 0 or not os.path.exists("/usr/bin/chattr"):
        lacking("only root can make a file immutable, with chattr")
    fixed = site.drop("fixed.txt")
    if subprocess.run(["/usr/bin/chattr", "+i", fixed], check=False, capture_output=True).returncode:
        pytest.skip("no file can be made immutable here")
    try:
        daemon = site.start()
        names = site.texts(20)
        for name in names:
            site.await_words(name)
        daemon.wait("file.unretired", path="fixed.txt")
        assert not daemon.events("intake.paused")
    finally:
        subprocess.run(["/usr/bin/chattr", "-i", fixed], check=True)
    site.await_empty_inbox()
    assert (site.archive / "fixed.txt").exists()
    assert len([*site.outbox.glob("fixed*")]) == 1


def test_a_stop_during_a_pause_is_a_clean_one(site, mounts):
    mounts.mount(site.outbox)
    daemon = site.start()
    mounts.remount(site.outbox, "ro")
    site.texts(20)
    daemon.wait("intake.paused")
    assert daemon.stop() == 0
    mounts.remount(site.outbox, "rw")
    site.run_until_empty()
    assert not site.drafts()
    assert not site.rows("id", "attempts > 0")
