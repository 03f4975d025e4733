"""The sandbox of the unit: tried from within by a program in the daemon's place."""

import json
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)  # the first test also installs

CAP_LEASE = 1 << 28


@pytest.fixture
def place(service):
    """Give the machine with the probe, and with what it is to reach and what not."""
    service.systemctl("stop")
    service.write("/opt/probe.py", Path(__file__).with_name("probe.py").read_text("utf-8"))
    service.shell("""
        mkdir -p -m 777 /open /srv/open
        chmod 755 /home/alice
        echo 1 > /home/alice/public
        echo 1 > /tmp/public
        touch /dev/of-this-test
        cd /srv/watcherd/inbox; echo 1 > a; echo 1 > b; chmod 644 a b; chown alice: a b
    """)
    return service


@pytest.fixture
def said(place):
    """Return what the probe said of where it ran, which was the daemon's place."""
    run = "ExecStart=\nExecStart=/usr/bin/python3 /opt/probe.py"
    place.drop_in(f"[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nTimeoutStartSec=60\n{run}\n")
    place.systemctl("start")
    return json.loads(place.path("/var/lib/watcherd/said.json").read_bytes())


def test_it_can_do_what_it_must_and_nothing_else_that_was_tried(said):
    assert (said["may_not"], said["cannot"]) == ([], [])


def test_outside_of_the_sandbox_all_of_it_can_be_done(place):
    place.shell("""
        mkdir -p /run/probe /var/lib/probe
        STATE_DIRECTORY=/var/lib/probe RUNTIME_DIRECTORY=/run/probe python3 /opt/probe.py
    """)
    said = json.loads(place.path("/var/lib/probe/said.json").read_bytes())
    assert (len(said["may_not"]), said["cannot"]) == (said["tried"], [])


def test_it_has_one_capability_and_can_get_no_other(said):
    held = {name: int(said["status"][name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")}
    assert set(held.values()) == {CAP_LEASE}, held
    assert (said["status"]["NoNewPrivs"], said["status"]["Seccomp"]) == ("1", "2")


def test_it_has_a_network_of_its_own_with_nobody_in_it(said, service):
    assert said["network"] != os.readlink(service.root.parent / "ns/net")
