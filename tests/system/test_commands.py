"""The commands beside `run`, and a running daemon's reload."""

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from tests.conftest import COMMAND, QUARANTINED

#: What is said of a folder of another user's.
ROOT_S = "belongs to root: let this user write there, or run watcherd as that one"


def test_drain_processes_what_is_there_and_says_what_became_of_each(site, picture):
    site.texts(30)
    site.drop("a.png", picture())
    site.drop("bad.txt", bytes(300))
    with (site.inbox / "half.txt").open("wb", buffering=0) as half:
        half.write(b"one ")
        told = site.command("drain", "--json")
    assert told.returncode == QUARANTINED, told.stderr
    facts = json.loads(told.stdout)
    assert facts["published"] == {"text": 30, "image": 1}
    assert [(it["path"], it["class"]) for it in facts["quarantined"]] == [("bad.txt", "not-text")]
    assert [(it["path"], it["reason"]) for it in facts["waiting"]] == [("half.txt", "being written")]
    assert site.left() == ["half.txt"]


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_drain_does_its_work_also_where_nobody_listens(site, closed):
    site.texts(3)
    site.drop("bad.txt", bytes(300))
    told = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, "--config", site.config, "drain"],  # noqa: S607
        capture_output=True,
        check=False,
    )
    assert told.returncode == QUARANTINED
    assert b"Traceback" not in told.stderr
    assert site.words("text-0002.txt") == 3


def test_drain_whose_terminal_is_closed_goes_on_and_says_elsewhere_what_it_did(site, heavy):
    site.drop("slow.webp", heavy)
    screen, terminal = pty.openpty()
    command = [*COMMAND, "--config", site.config, "drain", "--json"]
    drain = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    site.wait_for(site.drafts, "work")
    os.close(screen)
    out, _ = drain.communicate(timeout=60)
    assert drain.returncode == 0
    assert json.loads(out)["published"] == {"image": 1}


def test_drain_of_an_inbox_that_may_not_be_written_to_ends_and_lists_what_stays(site, as_nobody):
    names = site.texts(3)
    site.inbox.chmod(0o555)
    told = site.command("drain", "--json", prefix=as_nobody)
    assert told.returncode == 0, told.stderr
    facts = json.loads(told.stdout)
    assert [it["path"] for it in facts["waiting"]] == site.left() == names
    assert facts["left"] == 3
    assert [site.words(name) for name in names] == [1, 2, 3]


def test_drain_does_not_wait_for_a_retry_of_what_will_fail_again_but_for_its_end(site, heavy):
    site.configure(image={"timeout": "500ms"}, retry={"attempts": 2, "backoff": "100ms"})
    site.drop("slow.webp", heavy)
    told = site.command("drain", "--json")
    assert told.returncode == QUARANTINED
    assert json.loads(told.stdout)["quarantined"][0]["class"] == "timeout"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_process_1_of_a_container_is_ended_by_a_signal_as_any_other(site, number):
    alone = ["unshare", "-Ur", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("may not make namespaces")
    endless = site.base / "endless.toml"
    os.mkfifo(endless)
    with subprocess.Popen([*alone, *COMMAND, "--config", endless, "check"]) as process:
        writer = site.wait_for(lambda: opened_for_writing(endless), "the command at its configuration")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii")
        os.kill(int(children), number)
        try:
            assert process.wait(10) == 128 + number
        finally:
            process.kill()
            os.close(writer)


def opened_for_writing(fifo):
    """Open a FIFO that somebody reads; return its descriptor, or None while nobody does."""
    with suppress(OSError):
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)


def test_drain_beside_a_running_daemon_is_refused(site):
    site.start()
    told = site.command("drain")
    assert told.returncode == 1
    assert b"in use" in told.stderr


def test_retry_puts_a_file_back_where_a_running_daemon_takes_it_anew(site):
    daemon = site.start()
    site.drop("sub/bad.txt", bytes(300))
    site.await_failure("sub/bad.txt")
    told = site.command("retry", "sub/bad.txt")
    assert told.returncode == 0
    site.wait_for(lambda: len(daemon.events("file.quarantined")) == 2, "another try")
    site.await_empty_inbox()
    assert len(json.loads(site.command("failures", "--json").stdout)) == 1


def test_of_two_that_were_set_aside_by_one_name_each_is_put_back_as_the_refusal_says(site):
    for size in (300, 301):
        site.drop("bad.txt", bytes(size))
        site.run_until_empty()
    told = site.command("retry", "bad.txt")
    second = site.failed / "bad.1.txt"
    refusal = f"{site.inbox}/bad.txt is there again: retry this one once that has left its inbox"
    assert told.stdout.decode() == f"scans\tbad.txt\tput back\nscans\t{second}\t{refusal}\n"
    (site.inbox / "bad.txt").rename(site.base / "first.txt")
    assert site.command("retry", second).returncode == 0
    assert (site.inbox / "bad.txt").stat().st_size == 301


