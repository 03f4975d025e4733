"""The service under a real systemd: what the unit promises, under the faults that it is about."""

import json
import re
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)  # the first test also installs

#: Seconds by which two times of files may be off: the kernel's clock for them has ticks.
TICK = 0.02

INBOX, OUTBOX, ARCHIVE = (f"/srv/watcherd/{name}" for name in ("inbox", "outbox", "archive"))


def await_result(service, name):
    return service.wait_for(lambda: service.result(name), f"the result of {name}")


def await_new_process(service, before):
    return service.wait_for(
        lambda: service.show("ActiveState") == "active" and service.show("MainPID") not in {before, "0"},
        "another main process",
    )


def workers(service):
    main = service.show("MainPID")
    return service.run("pgrep", "-P", main, check=False).stdout.split()


def worker_at(service, path):
    """Return the worker process that has a file of this path open, or None; stars in it stand for anything."""
    for worker in workers(service):
        if service.run("find", f"/proc/{worker}/fd", "-lname", path, check=False).stdout:
            return worker
    return None


# Its life ----------------------------------------------------------------------------------------------------------


def test_a_start_returns_once_it_is_ready_and_its_status_tells_what_it_did(service):
    assert (service.show("ActiveState"), service.show("WatchdogUSec")) == ("active", "3min")
    (ready,) = service.wait_for(lambda: service.events("daemon.ready"), "its word in the journal")
    assert ready["PRIORITY"] == "6"
    service.shell(f"echo one two three > {INBOX}/a.txt")
    service.wait_for(lambda: service.show("StatusText") == "1 published, 0 quarantined, 0 in hand", "its status")
    assert service.result("a.txt") == 3


def test_others_of_the_group_drop_files_and_folders_and_collect_results(service, picture):
    service.path("/usr/share/picture.png").write_bytes(picture())
    service.shell(f"mkdir -p {INBOX}/sub/deep; echo one two > {INBOX}/sub/deep/a.txt", "alice")
    service.shell(f"cp /usr/share/picture.png {INBOX}/sub/", "alice")
    await_result(service, "sub/deep/a.txt")
    service.wait_for(lambda: service.path(f"{ARCHIVE}/sub/picture.png").exists(), "the picture's end")
    service.wait_for(lambda: service.path(f"{ARCHIVE}/sub/deep/a.txt").exists(), "the text's end")
    owners = service.run(
        "stat", "-c", "%U:%G %a", f"{OUTBOX}/sub/grayscale_picture.png", f"{ARCHIVE}/sub/deep/a.txt"
    ).stdout
    assert owners.splitlines() == ["watcherd:watcherd 660", "alice:watcherd 660"]
    taken = service.shell(
        f"cat {OUTBOX}/sub/deep/a.txt.words.json && mv {OUTBOX}/sub/deep/a.txt.words.json ~", "alice"
    )
    assert json.loads(taken.stdout)["words"] == 2


def test_another_user_who_is_still_writing_is_not_overtaken(service):
    (watching,) = service.wait_for(lambda: service.events("inbox.watching"), "its word")
    assert watching["WATCHERD_LEASE"] == "True"
    service.shell(f"{{ printf 'one '; sleep 2.5; printf 'two'; }} > {INBOX}/slow.txt", "alice")  # it settles in 1s
    assert await_result(service, "slow.txt") == 2


def test_without_its_capability_files_of_others_wait_until_they_were_quiet_for_10_seconds(service):
    service.systemctl("stop")
    service.drop_in("[Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\n")
    service.systemctl("start")
    service.shell(f"echo one two > {INBOX}/a.txt", "alice")
    written = service.path(f"{INBOX}/a.txt").stat().st_mtime
    assert await_result(service, "a.txt") == 2
    waited = service.path(f"{OUTBOX}/a.txt.words.json").stat().st_mtime - written
    assert waited >= 10 - TICK


def test_many_files_at_once_come_to_their_end_together(service):
    service.systemctl("stop")
    service.shell(f"for number in $(seq 40); do echo one two > {INBOX}/$number.txt; done", "alice")
    service.systemctl("start")
    service.wait_for(lambda: len([*service.path(ARCHIVE).glob("*.txt")]) == 40, "all of them")
    assert len([*service.path(OUTBOX).glob("*.words.json")]) == 40


def test_a_reload_takes_over_a_good_configuration_and_refuses_a_bad_one(service):
    service.configure('[log]\nlevel = "debug"\n')
    service.systemctl("reload")
    service.wait_for(lambda: service.events("daemon.reloaded"), "the reload")
    assert service.events("daemon.reloaded")[0]["WATCHERD_CHANGED"] == "['log.level']"
    service.configure("[log]\nlevle = 3\n")
    assert service.systemctl("reload", check=False).returncode != 0
    service.wait_for(lambda: "log.levle" in service.journal("-o", "cat", "-p", "err"), "the reason, as an error")
    assert not service.events("daemon.reload_failed")
    service.run("systemctl", "kill", "--kill-who=main", "--signal=HUP", "watcherd")  # who asks the daemon itself
    (refusal,) = service.wait_for(lambda: service.events("daemon.reload_failed"), "the refusal")
    assert refusal["PRIORITY"] == "3"
    service.wait_for(lambda: service.show("ActiveState") == "active", "the end of the reload")
    service.shell(f"echo one two > {INBOX}/a.txt")
    assert await_result(service, "a.txt") == 2


