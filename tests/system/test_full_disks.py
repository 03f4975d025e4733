"""A disk that is full: intake pauses, says so once, charges nobody, and goes on once there is room."""

import json
import os

import pytest

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


@pytest.mark.parametrize("root", ["outbox", "archive"])
def test_a_full_disk_pauses_intake_and_charges_nobody(site, mounts, fill_up, paused, root):
    full = mounts.mount(getattr(site, root), "1M")
    site.configure(min_free="0%")
    daemon = site.start()
    filler = fill_up(full)
    names = site.texts(30)
    assert str(full) in paused(daemon)
    filler.unlink()
    daemon.wait("intake.resumed", 10)
    site.await_empty_inbox()
    assert [site.words(name) for name in names] == list(range(1, 31))
    assert len([*site.archive.glob("*.txt")]) == 30
    assert daemon.stop() == 0
    assert not site.drafts()


def test_a_full_failed_folder_pauses_intake_and_the_bad_files_are_set_aside_once_there_is_room(
    site, mounts, fill_up, said_once
):
    mounts.mount(site.failed, "1M")
    site.configure(min_free="0%")
    daemon = site.start()
    filler = fill_up(site.failed)
    for number in range(10):
        site.drop(f"bad-{number}.txt", bytes(3000))
    assert str(site.failed) in said_once(daemon)
    assert len(site.left()) == 10
    filler.unlink()
    daemon.wait("intake.resumed", 10)
    for number in range(10):
        assert site.await_failure(f"bad-{number}.txt")["attempts"] == 1


def test_work_goes_on_within_5_seconds_of_the_mend_however_long_the_fault_lasted(
    site, mounts, fill_up, paused, picture
):
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


def test_an_outbox_that_is_full_for_pictures_of_every_format_charges_none_of_them(
    site, mounts, fill_up, paused, picture
):
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


def test_a_full_state_disk_pauses_intake_and_resumes(site, mounts, fill_up, paused):
    mounts.mount(site.state, "1M")
    daemon = site.start()
    filler = fill_up(site.state)
    names = site.texts(200)
    assert str(site.state) in paused(daemon)
    filler.unlink()
    daemon.wait("intake.resumed", 10)
    site.await_empty_inbox()
    assert [site.words(name) for name in names] == list(range(1, 201))


def test_a_disk_that_is_full_at_the_start_holds_up_its_own_inbox_alone_until_there_is_room(
    site, mounts, fill_up, other
):
    for root in (site.inbox, site.outbox):
        mounts.mount(root, "1M")
    names = site.texts(10)
    fillers = [fill_up(root) for root in (site.inbox, site.outbox)]
    daemon = site.daemon().start()
    site.drop("a.txt", root=other / "in")
    daemon.wait("file.published", inbox="other", path="a.txt")
    assert "make room" in daemon.wait("inbox.lost", inbox="scans")["mend"]
    for filler in fillers:
        filler.unlink()
    daemon.wait("inbox.recovered", 10, inbox="scans")
    site.await_empty_inbox()
    assert [site.words(name) for name in names] == list(range(1, 11))
    assert (site.inbox / ".watcherd/owner").stat().st_size


def test_a_state_disk_that_is_full_at_the_start_is_waited_for(site, mounts, fill_up):
    mounts.mount(site.state, "2M")
    assert site.start().stop() == 0  # it leaves a ledger behind, in good order
    names = site.texts(10)
    filler = fill_up(site.state)
    assert b"full" in site.command("failures").stderr
    daemon = site.daemon().spawn()
    assert str(site.state) in daemon.wait("intake.paused")["reason"]
    filler.unlink()
    daemon.wait("intake.resumed", 10)
    site.await_empty_inbox()
    assert [site.words(name) for name in names] == list(range(1, 11))
    assert daemon.stop() == 0


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


def test_a_configuration_that_did_not_fit_is_not_there_and_written_once_there_is_room(site, mounts):
    small = mounts.mount(site.base / "small", "4K")
    assert b"No space left" in site.command("init", small).stderr
    assert not (small / "watcherd.toml").exists()
    mounts.remount(small, "size=1M")
    assert site.command("init", small).returncode == 0
    assert (small / "watcherd.toml").read_text("utf-8").endswith("\n")


@pytest.mark.parametrize(("fault", "mend"), [("full", "make room there"), ("ro", "mount it for writing")])
def test_check_says_what_mends_a_folder_that_cannot_be_written_to(site, mounts, fill_up, fault, mend):
    mounts.mount(site.outbox, "1M")
    site.configure(min_free="0%")
    if fault == "full":
        fill_up(site.outbox)
    else:
        mounts.remount(site.outbox, fault)
    told = site.command("check", "--json")
    (problem,) = [finding for finding in json.loads(told.stdout) if finding["problem"]]
    assert problem["what"] == "inbox.scans.outbox"
    assert problem["mend"].endswith(f"{mend}, or name another folder")