def test_a_folder_that_may_not_be_read_is_told_alike_whether_a_flag_or_a_file_names_it(site, as_nobody):
    folders = [f"--{name}={getattr(site, name)}" for name in ("inbox", "outbox", "archive", "failed", "state")]
    site.inbox.chmod(0)
    for command, status in (("check", 2), ("drain", 1)):
        by_file = site.command(command, prefix=as_nobody)
        by_flags = site.command(command, *folders, prefix=as_nobody)
        assert by_file.returncode == by_flags.returncode == status, by_flags.stderr
        assert b"Permission denied" in by_flags.stdout + by_flags.stderr
        assert by_flags.stdout.count(b"problem") == by_file.stdout.count(b"problem")
    assert b"chmod it, or the folder that holds it, so that this user may read it, and drain again" in by_flags.stderr


def test_a_closed_folder_of_what_is_set_aside_is_told_in_one_line(site, as_nobody):
    site.drop("sub/bad.txt", bytes(3000)).parent.chmod(0o777)
    assert site.command("drain", prefix=as_nobody).returncode == QUARANTINED
    (site.failed / "sub").chmod(0)
    for command in (["failures"], ["retry", "--all"]):
        told = site.command(*command, prefix=as_nobody)
        assert told.returncode == 1
        assert told.stderr.decode() == f"watcherd: cannot use the folder {site.failed}: Permission denied (sub)\n"


def test_a_folder_that_may_only_be_read_is_not_blamed_for_another_that_is_closed(site, as_nobody):
    site.drop("sub/bad.txt", bytes(3000)).parent.chmod(0o777)
    assert site.command("drain", prefix=as_nobody).returncode == QUARANTINED
    os.chown(site.failed, 0, 0)
    (site.failed / "sub").chmod(0)
    told = site.command("failures", prefix=as_nobody)
    assert told.stderr.decode() == f"watcherd: cannot use the folder {site.failed}: Permission denied (sub)\n"


def test_a_state_folder_of_another_user_is_told_with_whom_to_be(site, as_nobody):
    site.run_until_empty()
    for command in (["failures"], ["retry", "--all"], ["audit"], ["drain"]):
        told = site.command(*command, prefix=as_nobody)
        assert told.returncode == 1
        assert told.stderr.decode().splitlines()[-1].endswith(f"; {site.state} {ROOT_S}")


def test_a_folder_that_lies_in_one_of_another_user_is_told_with_whom_to_be(site, as_nobody):
    assert site.command("drain", prefix=as_nobody).returncode == 0
    theirs = site.base / "theirs"
    theirs.mkdir(mode=0o700)
    folders = [f"--{name}={getattr(site, name)}" for name in ("inbox", "outbox", "archive", "state")]
    for command in ("failures", "audit", "drain"):
        told = site.command(command, *folders, f"--failed={theirs / 'failed'}", prefix=as_nobody)
        assert told.returncode == 1
        assert told.stderr.decode().endswith(f"; {theirs} {ROOT_S}\n")


def test_a_ledger_that_may_only_be_read_is_told_with_a_mend_that_a_shell_understands(site, as_nobody):
    site.state = site.base / "our state"
    site.configure()
    assert site.command("drain", prefix=as_nobody).returncode == 0
    site.state.chmod(0o500)
    told = site.command("failures", prefix=as_nobody)
    assert told.returncode == 1
    assert told.stderr.decode().endswith(f"; chmod u+rwX '{site.state}'\n")


@pytest.mark.parametrize("as_root", [True, False])
def test_nobody_is_told_to_be_another_user_where_a_mount_is_read_only(site, as_nobody, mounts, as_root):
    mounts.mount(site.state)
    site.state.chmod(0o777)
    assert site.command("drain", prefix=as_nobody).returncode == 0
    os.chown(site.state, 65534 if as_root else 0, -1)
    mounts.remount(site.state, "ro")
    told = site.command("failures", prefix=() if as_root else as_nobody)
    assert told.returncode == 1
    assert told.stderr.decode().endswith(f"; {site.state} is mounted read-only: mount it for writing\n")