def test_a_killed_daemon_is_started_again_and_goes_on_with_the_backlog(service, heavy):
    for number in range(4):
        service.path(f"{INBOX}/{number}.webp").write_bytes(heavy)
    service.wait_for(lambda: workers(service), "work")
    before = service.show("MainPID")
    service.run("kill", "-KILL", before)
    await_new_process(service, before)
    service.wait_for(lambda: len([*service.path(ARCHIVE).glob("*.webp")]) == 4, "the backlog's end", 120)
    assert len([*service.path(OUTBOX).glob("grayscale_*.webp")]) == 4
    assert service.show("NRestarts") == "1"


def test_a_killed_worker_costs_the_service_nothing(service, heavy):
    before = service.show("MainPID")
    service.path(f"{INBOX}/a.webp").write_bytes(heavy)
    worker = service.wait_for(lambda: worker_at(service, f"{INBOX}/a.webp"), "a worker")
    service.run("kill", "-KILL", worker)
    service.wait_for(lambda: service.path(f"{ARCHIVE}/a.webp").exists(), "the picture's end", 60)
    assert service.show("MainPID") == before
    assert service.events("worker.died")


def test_a_daemon_that_hangs_is_killed_by_the_watchdog_and_started_again(service):
    service.systemctl("stop")
    service.drop_in("[Service]\nWatchdogSec=2s\nTimeoutAbortSec=1s\nTimeoutStopSec=1s\n")
    service.systemctl("start")
    before = service.show("MainPID")
    service.run("kill", "-STOP", before)
    await_new_process(service, before)
    service.wait_for(lambda: "Watchdog timeout" in service.journal("-o", "cat"), "the reason")
    service.wait_for(lambda: "Fatal Python error: Aborted" in service.journal("-o", "cat"), "where each thread stood")
    service.shell(f"echo one two > {INBOX}/a.txt")
    assert await_result(service, "a.txt") == 2


def test_a_daemon_whose_rooms_all_hang_is_killed_though_its_main_thread_runs(service):
    service.systemctl("stop")
    service.drop_in("[Service]\nWatchdogSec=4s\n")
    service.systemctl("start")
    before = service.show("MainPID")
    rooms = [f"--attach={thread}" for thread in threads(service, before)[1:]]
    hold = ["strace", "--quiet=all", "--output=/dev/null", "--inject=all:delay_enter=600s", *rooms]
    with subprocess.Popen(hold) as holding:
        service.wait_for(lambda: "Fatal Python error: Aborted" in service.journal("-o", "cat"), "its end")
        holding.kill()  # who is held cannot be buried
    await_new_process(service, before)


def threads(service, process):
    """Return the threads of a process in there, the main one first, as they are numbered out here."""
    found = []
    for status in Path("/proc").glob("[0-9]*/task/[0-9]*/status"):
        with suppress(OSError):
            lines = dict(line.split(":", 1) for line in status.read_text("utf-8", "replace").splitlines())
            if lines["NStgid"].split()[1:] == [process] and status.parents[2].joinpath("root").samefile(service.root):
                found.append(int(status.parent.name))
    return sorted(found)


def test_a_daemon_that_gets_on_is_left_alone_by_the_watchdog(service, heavy):
    service.systemctl("stop")
    service.drop_in("[Service]\nWatchdogSec=2s\n")
    service.systemctl("start")
    before = service.show("MainPID")
    service.path(f"{INBOX}/a.webp").write_bytes(heavy)  # keeps a worker busy for longer than that
    service.wait_for(lambda: service.path(f"{ARCHIVE}/a.webp").exists(), "the picture's end", 60)
    assert service.show("MainPID") == before
    assert service.show("NRestarts") == "0"


def test_a_worker_that_takes_more_than_the_service_may_is_the_one_to_go(service, picture):
    service.systemctl("stop")
    service.drop_in("[Service]\nMemoryMax=250M\nMemorySwapMax=0\n")
    service.systemctl("start")
    before = service.show("MainPID")
    service.path(f"{INBOX}/large.png").write_bytes(picture((9000, 9000), "PNG"))
    service.wait_for(lambda: service.events("worker.died"), "the worker's end")
    service.path(f"{INBOX}/small.png").write_bytes(picture())
    service.shell(f"echo one two > {INBOX}/a.txt")
    assert await_result(service, "a.txt") == 2
    service.wait_for(lambda: service.path(f"{ARCHIVE}/small.png").exists(), "the small picture's end", 60)
    assert service.show("MainPID") == before
    assert service.show("ActiveState") == "active"


