"""Events are hints: whatever is lost of them, every file comes to its end."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from tests.conftest import SOAK

QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


def make_files(folder, count):
    """Write so many files there, each of which makes two events."""
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_DIRECTORY)
    for number in range(count):
        file = os.open(f"{number}.txt", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=descriptor)
        os.write(file, b"word")
        os.close(file)
    os.close(descriptor)


@pytest.mark.timeout(1200 if SOAK else 180)
def test_more_events_than_the_kernel_s_queue_holds_lose_no_file_of_60_folders(site):
    count = 60_000 if SOAK else int(QUEUE.read_text("ascii")) // 2 + 600
    if count > 60_000:
        pytest.skip(f"the kernel's queue is so long that it would take {count} files to overflow")
    armed = [site.inbox / f"armed-{number}" for number in range(30)]
    for folder in armed:
        folder.mkdir()
    daemon = site.start()
    daemon.send(signal.SIGSTOP)
    os.waitid(os.P_PID, daemon.pid, os.WSTOPPED)  # one thread hears of it, and the others may run on until it does
    for folder in (*armed, *(site.inbox / f"new-{number}" for number in range(30))):
        make_files(folder, count // 30 if folder in armed else 20)
    daemon.send(signal.SIGCONT)
    daemon.wait("inbox.overflowed")
    for folder in sorted(site.inbox.glob("[an]*")):
        site.wait_for(lambda folder=folder: not os.listdir(folder), f"an empty {folder.name}", 600)
    assert sum(1 for _ in site.outbox.rglob("*.json")) == count // 30 * 30 + 600
    site.drop("new-0/afterwards.txt")
    site.await_words("new-0/afterwards.txt")


@pytest.fixture
def failing(site, strace):
    """Return a function that makes system calls on a descriptor of some name fail."""
    return lambda name, fault: strace("-o", site.base / "trace", "-P", name, "-e", f"inject={fault}")


def test_events_that_cannot_be_read_are_made_good_by_a_scan(site, failing):
    site.configure(inbox={"settle": "100ms"})
    daemon = site.start(prefix=failing("anon_inode:inotify", "read:error=EIO"))
    for number in range(6):
        site.drop(f"{number}/a.txt")
        site.await_words(f"{number}/a.txt")
    assert "Input/output error" in daemon.wait("inbox.blind")["error"]
    site.await_empty_inbox()


def test_a_folder_that_fails_once_as_it_is_listed_is_listed_again_soon(site, failing):
    site.write("sub/a.txt")
    site.start(prefix=failing(site.inbox / "sub", "getdents64:error=EIO:when=1"))
    assert site.await_words("sub/a.txt") == 3


def test_a_watching_thread_that_dies_ends_the_daemon_with_1_and_the_next_start_misses_nothing(site, failing):
    names = site.texts(20)
    daemon = site.daemon(prefix=failing("anon_inode:[eventfd]", "poll:error=ENOMEM:when=2")).spawn()
    assert daemon.process.wait(30) == 1
    assert daemon.events("room.died", room="intake of scans")
    site.drop("meanwhile.txt")
    site.run_until_empty()
    assert [site.words(name) for name in names] == list(range(1, 21))
    assert site.words("meanwhile.txt") == 3
    site.audit()


def test_an_inbox_that_is_moved_away_and_back_is_recovered(site):
    daemon = site.start()
    away = site.base / "away"
    site.inbox.rename(away)
    daemon.wait("inbox.lost")
    site.write("meanwhile.txt", root=away)
    away.rename(site.inbox)
    daemon.wait("inbox.recovered")
    site.await_words("meanwhile.txt")
    site.drop("sub/late.txt")
    site.await_words("sub/late.txt")


def test_an_inbox_whose_link_leads_elsewhere_is_lost_and_recovered_once_it_leads_back(site):
    first, second = site.inbox.rename(site.base / "first"), site.base / "second"
    second.mkdir()
    lead(site.inbox, first)
    daemon = site.start()
    lead(site.inbox, second)
    assert "restart watcherd" in daemon.wait("inbox.lost")["mend"]
    site.drop("a.txt")
    site.never(lambda: site.words("a.txt"), "a result of a file that no ledger knows")
    lead(site.inbox, first)
    daemon.wait("inbox.recovered")
    site.drop("b.txt")
    site.await_empty_inbox()
    assert daemon.stop() == 0
    assert len(daemon.events("inbox.lost")) == 1
    lead(site.inbox, second)
    site.run_until_empty()
    assert site.words("a.txt") == site.words("b.txt") == 3
    site.audit()


def lead(link, folder):
    """Let a link lead to a folder, from one instant to the next: it is never missing."""
    newer = link.with_name("newer")
    newer.symlink_to(folder)
    newer.rename(link)


@pytest.mark.parametrize("begins", ["open", "closed"])
def test_an_inbox_whose_permission_is_taken_is_lost_and_recovered_once_it_is_given_back(site, as_nobody, begins):
    site.configure(inbox={"settle": "100ms"})
    daemon = site.daemon(prefix=as_nobody)
    if begins == "open":
        daemon.start().wait("inbox.rescanned")
        site.inbox.chmod(0)
    else:
        site.inbox.chmod(0)
        daemon.start()
    assert daemon.wait("inbox.lost")["error"] == "Permission denied"
    site.write("sub/meanwhile.txt")
    site.inbox.chmod(0o755)
    daemon.wait("inbox.recovered")
    site.await_words("sub/meanwhile.txt")
    assert len(daemon.events("inbox.lost")) == 1


def test_a_folder_whose_permission_is_taken_holds_up_no_other_and_is_taken_once_it_is_given_back(site, as_nobody):
    site.configure(inbox={"settle": "100ms"})
    daemon = site.start(prefix=as_nobody)
    site.write("secret/early.txt").parent.chmod(0)
    site.write("beside.txt")
    site.await_words("beside.txt")
    (site.inbox / "secret").chmod(0o755)
    os.chown(site.inbox / "secret", 65534, 65534)
    site.await_words("secret/early.txt")
    assert not daemon.events("inbox.lost")


def test_an_inbox_that_may_not_be_written_to_keeps_its_inputs_until_it_may(site, as_nobody):
    site.configure(inbox={"settle": "100ms"})
    daemon = site.start(prefix=as_nobody)
    site.inbox.chmod(0o555)
    site.write("a.txt")
    site.await_words("a.txt")
    assert "Permission denied" in daemon.wait("file.unretired", path="a.txt")["reason"]
    site.inbox.chmod(0o755)
    site.await_empty_inbox()
    assert (site.archive / "a.txt").exists()
    assert len(daemon.events("file.unretired")) == 1


def test_one_lost_inbox_stops_no_other(site, other):
    daemon = site.daemon().start()
    daemon.wait("inbox.rescanned", inbox="scans")
    shutil.rmtree(site.inbox)
    daemon.wait("inbox.lost", inbox="scans")
    site.drop("a.txt", root=other / "in")
    daemon.wait("file.published", inbox="other")
    assert not daemon.events("inbox.lost", inbox="other")


def test_an_idle_inbox_can_be_unmounted_and_is_recovered_once_it_is_mounted_again(site, mounts):
    mounts.mount(site.inbox)
    daemon = site.start()
    site.drop("before.txt")
    site.await_words("before.txt")
    mounts.unmount(site.inbox)
    daemon.wait("inbox.lost")
    site.write("beneath.txt")
    site.never(lambda: site.words("beneath.txt") is not None, "a result of what lies on the bare mount point", 2)
    mounts.mount(site.inbox)
    site.write("after.txt")
    daemon.wait("inbox.recovered")
    site.await_words("after.txt")


def test_folders_that_are_made_while_files_appear_in_them_miss_none(site):
    site.start()
    names = [f"{number % 10}/{number}/deep/er/{number}.txt" for number in range(300)]
    for name in names:
        site.write(name)
    site.await_empty_inbox()
    assert sum(1 for _ in site.outbox.rglob("*.json")) == len(names)


def test_renames_inside_an_inbox_lose_nothing(site):
    site.start()
    held = [(site.inbox / f"held-{number}.txt").open("wb", buffering=0) for number in range(10)]
    (site.inbox / "sub").mkdir()
    for number, file in enumerate(held):
        file.write(b"word")
        (site.inbox / f"held-{number}.txt").rename(site.inbox / f"sub/moved-{number}.txt")
    (site.inbox / "sub").rename(site.inbox / "other")
    for file in held:
        file.close()
    for number in range(10):
        site.await_words(f"other/moved-{number}.txt")
    site.drop("other/new.txt")
    site.await_words("other/new.txt")
    site.await_empty_inbox()
    assert sum(1 for _ in site.outbox.rglob("*.json")) == 11


def test_a_name_without_an_extension_of_ours_is_processed_once_it_has_one(site):
    site.start()
    path = site.write("upload.part")
    site.drop("beside.txt")
    site.await_words("beside.txt")
    path.rename(site.inbox / "upload.txt")
    site.await_words("upload.txt")
