"""One daemon for one state directory, one inbox and one outbox: with real processes, and what dead ones leave."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread, stack_size

import pytest
from tests.integration.conftest import failing, held

from watcherd import beneath
from watcherd.model import Refused, SystemFault
from watcherd.service import locks

pytestmark = pytest.mark.usefixtures("uncounted")

HOLD = """
import sys
from contextlib import ExitStack
from watcherd.service import locks
with ExitStack() as stack:
    stack.enter_context(locks.state(sys.argv[1]))
    for root in sys.argv[2:]:
        note = locks.Note(root, sys.argv[1])
        note.write()
        stack.callback(note.remove)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def daemon(state, *roots, end=subprocess.Popen.kill):
    """Let another process hold a state directory and some roots for the time of the block."""
    command = [sys.executable, "-c", HOLD, str(state), *map(str, roots)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            end(process)


def stop(process):
    """End a daemon as it ends by itself."""
    process.stdin.close()
    assert process.wait(10) == 0


@pytest.fixture
def state(tmp_path):
    (tmp_path / "state").mkdir()
    return str(tmp_path / "state")


@pytest.fixture
def other(tmp_path):
    (tmp_path / "other").mkdir()
    return str(tmp_path / "other")


@pytest.fixture
def inbox(tmp_path):
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@contextmanager
def noted(inbox, state):
    """Note in a folder for the time of the block that it is served by the daemon with that state directory."""
    ours = locks.Note(str(inbox), state)
    ours.write()
    try:
        yield
    finally:
        ours.remove()


def note(inbox):
    return inbox / ".watcherd/owner"


# The state directory --------------------------------------------------------------------------------------------


def test_a_second_daemon_on_a_state_directory_is_refused_and_told_who_has_it(state):
    with (
        daemon(state) as holder,
        pytest.raises(Refused, match=rf"{state} .* process {holder.pid}:"),
        locks.state(state),
    ):
        pass


def test_the_lock_of_a_daemon_that_was_killed_is_free(state):
    with daemon(state):
        pass
    with locks.state(state):
        assert (Path(state) / "lock").read_text() == str(os.getpid())


def test_after_an_orderly_end_the_lock_names_nobody(state):
    with locks.state(state):
        pass
    assert (Path(state) / "lock").read_text() == ""


def test_a_disk_that_fails_by_the_end_makes_that_no_worse(state, monkeypatch):
    with locks.state(state):
        monkeypatch.setattr(os, "ftruncate", failing(errno.EIO))


def test_workers_that_outlive_their_daemon_for_a_moment_are_waited_for(state, monkeypatch):
    def end(_):
        heir.kill()
        heir.wait()

    worker = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with locks.state(state) as descriptor:
        heir = subprocess.Popen(worker, stdin=subprocess.PIPE, pass_fds=[descriptor])
    with heir:
        monkeypatch.setattr(locks.time, "sleep", end)
        with locks.state(state):
            assert heir.returncode == -signal.SIGKILL


def test_workers_that_do_not_end_refuse_the_start(state, monkeypatch):
    monkeypatch.setattr(locks, "_WORKERS", 0.1)
    with (Path(state) / "lock").open("w") as heir:
        fcntl.flock(heir, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="about to start or to end"), locks.state(state):
            pass


def test_a_lock_with_nonsense_in_it_is_taken(state):
    (Path(state) / "lock").write_bytes(b"\xff what \x00")
    with locks.state(state):
        assert (Path(state) / "lock").read_text() == str(os.getpid())


def test_a_link_in_place_of_the_lock_is_refused_and_what_it_leads_to_stays_as_it_is(state, tmp_path):
    (tmp_path / "somebody-s.txt").write_text("precious")
    (Path(state) / "lock").symlink_to(tmp_path / "somebody-s.txt")
    with pytest.raises(OSError, match=r"symbolic links.*lock"), locks.state(state):
        pass
    assert (tmp_path / "somebody-s.txt").read_text() == "precious"


def test_a_fifo_in_place_of_a_lock_holds_nobody_up(state):
    os.mkfifo(f"{state}/lock")
    asking = Thread(target=locks.is_held, args=(state,), name="asking", daemon=True)
    asking.start()
    asking.join(5)
    assert not asking.is_alive()


def test_a_folder_in_place_of_a_lock_that_somebody_holds_is_believed(state):
    os.mkdir(f"{state}/lock")
    with beneath.folder(state, "lock") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        assert locks.is_held(state, by=1)


def test_those_who_ask_in_the_same_instant_do_not_take_each_other_for_a_daemon(state):
    with daemon(state):
        assert locks.is_held(state)
    with (Path(state) / "lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # as one who asks has it
        assert not locks.is_held(state)


# Inboxes and outboxes -------------------------------------------------------------------------------------------


def test_a_second_daemon_on_an_inbox_is_refused_and_told_who_has_it(state, other, inbox):
    with daemon(other, inbox) as holder, locks.state(state):
        with pytest.raises(Refused) as refused, noted(inbox, state):
            pass
        assert str(refused.value) == (
            f"{inbox} is in use by watcherd, process {holder.pid}, with the state directory {other}: stop that first"
        )
        assert json.loads(note(inbox).read_text())["pid"] == holder.pid


def test_the_note_of_a_daemon_that_was_killed_binds_nobody(state, other, inbox):
    with daemon(other, inbox):
        pass
    assert note(inbox).exists()
    with locks.state(state), noted(inbox, state):
        assert json.loads(note(inbox).read_text()) == {"state": state, "pid": os.getpid()}


def test_the_note_of_a_daemon_that_was_killed_binds_nobody_where_it_runs_again_without_that_inbox(
    state, other, inbox
):
    with daemon(other, inbox):
        pass
    with daemon(other), locks.state(state), noted(inbox, state):
        assert json.loads(note(inbox).read_text()) == {"state": state, "pid": os.getpid()}


@pytest.mark.parametrize("said", [b"", b"somebody"])
def test_a_note_binds_us_where_the_lock_of_its_daemon_does_not_say_who_that_is(state, other, inbox, said):
    with daemon(other, inbox) as holder:
        (Path(other) / "lock").write_bytes(said)
        with pytest.raises(Refused, match=f"process {holder.pid}"), noted(inbox, state):
            pass


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"\xff\xfe", b'{"pid": "who"}', b'{"state": null}', b'{"state": 7, "pid": {}}'),
        *(b"[" * 8000, b'{"pid": 1e999}', rb'{"state": "a\u0000"}', rb'{"state": "\ud800"}'),
        *(b'{"state": "/dev/null"}', b'{"state": "/nowhere/at/all", "pid": 1}'),
    ],
)
def test_a_note_cut_short_or_not_ours_or_of_a_state_directory_that_is_gone_binds_nobody(state, inbox, content):
    note(inbox).parent.mkdir()
    note(inbox).write_bytes(content)
    with noted(inbox, state):
        assert json.loads(note(inbox).read_text())["state"] == state


