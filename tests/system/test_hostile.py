"""Content and places made to do harm: each comes to its class, or to its right result, and none does any."""

import io
import os
import zlib
from pathlib import Path

import pytest
from PIL import Image

SOAK = bool(os.environ.get("SOAK"))

#: Bytes of one line: what a text's reader may not hold at once.
LINE = (2 << 30) if SOAK else (200 << 20)


def encoded(kind, size, mode="L", **options):
    written = io.BytesIO()
    Image.new(mode, size).save(written, kind, **options)
    return written.getvalue()


def chunk(kind, data):
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)


def with_chunk(png, kind, data):
    """Put a chunk before the pixels of a PNG."""
    at = png.index(b"IDAT") - 4
    return png[:at] + chunk(kind, data) + png[at:]


def frames(kind, count, size, **options):
    """Return a picture of so many frames, each of which is another one."""
    written = io.BytesIO()
    first, *others = (Image.new("L", size, number % 250) for number in range(count))
    first.save(written, kind, save_all=True, append_images=others, **options)
    return written.getvalue()


def many_scans(count):
    """Return a progressive JPEG whose last scan comes again and again: small to send, and endless to decode."""
    jpeg = encoded("JPEG", (2000, 2000), progressive=True)
    end = jpeg.rindex(b"\xff\xd9")
    return jpeg[:end] + jpeg[jpeg.rindex(b"\xff\xda") : end] * count + jpeg[end:]


BOMBS = {
    "solid.png": lambda: encoded("PNG", (11_000, 11_000)),
    "solid.gif": lambda: encoded("GIF", (11_000, 11_000)),
    "fax.tif": lambda: encoded("TIFF", (20_000, 20_000), "1", compression="group4"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_picture_that_is_small_to_send_and_vast_to_decode_is_too_large(site, name):
    site.drop(name, BOMBS[name]())
    site.run_until_empty()
    assert site.failure(name)["class"] == "too-large"
    assert not [*site.outbox.glob("*.*")]


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt"])
def test_a_description_that_unpacks_to_300_mb_is_not_held_in_memory(site, picture, kind):
    site.configure(image={"workers": 1})
    vast = zlib.compress(bytes(300 << 20), 9)
    site.drop("vast.png", with_chunk(picture(), kind, b"x\0\0" + vast))
    site.drop("beside.png", picture())
    daemon = site.start()
    peak = most_memory_until(site, daemon, lambda: not site.left())
    assert peak < 300 << 20
    assert (site.outbox / "grayscale_beside.png").exists()
    assert len([*site.outbox.glob("grayscale_vast*")]) + bool(site.failure("vast.png")) == 1


def most_memory_until(site, daemon, done):
    """Return the most bytes of memory that the daemon or one of its workers held until something was so."""
    peak = 0

    def look():
        nonlocal peak
        for pid in (daemon.pid, *daemon.workers()):
            peak = max(peak, held_at_most(pid))
        return done()

    site.wait_for(look, "its end", 120)
    return peak


def held_at_most(pid):
    """Return the most bytes that a process ever held; 0 where it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return 0
    _, found, rest = status.partition("VmHWM:")
    return int(rest.split()[0]) << 10 if found else 0


def test_a_small_picture_of_many_vast_frames_takes_the_memory_of_one(site):
    site.drop("frames.gif", frames("GIF", 40, (1500, 1500)))
    daemon = site.start()
    peak = most_memory_until(site, daemon, lambda: not site.left())
    assert peak < 300 << 20
    with Image.open(site.outbox / "grayscale_frames.gif") as grey:
        assert grey.n_frames == 40


def test_a_jpeg_of_thousands_of_scans_ends_as_timeout_and_holds_up_nobody(site, picture):
    site.configure(image={"timeout": "1s"}, retry={"attempts": 2, "backoff": "100ms"})
    site.drop("scans.jpg", many_scans(5000))
    site.drop("beside.png", picture())
    site.start()
    site.wait_for((site.outbox / "grayscale_beside.png").exists, "its result")
    reason = site.await_failure("scans.jpg")
    assert (reason["class"], reason["attempts"]) == ("timeout", 2)


POLYGLOTS = {
    "pdf.txt": (b"%PDF-1.4\n" + b"words " * 100, "not-text"),
    "picture.txt": (encoded("PNG", (64, 64)), "not-text"),
    "script.gif": (b"GIF89a/*" + bytes(100), "truncated"),
    "page.jpg": (b"<html>" + encoded("JPEG", (64, 64)), "not-image"),
    "postscript.tif": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not-image"),
}


@pytest.mark.parametrize("name", POLYGLOTS)
def test_a_file_that_is_two_things_is_neither_and_is_set_aside_as_it_is(site, name):
    content, expected = POLYGLOTS[name]
    site.drop(name, content)
    site.run_until_empty()
    assert site.failure(name)["class"] == expected
    assert (site.failed / name).read_bytes() == content


@pytest.mark.parametrize("tail", [b"PK\x05\x06" + bytes(18), b"<?php echo 1 ?>"], ids=["archive", "program"])
def test_what_is_hung_onto_a_picture_is_not_in_its_result(site, picture, tail):
    site.drop("a.png", picture((64, 64)) + tail)
    site.run_until_empty()
    assert tail not in (site.outbox / "grayscale_a.png").read_bytes()
    with Image.open(site.outbox / "grayscale_a.png") as grey:
        assert grey.size == (64, 64)


@pytest.mark.timeout(600)
def test_a_text_of_one_vast_line_is_counted_in_the_memory_of_a_small_one(site):
    site.start()
    site.drop("small.txt")
    site.await_words("small.txt")
    (daemon,) = site.daemons
    before = held_at_most(daemon.pid)
    with (site.base / "line").open("wb") as file:
        for _ in range(LINE // (4 << 20)):
            file.write(b"x" * (4 << 20))
    (site.base / "line").rename(site.inbox / "line.txt")
    assert site.await_words("line.txt", 300) == 1
    assert held_at_most(daemon.pid) < before + (64 << 20)


@pytest.mark.parametrize("after", ["archive", "delete", "keep"])
def test_a_time_beyond_what_the_ledger_holds_is_one_like_any_other(site, after):
    site.configure(inbox={"after": after})
    for name, content in {"good.txt": b"a few words", "bad.txt": bytes(3000)}.items():
        os.utime(site.drop(f".{name}", content), (2**33.7, 2**33.7))
        (site.inbox / f".{name}").rename(site.inbox / name)
    daemon = site.start()
    site.await_words("good.txt")
    daemon.wait("file.quarantined", path="bad.txt")
    assert daemon.stop() == 0
    again = site.start()
    assert again.stop() == 0
    assert not again.events("file.published") + again.events("file.quarantined")
    site.audit()
    assert site.command("failures").stdout.count(b"bad.txt") == 1
