"""`watcherd service`: what it installs, tells, refuses and leaves; and the README's section about it, typed."""

import json
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


def installed_files(machine):
    """Return what is left of an installation."""
    places = ("/etc/systemd", "/etc/sysusers.d", "/etc/tmpfiles.d")
    return machine.run("find", *places, "-name", "watcherd*").stdout


def drop(machine, name, inbox="/srv/watcherd/inbox", user="root"):
    """Rename a finished text into place; return its inode."""
    script = f"cd {inbox!r}; echo one two > .{name}; stat -c %i .{name}; mv .{name} {name}"
    return machine.shell(script, user).stdout


def await_result(machine, path):
    machine.wait_for(machine.path(f"{path}.words.json").exists, f"the result of {path}")


# The system's service ----------------------------------------------------------------------------------------------


def test_every_step_is_told_and_none_is_done_in_a_dry_run(bare):
    before = tree(bare, "/etc", "/srv", "/var/lib")
    told = bare.run("watcherd", "service", "install", "--dry-run").stdout.splitlines()
    assert tree(bare, "/etc", "/srv", "/var/lib") == before
    assert any(line.split()[:2] == ["u", "watcherd"] for line in told)
    assert any(line.split()[:3] == ["d", "/srv/watcherd/inbox", ":2770"] for line in told)
    done = bare.run("watcherd", "service", "install").stdout.splitlines()
    assert [line.removeprefix("would ") for line in told] == done
    assert state_of(bare) == "active"
    assert bare.run("systemctl", "is-enabled", "watcherd").stdout == "enabled\n"
    drop(bare, "a.txt")
    await_result(bare, "/srv/watcherd/outbox/a.txt")


def test_once_more_changes_nothing_and_disturbs_nobody(bare):
    bare.run("watcherd", "service", "install")
    bare.wait_for(lambda: bare.events("inbox.rescanned"), "an idle service")  # once ready it tries its folders
    before = bare.show("MainPID"), tree(bare, "/etc", "/srv")
    bare.run("watcherd", "service", "install")
    assert (bare.show("MainPID"), tree(bare, "/etc", "/srv")) == before


def test_a_umask_that_closes_all_to_others_closes_nothing_to_the_service(bare):
    bare.run("sh", "-euc", "umask 077; watcherd service install --inbox /data/a/inbox --outbox /data/a/outbox")
    assert state_of(bare) == "active"
    made = ("/etc/watcherd", "/etc/systemd/system/watcherd.service.d")
    assert bare.run("stat", "-c", "%a", *made).stdout == "755\n755\n"


def test_removing_it_leaves_configuration_ledger_user_and_files_for_the_next(bare):
    bare.run("watcherd", "service", "install")
    drop(bare, "a.txt")
    bare.wait_for(bare.path("/srv/watcherd/archive/a.txt").exists)
    bare.systemctl("stop")
    before = tree(bare, "/etc/watcherd", "/srv", "/var/lib/watcherd")
    bare.run("watcherd", "service", "uninstall")
    assert tree(bare, "/etc/watcherd", "/srv", "/var/lib/watcherd") == before
    assert installed_files(bare) == ""
    assert bare.run("watcherd", "service", "uninstall").stdout.startswith("note ")
    bare.run("id", "watcherd")
    bare.run("watcherd", "service", "install")
    drop(bare, "b.txt")
    await_result(bare, "/srv/watcherd/outbox/b.txt")


def test_a_removal_that_was_cut_short_is_finished_by_the_next_also_of_one_that_failed(bare):
    bare.run("watcherd", "service", "install")
    bare.systemctl("stop")
    bare.write(CONFIGURATION, "[imgae]\n")
    bare.systemctl("start", check=False)
    bare.run("sh", "-euc", "rm /etc/systemd/system/watcherd.service /etc/sysusers.d/watcherd.conf")
    bare.run("watcherd", "service", "uninstall")
    assert installed_files(bare) == ""
    assert bare.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "watcherd*").stdout == ""


def test_an_interpreter_that_a_service_cannot_reach_is_refused(bare):
    for home in ("/home/alice", "/root"):
        bare.run("rm", "-rf", f"{home}/venv")
        bare.run("/usr/bin/python3", "-m", "venv", "--without-pip", f"{home}/venv")
        (found,) = bare.path(f"{home}/venv/lib").glob("python3*")
        packages = f"lib/{found.name}/site-packages"
        bare.write(f"{home}/venv/{packages}/all.pth", f"/opt/watcherd/{packages}\n")
        bare.run("cp", "/opt/watcherd/bin/watcherd", f"{home}/venv/bin/")
        refused = refusal(bare, f"{home}/venv/bin/python", "-m", "watcherd", "service", "install")
        assert refused.startswith(f"watcherd: the service cannot reach {home}/venv/bin/")