def test_a_note_of_our_own_binds_us_under_no_other_name_of_the_state_directory(state, inbox, tmp_path):
    with daemon(state, inbox):
        pass
    (tmp_path / "link").symlink_to(state)
    with locks.state(str(tmp_path / "link")), noted(inbox, str(tmp_path / "link")):
        assert json.loads(note(inbox).read_text())["pid"] == os.getpid()


def test_a_note_that_is_left_of_this_very_run_does_not_bind_it(state, inbox):
    with locks.state(state), noted(inbox, state), noted(inbox, state):
        assert note(inbox).exists()


def test_a_state_directory_that_may_not_be_asked_is_believed_to_be_alive(state, inbox, tmp_path):
    note(inbox).parent.mkdir()
    (tmp_path / "loop").symlink_to("loop")  # an error that root meets as well
    note(inbox).write_text(json.dumps({"state": str(tmp_path / "loop"), "pid": 7}))
    with pytest.raises(Refused, match="process 7"), noted(inbox, state):
        pass


def test_a_folder_on_a_mount_that_has_no_locks_is_noted_all_the_same(state, inbox, monkeypatch):
    monkeypatch.setattr(locks.fcntl, "flock", failing(errno.ENOLCK))
    with noted(inbox, state):
        assert json.loads(note(inbox).read_text()) == {"state": state, "pid": os.getpid()}


def test_our_own_folder_has_its_name_on_disk_before_anything_is_moved_into_it(state, inbox, synced):
    with noted(inbox, state):
        assert {*synced} == {str(inbox)}


def test_at_the_end_the_note_is_gone_and_so_is_its_empty_folder(state, inbox):
    with daemon(state, inbox, end=stop):
        assert note(inbox).exists()
    assert list(inbox.iterdir()) == []


def test_a_folder_that_holds_something_else_too_stays_at_the_end(state, inbox):
    with noted(inbox, state):
        (inbox / ".watcherd/draft").touch()
    assert [path.name for path in (inbox / ".watcherd").iterdir()] == ["draft"]


def test_the_note_is_gone_also_after_an_error(state, inbox):
    with pytest.raises(LookupError), noted(inbox, state):
        raise LookupError
    assert list(inbox.iterdir()) == []


def test_an_inbox_that_is_gone_at_the_end_is_no_error(state, inbox):
    with noted(inbox, state):
        inbox.rename(inbox.parent / "elsewhere")


def test_another_daemon_s_note_in_a_folder_that_took_the_inbox_s_place_stays(state, other, inbox, tmp_path):
    with noted(inbox, state):
        inbox.rename(tmp_path / "away")
        inbox.mkdir()
        with daemon(other, inbox):
            pass
    assert json.loads(note(inbox).read_text())["state"] == other


