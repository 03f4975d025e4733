"""Names and things that are odd: each is processed, or left alone for a reason, and none does harm."""

import base64
import json
import os
import socket

NAMES = {
    "spaces": "two  words .txt",
    "newline": "two\nlines.txt",
    "control characters": "bell\x07\x1b[31m.txt",
    "emoji": "\N{DUCK}.txt",
    "bytes that are no text": os.fsdecode(b"caf\xe9-\xff.txt"),
    "255 bytes": "n" * 251 + ".txt",
    "255 bytes of emoji": "\N{DUCK}" * 62 + "abc.txt",
    "a leading dash": "-rf.txt",
    "a dash and a space": "- .txt",
    "an option": "--help.txt",
    "an option and its value": "--inbox=x.txt",
    "quotes": 'it\'s "so" $(reboot).txt',
    "an ending of ours": "a.txt.error.json.txt",
    "upper case": "LOUD.TXT",
}


def test_texts_of_odd_names_get_their_results_and_are_archived(site):
    texts = {name: b"word " * words for words, name in enumerate(NAMES.values(), 1)}
    daemon = site.start()
    for name, text in texts.items():
        site.drop(name, text)
    site.await_empty_inbox()
    told = [json.loads(result.read_bytes()) for result in site.outbox.glob("*.words.json")]
    assert {source_of(it): it["words"] for it in told} == {name: len(text.split()) for name, text in texts.items()}
    assert {name: (site.archive / name).read_bytes() for name in texts} == texts
    assert all(json.loads(line) for line in daemon.log.read_bytes().splitlines())


def source_of(result):
    """Return the exact path that a result names."""
    exact = result.get("source_b64")
    return os.fsdecode(base64.b64decode(exact)) if exact else result["source"]


def test_bad_files_of_odd_names_are_quarantined_and_can_be_retried(site):
    names = [*NAMES.values()]
    for name in names:
        site.drop(name, bytes(range(256)) * 8)
    site.run_until_empty()
    assert all((site.failed / name).exists() for name in names)
    failures = json.loads(site.command("failures", "--json").stdout)
    assert [failure["class"] for failure in failures] == ["not-text"] * len(names)
    assert site.command("retry", "--", *map(os.fsencode, names)).returncode == 0
    assert site.left() == sorted(names)
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


def test_a_text_over_max_bytes_is_too_large_without_being_read(site):
    site.configure(text={"max_bytes": "1GiB"})
    sparse = site.write("sparse.txt", b"")
    os.truncate(sparse, 2 << 30)
    site.run_until_empty()
    reason = site.failure("sparse.txt")
    assert (reason["class"], reason["attempts"]) == ("too-large", 1)
    assert (site.failed / "sparse.txt").stat().st_size == 2 << 30
