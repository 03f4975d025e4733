"""The unit files, as systemd reads them."""

import re

import pytest

pytestmark = pytest.mark.timeout(300)  # the first test also installs

SYSTEM = ["watcherd.service", "watcherd@scans.service"]
FILES = ["watcherd.service", "watcherd@.service"]

#: What the promises of the service hang on, as `systemctl show` has it.
PROMISED = {
    "Type": "notify",
    "NotifyAccess": "main",
    "Restart": "on-failure",
    "RestartUSec": "1s",
    "RestartPreventExitStatus": "2",
    "StartLimitIntervalUSec": "5min",
    "StartLimitBurst": "5",
    "TimeoutStartUSec": "infinity",
    "TimeoutStopUSec": "1min",
    "KillMode": "mixed",
    "OOMPolicy": "continue",
    "LimitCORE": "0",
    "LogRateLimitIntervalUSec": "0",
    "UMask": "0007",
    "User": "watcherd",
    "KeyringMode": "private",
    "ProtectHostname": "yes",
    "RemoveIPC": "yes",
}


def security(machine, path):
    """Return how exposed a unit is, and what is exposed by it."""
    judged = machine.run("systemd-analyze", "security", "--offline=true", path).stdout
    (level,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", judged)
    return float(level), re.findall(r"(?m)^✗ (\S+)", judged)


@pytest.mark.parametrize("unit", SYSTEM)
def test_the_units_are_free_of_mistakes(installed, unit):
    assert (
        installed.run("systemd-analyze", "verify", unit).stderr == ""
    )  # it exits with 0 also where a key is unknown


@pytest.mark.parametrize("unit", SYSTEM)
def test_the_units_say_what_the_service_promises(installed, unit):
    names = [f"--property={name}" for name in PROMISED]
    shown = dict(line.split("=", 1) for line in installed.run("systemctl", "show", *names, unit).stdout.splitlines())
    assert shown == PROMISED
    assert set(installed.show("IPAddressDeny", unit).split()) == {"0.0.0.0/0", "::/0"}
    assert {"local-fs.target", "remote-fs.target"} <= set(installed.show("After", unit).split())


@pytest.mark.parametrize("file", FILES)
def test_the_units_are_as_little_exposed_as_they_can_be(installed, file):
    level, _ = security(installed, f"/etc/systemd/system/{file}")
    assert level <= 0.6


@pytest.mark.parametrize("file", FILES)
def test_each_relaxation_is_named_beside_its_reason(installed, file):
    path = f"/etc/systemd/system/{file}"
    words = " ".join(re.findall(r"(?m)^# (.*)$", installed.path(path).read_text("utf-8")))
    _, exposed = security(installed, path)
    names = [one.partition("~")[2] or re.match(r"\w+", one)[0] for one in exposed]
    assert names
    assert [name for name in names if name not in words] == []


def test_one_service_and_several_differ_in_names_alone(installed):
    one, several = (
        installed.path(f"/etc/systemd/system/{file}").read_text("utf-8").partition("[Unit]")[2] for file in FILES
    )
    for theirs, ours in {"/%i.toml": "/watcherd.toml", "@%i": "", "/%i": "", " (%i)": ""}.items():
        several = several.replace(theirs, ours)
    assert several == one


def test_a_user_s_unit_is_as_little_exposed_as_it_can_be_without_root(installed):
    level, _ = security(installed, "/usr/src/watcherd/systemd/user/watcherd.service")
    assert level <= 6.0
