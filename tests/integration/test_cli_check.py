"""`watcherd check`: what is tried on this machine, and what it finds."""

import io
import json
import os
import re
import resource
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from PIL import Image
from tests.integration.conftest import as_nobody

from watcherd.cli import machine, trials
from watcherd.intake import probe
from watcherd.model import FileFault, Limits
from watcherd.processors.grayscale import convert, turbo
from watcherd.settings import load
from watcherd.settings.mounts import Mount


@pytest.fixture
def settings(tmp_path):
    """Load settings for folders that exist, with these more."""
    for name in ("in", "out", "state"):
        (tmp_path / name).mkdir()

    def loading(inbox="in", outbox="out", state="state", **environ):
        folders = {"inbox": inbox, "outbox": outbox, "state": state}
        return load(folders, {f"WATCHERD_{key}": value for key, value in environ.items()}, tmp_path)

    return loading


def found(settings):
    """Return what is found, but for what this machine may lack."""
    findings = {(finding.subject, finding.is_problem): finding for finding in machine.examine(settings)}
    return {
        key: finding for key, finding in findings.items() if key not in {("jpeg", False), ("image.memory", False)}
    }


def test_a_sound_machine_has_no_problems_and_nothing_is_left_behind(settings, tmp_path):
    assert found(settings()) == {}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "out", "state"]


def test_our_own_folder_that_is_there_stays(settings, tmp_path):
    (tmp_path / "out/.watcherd").mkdir()
    assert found(settings()) == {}
    assert list((tmp_path / "out").rglob("*")) == [tmp_path / "out/.watcherd"]


@pytest.mark.parametrize(
    ("after", "concerned"), [("archive", ["path", "outbox"]), ("delete", ["path", "outbox"]), ("keep", ["outbox"])]
)
def test_a_file_system_that_is_mounted_inside_a_folder_is_a_problem(
    settings, tmp_path, monkeypatch, after, concerned
):
    inside = [Mount("0:1", Path("/"), tmp_path / name / "disk", "ext4") for name in ("in", "out")]
    monkeypatch.setattr(trials, "mounts", lambda: inside)
    problems = found(settings(INBOX__INBOX__AFTER=after))
    assert {subject for subject, is_problem in problems if is_problem} == {f"inbox.inbox.{key}" for key in concerned}
    assert str(tmp_path / "out/disk") in problems["inbox.inbox.outbox", True].message


@pytest.mark.parametrize(("folder", "subject"), [("in", "inbox.inbox.path"), ("out", "inbox.inbox.outbox")])
def test_a_missing_folder_is_a_problem_with_its_command(settings, tmp_path, folder, subject):
    (tmp_path / folder).rmdir()
    assert f"mkdir -p {tmp_path / folder}" in found(settings())[subject, True].mend


def test_the_command_for_a_missing_folder_is_one_that_a_shell_understands(settings, tmp_path):
    problem = found(settings(inbox="in box"))["inbox.inbox.path", True]
    assert f"mkdir -p '{tmp_path / 'in box'}'" in problem.mend


def test_a_file_in_place_of_a_folder_is_a_problem_that_no_mkdir_mends(settings, tmp_path):
    loaded = settings()
    (tmp_path / "in").rmdir()
    for name in ("failed", "in"):
        (tmp_path / name).touch()
    problems = found(loaded)
    for subject in ("inbox.inbox.failed", "inbox.inbox.path"):
        assert "is no folder" in problems[subject, True].message
        assert "move it away" in problems[subject, True].mend


def test_a_file_in_place_of_our_own_folder_is_a_problem(settings, tmp_path):
    loaded = settings()
    (tmp_path / "out/.watcherd").touch()
    problem = found(loaded)["inbox.inbox.outbox", True]
    assert problem.message == f"{tmp_path}/out/.watcherd is no folder"


def test_links_that_go_in_circles_in_place_of_a_folder_are_a_problem(settings, tmp_path):
    for name in ("archive", "failed"):
        (tmp_path / name).symlink_to(name)
    problems = found(settings())
    for key in ("archive", "failed"):
        assert "Too many levels of symbolic links" in problems[f"inbox.inbox.{key}", True].message


