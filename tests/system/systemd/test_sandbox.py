"""The sandbox of the unit: tried from within by a program in the daemon's place."""

import json
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)  # the first test also installs

CAP_LEASE = 1 << 28


@pytest.fixture
def said(service):
    """Return what the probe said of where it ran."""
    service.systemctl("stop")
    service.write("/opt/probe.py", Path(__file__).with_name("probe.py").read_text("utf-8"))
    service.shell(
        "mkdir -p -m 777 /open /srv/open; chmod 755 /home/alice; echo 1 > /home/alice/public; echo 1 > /tmp/public"
    )
    service.shell("cd /srv/watcherd/inbox; echo 1 > a; echo 1 > b; chmod 644 a b; chown alice: a b")
    run = "Type=oneshot\nRestart=no\nWatchdogSec=0\nExecStart=\nExecStart=/usr/bin/python3 /opt/probe.py"
    service.drop_in(f"[Service]\n{run}\n")
    service.systemctl("start")
    return json.loads(service.path("/var/lib/watcherd/said.json").read_bytes())


def test_it_can_do_what_it_must_and_nothing_else_that_was_tried(said):
    assert said["could"] == [
        "write where it works",
        "write to its state",
        "write to its runtime folder",
        "rename an input to the archive",
        "lease a file of somebody else",
        "limit its memory",
    ]


def test_it_has_one_capability_and_can_get_no_other(said):
    held = {name: int(said["status"][name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")}
    assert set(held.values()) == {CAP_LEASE}, held
    assert (said["status"]["NoNewPrivs"], said["status"]["Seccomp"]) == ("1", "2")


def test_it_has_a_network_of_its_own_with_nobody_in_it(said, service):
    assert said["network"] != os.readlink(service.root.parent / "ns/net")


def test_no_worker_can_speak_for_the_daemon(service, picture):
    service.path("/srv/watcherd/inbox/a.png").write_bytes(picture())
    service.wait_for(service.path("/srv/watcherd/outbox/grayscale_a.png").exists)
    workers = service.run("pgrep", "-P", service.show("MainPID")).stdout.split()
    for worker in workers:
        environment = service.path(f"/proc/{worker}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" not in environment
        assert b"WATCHDOG" not in environment