def refusal(machine, *command):
    """Return the line with which a command refuses, having changed nothing."""
    before = tree(machine, "/etc", "/srv", "/data")
    refused = machine.run(*command, check=False)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1), refused
    assert tree(machine, "/etc", "/srv", "/data") == before
    return refused.stderr


def test_a_folder_that_the_service_could_not_have_is_refused_before_anything_is_written(bare):
    bare.shell("mkdir -m 700 /data/priv; install -d -o alice /data/alice")
    for inbox, said in (
        ("/data/priv/in", "chmod o+x /data/priv"),
        ("/data/alice/in", "/data/alice on the way to it belongs to another user"),
        ("/home/alice/in", "a service sees nothing in there"),
    ):
        assert said in refusal(bare, "watcherd", "service", "install", "--inbox", inbox, "--outbox", "/data/out")


def test_an_environment_that_is_closed_to_others_is_refused_with_what_opens_it(bare):
    bare.run("chmod", "o=", "/opt/watcherd/lib")
    assert "chmod -R o=rX /opt/watcherd\n" in refusal(bare, "watcherd", "service", "install")
    bare.run("chmod", "o=rX", "/opt/watcherd/lib")


def test_who_is_not_root_is_told_what_to_do_instead(bare):
    refused = bare.run("runuser", "-u", "alice", "--", "watcherd", "service", "install", check=False)
    assert refused.returncode == 1
    assert "with sudo, or with --user" in refused.stderr


def test_folders_elsewhere_are_opened_to_it_and_inputs_renamed_and_not_copied(bare):
    bare.shell("mkdir -p /data/scans/in; chown alice: /data/scans/in; chmod 755 /data/scans/in")
    bare.run("watcherd", "service", "install", "--inbox", "/data/scans/in", "--outbox", "/data/scans/out")
    inode = drop(bare, "a.txt", "/data/scans/in", "alice")
    await_result(bare, "/data/scans/out/a.txt")
    bare.wait_for(bare.path("/data/scans/archive/a.txt").exists)
    assert bare.run("stat", "-c", "%i", "/data/scans/archive/a.txt").stdout == inode
    assert bare.run("stat", "-c", "%U", "/data/scans/in").stdout == "alice\n"
    other = refusal(bare, "watcherd", "service", "install", "--inbox", "/data/b", "--outbox", "/data/c")
    assert f"{CONFIGURATION} is there already" in other


def test_an_inbox_that_is_a_link_to_a_folder_of_any_name_is_opened_to_it(bare):
    around = "/data/[2024] a %h b"
    bare.shell(f"mkdir -p '{around}/in'; ln -s '{around}/in' /data/link")
    bare.run("watcherd", "service", "install", "--inbox", "/data/link", "--outbox", f"{around}/out")
    bare.run("usermod", "--append", "--groups", "watcherd", "alice")
    drop(bare, "a.txt", "/data/link", "alice")
    await_result(bare, f"{around}/out/a.txt")
    bare.wait_for(bare.path(f"{around}/archive/a.txt").exists)


def test_the_folders_of_an_inbox_are_opened_once_it_is_added_and_forgotten_once_it_is_gone(bare):
    bare.run("watcherd", "service", "install")
    text = bare.path(CONFIGURATION).read_text("utf-8")
    bare.write(CONFIGURATION, f'{text}\n[inbox.more]\npath = "/data/more/in"\noutbox = "/data/more/out"\n')
    bare.run("watcherd", "service", "install")
    drop(bare, "a.txt", "/data/more/in")
    await_result(bare, "/data/more/out/a.txt")
    bare.write(CONFIGURATION, text)
    bare.run("rm", "-r", "/data/more")
    bare.run("watcherd", "service", "install")
    assert state_of(bare) == "active"
    assert not bare.path("/etc/systemd/system/watcherd.service.d").exists()


def test_several_stand_beside_each_other_and_come_and_go_by_themselves(bare):
    bare.run("watcherd", "service", "install")
    bare.run("watcherd", "service", "install", "--name", "photos")
    drop(bare, "a.txt", "/srv/watcherd/photos/inbox")
    await_result(bare, "/srv/watcherd/photos/outbox/a.txt")
    assert bare.path("/var/lib/watcherd/photos/ledger.db").exists()
    bare.systemctl("stop")
    assert bare.path("/run/watcherd@photos").exists()
    bare.run("watcherd", "service", "uninstall")
    assert (state_of(bare), state_of(bare, "watcherd@photos")) == ("inactive", "active")
    bare.systemctl("restart", "watcherd@photos")
    drop(bare, "b.txt", "/srv/watcherd/photos/inbox")
    await_result(bare, "/srv/watcherd/photos/outbox/b.txt")
    assert bare.run("watcherd", "service", "uninstall", "--name", "nosuch").stdout.startswith("note ")
    bare.run("watcherd", "service", "uninstall", "--name", "photos")
    assert (installed_files(bare), state_of(bare, "watcherd@photos")) == ("", "inactive")