def test_a_stop_under_load_ends_in_time_and_the_next_start_does_the_rest(service, heavy):
    service.systemctl("stop")
    service.configure("[image]\nworkers = 1\n")  # so that not all of them are being worked on
    for number in range(3):
        service.path(f"{INBOX}/{number}.webp").write_bytes(heavy)
    service.systemctl("start")
    service.wait_for(lambda: worker_at(service, f"{INBOX}/*.webp"), "work")
    service.wait_for(lambda: re.search(r"\b[1-9]\d* in hand", service.show("StatusText")), "what is in hand")
    began = time.monotonic()
    service.systemctl("stop")
    assert time.monotonic() - began < 60  # TimeoutStopSec
    assert service.show("Result") == "success"
    left = [*service.path(INBOX).glob("*.webp")]
    done = [*service.path(OUTBOX).glob("*.webp")]
    assert left
    assert len(left) + len(done) == 3
    assert not [*service.path(OUTBOX).glob(".watcherd/*")]
    service.systemctl("start")
    service.wait_for(lambda: len([*service.path(ARCHIVE).glob("*.webp")]) == 3, "the rest", 120)


# What goes wrong ---------------------------------------------------------------------------------------------------


def test_a_wrong_configuration_is_said_and_not_tried_for_ever(service):
    service.systemctl("stop")
    service.configure("[imgae]\n")
    assert service.systemctl("start", check=False).returncode != 0
    assert (service.show("ActiveState"), service.show("ExecMainStatus")) == ("failed", "2")
    assert service.show("NRestarts") == "0"
    service.wait_for(
        lambda: re.search("imgae.*image", service.journal("-o", "cat", "-p", "err")), "the reason, as an error"
    )


def test_a_service_whose_outbox_comes_late_waits_for_it(service):
    service.systemctl("stop")
    service.shell(f"mv {OUTBOX} /srv/away")
    service.systemctl("start")
    service.wait_for(lambda: "No such file" in service.show("StatusText"), "its word")
    service.shell(f"mv /srv/away {OUTBOX}; echo one two three > {INBOX}/a.txt")
    assert await_result(service, "a.txt") == 3
    assert service.show("NRestarts") == "0"


def test_a_service_that_fails_again_and_again_stays_down(service):
    service.systemctl("stop")
    service.path("/var/lib/watcherd/ledger.db").unlink()
    service.path("/var/lib/watcherd/ledger.db").mkdir()
    service.drop_in("[Service]\nRestartSec=50ms\n")
    service.systemctl("start", check=False)
    service.wait_for(lambda: service.show("ActiveState") == "failed", "the last try")
    assert service.show("NRestarts") == "5"
    service.wait_for(lambda: "Start request repeated too quickly" in service.journal("-o", "cat"), "the reason")


def test_the_journal_has_an_event_s_fields(service):
    name = "b\udcff.txt"
    service.shell(f"head -c 3000 /dev/zero > {INBOX}/$(printf 'b\\377.txt')")
    (event,) = service.wait_for(lambda: service.events("file.quarantined"), "the event")
    assert event["PRIORITY"] == "4"
    assert event["SYSLOG_IDENTIFIER"] == "watcherd"
    assert event["_SYSTEMD_UNIT"] == "watcherd.service"
    assert event["WATCHERD_CLASS"] == "not-text"
    assert bytes(event["WATCHERD_PATH"]) == name.encode(errors="surrogateescape")
    assert service.events("file.quarantined", "WATCHERD_INBOX=scans", "PRIORITY=4")
    assert not service.events("file.quarantined", "WATCHERD_INBOX=other")


# What somebody sets up by themselves -------------------------------------------------------------------------------


def test_how_old_archived_files_become_can_be_set_and_the_audit_knows_what_was_collected(service):
    service.shell(f"echo one two > {INBOX}/a.txt")
    service.wait_for(lambda: service.path(f"{ARCHIVE}/a.txt").exists(), "its end")
    rules = service.path("/etc/tmpfiles.d/watcherd.conf").read_text("utf-8")
    (line,) = re.findall(rf"(?m)^#(d {ARCHIVE} .*) 90d$", rules)
    ours = service.path(f"{ARCHIVE}/.watcherd/ours")
    ours.touch()
    service.write("/etc/tmpfiles.d/of-this-test.conf", f"{line} 1s\n" + "".join(re.findall(r"(?m)^x .*\n", rules)))

    def is_cleaned():
        service.run("systemd-tmpfiles", "--clean", "/etc/tmpfiles.d/of-this-test.conf")
        return not service.path(f"{ARCHIVE}/a.txt").exists()

    service.wait_for(is_cleaned, "its age")
    service.path("/etc/tmpfiles.d/of-this-test.conf").unlink()
    ours.unlink()  # what the daemon keeps there for itself is left alone
    audited = json.loads(service.run("runuser", "-u", "watcherd", "--", "watcherd", "audit", "--json").stdout)
    assert audited["collected"] == 1
