"""`watcherd service`: what it installs, tells, refuses and leaves; and the README's section about it, typed."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)  # the first test also installs

README = (Path(__file__).parents[3] / "README.md").read_text("utf-8")
CONFIGURATION = "/etc/watcherd/watcherd.toml"


def tree(machine, *folders):
    """Return what lies in these folders: names, rights, owners, sizes and times."""
    return machine.run("find", *folders, "-printf", "%p %m %u:%g %s %T@\\n").stdout


def state_of(machine, unit="watcherd"):
    return machine.run("systemctl", "is-active", unit, check=False).stdout.strip()


def drop(machine, name, inbox="/srv/watcherd/inbox", user="root"):
    """Rename a finished text into place."""
    machine.shell(f"echo one two > {inbox}/.{name}; mv {inbox}/.{name} {inbox}/{name}", user)


def await_result(machine, path):
    machine.wait_for(machine.path(f"{path}.words.json").exists, f"the result of {path}")


# The system's service ----------------------------------------------------------------------------------------------


def test_every_step_is_told_and_none_is_done_in_a_dry_run(bare):
    before = tree(bare, "/etc", "/srv", "/var/lib")
    told = bare.run("watcherd", "service", "install", "--dry-run").stdout.splitlines()
    assert tree(bare, "/etc", "/srv", "/var/lib") == before
    done = bare.run("watcherd", "service", "install").stdout.splitlines()
    assert [f"would {line}" for line in done] == told
    assert state_of(bare) == "active"
    assert bare.run("systemctl", "is-enabled", "watcherd").stdout == "enabled\n"
    drop(bare, "a.txt")
    await_result(bare, "/srv/watcherd/outbox/a.txt")


def test_once_more_changes_nothing_and_disturbs_nobody(bare):
    bare.run("watcherd", "service", "install")
    before = bare.show("MainPID"), tree(bare, "/etc", "/srv")
    bare.run("watcherd", "service", "install")
    assert (bare.show("MainPID"), tree(bare, "/etc", "/srv")) == before


def test_removing_it_leaves_configuration_ledger_user_and_files_for_the_next(bare):
    bare.run("watcherd", "service", "install")
    drop(bare, "a.txt")
    bare.wait_for(bare.path("/srv/watcherd/archive/a.txt").exists)
    bare.systemctl("stop")
    before = tree(bare, "/etc/watcherd", "/srv", "/var/lib/watcherd")
    bare.run("watcherd", "service", "uninstall")
    assert tree(bare, "/etc/watcherd", "/srv", "/var/lib/watcherd") == before
    assert bare.run("find", "/etc/systemd", "/etc/sysusers.d", "/etc/tmpfiles.d", "-name", "watcherd*").stdout == ""
    bare.run("id", "watcherd")
    bare.run("watcherd", "service", "install")
    drop(bare, "b.txt")
    await_result(bare, "/srv/watcherd/outbox/b.txt")


@pytest.mark.parametrize("home", ["/home/alice", "/root"])
def test_an_interpreter_that_a_service_cannot_reach_is_refused(bare, home):
    bare.run("rm", "-rf", f"{home}/venv")
    bare.run("/usr/bin/python3", "-m", "venv", "--without-pip", f"{home}/venv")
    (found,) = bare.path(f"{home}/venv/lib").glob("python3*")
    bare.write(
        f"{home}/venv/lib/{found.name}/site-packages/all.pth", f"/opt/watcherd/lib/{found.name}/site-packages\n"
    )
    before = tree(bare, "/etc", "/srv")
    refused = bare.run(f"{home}/venv/bin/python", "-m", "watcherd", "service", "install", check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"watcherd: the service cannot reach {home}/venv/bin/")
    assert refused.stderr.count("\n") == 1
    assert tree(bare, "/etc", "/srv") == before


def test_who_is_not_root_is_told_what_to_do_instead(bare):
    refused = bare.run("runuser", "-u", "alice", "--", "watcherd", "service", "install", check=False)
    assert refused.returncode == 1
    assert "with sudo, or with --user" in refused.stderr


def test_folders_elsewhere_are_opened_to_it_and_inputs_renamed_and_not_copied(bare):
    bare.shell("mkdir -p /data/scans/in; chown alice: /data/scans/in; chmod 755 /data/scans/in")
    bare.run("watcherd", "service", "install", "--inbox", "/data/scans/in", "--outbox", "/data/scans/out")
    drop(bare, "a.txt", "/data/scans/in", "alice")
    inode = bare.run("stat", "-c", "%i", "/data/scans/in/a.txt").stdout
    await_result(bare, "/data/scans/out/a.txt")
    bare.wait_for(bare.path("/data/scans/archive/a.txt").exists)
    assert bare.run("stat", "-c", "%i", "/data/scans/archive/a.txt").stdout == inode
    assert bare.run("stat", "-c", "%U", "/data/scans/in").stdout == "alice\n"
    refused = bare.run("watcherd", "service", "install", "--inbox", "/data/b", "--outbox", "/data/c", check=False)
    assert refused.returncode == 1
    assert f"{CONFIGURATION} is there already" in refused.stderr


def test_the_folders_of_an_inbox_that_was_added_are_opened_with_the_next_install(bare):
    bare.run("watcherd", "service", "install")
    text = bare.path(CONFIGURATION).read_text("utf-8")
    bare.write(CONFIGURATION, f'{text}\n[inbox.more]\npath = "/data/more/in"\noutbox = "/data/more/out"\n')
    bare.run("watcherd", "service", "install")
    drop(bare, "a.txt", "/data/more/in")
    await_result(bare, "/data/more/out/a.txt")


def test_one_of_several_comes_and_goes_by_itself(bare):
    bare.run("watcherd", "service", "install")
    bare.run("watcherd", "service", "install", "--name", "photos")
    drop(bare, "a.txt", "/srv/watcherd/photos/inbox")
    await_result(bare, "/srv/watcherd/photos/outbox/a.txt")
    assert bare.path("/var/lib/watcherd/photos/ledger.db").exists()
    bare.run("watcherd", "service", "uninstall", "--name", "photos")
    assert (state_of(bare), state_of(bare, "watcherd@photos")) == ("active", "inactive")


def test_a_configuration_that_is_wrong_is_told_and_installs_nothing(bare):
    bare.write(CONFIGURATION, "[imgae]\n")
    before = tree(bare, "/etc", "/srv")
    refused = bare.run("watcherd", "service", "install", check=False)
    assert refused.returncode == 2
    assert "imgae" in refused.stderr
    assert tree(bare, "/etc", "/srv") == before


# A user's service --------------------------------------------------------------------------------------------------


def test_a_user_has_one_without_root(bare, login):
    alice = login("alice")
    alice("watcherd service install --user")
    verified = alice("systemd-analyze verify --user ~/.config/systemd/user/watcherd.service")
    assert verified.stderr == ""
    assert alice("systemctl --user is-active watcherd").stdout == "active\n"
    alice("echo one two > ~/watcherd/inbox/.a; mv ~/watcherd/inbox/.a ~/watcherd/inbox/a.txt")
    await_result(bare, "/home/alice/watcherd/outbox/a.txt")
    bare.wait_for(bare.path("/home/alice/watcherd/archive/a.txt").exists)
    alice("systemctl --user reload watcherd")
    alice("watcherd service uninstall --user")
    assert alice("systemctl --user is-active watcherd || true").stdout == "inactive\n"
    assert bare.path("/home/alice/watcherd/archive/a.txt").exists()
    assert bare.path("/home/alice/.config/watcherd/watcherd.toml").exists()


# The README --------------------------------------------------------------------------------------------------------


def typed():
    """Return the commands of the section, in their order."""
    section = README.partition("\n## As a service\n")[2].partition("\n## ")[0]
    lines = "".join(re.findall(r"```console\n(.*?)```", section, re.DOTALL)).splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def test_every_step_of_the_readme_works_as_it_is_written(bare, login):
    bare.shell("""
        useradd --create-home ana
        install -d -o ana /home/ana/dist
        pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /home/ana/dist /usr/src/watcherd
        rm -r /opt/watcherd
    """)
    ana = login("ana")
    for command in typed():
        ana(command)
        if installed := re.search(r"service install( --user)?(?: --name (\w+))?$", command):
            user, name = installed.groups()
            unit = f"watcherd@{name}" if name else "watcherd"
            assert ana(f"systemctl {user or ''} is-active {unit}").stdout == "active\n"
    assert not [path for path in ("/opt", "/etc", "/var/lib", "/srv") if bare.path(f"{path}/watcherd").exists()]