def test_a_command_that_was_told_another_inbox_than_the_daemon_says_of_which_something_is_on_record(site):
    elsewhere = site.base / "elsewhere"
    elsewhere.mkdir()
    site.drop("bad.txt", bytes(3000), root=elsewhere)
    site.start(environment={"WATCHERD_INBOX__SCANS__PATH": str(elsewhere)})
    site.await_failure("bad.txt")
    said = f"watcherd: nothing is on record of {site.inbox}, but of {elsewhere}; give the command the flags and"
    right = ("--inbox", elsewhere, "--outbox", site.outbox, "--state", site.state)
    for command in (["failures"], ["audit"], ["retry", "--all"]):
        assert site.command(*command).stderr.decode().startswith(said)
        assert (site.failed / "bad.txt").exists()
        assert b"nothing is on record" not in site.command(*command, *right).stderr


@pytest.mark.parametrize("path", ["/usr/bin:/bin", f"{Path(sys.executable).parent}:/usr/bin:/bin"])
def test_the_command_that_a_reason_names_does_retry(site, monkeypatch, path):
    monkeypatch.setenv("PATH", path)
    site.drop("it's bad.txt", bytes(300))
    site.run_until_empty()
    told = subprocess.run(["sh", "-c", site.failure("it's bad.txt")["retry"]], check=False)  # noqa: S607
    assert told.returncode == 0
    assert site.left() == ["it's bad.txt"]


def test_a_reload_takes_over_what_can_change_live(site):
    daemon = site.start()
    site.drop("a.log")
    site.await_words("a.log")
    site.configure(text={"extensions": [".txt"]}, inbox={"exclude": ["b*"]}, queue={"capacity": 7})
    daemon.send(signal.SIGHUP)
    told = daemon.wait("daemon.reloaded")
    assert {"inbox.scans.exclude", "text.extensions"} <= set(told["changed"])
    assert told["needs_restart"] == ["queue.capacity"]
    daemon.wait("inbox.rescanned", reason="update")
    for name in ("c.log", "b.txt", "c.txt"):
        site.drop(name)
    site.wait_for(lambda: site.left() == ["b.txt", "c.log"], "the end of the only one that is wanted")


def test_what_is_worked_on_while_a_reload_leaves_it_out_is_on_record_when_it_is_done(site, heavy):
    daemon = site.start()
    site.drop("a.webp", heavy)
    site.await_work()
    site.configure(inbox={"exclude": ["*.webp"]})
    daemon.send(signal.SIGHUP)
    daemon.wait("inbox.rescanned", reason="update")
    daemon.wait("file.published", path="a.webp")
    site.wait_for(lambda: site.rows("path", "state = 'published'"), "its row")


def test_a_reload_of_the_level_holds_for_all_that_is_said_of_files(site):
    daemon = site.start()
    site.configure(log={"level": "debug"})
    daemon.send(signal.SIGHUP)
    daemon.wait("daemon.reloaded", changed=["log.level"])
    site.drop("a.txt")
    site.drop("b.xyz")
    daemon.wait("file.queued", path="a.txt")
    daemon.wait("file.ignored", path="b.xyz")


def test_a_reload_where_the_working_directory_is_gone_goes_on(site):
    gone = site.base / "gone"
    gone.mkdir()
    daemon = site.daemon(prefix=["env", f"--chdir={gone}"]).start()
    gone.rmdir()
    site.configure(stop_timeout="7s")
    daemon.send(signal.SIGHUP)
    daemon.wait("daemon.reloaded", changed=["stop_timeout"])
    site.configure(log={"level": "loud"})
    daemon.send(signal.SIGHUP)
    daemon.wait("daemon.reload_failed")
    assert daemon.stop() == 0


def test_a_reload_says_what_was_left_aside_in_the_log_alone_which_waits_for_no_reader(site):
    environment = {"WATCHERD_INBOX__OTHER__PATH": "/nowhere"}
    flags = ("--inbox", site.inbox, "--outbox", site.outbox, "--state", site.state)
    daemon = site.daemon("run", *flags, environment=environment).start()
    before = daemon.log.read_bytes().count(b"\nwatcherd: ")
    daemon.send(signal.SIGHUP)
    (note,) = daemon.wait("daemon.reloaded")["left_aside"]
    assert "WATCHERD_INBOX__OTHER__PATH is left aside" in note
    assert daemon.log.read_bytes().count(b"\nwatcherd: ") == before
    assert daemon.stop() == 0


def test_a_reload_of_a_bad_configuration_changes_nothing_and_says_every_problem(site):
    daemon = site.start()
    site.configure(text={"extensions": [".md"], "timeout": "soon"}, inbox={"settel": "1s"})
    daemon.send(signal.SIGHUP)
    problems = daemon.wait("daemon.reload_failed")["problems"]
    assert len(problems) == 2
    site.drop("a.txt")
    site.await_words("a.txt")
    assert daemon.stop() == 0
