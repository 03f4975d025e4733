"""A file that is still being written is never taken, however it is written; a finished one is taken at once."""

import os
import statistics
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
        site.never(lambda: not site.has("slow.txt"), "its end", 2)
        slow.write(b"three")
    assert site.await_words("slow.txt") == 3
    assert [path.name for path in site.outbox.glob("*.json")] == ["slow.txt.words.json"]


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


def test_a_rename_into_an_inbox_gives_its_result_in_milliseconds_also_right_after_another_was_archived(
    site, record_property
):
    site.start()
    seconds = []
    for number in range(20):
        name = f"{number}.txt"
        begin = time.monotonic()
        site.drop(name)
        site.await_words(name)
        seconds.append(time.monotonic() - begin)
        site.wait_for((site.archive / name).exists, "the archive")
    record_property("milliseconds", round(statistics.median(seconds) * 1000, 1))
    assert statistics.median(seconds) < 0.5
