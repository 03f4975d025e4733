"""A file that is still being written is never taken, however it is written; a finished one is taken at once."""

import mmap
import os
import statistics
import subprocess
import time

import pytest


@pytest.mark.parametrize("begun", ["before the daemon", "after it"])
def test_a_writer_that_pauses_with_its_file_open_is_never_overtaken(site, begun):
    if begun == "after it":
        site.start()
    with (site.inbox / "slow.txt").open("wb", buffering=0) as slow:
        slow.write(b"one two ")
        if begun == "before the daemon":
            site.start()
        site.never(lambda: not site.has("slow.txt"), "its end", 3)
        slow.write(b"three")
    assert site.await_words("slow.txt") == 3
    assert [path.name for path in site.outbox.glob("*.json")] == ["slow.txt.words.json"]


def test_a_log_that_gets_a_line_every_300_ms_is_taken_once_it_is_whole(site):
    site.configure(inbox={"settle": "3s"})
    site.start()
    lines = "for n in 1 2 3 4 5 6 7 8 9 10; do echo word >> grows.txt; sleep 0.3; done"
    subprocess.run(["/bin/sh", "-c", lines], cwd=site.inbox, check=True, timeout=30)
    assert site.await_words("grows.txt") == 10
    site.await_empty_inbox()
    assert [path.name for path in site.outbox.glob("*.json")] == ["grows.txt.words.json"]


def test_a_writer_through_a_mapping_is_never_overtaken(site):
    site.start()
    with (site.inbox / "mapped.txt").open("w+b") as file:
        file.truncate(4096)
        mapped = mmap.mmap(file.fileno(), 4096)
    mapped[:] = b" " * 4096
    site.never(lambda: not site.has("mapped.txt"), "its end", 2.5)
    mapped[:12] = b"one two four"
    mapped.close()
    assert site.await_words("mapped.txt") == 3


def test_an_upload_that_is_resumed_within_settle_is_one_file(site):
    site.configure(inbox={"settle": "5s"})
    site.start()
    (site.inbox / "upload.txt").write_bytes(b"one two ")
    site.never(lambda: not site.has("upload.txt"), "its end", 0.6)
    with (site.inbox / "upload.txt").open("ab") as upload:
        upload.write(b"three")
    assert site.await_words("upload.txt") == 3
    assert [path.name for path in site.outbox.glob("*.json")] == ["upload.txt.words.json"]


def test_a_copy_that_keeps_an_old_time_is_not_taken_before_its_end(site):
    site.start()
    with (site.inbox / "old.txt").open("wb", buffering=0) as copy:
        copy.write(b"one two ")
        os.utime(copy.fileno(), (10**9, 10**9))
        site.never(lambda: not site.has("old.txt"), "its end", 1.5)
        copy.write(b"three")
        os.utime(copy.fileno(), (10**9, 10**9))
    assert site.await_words("old.txt") == 3


def test_a_rename_into_an_idle_inbox_gives_its_result_in_milliseconds(site, record_property):
    site.start()
    seconds = [seconds_to_result(site, f"{number}.txt") for number in range(20)]
    record_property("milliseconds", round(statistics.median(seconds) * 1000, 1))
    assert statistics.median(seconds) < 0.5


def test_it_does_so_too_directly_after_another_file_was_archived(site, record_property):
    site.start()
    seconds = []
    for number in range(20):
        site.drop(f"before-{number}.txt")
        site.wait_for((site.archive / f"before-{number}.txt").exists, "the archive")
        seconds.append(seconds_to_result(site, f"after-{number}.txt"))
    record_property("milliseconds", round(statistics.median(seconds) * 1000, 1))
    assert statistics.median(seconds) < 0.5


def seconds_to_result(site, name):
    site.drop(name)
    begin = time.monotonic()
    site.await_words(name)
    return time.monotonic() - begin