def test_a_link_that_leads_nowhere_in_place_of_a_folder_is_a_problem_with_the_command_for_where_it_leads(
    settings, tmp_path
):
    (tmp_path / "failed").symlink_to("not mounted")
    assert f"mkdir -p '{tmp_path}/not mounted'" in found(settings())["inbox.inbox.failed", True].mend


@pytest.mark.parametrize(("around", "mend"), [("file", "move away the file"), ("circle", "correct its link")])
def test_a_folder_that_could_not_be_made_where_it_is_to_lie_is_a_problem(settings, tmp_path, around, mend):
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    problem = found(settings(INBOX__INBOX__ARCHIVE=str(tmp_path / around / "archive")))["inbox.inbox.archive", True]
    assert mend in problem.mend


@pytest.fixture
def _within_reach(tmp_path):
    """Let everybody reach the folders of the test, which pytest makes for one user alone.

    They stay open: those above belong to tests that run beside it as well, one of which may need them still.
    """
    for folder in (tmp_path, *tmp_path.parents):
        mode = folder.stat().st_mode
        if mode & 0o11 != 0o11:
            folder.chmod(mode | 0o11)  # who gives up root alone is in its group still


@pytest.mark.usefixtures("_within_reach")
def test_folders_without_permission_are_problems_all_at_once(settings, tmp_path):
    loaded = settings()
    for folder in ("in", "out", "state"):
        (tmp_path / folder).chmod(0)
    with as_nobody():
        problems = {subject for subject, is_problem in found(loaded) if is_problem}
    assert {"inbox.inbox.path", "inbox.inbox.outbox", "state"} <= problems


@pytest.mark.usefixtures("_within_reach")
@pytest.mark.parametrize("mode", [0o444, 0o111])
def test_an_inbox_that_may_only_be_listed_or_only_be_entered_is_a_problem(settings, tmp_path, mode):
    loaded = settings(INBOX__INBOX__AFTER="keep")
    (tmp_path / "in").chmod(mode)
    with as_nobody():
        assert "cannot be read" in found(loaded)["inbox.inbox.path", True].message


@pytest.mark.usefixtures("_within_reach")
def test_our_own_folder_is_named_where_it_is_the_one_that_is_closed(settings, tmp_path):
    loaded = settings()
    (tmp_path / "in").chmod(0o777)
    (tmp_path / "in/.watcherd").mkdir(0o500)  # as another user's daemon leaves it
    with as_nobody():
        problem = found(loaded)["inbox.inbox.path", True]
    assert problem.message == f"{tmp_path}/in/.watcherd cannot be written to: Permission denied"


@pytest.mark.usefixtures("_within_reach")
def test_a_folder_that_cannot_be_made_is_named_before_the_one_that_refuses_it(settings, tmp_path):
    loaded = settings(state="state/of/ours")
    (tmp_path / "state").chmod(0o555)
    with as_nobody():
        problem = found(loaded)["state", True]
    assert problem.message == f"{tmp_path}/state/of/ours cannot be made in {tmp_path}/state: Permission denied"
    opened = f"chmod u+rwX {tmp_path}/state" if os.geteuid() else f"{tmp_path}/state belongs to root: let this user"
    assert problem.mend.startswith(opened)


@pytest.mark.usefixtures("_within_reach")
def test_a_folder_behind_one_that_may_not_be_entered_is_not_said_to_be_missing(settings, tmp_path):
    loaded = settings(inbox="closed/in", outbox="closed/out")
    for name in ("in", "out"):
        (tmp_path / "closed" / name).mkdir(parents=True)
    (tmp_path / "closed").chmod(0)
    with as_nobody():
        problems = found(loaded)
    for subject in ("inbox.inbox.path", "inbox.inbox.outbox"):
        assert "cannot be reached: Permission denied" in problems[subject, True].message
        assert "chmod it, or the folder that holds it" in problems[subject, True].mend


@pytest.mark.parametrize(
    ("key", "after", "noted"),
    [
        ("archive", "archive", True),
        ("failed", "archive", True),
        ("failed", "delete", True),
        ("failed", "keep", False),
        ("outbox", "archive", False),
    ],
)
def test_a_folder_on_another_file_system_that_inputs_go_to_is_worth_a_note(settings, tmp_path, key, after, noted):
    beside = {f"INBOX__INBOX__{name.upper()}": str(tmp_path / name) for name in ("archive", "failed", "outbox")}
    with TemporaryDirectory(dir="/dev/shm") as other:
        elsewhere = {f"INBOX__INBOX__{key.upper()}": other, "INBOX__INBOX__AFTER": after}
        notes = found(settings(outbox=None, **beside | elsewhere))
    copied = [it for it in notes if "inputs are copied, not moved" in notes[it].message]
    assert copied == [(f"inbox.inbox.{key}", False)] * noted


