"""Names and things that are odd: each is processed, or left alone for a reason, and none does harm."""

import base64
import json
import os
import socket
import zlib

import pytest

NAMES = {
    "spaces": "two  words .txt",
    "newline": "two\nlines.txt",
    "control characters": "bell\x07\x1b[31m.txt",
    "emoji": "\N{DUCK}.txt",
    "bytes that are no text": os.fsdecode(b"caf\xe9-\xff.txt"),
    "255 bytes": "n" * 251 + ".txt",
    "255 bytes of emoji": "\N{DUCK}" * 62 + "abc.txt",
    "a leading dash": "-rf.txt",
    "an option": "--help.txt",
    "quotes": 'it\'s "so" $(reboot).txt',
    "an ending of ours": "a.txt.error.json.txt",
    "upper case": "LOUD.TXT",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_text_of_an_odd_name_gets_its_result_and_is_archived(site, name):
    daemon = site.start()
    site.drop(name, b"three small words")
    daemon.wait("file.published")
    (result,) = site.outbox.glob("*.words.json")
    told = json.loads(result.read_bytes())
    assert told["words"] == 3
    assert os.fsencode(told["source"]) == os.fsencode(name) or base64.b64decode(told["source_b64"]) == os.fsencode(
        name
    )
    assert (site.archive / name).read_bytes() == b"three small words"
    assert all(json.loads(line) for line in daemon.log.read_bytes().splitlines())


def test_an_image_of_255_bytes_gets_its_result(site, picture):
    name = "p" * 251 + ".png"
    site.drop(name, picture())
    site.run_until_empty()
    assert (site.archive / name).exists()
    (result,) = site.outbox.glob("grayscale_p*")
    assert len(os.fsencode(result.name)) <= 255


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_bad_file_of_an_odd_name_is_quarantined_and_can_be_retried(site, name):
    site.drop(name, bytes(range(256)) * 8)
    site.run_until_empty()
    assert (site.failed / name).exists()
    (failure,) = json.loads(site.command("failures", "--json").stdout)
    assert failure["class"] == "not-text"
    assert site.command("retry", "--", os.fsencode(name)).returncode == 0
    assert site.has(name)
    assert not list(site.failed.glob("*.json"))


def test_names_that_end_as_a_reason_does_keep_apart_from_reasons(site):
    site.configure(text={"extensions": [".txt", ".json"]})
    site.drop("a.txt", bytes(300))
    site.drop("a.txt.error.json", b"\0" * 301)
    site.drop("b.txt.error.json", b'{"sound": "and kept"}')
    site.run_until_empty()
    sizes = sorted(path.stat().st_size for path in site.failed.iterdir() if path.is_file())
    assert len(sizes) == 4
    assert {300, 301} <= set(sizes)
    assert site.words("b.txt.error.json") == 3


def test_an_empty_text_has_no_words(site):
    site.drop("empty.txt", b"")
    site.run_until_empty()
    assert site.words("empty.txt") == 0
    assert (site.archive / "empty.txt").stat().st_size == 0


def test_an_empty_image_is_quarantined(site):
    site.drop("empty.png", b"")
    site.run_until_empty()
    assert site.failure("empty.png")["class"] in {"not-image", "truncated"}


def test_what_is_no_regular_file_is_left_alone_with_a_reason(site, monkeypatch):
    site.configure(log={"level": "debug"})
    secret = site.base / "secret"
    secret.mkdir()
    (secret / "inside.txt").write_bytes(b"not for you")
    os.mkfifo(site.inbox / "pipe.txt")
    os.symlink("/etc/passwd", site.inbox / "passwd.txt")
    os.symlink(secret / "inside.txt", site.inbox / "link.txt")
    os.symlink(secret, site.inbox / "folder-link")
    (site.inbox / "folder.txt").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(site.inbox)  # a socket's path must be short
        listener.bind("socket.txt")
        daemon = site.start()
        site.drop("folder.txt/real.txt")
        site.await_words("folder.txt/real.txt")
        reasons = {event["path"]: event["reason"] for event in daemon.events("file.ignored")}
        assert reasons["pipe.txt"] == "is a FIFO"
        assert reasons["socket.txt"] == "is a socket"
        assert {reasons[name] for name in ("passwd.txt", "link.txt", "folder-link")} == {"is a symbolic link"}
        assert daemon.stop() == 0
    assert [path.name for path in site.outbox.rglob("*.json")] == ["real.txt.words.json"]
    assert (secret / "inside.txt").exists()
    assert not [*site.failed.rglob("*.json")]


def test_a_file_without_permission_waits_and_is_processed_once_it_may_be_read(site, as_nobody):
    locked = site.write("locked.txt", b"one two")
    locked.chmod(0)
    os.chown(locked, 65534, 65534)
    daemon = site.start(prefix=as_nobody)
    os.chown(site.drop("open.txt"), 65534, 65534)
    site.await_words("open.txt")
    site.wait_for(lambda: site.left() == ["locked.txt"], "the end of open.txt")
    assert not [*site.failed.rglob("*.json")]
    locked.chmod(0o644)
    assert site.await_words("locked.txt") == 2
    assert not site.rows("id", "attempts > 0")
    assert daemon.stop() == 0


def test_a_folder_without_permission_holds_up_nobody_and_is_entered_once_it_may_be(site, as_nobody):
    site.configure(inbox={"settle": "200ms"})  # somebody else's files cannot be asked for writers
    site.write("closed/a.txt")
    (site.inbox / "closed").chmod(0)
    site.start(prefix=as_nobody)
    site.drop("b.txt")
    site.await_words("b.txt")
    os.chown(site.inbox / "closed", 65534, 65534)
    (site.inbox / "closed").chmod(0o755)
    site.await_words("closed/a.txt")


def test_a_text_over_max_bytes_is_too_large_without_being_read(site):
    site.configure(text={"max_bytes": "1GiB"})
    sparse = site.write("sparse.txt", b"")
    os.truncate(sparse, 2 << 30)
    site.run_until_empty()
    reason = site.failure("sparse.txt")
    assert (reason["class"], reason["attempts"]) == ("too-large", 1)
    assert (site.failed / "sparse.txt").stat().st_size == 2 << 30


def test_a_sparse_terabyte_is_too_large_without_being_read(site):
    site.start()
    path = site.write("huge.txt.tmp", b"")
    os.truncate(path, 1 << 40)
    path.rename(site.inbox / "huge.txt")
    assert site.await_failure("huge.txt")["class"] == "too-large"


@pytest.mark.parametrize("name", ["--help.txt", "-rf.txt", "- .txt", "--inbox=x.txt"])
def test_a_name_that_looks_like_an_option_is_a_name(site, name):
    site.drop(name, bytes(3000))
    site.run_until_empty()
    assert site.failure(name)["class"] == "not-text"
    assert site.command("retry", "--", name).returncode == 0
    assert site.has(name)


def test_a_decompression_bomb_is_too_large(site):
    site.drop("bomb.png", png_header(50_000, 50_000))
    site.run_until_empty()
    assert site.failure("bomb.png")["class"] == "too-large"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("binary.txt", bytes(range(256)) * 100, "not-text"),
        ("prose.png", b"this is no picture at all", "not-image"),
        ("program.jpg", b"\x7fELF" + bytes(5000), "not-image"),
    ],
)
def test_content_that_its_name_does_not_promise_is_quarantined_with_its_class(site, name, content, expected):
    site.drop(name, content)
    site.run_until_empty()
    assert site.failure(name)["class"] == expected
    assert (site.failed / name).read_bytes() == content


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_an_image_that_ends_too_early_is_quarantined(site, picture, kind):
    whole = picture((200, 200), kind)
    site.drop(f"half.{kind.lower()}", whole[: len(whole) // 2])
    site.run_until_empty()
    assert site.failure(f"half.{kind.lower()}")["class"] in {"truncated", "corrupt", "not-image"}


def png_header(width, height):
    """Return a PNG that claims to be so large, and holds one line of black."""
    head = width.to_bytes(4) + height.to_bytes(4) + b"\x08\x00\x00\x00\x00"
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(width + 1))), (b"IEND", b"")]
    body = (len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)
