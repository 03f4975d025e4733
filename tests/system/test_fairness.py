"""One kind never starves another, nor one inbox another, whatever the backlog, nor a large file a small one."""

import io
import os
import statistics
import time
from threading import Thread

import pytest
from PIL import Image
from tests.conftest import SOAK

#: Seconds that each single file may take beside whatever waits, more than a job that is in work already.
PROMPT = 1.0

#: How many times slower a machine may be for an instant that has other things to do. Who starves waits for minutes.
BUSY = 3


@pytest.fixture(scope="session")
def slow():
    """Return the bytes of a small file that takes the better part of a second to make grey."""
    written = io.BytesIO()
    Image.new("RGB", (3000, 3000), (10, 200, 30)).save(written, "AVIF", speed=10)
    return written.getvalue()


def fill(site, count, suffix, content):
    """Let so many files wait in one folder."""
    for number in range(count):
        (site.inbox / f"{number}{suffix}").write_bytes(content)


def waiting(site, suffix):
    """Return how many of these still wait."""
    return sum(name.endswith(suffix) for name in os.listdir(site.inbox))


def longest(daemon, kind):
    """Return the seconds that the longest job of a kind took so far, once there was one."""
    daemon.wait("file.published", kind=kind)
    return max(event["seconds"] for event in daemon.events("file.published", kind=kind))


def require_prompt(seconds_of, running=0.0, tries=5):
    """Require that the usual one of several files is prompt, beside a job that runs; and each on a busy machine."""
    hold_to([seconds_of(number) for number in range(tries)], running)


def hold_to(seconds, running):
    """Hold several files to what `require_prompt` says."""
    assert statistics.median(seconds) < PROMPT + running
    assert max(seconds) < BUSY * PROMPT + running


def seconds_until(site, there):
    """Wait until the path `there` exists, and return the seconds that it took."""
    begin = time.monotonic()
    site.wait_for(there.exists, f"{there}")
    return time.monotonic() - begin


def test_a_text_is_published_at_once_while_6000_large_images_wait_in_the_same_folder(site, slow):
    fill(site, 6000, ".avif", slow)
    daemon = site.daemon().start()
    daemon.wait("file.published", kind="image")

    def text(number):
        site.drop(f"{number}.txt")
        return seconds_until(site, site.outbox / f"{number}.txt.words.json")

    require_prompt(text)
    assert waiting(site, ".avif") > 5000


def test_an_image_is_published_at_once_while_20000_texts_wait_in_the_same_folder(site, picture):
    fill(site, 20_000, ".txt", b"word")
    daemon = site.daemon().start()
    daemon.wait("file.published", kind="text")

    def image(number):
        site.drop(f"{number}.png", picture())
        return seconds_until(site, site.outbox / f"grayscale_{number}.png")

    require_prompt(image)
    assert waiting(site, ".txt") > 2000


@pytest.mark.timeout(600 if SOAK else 180)
def test_a_backlog_of_both_kinds_in_one_inbox_does_not_delay_a_file_in_another(site, other, slow):
    fill(site, 100_000 if SOAK else 15_000, ".txt", b"word")
    fill(site, 1000, ".avif", slow)
    daemon = site.daemon().start()
    running = longest(daemon, "image")

    def text(number):
        site.drop(f"{number}.txt", root=other / "in")
        return seconds_until(site, other / f"out/{number}.txt.words.json")

    def image(number):
        site.drop(f"{number}.avif", slow, root=other / "in")
        return seconds_until(site, other / f"out/grayscale_{number}.avif")

    require_prompt(text)
    assert waiting(site, ".txt") > 1000
    require_prompt(image, running + longest(daemon, "image"), tries=3)  # one that runs, and its own
    assert waiting(site, ".avif") > 900


@pytest.mark.timeout(600 if SOAK else 180)
def test_a_large_file_that_is_copied_in_and_archived_elsewhere_delays_no_small_one(site, served):
    served(site.archive, "--write-rate=100M" if SOAK else "--write-rate=30M")
    daemon = site.start()
    copying = Thread(target=copy_in, args=(site.inbox / "large.txt", (2 << 30) if SOAK else (128 << 20)))
    copying.start()
    small = latencies(site, lambda: (site.archive / "large.txt").exists() or daemon.process.poll() is not None)
    copying.join()
    hold_to(small, longest(daemon, "text"))


def copy_in(path, size):
    """Write a text of some size, as a copying program does: in blocks, as fast as the disk takes them."""
    block = b"some words of a long text\n" * 40_330
    with path.open("wb", buffering=0) as file:
        for _ in range(size // len(block)):
            file.write(block)


def latencies(site, done):
    """Drop one small text after the other until all is `done`; return the seconds that each took."""
    seconds = []
    while not done():
        name = f"{len(seconds)}.txt"
        begin = time.monotonic()
        site.drop(name)
        site.await_words(name)
        seconds.append(time.monotonic() - begin)
    return seconds