def test_the_note_of_an_inbox_whose_path_leads_elsewhere_by_now_is_taken_back_where_it_was(state, inbox, tmp_path):
    link, another = tmp_path / "link", tmp_path / "another"
    another.mkdir()
    ours = locks.Note(str(link), state)
    for folder in (inbox, another):
        link.unlink(missing_ok=True)
        link.symlink_to(folder)
        ours.write()
    assert list(inbox.iterdir()) == []
    assert note(another).exists()


@pytest.mark.parametrize("noted_before", [True, False])
def test_an_inbox_that_comes_with_another_daemon_s_note_is_not_ours(state, other, inbox, tmp_path, noted_before):
    ours = locks.Note(str(inbox), state)
    if noted_before:
        ours.write()
        inbox.rename(tmp_path / "away")
        inbox.mkdir()
    with daemon(other, inbox), pytest.raises(SystemFault, match="is in use by watcherd"):
        ours.renew(was_lost=noted_before)


def test_an_inbox_that_is_another_folder_without_a_note_is_noted(state, inbox, tmp_path):
    ours = locks.Note(str(inbox), state)
    ours.write()
    inbox.rename(tmp_path / "away")
    inbox.mkdir()
    ours.renew(was_lost=False)
    assert note(inbox).exists()


def test_a_folder_may_be_a_bare_mount_point_though_our_note_is_in_it_until_something_else_is(state, inbox):
    ours = locks.Note(str(inbox), state)
    ours.write()
    assert ours.in_doubt()
    (inbox / "a.txt").touch()
    assert not ours.in_doubt()


def test_a_folder_that_our_note_is_in_as_it_is_written_again_is_no_bare_mount_point(state, inbox):
    ours = locks.Note(str(inbox), state)
    ours.write()
    ours.write()
    assert not ours.in_doubt()


def test_folders_that_hang_at_the_end_are_waited_for_together(state, tmp_path, monkeypatch):
    answer = Event()
    monkeypatch.setattr(locks, "_ANSWER", 0.3)
    monkeypatch.setattr(locks.Note, "remove", lambda _: answer.wait())
    begin = time.monotonic()
    locks.leave([locks.Note(str(tmp_path), state) for _ in range(20)])
    answer.set()
    assert 0.3 <= time.monotonic() - begin < 3  # of 6


def test_where_no_thread_can_be_started_at_the_end_notes_stay_and_bind_nobody(state, other, inbox):
    left = locks.Note(str(inbox), state)
    left.write()
    usual = stack_size(1 << 47)  # more than there is of address space
    try:
        locks.leave([left])
    finally:
        stack_size(usual)
    assert locks.is_noted(inbox)
    locks.Note(str(inbox), other).write()


def test_nothing_stays_open_in_a_root(state, inbox):
    with noted(inbox, state):
        assert held(inbox) == []


def test_a_link_in_place_of_our_folder_leads_nowhere(state, inbox, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/owner").write_text("theirs")
    (inbox / ".watcherd").symlink_to(tmp_path / "precious")
    with pytest.raises(SystemFault, match="Not a directory"), noted(inbox, state):
        pass
    assert (tmp_path / "precious/owner").read_text() == "theirs"


def test_a_link_swapped_in_while_we_ran_is_not_followed_at_the_end(state, inbox, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/owner").write_text("theirs")
    with noted(inbox, state):
        note(inbox).unlink()
        (inbox / ".watcherd").rmdir()
        (inbox / ".watcherd").symlink_to(tmp_path / "precious")
    assert (tmp_path / "precious/owner").read_text() == "theirs"


# Folders of other users -----------------------------------------------------------------------------------------


@pytest.fixture
def strangers():
    """Be nobody for a while, as root may do everything; give an inbox that belongs to somebody else."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    with tempfile.TemporaryDirectory() as base:
        os.chmod(base, 0o755)  # noqa: S103 (a stranger is to look around there)
        inbox, state = Path(base, "inbox"), Path(base, "state")
        inbox.mkdir()
        state.mkdir()
        os.chown(state, 65534, 65534)
        os.seteuid(65534)
        try:
            yield inbox, str(state)
        finally:
            os.seteuid(0)


def test_a_folder_that_cannot_be_written_to_is_not_noted(strangers):
    inbox, state = strangers
    with noted(inbox, state):
        assert list(inbox.iterdir()) == []


def test_another_user_s_daemon_in_a_shared_folder_is_respected(strangers):
    inbox, state = strangers
    os.seteuid(0)
    inbox.chmod(0o777)
    (inbox / ".watcherd").mkdir(0o700)
    os.seteuid(65534)
    with pytest.raises(Refused, match="belongs to another user"), noted(inbox, state):
        pass