def test_a_newer_unit_reaches_each_service_that_runs(bare):
    for name in ((), ("--name", "photos")):
        bare.run("watcherd", "service", "install", *name)
    before = bare.show("MainPID", "watcherd@photos")
    bare.run("sh", "-euc", "echo '# of an older version' >> /etc/systemd/system/watcherd@.service")
    bare.run("watcherd", "service", "install")
    assert state_of(bare, "watcherd@photos") == "active"
    assert bare.show("MainPID", "watcherd@photos") != before


def test_a_configuration_that_is_wrong_is_told_and_installs_nothing(bare):
    bare.write(CONFIGURATION, "[imgae]\n")
    before = tree(bare, "/etc", "/srv")
    refused = bare.run("watcherd", "service", "install", check=False)
    assert refused.returncode == 2
    assert "imgae" in refused.stderr
    assert tree(bare, "/etc", "/srv") == before


def test_a_configuration_that_leaves_the_ledger_elsewhere_is_refused(bare):
    bare.write(CONFIGURATION, '[inbox.a]\npath = "/data/a/in"\noutbox = "/data/a/out"\n')
    assert 'say state = "/var/lib/watcherd"' in refusal(bare, "watcherd", "service", "install")


def test_by_hand_it_is_installed_as_the_unit_says_and_folders_elsewhere_as_the_example_says(bare):
    bare.shell("""
        cd /usr/src/watcherd/systemd
        cp watcherd.service /etc/systemd/system/
        cp -r sysusers.d tmpfiles.d /etc/
        mkdir -p /etc/systemd/system/watcherd.service.d
        cp other-folders.conf /etc/systemd/system/watcherd.service.d/
    """)
    header = bare.path("/etc/systemd/system/watcherd.service").read_text("utf-8").partition("[Unit]")[0]
    (state,) = re.findall(r"state = \S+", header)
    (commands,) = re.findall(r"(?m)^# (systemd-sysusers .*)$", header)
    folders = "\n".join(f'{key} = "/data/scans/{key}"' for key in ("path", "outbox"))
    bare.write(CONFIGURATION, f"{state}\n[inbox.scans]\n{folders}\n")
    bare.shell("mkdir /data/scans; systemd-sysusers")
    bare.run(
        "install", "-d", "-o", "watcherd", *(f"/data/scans/{it}" for it in ("path", "outbox", "archive", "failed"))
    )
    bare.shell(commands)
    drop(bare, "a.txt", "/data/scans/path")
    await_result(bare, "/data/scans/outbox/a.txt")
    audited = bare.shell("HOME=/var/lib/watcherd watcherd audit --json", "watcherd").stdout
    assert json.loads(audited)["finished"] == 1


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


@pytest.fixture
def ana(bare, login):
    """Return what runs scripts as ana, who has the wheels that the README speaks of, and nothing else."""
    versions = sorted(set(re.findall(r"dist/watcherd-([\d.]+)-py3", "\n".join(typed()))))
    assert len(versions) == 2  # to install, and to upgrade to
    for version in versions:
        bare.shell(f"""
            rm -rf /tmp/source; mkdir /tmp/source; cd /usr/src/watcherd
            cp -r src config systemd pyproject.toml README.md LICENSE /tmp/source; cd /tmp/source
            sed -i 's/^__version__ = .*/__version__ = "{version}"/' src/watcherd/__init__.py
            pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /tmp/dist .
        """)
    bare.shell("useradd --create-home ana; mv /tmp/dist /home/ana/; rm -r /opt/watcherd")
    return login("ana")


def test_every_step_of_the_readme_works_as_it_is_written(bare, ana):
    commands = typed()
    assert len(commands) > 25
    for command in commands:
        done = ana(command)
        if installed := re.search(r"service install( --user)?(?: --name (\w+))?(?: *#|$)", command):
            user, name = installed.groups()
            unit = f"watcherd@{name}" if name else "watcherd"
            assert ana(f"systemctl {user or ''} is-active {unit}").stdout == "active\n"
        if command.startswith("sudo usermod"):
            ana("mkdir /srv/watcherd/inbox/sub; head -c 3000 /dev/zero > /srv/watcherd/inbox/sub/a.txt")
            bare.wait_for(lambda: bare.events("file.quarantined"), "its end")
        if re.match("journalctl|systemctl", command):
            assert done.stdout.strip(), command
        if "WATCHERD_EVENT=file.quarantined" in command:
            assert json.loads(done.stdout.splitlines()[-1])["WATCHERD_PATH"] == "sub/a.txt"
        if "--upgrade" in command:
            assert ana("/opt/watcherd/bin/watcherd --version").stdout.split()[-1] in command
    assert not [path for path in ("/opt", "/etc", "/var/lib", "/srv") if bare.path(f"{path}/watcherd").exists()]
    assert bare.run("getent", "group", "watcherd", check=False).stdout == ""
