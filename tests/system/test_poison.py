"""One bad file harms no other: what it ends is its worker, or at worst the daemon, and only it is charged."""

import io
import os
import signal
import statistics
import time

import pytest
from PIL import Image


@pytest.fixture
def innocents(site, picture):
    """Drop fifty files with which nothing is wrong; return a function that requires that nothing befell them."""
    texts = site.texts(30)
    images = [f"image-{number:02}.png" for number in range(20)]
    for number, name in enumerate(images):
        site.drop(name, picture((40, 40), seed=number))

    def require():
        for number, name in enumerate(texts):
            assert site.await_words(name) == number + 1
        for name in images:
            site.wait_for((site.outbox / f"grayscale_{name}").exists, f"the result of {name}")
        guiltless = "CAST(path AS TEXT) LIKE 'text-%' OR CAST(path AS TEXT) LIKE 'image-%'"
        site.wait_for(lambda: {state for (state,) in site.rows("state", guiltless)} == {"published"}, "their end")
        assert not site.rows("path", f"({guiltless}) AND (attempts > 0 OR kills > 0)")

    return require


def test_an_image_that_would_need_too_much_memory_is_quarantined_as_such(site, innocents, picture):
    site.configure(image={"memory": "192MiB"})
    site.drop("vast.png", picture((9000, 9000)))
    site.start()
    assert site.await_failure("vast.png")["class"] in {"memory", "too-large"}
    innocents()


def test_an_image_that_exceeds_a_worker_s_memory_where_no_header_said_so_is_quarantined_as_such(site, innocents):
    site.configure(image={"memory": "128MiB"})
    site.drop("hungry.tif", of_a_hungry_encoder())
    daemon = site.start()
    reason = site.await_failure("hungry.tif")
    assert (reason["class"], reason["attempts"]) == ("memory", 1)
    assert "about" not in reason["message"]  # it was not foreseen, it happened
    innocents()
    assert not daemon.events("worker.died")


def of_a_hungry_encoder():
    """Return a small TIFF whose compression wants 94 MiB for a dictionary, which nothing in its header says."""
    target = io.BytesIO()
    Image.new("RGB", (64, 64)).save(target, "TIFF", compression="lzma")
    return target.getvalue()


def test_a_jpeg_of_thousands_of_scans_is_ended_by_its_timeout_as_often_as_it_is_tried(site, innocents):
    site.configure(image={"timeout": "700ms"}, retry={"attempts": 2, "backoff": "100ms"})
    site.drop("scans.jpg", of_many_scans(20_000))
    daemon = site.start()
    reason = site.await_failure("scans.jpg")
    assert (reason["class"], reason["attempts"]) == ("timeout", 2)
    assert len(daemon.events("worker.timed_out", path="scans.jpg")) == 2
    innocents()


def of_many_scans(count):
    """Return half a megabyte that is a picture of 12 megapixels, refined `count` times: 20 ms for each 26 bytes."""
    written = io.BytesIO()
    Image.new("RGB", (4000, 3000), "grey").save(written, "JPEG", progressive=True)
    data = written.getvalue()
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * count + data[-2:]


def test_a_worker_that_is_killed_while_working_costs_nobody_anything(site, innocents, heavy):
    site.drop("slow.webp", heavy)
    daemon = site.start()
    os.kill(site.wait_for(lambda: daemon.worker_at(site.inbox / "slow.webp"), "its worker"), signal.SIGKILL)
    daemon.wait("worker.died", path="slow.webp", signal="SIGKILL")
    site.wait_for((site.outbox / "grayscale_slow.webp").exists, "its result")
    innocents()
    assert not site.rows("path", "attempts > 0")


def test_workers_that_are_killed_while_idle_are_told_and_buried_within_seconds(site, picture):
    daemon = site.start()
    site.drop("first.png", picture())
    site.wait_for((site.outbox / "grayscale_first.png").exists, "its result")
    killed = daemon.workers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    for pid in killed:
        daemon.wait("worker.died", pid=pid, signal="SIGKILL")
        site.wait_for(lambda pid=pid: not os.path.exists(f"/proc/{pid}"), "its burial")


