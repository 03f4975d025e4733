"""A smoke of each promise, with the installed command; tests/system breaks each one properly."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image
from tests.conftest import is_alive

pytestmark = pytest.mark.usefixtures("uncounted")


def test_a_text_and_an_image_become_results_and_a_stop_ends_with_0(site, picture):
    daemon = site.start()
    site.drop("sub/a.txt", b"three small words")
    site.drop("b.png", picture((20, 10)))
    site.await_empty_inbox()
    assert site.words("sub/a.txt") == 3
    with Image.open(site.outbox / "grayscale_b.png") as grey, Image.open(site.archive / "b.png") as colours:
        assert grey.tobytes() == colours.convert("L").tobytes()
    workers = daemon.workers()
    assert daemon.stop() == 0
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert not site.drafts()


def test_a_writer_that_pauses_is_not_overtaken(site):
    site.start()
    with (site.inbox / "slow.txt").open("wb", buffering=0) as slow:
        slow.write(b"one ")
        site.never(lambda: not site.has("slow.txt"), "its end", 1.5)
        slow.write(b"two")
    assert site.await_words("slow.txt") == 2


def test_a_kill_under_load_loses_nothing_and_does_nothing_twice(site, picture):
    names = site.texts(200)
    site.drop("a.png", picture())
    daemon = site.daemon().start()
    site.wait_for(lambda: len([*site.outbox.glob("*.json")]) > 20, "some results")
    workers = daemon.workers()
    daemon.kill()
    site.wait_for(lambda: not any(is_alive(pid) for pid in workers), "the workers' end", 1)
    site.run_until_empty()
    assert [site.words(name) for name in names] == list(range(1, 201))
    assert len([*site.outbox.glob("[!.]*")]) == len([*site.archive.glob("[!.]*")]) == 201
    assert not site.drafts()
    assert not site.rows("id", "attempts > 0")


def test_two_photos_of_one_name_have_two_results_and_two_archives(site, picture):
    site.start()
    for seed in (1, 2):
        site.drop("photo.jpg", picture((32, 32), "JPEG", seed))
        site.await_empty_inbox()
    assert (site.outbox / "grayscale_photo.1.jpg").exists()
    assert (site.archive / "photo.1.jpg").read_bytes() == picture((32, 32), "JPEG", 2)


def test_a_killed_worker_costs_nobody_an_attempt(site, heavy):
    site.drop("slow.webp", heavy)
    site.drop("a.txt")
    daemon = site.daemon().start()
    site.wait_for(lambda: site.rows("id", "state = 'working' AND kind = 'image'"), "work")
    for pid in daemon.workers():
        os.kill(pid, signal.SIGKILL)
    site.await_empty_inbox()
    assert (site.outbox / "grayscale_slow.webp").exists()
    assert not site.rows("id", "attempts > 0")


def test_a_deleted_inbox_is_lost_and_recovered(site):
    daemon = site.start()
    shutil.rmtree(site.inbox)
    daemon.wait("inbox.lost")
    site.inbox.mkdir()
    site.write("a.txt")
    daemon.wait("inbox.recovered")
    site.await_words("a.txt")


def test_an_outbox_that_is_away_pauses_intake_and_charges_nobody(site):
    daemon = site.start()
    away = site.base / "away"
    site.outbox.rename(away)
    names = site.texts(5)
    assert str(site.outbox) in daemon.wait("intake.paused")["reason"]
    away.rename(site.outbox)
    daemon.wait("intake.resumed")
    assert [site.await_words(name) for name in names] == [1, 2, 3, 4, 5]
    assert not site.rows("id", "attempts > 0")


def test_a_text_is_published_while_images_wait(site, heavy):
    for number in range(8):
        site.drop(f"{number}.webp", heavy)
    daemon = site.daemon().start()
    site.await_work()
    site.drop("a.txt")
    site.await_words("a.txt", 5)
    assert len(site.left()) > 4
    daemon.kill()


def test_a_second_daemon_is_told_who_has_the_folders(site):
    first = site.start()
    second = site.command("run")
    assert second.returncode == 1
    assert f"process {first.pid}".encode() in second.stderr


def test_a_bad_file_is_set_aside_with_its_reason_and_a_retry_brings_it_back(site):
    site.drop("bad.txt", bytes(300))
    site.run_until_empty()
    assert site.failure("bad.txt")["class"] == "not-text"
    assert site.command("retry", "bad.txt").returncode == 0
    assert site.left() == ["bad.txt"]


def test_a_bad_file_that_is_dragged_back_leaves_no_reason_of_the_past_nor_another_name(site):
    site.drop("bad.txt", bytes(300))
    site.run_until_empty()
    (site.failed / "bad.txt").rename(site.inbox / "bad.txt")
    site.run_until_empty()
    assert sorted(os.listdir(site.failed)) == [".watcherd", "bad.txt", "bad.txt.error.json"]
    (site.failed / "bad.txt").unlink()
    site.drop("bad.txt", b"mended by now")
    site.run_until_empty()
    assert site.words("bad.txt") == 3
    assert os.listdir(site.failed) == [".watcherd"]


@pytest.mark.usefixtures("counted")
def test_an_audit_finds_what_is_wrong_and_what_was_collected(site):
    site.drop("a.txt")
    site.drop("b.txt")
    site.run_until_empty()
    (site.outbox / "a.txt.words.json").unlink()
    assert site.audit()["collected"] == 1
    site.drop("new.txt")
    os.truncate(site.outbox / "b.txt.words.json", 0)
    (site.outbox / ".watcherd").mkdir(exist_ok=True)
    (site.outbox / ".watcherd/0123abcd-1").touch()
    assert {it["what"] for it in site.audit(status=1)["wrong"]} == {"unaccounted", "result", "draft"}


def test_a_damaged_ledger_is_set_aside_and_made_anew_of_what_the_folders_prove(site):
    site.configure(inbox={"after": "keep"})
    site.drop("a.txt")
    site.drop("bad.txt", bytes(300))
    daemon = site.start()
    site.await_words("a.txt")
    site.wait_for(lambda: site.failure("bad.txt"), "its reason")
    assert daemon.stop() == 0
    (site.state / "ledger.db").write_bytes(b"these are notes, and no database\n" * 300)
    daemon = site.start()
    assert daemon.events("ledger.rebuilt", kept=1, quarantined=1)
    assert daemon.stop() == 0
    site.audit()
