"""What somebody meets who runs watcherd for the first time, and who stops it."""

import json
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from tests.conftest import SOON


def test_a_text_and_an_image_become_results_and_are_archived(site, picture):
    daemon = site.start()
    site.write("note.txt", b"seven words are what this one has\n")
    site.write("sub/photo.jpg", picture((64, 48), "JPEG"))
    site.await_empty_inbox()
    assert json.loads((site.outbox / "note.txt.words.json").read_bytes()) == {
        "source": "note.txt", "words": 7, "lines": 1, "characters": 34, "bytes": 34, "encoding": "utf-8",
    }  # fmt: skip
    assert (site.outbox / "sub/grayscale_photo.jpg").exists()
    assert (site.archive / "note.txt").read_bytes() == b"seven words are what this one has\n"
    assert (site.archive / "sub/photo.jpg").exists()
    assert daemon.stop() == 0


def test_flags_alone_are_enough_and_make_the_folders(site):
    base = site.base / "fresh"
    base.mkdir()
    folders = ("--inbox", base / "in", "--outbox", base / "out", "--state", base / "state", "--make-folders")
    daemon = site.daemon("run", *folders).start()
    site.drop("a.txt", root=base / "in")
    daemon.wait("file.published", path="a.txt")
    assert (base / "out/a.txt.words.json").exists()
    assert (base / "archive/a.txt").exists()


def test_the_script_is_installed_and_knows_its_version():
    script = Path(sys.executable).parent / "watcherd"
    assert subprocess.check_output([script, "--version"]).startswith(b"watcherd 0.")


def test_the_source_distribution_holds_the_units_also_where_the_documents_name_them(tmp_path):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", tmp_path]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.iterdir())) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    units = {str(path.relative_to(root / "systemd")) for path in (root / "systemd").rglob("*") if path.is_file()}
    assert {f"{folder}/{unit}" for folder in ("systemd", "src/watcherd/units") for unit in units} <= names


def test_init_writes_a_configuration_with_which_files_are_processed(site):
    there = site.base / "there"
    assert site.command("init", there).returncode == 0
    site.drop("a.txt", root=there / "inbox")
    site.config = there / "watcherd.toml"
    assert site.command("drain", "--state", site.state).returncode == 0
    assert (there / "outbox/a.txt.words.json").exists()
    assert (there / "archive/a.txt").exists()


# One daemon for a state directory and for an inbox -----------------------------------------------------------------


def test_a_second_daemon_on_the_state_inbox_or_outbox_of_another_is_refused_and_told_who_has_it(site):
    first, other = site.start(), site.base / "other"
    for name in ("inbox", "outbox"):
        (other / name).mkdir(parents=True)
    for contested, inbox, outbox, state in (
        (site.state, other / "inbox", other / "outbox", site.state),
        (site.inbox, site.inbox, other / "outbox", other / "state"),
        (site.outbox, other / "inbox", site.outbox, other / "state"),
    ):
        site.configure(inbox={"path": inbox, "outbox": outbox}, state=state)
        second = site.command("run")
        assert second.returncode == 1
        assert str(contested).encode() in second.stderr
        assert f"process {first.pid}".encode() in second.stderr


# The end ----------------------------------------------------------------------------------------------------------


def test_sigterm_under_load_finishes_what_is_in_work_and_leaves_the_rest_to_the_next_start(site, picture, heavy):
    names = [f"{number:03}.jpg" for number in range(60)]
    for name in names:  # the name only admits: the first ones keep each worker busy for seconds
        site.drop(name, heavy if name < "002" else picture((2000, 2000), "JPEG"))
    daemon = site.daemon().start()
    site.await_work()
    workers = daemon.workers()
    assert daemon.stop() == 0
    left = site.left()
    assert left
    assert not site.drafts()
    site.wait_for(lambda: not [pid for pid in workers if Path(f"/proc/{pid}").exists()], "the workers' end", 1)
    done = {path.name.removeprefix("grayscale_") for path in site.outbox.glob("*.jpg")}
    assert done
    assert done | set(left) == set(names)
    assert not done & set(left)
    site.run_until_empty(120)
    assert sorted(path.name for path in site.outbox.glob("*.jpg")) == [f"grayscale_{name}" for name in names]
    assert not site.rows("path", "attempts > 0 OR kills > 0 OR alone > 0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_stop_ends_an_idle_daemon_with_0(site, number):
    daemon = site.start()
    assert daemon.stop(number) == 0
    assert daemon.events("daemon.stopped", status=0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_when_all_is_done_makes_no_other_status_of_it(site, number):
    daemon = site.start()
    daemon.send(signal.SIGTERM)
    daemon.wait("daemon.stopped")
    if daemon.process.poll() is None:  # it does nothing more, and may be gone by now
        daemon.send(number)
    assert daemon.process.wait(SOON) == 0


def test_a_second_signal_ends_it_at_once_with_128_and_its_number(site, heavy):
    site.drop("large.webp", heavy)
    daemon = site.daemon().start()
    site.await_work()
    daemon.send(signal.SIGTERM)
    daemon.wait("daemon.stopping")
    # Later than what counts as an echo of the first.
    site.wait_for(lambda: daemon.process.poll() is not None or daemon.send(signal.SIGINT), "its end")
    assert daemon.process.wait() == 128 + signal.SIGINT
    site.run_until_empty(60)
    assert (site.outbox / "grayscale_large.webp").exists()


def test_what_is_still_working_after_stop_timeout_is_killed_and_not_charged(site, heavy):
    site.configure(stop_timeout="100ms")
    site.drop("large.webp", heavy)
    daemon = site.daemon().start()
    site.await_work()
    assert daemon.stop() == 0
    assert daemon.events("file.cut_short", path="large.webp", level="info")
    assert site.has("large.webp")
    assert not site.rows("path", "attempts > 0 OR kills > 0")
    assert not site.drafts()
