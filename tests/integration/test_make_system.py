"""`make .venv/.system`: the tools that faults are made with, by an `apt-get` of ours that notes what it is told."""

import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"
MAKE = shutil.which("make")
#: As the Makefile has them, and what it asks beside them.
TOOLS = [
    *("strace", "setpriv", "taskset", "chattr", "mkfs.xfs", "mkfs.btrfs", "bindfs", "faketime", "systemctl"),
    *("journalctl", "useradd", "pgrep", "ldconfig", "grep"),
]


@pytest.fixture
def machine(tmp_path):
    """Give a machine that has every tool, and whose `apt-get` ends with a status."""
    programs = tmp_path / "bin"
    programs.mkdir()

    def program(name, line):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)

    for tool in TOOLS:
        program(tool, "exit 0")
    (programs / "touch").symlink_to(shutil.which("touch"))
    told = tmp_path / "told"

    def make(apt_get=0, **environment):
        program("apt-get", f'echo "$*" >> {told}; exit {apt_get}')
        return subprocess.run(
            [MAKE, "-f", MAKEFILE, f"VENV={tmp_path}", f"{tmp_path}/.system"],
            env={"PATH": str(programs), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return SimpleNamespace(programs=programs, told=told, made=tmp_path / ".system", make=make)


def test_where_every_tool_is_nothing_is_installed(machine):
    if subprocess.run(["/usr/bin/python3", "-c", "import ensurepip"], check=False, capture_output=True).returncode:
        pytest.skip("python3-venv is not installed")
    assert machine.make().returncode == 0
    assert machine.made.exists()
    assert not machine.told.exists()


@pytest.mark.parametrize("tool", ["strace", "pgrep"])
def test_where_a_tool_is_missing_all_are_installed(machine, tool):
    os.unlink(machine.programs / tool)
    assert machine.make().returncode == 0
    assert machine.made.exists()
    assert "install" in machine.told.read_text()


def test_where_they_cannot_be_installed_that_is_said_and_tests_go_on(machine):
    os.unlink(machine.programs / "strace")
    done = machine.make(apt_get=100)
    assert (done.returncode, done.stdout) == (0, "some tools are missing: tests that need them are skipped\n")
    assert not machine.made.exists()  # and tried again


def test_where_all_are_required_it_fails(machine):
    os.unlink(machine.programs / "strace")
    assert machine.make(apt_get=100, REQUIRE_ALL="1").returncode != 0