def test_a_mount_without_events_is_worth_a_note(settings, monkeypatch):
    monkeypatch.setattr(probe, "mount", lambda _: probe.Mount("nfs", events=False, lease=False, coarse=True))
    assert "is on nfs: events may be missing" in found(settings())["inbox.inbox.path", False].message


def test_too_little_free_space_is_a_problem_of_each_destination(settings):
    subjects = {subject for subject, _ in found(settings(MIN_FREE="8000PB"))}
    assert subjects == {"state", "inbox.inbox.outbox", "inbox.inbox.failed", "inbox.inbox.archive"}


def test_an_archive_that_is_not_used_is_not_looked_at(settings):
    subjects = {subject for subject, _ in found(settings(MIN_FREE="8000PB", INBOX__INBOX__AFTER="keep"))}
    assert "inbox.inbox.archive" not in subjects


def test_memory_that_cannot_hold_the_largest_picture_is_refused_with_what_would(settings):
    problem = found(settings(IMAGE__MEMORY="256MiB"))["image.memory", True]
    memory, pixels = re.fullmatch(r'memory = "(\w+)" or max_pixels = (\w+)', problem.mend).groups()
    assert ("image.memory", True) not in found(settings(IMAGE__MEMORY=memory))
    assert ("image.memory", True) not in found(settings(IMAGE__MEMORY="256MiB", IMAGE__MAX_PIXELS=pixels))


def test_the_least_memory_that_is_not_refused_is_the_least_with_which_a_worker_takes_the_largest_picture(settings):
    problem = found(settings(IMAGE__MEMORY="1MiB", IMAGE__MAX_PIXELS="1000000"))["image.memory", True]
    least = int(re.fullmatch(r'memory = "(\d+)MiB"', problem.mend)[1])
    picture = io.BytesIO()
    Image.new("RGB", (1000, 1000)).save(picture, "BMP")
    assert convert(picture, limits=Limits(memory=least << 20))
    with pytest.raises(FileFault, match="MiB of memory"):
        convert(picture, limits=Limits(memory=least - 1 << 20))


def test_formats_that_the_memory_holds_fewer_pixels_of_are_worth_a_note_with_what_would_hold_them(settings):
    (note,) = [finding for finding in machine.examine(settings()) if finding.subject == "image.memory"]
    assert not note.is_problem
    assert "WEBP 25 MP, AVIF 23 MP, " in note.message
    assert "GIF 45 MP, APNG 45 MP, PNG 91 MP" in note.message
    assert 'memory = "4070MiB"' in note.mend
    enough = settings(IMAGE__MEMORY=note.mend.split('"')[1])
    assert "image.memory" not in {finding.subject for finding in machine.examine(enough)}


@pytest.mark.parametrize(("number", "limit"), [(resource.RLIMIT_AS, "LimitAS"), (resource.RLIMIT_DATA, "LimitDATA")])
def test_more_memory_than_a_process_may_have_is_a_problem(settings, monkeypatch, number, limit):
    monkeypatch.setattr(machine.resource, "getrlimit", lambda asked: (900 << 20 if asked == number else -1,) * 2)
    finding = found(settings())["image.memory", True]
    assert "1GiB is more than a process may have here, 900MiB" in finding.message
    assert limit in finding.mend
    assert ("image.memory", True) not in found(settings(IMAGE__MEMORY="700MiB"))


def test_more_workers_than_memory_is_a_problem(settings, monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: 2 << 30)
    problem = found(settings(IMAGE__WORKERS="100"))["image.workers", True]
    assert problem.message.startswith("max_pixels with workers = 100 need ")
    assert problem.mend == "workers = 3"
    monkeypatch.setattr(machine, "memory", lambda: 1 << 20)
    assert found(settings())["image.workers", True].mend == "lower max_pixels"


