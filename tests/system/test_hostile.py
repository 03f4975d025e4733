"""Content and places made to do harm: each comes to its class, or to its right result, and none does any."""

import io
from pathlib import Path

import pytest
from PIL import Image
from tests.conftest import SOAK

#: Bytes of one line: what a text's reader may not hold at once.
LINE = (2 << 30) if SOAK else (200 << 20)


def encoded(kind, size, mode="L", **options):
    written = io.BytesIO()
    Image.new(mode, size).save(written, kind, **options)
    return written.getvalue()


def bad_files(picture):
    """Return the content of files that are not what their names say or do harm, and the class each comes to."""
    wholes = {kind: picture((200, 200), kind) for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")}
    halves = {f"half.{kind.lower()}": whole[: len(whole) // 2] for kind, whole in wholes.items()}
    return {name: (half, "truncated") for name, half in halves.items()} | {
        "binary.txt": (bytes(range(256)) * 100, "not-text"),
        "pdf.txt": (b"%PDF-1.4\n" + b"words " * 100, "not-text"),
        "picture.txt": (wholes["PNG"], "not-text"),
        "empty.png": (b"", "not-image"),
        "prose.png": (b"this is no picture at all", "not-image"),
        "program.jpg": (b"\x7fELF" + bytes(5000), "not-image"),
        "page.jpg": (b"<html>" + wholes["JPEG"], "not-image"),
        "postscript.tif": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not-image"),
        "script.gif": (b"GIF89a/*" + bytes(100), "truncated"),
        "solid.png": (encoded("PNG", (11_000, 11_000)), "too-large"),
        "solid.gif": (encoded("GIF", (11_000, 11_000)), "too-large"),
        "fax.tif": (encoded("TIFF", (20_000, 20_000), "1", compression="group4"), "too-large"),
    }


def test_what_is_not_what_its_name_says_or_made_to_do_harm_is_set_aside_as_it_is_with_its_class(site, picture):
    bad = bad_files(picture)
    for name, (content, _) in bad.items():
        site.drop(name, content)
    site.run_until_empty()
    assert {name: site.failure(name)["class"] for name in bad} == {
        name: failure for name, (_, failure) in bad.items()
    }
    assert {name: (site.failed / name).read_bytes() for name in bad} == {
        name: content for name, (content, _) in bad.items()
    }
    assert not [*site.outbox.glob("*.*")]


def test_what_is_hung_onto_a_picture_is_not_in_its_result(site, picture):
    tails = {"archive.png": b"PK\x05\x06" + bytes(18), "program.png": b"<?php echo 1 ?>"}
    for name, tail in tails.items():
        site.drop(name, picture((64, 64)) + tail)
    site.run_until_empty()
    for name, tail in tails.items():
        assert tail not in (site.outbox / f"grayscale_{name}").read_bytes()
        with Image.open(site.outbox / f"grayscale_{name}") as grey:
            assert grey.size == (64, 64)


@pytest.mark.timeout(600)
def test_a_text_of_one_vast_line_is_counted_in_the_memory_of_a_small_one(site):
    daemon = site.start()
    site.drop("small.txt")
    site.await_words("small.txt")
    before = held_at_most(daemon)
    with (site.base / "line").open("wb") as file:
        for _ in range(LINE // (4 << 20)):
            file.write(b"x" * (4 << 20))
    (site.base / "line").rename(site.inbox / "line.txt")
    assert site.await_words("line.txt", 300) == 1
    assert held_at_most(daemon) < before + (64 << 20)


def held_at_most(daemon):
    """Return the most bytes of memory that the daemon's own process ever held."""
    status = Path(f"/proc/{daemon.pid}/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) << 10
