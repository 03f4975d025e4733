"""A machine of its own for the service: a real systemd, in which the wheel is installed as the README says."""

import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
LAB = Path(__file__).with_name("lab.sh")

#: The interpreter of the distribution: the service cannot reach one below /root or /home.
PYTHON = "/usr/bin/python3"

#: What stands for sudo: it is not on every machine, and would ask for a password. `become` is root's setpriv.
SUDO = """#!/bin/sh
user=root
if [ "$1" = -u ]; then user=$2; shift 2; fi
exec become --reuid="$user" --regid="$user" --init-groups env HOME="$(getent passwd "$user" | cut -d: -f6)" "$@"
"""

#: What the machine has to itself.
NAMESPACES = ("--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup")

CONFIGURATION = """
state = "/var/lib/watcherd"

[inbox.scans]
path = "/srv/watcherd/inbox"
outbox = "/srv/watcherd/outbox"
archive = "/srv/watcherd/archive"
failed = "/srv/watcherd/failed"
"""


class Machine:
    """The machine in the lab."""

    def __init__(self, lab):
        self._lab = lab

    def boot(self):
        """Switch it on, and wait until it runs; `off` clears up also what did not come up."""
        self._call("up", PROJECT, timeout=60)
        init = subprocess.run(
            [shutil.which("pgrep"), "-P", (self._lab / "pid").read_text().strip()], capture_output=True, check=True
        )
        self.root = Path(f"/proc/{int(init.stdout)}/root")
        return self

    def off(self):
        """Switch it off; nothing is left of it."""
        self._call("down", timeout=60)

    def _call(self, verb, *arguments, timeout, check=True):
        done = subprocess.run(
            [LAB, verb, self._lab, *arguments],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"{arguments or verb}: {done.stdout}{done.stderr}"
        return done

    def run(self, *command, check=True, timeout=60):
        """Run a command in there as root; return the finished process."""
        return self._call("in", *command, timeout=timeout, check=check)

    def shell(self, script, user="root"):
        """Run lines of a shell as somebody, with the umask that people have."""
        return self.run("runuser", "-u", user, "--", "sh", "-euc", f"umask 022\n{script}")

    def path(self, path):
        """Return a path in there as one of ours."""
        return self.root / path.lstrip("/")

    def write(self, path, text):
        """Write a file as root."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")

    # The service ---------------------------------------------------------------------------------------------------

    def show(self, name, unit="watcherd"):
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def systemctl(self, verb, unit="watcherd", *, check=True):
        """Let systemd do something with a unit."""
        return self.run("systemctl", verb, unit, check=check)

    def configure(self, more=""):
        """Write the service's configuration."""
        self.write("/etc/watcherd/watcherd.toml", CONFIGURATION + more)

    def drop_in(self, text, unit="watcherd.service"):
        """Add to the unit."""
        self.write(f"/etc/systemd/system/{unit}.d/of-this-test.conf", text)
        self.run("systemctl", "daemon-reload")

    def events(self, name, *matches):
        """Return the service's events of this name since `mark`, as the journal has them."""
        lines = self.journal("-o", "json", "--all", f"WATCHERD_EVENT={name}", *matches).splitlines()
        return [json.loads(line) for line in lines]

    def journal(self, *options):
        """Return what the journal has of the service since `mark`."""
        return self.run("journalctl", "-q", "-u", "watcherd", "--since", self.since, *options).stdout

    def mark(self):
        """Let `journal` begin here."""
        self.since = f"@{time.time():.6f}"

    def result(self, name):
        """Return what was counted in a text, or None."""
        try:
            return json.loads(self.path(f"/srv/watcherd/outbox/{name}.words.json").read_bytes())["words"]
        except FileNotFoundError:
            return None


def _missing():
    if os.geteuid() != 0:
        return "only root can boot a systemd of its own"
    tools = ("systemctl", "journalctl", "systemd-analyze", "nsenter", "unshare", "runuser", "useradd")
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if not Path("/lib/systemd/systemd").exists() or absent:
        return f"there is no systemd to boot, or a tool is missing: {' '.join(absent)}"
    if not _can("unshare", "--fork", *NAMESPACES, "mount", "-t", "tmpfs", "lab", "/mnt"):
        return "namespaces and mounts are not allowed here"
    can_run = _can(PYTHON, "-c", "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))")
    return "" if can_run else f"{PYTHON} is older than 3.11, or has no ensurepip (python3-venv)"


def _can(*command):
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture(scope="session")
def wheelhouse():
    """Bring what is to be installed to where a machine without a network finds it."""
    house = PROJECT / "build/wheelhouse"
    house.mkdir(parents=True, exist_ok=True)
    with (house / "lock").open("w") as lock:  # tests run side by side, and each side comes by
        fcntl.flock(lock, fcntl.LOCK_EX)
        _fill(house)


def _fill(house):
    tools = PROJECT / "build/wheelhouse-tools"
    subprocess.run([PYTHON, "-m", "venv", tools], check=True, capture_output=True)
    pip = [tools / "bin/pip", "--disable-pip-version-check", "--quiet"]
    locks = ["-r", PROJECT / "locks/run.txt", "-r", PROJECT / "locks/build.txt"]
    subprocess.run([*pip, "download", "--require-hashes", *locks, "-d", house], check=True)


@pytest.fixture(scope="session")
def machine(tmp_path_factory, request, lacking):
    """Give a machine that knows a user, and on which nothing is installed."""
    if reason := _missing():
        lacking(reason)
    request.getfixturevalue("wheelhouse")
    machine = Machine(tmp_path_factory.mktemp("lab"))
    try:
        machine.boot()
        machine.run("useradd", "--create-home", "alice")
        yield machine
    finally:
        machine.off()


@pytest.fixture
def program(machine):
    """Give the machine with the program installed, as an operator does it; anew after a test that removed it."""
    machine.run(
        "sh",
        "-euc",
        """
        if [ ! -e /opt/watcherd.tar ]; then
          cd /usr/src/watcherd
          python3 -m venv /opt/watcherd
          pip install --quiet --require-hashes -r locks/run.txt -r locks/build.txt
          pip install --quiet --no-deps --no-build-isolation .
          tar -C /opt -cf /opt/watcherd.tar watcherd
        fi
        if [ ! -e /opt/watcherd ]; then tar -C /opt -xf /opt/watcherd.tar; fi
    """,
        timeout=180,
    )
    return machine


@pytest.fixture
def installed(program):
    """Give the machine with the service, which is not started."""
    if not program.path("/etc/systemd/system/watcherd.service").exists():
        program.run("watcherd", "service", "install")
        program.run("systemctl", "disable", "--now", "watcherd")
    program.run("usermod", "--append", "--groups", "watcherd", "alice")
    return program


@pytest.fixture
def bare(program, site):
    """Give the machine without the service, and without a trace of one."""
    program.wait_for = site.wait_for
    program.mark()
    remove(program)
    yield program
    remove(program)


def remove(machine):
    """Remove the service with all that it had, but for its user."""
    machine.run(
        "bash",
        "-euc",
        """
        systemctl stop 'watcherd*'
        rm -rf /etc/systemd/system/{,*.wants/}watcherd* /etc/{sysusers,tmpfiles}.d/watcherd* /etc/watcherd
        rm -rf /var/lib/watcherd* /srv/watcherd* /data/*
        systemctl daemon-reload
        systemctl reset-failed
    """,
    )


@pytest.fixture
def login(machine):
    """Return a function that logs somebody in, and returns one that runs scripts as them; they may use sudo."""
    machine.run("install", "-m", "4755", "/usr/bin/setpriv", "/usr/bin/become")
    machine.write("/usr/bin/sudo", SUDO)
    machine.run("chmod", "755", "/usr/bin/sudo")

    def login(name):
        number = machine.run("id", "-u", name).stdout.strip()
        machine.run("install", "-d", "-o", name, "-m", "700", f"/run/user/{number}")
        machine.run("systemctl", "start", f"user@{number}")
        return lambda script: machine.shell(
            f"export HOME=~{name} XDG_RUNTIME_DIR=/run/user/{number}; cd; {script}", name
        )

    return login


@pytest.fixture
def service(installed, site):
    """Give the machine with a running service, whose folders are empty."""
    installed.wait_for = site.wait_for
    installed.configure()
    installed.mark()
    installed.systemctl("start")
    yield installed
    installed.systemctl("stop", check=False)
    installed.run(
        "sh",
        "-euc",
        """
        rm -rf /etc/systemd/system/watcherd.service.d /var/lib/watcherd/*
        systemctl daemon-reload
        systemctl reset-failed
        find /srv/watcherd -mindepth 2 -delete
    """,
    )