@pytest.fixture
def limits(tmp_path, monkeypatch):
    def limiting(**numbers):
        for name, number in numbers.items():
            (tmp_path / name).write_text(str(number))
        monkeypatch.setattr(machine, "_INOTIFY", tmp_path)

    return limiting


def test_more_folders_than_watches_is_a_problem_with_its_command(settings, tmp_path, limits):
    for number in range(5):
        (tmp_path / f"in/{number}").mkdir()
    limits(max_user_watches=3)
    assert "sysctl fs.inotify.max_user_watches=" in found(settings())["inotify", True].mend
    assert ("inotify", True) not in found(settings(INBOX__INBOX__RECURSIVE="false"))


def test_folders_that_are_never_entered_need_no_watches(settings, tmp_path, limits):
    for folder in ("a/@eaDir/b.jpg", ".snapshots/1", "left alone/1"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    limits(max_user_watches=2)
    assert found(settings(INBOX__INBOX__EXCLUDE="/left alone/")) == {}
    assert ("inotify", True) in found(settings())


def test_an_inbox_deeper_than_python_s_stack_is_counted(settings, tmp_path, limits, deep, too_deep):
    deep(tmp_path / "in", "d", too_deep)
    limits(max_user_watches=too_deep)
    assert f"hold over {too_deep} folders" in found(settings())["inotify", True].message


def test_more_inboxes_than_instances_is_a_problem(settings, limits):
    limits(max_user_instances=0)
    assert "max_user_instances=2" in found(settings())["inotify", True].mend


def test_limits_that_cannot_be_read_are_no_problem(settings, limits):
    limits(max_user_watches="?")
    assert found(settings()) == {}


@pytest.fixture
def check(tmp_path, monkeypatch, called):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))

    def checking(*arguments):
        status, out, _ = called("check", *arguments)
        lines = out.splitlines(keepends=True)
        return status, "".join(line for line in lines if not line.startswith(("note\tjpeg", "note\timage")))

    return checking


@pytest.mark.usefixtures("settings")
def test_check_leaves_with_0_where_nothing_is_wrong(check):
    assert check("--inbox", "in", "--outbox", "out") == (0, "")


def test_check_leaves_with_2_and_a_line_for_each_problem(check):
    status, out = check("--inbox", "in", "--outbox", "out")
    assert status == 2
    assert [line.split("\t")[:2] for line in out.splitlines()] == [
        ["problem", "inbox.inbox.path"],
        ["problem", "inbox.inbox.outbox"],
    ]


def test_check_lists_a_wrong_configuration_the_same_way(check):
    status, out = check("--json", "--inbox", "in", "--outbox", "in/out")
    fact, *_ = json.loads(out)
    assert status == 2
    assert fact["what"] == "--outbox"
    assert "lies in" in fact["message"]
    assert "beside" in fact["mend"]


def test_check_lists_what_is_wrong_with_the_configuration_and_with_the_machine_at_once(check, tmp_path):
    scans = f'[inbox.scans]\npath = "in"\noutbox = "out"\narchive = "{tmp_path}/state/archive"\n'
    others = '[inbox.photos]\npath = "photos"\n[inbox.mail]\npath = 5\noutbox = "mail/letters"\n'
    (tmp_path / "watcherd.toml").write_text(f'{scans}{others}[log]\nlevel = "loud"\n')
    status, out = check()
    assert status == 2
    assert [line.split("\t")[1] for line in out.splitlines()] == [
        f"{tmp_path}/watcherd.toml:4",
        f"{tmp_path}/watcherd.toml:5",
        f"{tmp_path}/watcherd.toml:8",
        f"{tmp_path}/watcherd.toml:11",
        "inbox.scans.path",
        "inbox.scans.outbox",
    ]


@pytest.mark.parametrize("missing", [False, True])
def test_a_library_that_would_make_grey_jpegs_exact_is_a_note_and_no_problem(settings, monkeypatch, missing):
    turbo.library.cache_clear()
    if missing:
        monkeypatch.setattr(turbo, "LIBRARY", "libnothing.so.0")
    elif turbo.library() is None:
        pytest.skip("libturbojpeg is not installed")
    notes = [finding.subject for finding in machine.examine(settings()) if not finding.is_problem]
    turbo.library.cache_clear()
    assert ("jpeg" in notes) is missing
