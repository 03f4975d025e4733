from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from watcherd.lanes import work as the_work
from watcherd.lanes.child import signal_name, verdict
from watcherd.lanes.slot import Cut, DraftError, WorkerKilled
from watcherd.lanes.work import work
from watcherd.model import Failure, FileFault, Limits, Picture

PICTURE = Picture(format="PNG", mode="L", width=3, height=2)
DEADLINE = 10.0


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").write_bytes(b"a picture")
    with (tmp_path / "source").open("rb") as opened:
        yield opened.fileno()


@pytest.fixture
def draft(tmp_path):
    with (tmp_path / "draft").open("w+b") as opened:
        yield opened.fileno()


def do(process, source, draft, checkpoint=lambda: None):
    return work(lambda source, **_: process(source), "a.png", source, draft, Limits(), checkpoint)


def copy(source):
    return source.read(), PICTURE


def test_the_processor_gets_what_the_source_holds_the_draft_what_it_returns_and_both_stay_open(source, draft):
    assert do(copy, source, draft) == PICTURE
    assert os.pread(draft, 100, 0) == os.pread(source, 100, 0) == b"a picture"


def test_a_draft_that_takes_little_at_a_time_gets_all(source, draft, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:2]))
    assert do(copy, source, draft) == PICTURE
    assert os.pread(draft, 100, 0) == b"a picture"


def test_a_source_that_cannot_be_read_is_no_damaged_picture_whatever_the_library_says(tmp_path, draft):
    def swallow(source):
        try:
            source.read(1)
        except OSError:
            raise FileFault(Failure.CORRUPT, "damaged") from None

    folder = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        do(swallow, folder, draft)
    os.close(folder)


@pytest.mark.parametrize("is_slow", [True, False])
def test_little_is_read_at_a_time_with_a_sign_of_life_after_each_where_reading_is_slow(
    tmp_path, draft, monkeypatch, is_slow
):
    def ask(source):
        sizes.extend(iter(lambda: source.readinto(bytearray(1 << 20)), 0))
        return b"grey", PICTURE

    sizes, signs = [], []
    monkeypatch.setattr(the_work, "SLOW", -1.0 if is_slow else DEADLINE)
    (tmp_path / "large").write_bytes(bytes(4 << 20))
    with (tmp_path / "large").open("rb") as large:
        do(ask, large.fileno(), draft, lambda: signs.append(1))
    assert sum(sizes) == 4 << 20
    assert max(sizes) == (the_work.LITTLE if is_slow else 1 << 20)
    assert len(signs) == (len(sizes) + 1 if is_slow else 0)


def test_a_result_is_not_believed_after_an_error_of_the_kernel_s(tmp_path, draft):
    def ignore(source):
        with suppress(OSError):
            source.read(1)
        return b"grey", PICTURE

    folder = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        do(ignore, folder, draft)
    os.close(folder)


def test_a_disk_that_is_full_is_no_fault_of_the_file(source):
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(DraftError) as caught:
        do(copy, source, full.fileno())
    assert caught.value.errno == errno.ENOSPC


def test_a_seek_before_the_start_is_the_file_s_fault(source, draft):
    def seek(source):
        try:
            source.seek(-5)
        except OSError:
            raise FileFault(Failure.CORRUPT, "points before its start") from None

    with pytest.raises(FileFault, match="before its start"):
        do(seek, source, draft)


def test_writing_to_the_source_is_a_bug_and_no_word_of_the_kernel_s(source, draft):
    with pytest.raises(FileFault, match="UnsupportedOperation") as caught:
        do(lambda source: source.write(b"x"), source, draft)
    assert caught.value.failure is Failure.CRASHED


def test_an_error_that_is_no_descriptor_s_passes(source, draft):
    def wander(*_):
        os.stat("/nowhere/at/all")

    with pytest.raises(FileNotFoundError):
        do(wander, source, draft)


def test_a_bug_is_a_crash_that_carries_its_traceback(source, draft):
    with pytest.raises(FileFault, match="met a bug: ZeroDivisionError") as caught:
        do(lambda *_: 1 // 0, source, draft)
    assert caught.value.failure is Failure.CRASHED
    assert "test_slot.py" in caught.value.trace


def test_want_of_memory_passes_and_holds_nothing_of_what_filled_it(source, draft):
    def eat(*_):
        return bytearray(1 << 60)

    with pytest.raises(MemoryError) as caught:
        do(eat, source, draft)
    assert [frame.name for frame in caught.traceback][-1] == "work"
    assert caught.value.__context__ is None


def test_what_a_checkpoint_raises_passes(source, draft):
    def stop():
        raise Cut("the daemon stops")

    def checked(*_, checkpoint, **__):
        checkpoint()

    with pytest.raises(Cut):
        work(checked, "a.png", source, draft, Limits(), stop)


@pytest.mark.parametrize("number", [4, 5, 6, 7, 8, 11, 31])
def test_a_signal_that_a_process_raises_itself_charges_the_file(number):
    assert isinstance(verdict(-number), FileFault)


@pytest.mark.parametrize("number", [1, 9, 10, 15, 24, 40])
def test_any_other_signal_came_from_outside(number):
    assert isinstance(verdict(-number), WorkerKilled)


@pytest.mark.parametrize("status", [0, 1, 3, None])
def test_a_worker_that_leaves_its_job_charges_the_file(status):
    assert isinstance(verdict(status), FileFault)


def test_signals_have_names_and_those_for_real_time_numbers():
    assert (signal_name(11), signal_name(40)) == ("SIGSEGV", "signal 40")
