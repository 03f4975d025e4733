"""`watcherd service`, as far as it goes without systemd: the steps of a user's service, done in a home of its own."""

import errno
import os
import resource
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.integration.conftest import failing, limited

from watcherd.cli import service, standing
from watcherd.install import places


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give a home, and in it a `systemctl` that notes what it is told and ends with the status in a file."""
    for name in list(os.environ):
        if name.startswith(("WATCHERD_", "XDG_")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    program = home / "bin/systemctl"
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/told\nexit $(cat {tmp_path}/status)\n')
    program.chmod(0o755)
    (tmp_path / "status").write_text("0")
    (tmp_path / "told").touch()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{home}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(service, "_BOOTED", str(tmp_path))
    (tmp_path / "run/systemd").mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.chdir(home)
    unit, configuration = home / ".config/systemd/user/watcherd.service", home / ".config/watcherd/watcherd.toml"
    return SimpleNamespace(path=home, unit=unit, configuration=configuration, told=tmp_path / "told", base=tmp_path)


@pytest.fixture
def watcherd(home, called):  # noqa: ARG001 (it runs there)
    """Run the command."""
    return partial(called, "service")


def files(home):
    return sorted(str(path) for path in home.path.rglob("*"))


def test_a_user_s_service_is_written_and_started(home, watcherd):
    status, out, err = watcherd("install", "--user")
    assert (status, err) == (0, "")
    steps = ["write", *["make"] * 4, "write", *["run"] * 3, "note"]
    assert [line.split()[0] for line in out.splitlines()] == steps
    assert f"ExecStart={Path(sys.prefix)}/bin/watcherd --config" in home.unit.read_text("utf-8")
    assert (home.path / "watcherd/inbox").is_dir()
    assert home.told.read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable watcherd.service",
        "--user restart watcherd.service",
    ]


def test_once_more_keeps_everything(home, watcherd):
    watcherd("install", "--user")
    home.configuration.write_text(home.configuration.read_text("utf-8") + "# mine\n", "utf-8")
    _, out, _ = watcherd("install", "--user")
    assert {line.split()[0] for line in out.splitlines()} == {"keep", "run", "note"}
    assert home.configuration.read_text("utf-8").endswith("# mine\n")
    assert home.told.read_text().splitlines()[-1] == "--user start watcherd.service"


def test_a_dry_run_tells_the_same_steps_and_does_none(home, watcherd):
    before = files(home)
    _, told, _ = watcherd("install", "--user", "--dry-run")
    assert files(home) == before
    assert not home.told.read_text()
    _, done, _ = watcherd("install", "--user")
    steps = [line for line in done.splitlines() if not line.startswith("note")]
    assert [line for line in told.splitlines() if not line.startswith("note")] == [f"would {step}" for step in steps]


def test_removing_it_leaves_all_but_the_unit(home, watcherd):
    watcherd("install", "--user")
    before = files(home)
    status, out, _ = watcherd("uninstall", "--user")
    assert status == 0
    assert set(before) - set(files(home)) == {str(home.unit)}
    assert f"keep    {home.configuration}" in out


def test_where_there_is_none_that_is_said(watcherd):
    status, out, _ = watcherd("uninstall", "--user")
    assert (status, out) == (0, "note    there is no service of `watcherd service install` to remove\n")


def test_a_step_that_fails_ends_it_and_says_where_to_look(home, watcherd):
    (home.base / "status").write_text("3")
    status, _, err = watcherd("install", "--user")
    assert status == 1
    assert err.startswith("watcherd: systemctl --user daemon-reload failed with status 3: `journalctl --user")
    assert home.told.read_text() == "--user daemon-reload\n"


def test_a_place_that_cannot_be_written_to_is_named(home, watcherd):
    (home.path / ".config").write_text("a file")
    status, _, err = watcherd("install", "--user")
    assert status == 1
    assert f"{home.path}/.config" in err


def test_a_place_that_cannot_be_read_is_named_with_what_to_do(home, watcherd):
    home.unit.mkdir(parents=True)
    said = f"watcherd: {home.unit} cannot be read: Is a directory; mend that, and come again\n"
    assert watcherd("install", "--user") == (1, "", said)


def test_a_file_that_does_not_fit_is_named_and_written_by_the_next_attempt(home, watcherd):
    with limited(resource.RLIMIT_FSIZE, 1000):
        status, _, err = watcherd("install", "--user")
    assert (status, err) == (1, f"watcherd: {home.configuration}: File too large; mend that, and come again\n")
    _, out, _ = watcherd("install", "--user")
    assert f"write   {home.configuration}" in out
    assert [*home.configuration.parent.iterdir()] == [home.configuration]


def test_a_file_has_its_name_once_it_is_on_disk(home, watcherd, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    status, _, err = watcherd("install", "--user")
    assert (status, err) == (1, f"watcherd: {home.configuration}: Input/output error; mend that, and come again\n")
    assert [*home.configuration.parent.iterdir()] == []


def test_without_systemd_nothing_is_written(home, watcherd, monkeypatch):
    monkeypatch.setattr(service, "_BOOTED", str(home.base / "none"))
    before = files(home)
    status, _, err = watcherd("install", "--user")
    assert status == 1
    assert "does not run systemd" in err
    assert files(home) == before


def test_folders_that_were_chosen_are_in_the_configuration_and_not_changed_later(home, watcherd):
    chosen = ("--inbox", home.path / "in", "--outbox", home.path / "results/out")
    assert watcherd("install", "--user", *chosen)[0] == 0
    assert (home.path / "results/archive").is_dir()
    assert watcherd("install", "--user", *chosen)[0] == 0
    status, _, err = watcherd("install", "--user", "--inbox", home.path / "other", "--outbox", home.path / "out")
    assert status == 1
    assert f"{home.configuration} is there already" in err


def test_a_tilde_in_what_the_service_is_given_is_the_home_folder(home, called):
    assert called("service", "install", "--user", "--inbox=~/in", "--outbox=~/out")[0] == 0
    assert (home.path / "in").is_dir()
    config = f"--config=~/{home.configuration.relative_to(home.path)}"
    assert called(config, "service", "install", "--user", "--inbox=~/in", "--outbox=~/out")[0] == 0


def test_a_configuration_that_is_wrong_is_told_first(home, watcherd):
    home.configuration.parent.mkdir(parents=True)
    home.configuration.write_text("[imgae]\n")
    status, _, err = watcherd("install", "--user")
    assert status == 2
    assert "imgae" in err
    assert not home.unit.exists()


@pytest.mark.parametrize("name", ["a/b", "inbox", "lock", "a" * 201])
def test_a_name_that_cannot_be_is_wrong_usage(watcherd, name):
    assert watcherd("install", "--dry-run", "--name", name)[0] == 2


def test_a_user_has_one_service_and_gives_it_no_name(watcherd):
    assert watcherd("install", "--user", "--name", "photos")[0] == 2


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_configuration_that_is_named_by_its_file_is_wrong_usage_and_touches_no_other_service(home, called, command):
    status, _, err = called("--config", home.base / "photos.toml", "service", command, "--user")
    assert (status, "--name NAME" in err) == (2, True)
    assert not home.told.read_text()


def test_the_configuration_that_a_service_reads_may_be_named(home, called):
    status, out, _ = called("--config", home.configuration, "service", "install", "--user", "--dry-run")
    assert (status, str(home.configuration) in out) == (0, True)


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_root_writes_and_removes_nothing_where_another_user_s_links_may_lead(home, watcherd, monkeypatch, command):
    if os.geteuid() == 0:
        os.chown(home.path, 65534, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    before = files(home)
    status, _, err = watcherd(command, "--user")
    assert (status, err.count("\n")) == (1, 1)
    assert "belongs to another user" in err
    assert files(home) == before


# What the service could not reach ----------------------------------------------------------------------------------


def stands(path, mode):
    """Return whether the service may read the file, or enter the folder, that has this mode."""
    path.chmod(mode)
    return standing.look(str(path)).is_open


def test_what_others_may_enter_or_read_is_open(home):
    assert stands(home.path, 0o701)
    assert not stands(home.path, 0o750)
    (home.path / "file").touch()
    assert stands(home.path / "file", 0o604)
    assert not stands(home.path / "file", 0o640)
    assert standing.look(str(home.path / "none")) is None


def test_what_the_service_s_own_user_or_group_may_read_is_open_to_it(home, monkeypatch):
    us = home.path.stat()
    monkeypatch.setattr(standing.pwd, "getpwnam", lambda _: SimpleNamespace(pw_uid=us.st_uid + 1))
    monkeypatch.setattr(standing.grp, "getgrnam", lambda _: SimpleNamespace(gr_gid=us.st_gid))
    assert stands(home.path, 0o710)
    monkeypatch.setattr(standing.pwd, "getpwnam", lambda _: SimpleNamespace(pw_uid=us.st_uid))
    assert stands(home.path, 0o700)
    assert not stands(home.path, 0o017)


def test_without_a_manager_of_this_user_s_services_nothing_is_written(home, watcherd, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home.base / "none"))
    before = files(home)
    status, _, err = watcherd("install", "--user")
    assert (status, err.count("\n")) == (1, 1)
    assert "log in as that user" in err
    assert files(home) == before


def test_without_a_home_a_user_s_service_is_wrong_usage(watcherd, monkeypatch):
    monkeypatch.delenv("HOME")
    status, _, err = watcherd("install", "--user")
    assert status == 2
    assert "$HOME" in err


def test_an_environment_without_the_command_is_refused(home, watcherd, monkeypatch):
    monkeypatch.setattr(service, "_command", lambda: f"{home.path}/bin/none")
    status, _, err = watcherd("install", "--user")
    assert status == 1
    assert f"there is no {home.path}/bin/none" in err
    assert not home.unit.exists()


def test_somebody_s_own_file_in_any_encoding_is_kept(home, watcherd):
    home.unit.parent.mkdir(parents=True)
    home.unit.write_bytes(b"# \xff theirs\n")
    assert watcherd("install", "--user")[0] == 0
    assert home.unit.read_bytes() == b"# \xff theirs\n"


def test_folders_behind_a_link_are_written_as_what_they_are(home, watcherd):
    (home.path / "real").mkdir()
    (home.path / "link").symlink_to("real")
    assert watcherd("install", "--user", "--inbox", home.path / "link/in", "--outbox", home.path / "out")[0] == 0
    assert f'path = "{home.path}/real/in"' in home.configuration.read_text("utf-8")


def test_a_folder_whose_name_is_no_text_is_refused(home, watcherd):
    status, _, err = watcherd("install", "--user", "--inbox", home.path / "a\udcff", "--outbox", home.path / "out")
    assert (status, err.count("\n")) == (1, 1)
    assert "cannot be named in a configuration" in err
    assert not home.unit.exists()


def test_what_only_begins_like_one_of_ours_is_none_of_our_services(home):
    units = home.path / "units"
    (units / "multi-user.target.wants").mkdir(parents=True)
    for name in ("watcherd", "watcherd@photos", "watcherd-exporter"):
        (units / f"multi-user.target.wants/{name}.service").touch()
    host = replace(places.of_user(str(home.path), {}), units=str(units))
    assert service._facts(host).enabled == {"watcherd", "watcherd@photos"}  # noqa: SLF001 (what is done with it is tried in a machine of its own)