def test_a_worker_that_crashes_by_itself_charges_its_file(site, innocents, heavy):
    site.configure(retry={"attempts": 2, "backoff": "100ms"})
    site.drop("slow.webp", heavy)
    daemon = site.start()
    for _ in range(2):
        worker = site.wait_for(lambda: daemon.worker_at(site.inbox / "slow.webp"), "its worker")
        os.kill(worker, signal.SIGSEGV)
        site.wait_for(lambda worker=worker: worker not in daemon.workers(), "its end")
    reason = site.await_failure("slow.webp")
    assert (reason["class"], reason["attempts"]) == ("crashed", 2)
    innocents()


def test_a_worker_that_is_stopped_holds_up_its_own_file_alone(site, innocents, heavy):
    site.configure(image={"timeout": "10s"}, retry={"backoff": "100ms"})
    site.drop("slow.webp", heavy)
    daemon = site.start()
    worker = site.wait_for(lambda: daemon.worker_at(site.inbox / "slow.webp"), "its worker")
    os.kill(worker, signal.SIGSTOP)
    site.configure(retry={"backoff": "100ms"})  # the next attempt has longer, as a busy machine may take
    daemon.send(signal.SIGHUP)
    daemon.wait("daemon.reloaded", changed=["image.timeout"])
    innocents()
    daemon.wait("worker.timed_out", path="slow.webp")
    site.wait_for((site.outbox / "grayscale_slow.webp").exists, "its result", 60)


@pytest.mark.timeout(240)
def test_a_file_that_kills_the_daemon_is_found_among_fifty_and_only_it_is_charged(site, innocents, heavy):
    poison = site.drop("poison.webp", heavy)
    deaths = 0
    while not site.failure("poison.webp"):
        assert deaths < 8, "it was not found"
        daemon = site.daemon().start()
        site.wait_for(lambda daemon=daemon: daemon.worker_at(poison) or site.failure("poison.webp"), "the poison")
        if not site.failure("poison.webp"):
            daemon.kill()
            deaths += 1
    assert site.failure("poison.webp")["class"] == "crashed"
    innocents()
    assert deaths == 4  # once among others, and then alone as often as a file is tried


def test_a_text_that_kills_the_daemon_is_found_among_fifty_and_only_it_is_charged(site, innocents, strace):
    site.drop("poison.txt", b"poison " * 1000)
    reading = ("-P", site.inbox / "poison.txt", "-e", "inject=read,pread64:signal=SIGKILL")
    deaths = 0
    while not site.failure("poison.txt"):
        assert deaths < 8, "it was not found"
        process = site.daemon(prefix=strace("-o", "/dev/null", *reading)).spawn().process
        site.wait_for(lambda ended=process.poll: site.failure("poison.txt") or ended() is not None, "an end", 60)
        deaths += not site.failure("poison.txt")
    assert site.failure("poison.txt")["class"] == "crashed"
    innocents()
    assert deaths == 4  # once among others, and then alone as often as a file is tried


#: Seconds until the pool works again: what is promised, and as much for the job itself on a busy machine.
AGAIN = 0.2 + 0.2


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_the_pool_works_again_at_once_after_the_death_of_a_worker(site, heavy, picture, number):
    site.configure(image={"workers": 1}, retry={"attempts": 9, "backoff": "100ms"})
    daemon = site.start()
    seconds = []
    for round_ in range(5):
        slow = site.drop(f"{round_}.webp", heavy)
        worker = site.wait_for(lambda slow=slow: daemon.worker_at(slow), "its worker")
        waiting = [f"{round_}-{other}.png" for other in range(5)]
        for name in waiting:
            site.drop(name, picture())
        slow.unlink()  # it has had its effect, and is not to be tried again
        seconds.append(seconds_to_a_result(site, worker, number, waiting))
        site.await_empty_inbox()
    assert statistics.median(seconds) < AGAIN
    assert not site.rows("path", "attempts > 0 AND path LIKE '%png'")


def seconds_to_a_result(site, worker, number, names):
    """Let a worker die, and return the seconds until the first of what waits behind it is there."""
    results = [site.outbox / f"grayscale_{name}" for name in names]
    begin = time.monotonic()
    os.kill(worker, number)
    site.wait_for(lambda: any(result.exists() for result in results), "a result")
    return time.monotonic() - begin
