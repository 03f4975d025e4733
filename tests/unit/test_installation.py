"""What is done to install the service and to remove it: decided without touching anything."""

import re
import tomllib
from pathlib import Path

import pytest

from watcherd import settings
from watcherd.model import Refused
from watcherd.service import installation
from watcherd.service.installation import MARK, Folders, Keep, Make, Remove, Run, Write

ROOT = Path(__file__).parents[2]
COMMAND = "/opt/words and pictures/bin/watcherd"
SYSTEM = installation.of_system()
PHOTOS = installation.of_system("photos")
USER = installation.of_user({"HOME": "/home/ana"})
USUAL = [SYSTEM.folders]
UNIT = f"{SYSTEM.units}/watcherd.service"


def nothing(host=SYSTEM):
    return dict.fromkeys(installation.files(host))


def install(host=SYSTEM, inboxes=USUAL, found=None, *, is_there=False):
    return installation.install(host, COMMAND, inboxes, found or nothing(host), lambda _: is_there)


def written(steps):
    return {step.path: step.content for step in steps if isinstance(step, Write)}


def after(steps, found):
    """Return what is in the files once the steps are done."""
    removed = {step.path: None for step in steps if isinstance(step, Remove)}
    return found | written(steps) | removed


def commands(steps):
    return [" ".join(step.command) for step in steps if isinstance(step, Run)]


@pytest.mark.parametrize("host", [SYSTEM, USER], ids=["system", "user"])
def test_what_is_installed_is_not_written_again_nor_restarted(host):
    inboxes = [host.folders]
    found = after(install(host, inboxes), nothing(host))
    again = install(host, inboxes, found, is_there=True)
    assert not [step for step in again if isinstance(step, (Write, Make))]
    assert commands(again)[-1] == " ".join((*host.systemctl, "start", "watcherd.service"))


def test_what_has_changed_since_is_written_and_started_anew():
    found = after(install(), nothing())
    again = install(found=found | {UNIT: MARK + "of an older version"})
    assert set(written(again)) == {UNIT}
    assert commands(again)[-1] == "systemctl restart watcherd.service"


def test_what_somebody_made_their_own_is_kept_and_not_removed():
    found = after(install(), nothing()) | {SYSTEM.tmpfiles: "theirs", SYSTEM.configuration: "theirs too"}
    assert not written(install(found=found))
    removed = {step.path for step in installation.uninstall(SYSTEM, found) if isinstance(step, Remove)}
    assert removed == {UNIT, f"{SYSTEM.units}/watcherd@.service", SYSTEM.sysusers}


@pytest.mark.parametrize("host", [SYSTEM, USER], ids=["system", "user"])
def test_removing_stops_it_first_and_leaves_configuration_and_ledger(host):
    found = after(install(host, [host.folders]), nothing(host))
    steps = installation.uninstall(host, found)
    assert isinstance(steps[0], Run)
    assert "stop" in steps[0].command
    left = {path for path, content in after(steps, found).items() if content is not None}
    assert left == {host.configuration}
    assert {Keep(host.configuration), Keep(host.state)} <= set(steps)


def test_one_of_several_has_its_own_and_shares_the_unit():
    found = after(install(), nothing())
    steps = install(PHOTOS, [PHOTOS.folders], nothing(PHOTOS) | {path: found.get(path) for path in found})
    assert set(written(steps)) == {"/etc/tmpfiles.d/watcherd@photos.conf", "/etc/watcherd/photos.toml"}
    assert tomllib.loads(written(steps)[PHOTOS.configuration])["state"] == "/var/lib/watcherd/photos"
    assert commands(steps)[-1] == "systemctl restart watcherd@photos.service"
    removing = installation.uninstall(PHOTOS, found | after(steps, nothing(PHOTOS)) | found)
    assert [step.path for step in removing if isinstance(step, Remove)] == ["/etc/tmpfiles.d/watcherd@photos.conf"]
    assert commands(removing)[0] == "systemctl stop watcherd@photos.service"


def test_where_nothing_is_nothing_is_removed():
    assert installation.uninstall(SYSTEM, nothing() | {UNIT: "somebody else's"}) == []


def test_the_unit_runs_the_program_that_installs_it():
    unit = written(install())[UNIT]
    assert f'ExecStart="{COMMAND}" --config' in unit
    assert "/opt/watcherd" not in unit


@pytest.mark.parametrize(
    ("path", "quoted"),
    [
        ("/opt/a-b_c.1", "/opt/a-b_c.1"),
        ("/a b", '"/a b"'),
        ('/a"b', r'"/a\"b"'),
        ("/a\\b", r'"/a\\b"'),
        ("/50%", "/50%%"),
    ],
)
def test_a_path_is_written_as_systemd_reads_it(path, quoted):
    unit = installation.install(SYSTEM, path, USUAL, nothing())[0].content
    assert f"ExecStart={quoted} --config" in unit


def test_the_configuration_is_the_example_with_our_folders_and_state():
    folders = Folders("/data/a b", '/data/"out"', "/data/arc\\hive", "/data/failed")
    text = written(install(inboxes=[folders]))[SYSTEM.configuration]
    found = tomllib.loads(text)
    assert found["state"] == SYSTEM.state
    assert found["inbox"] == {
        "inbox": {
            "path": folders.inbox,
            "outbox": folders.outbox,
            "archive": folders.archive,
            "failed": folders.failed,
        }
    }
    assert [line.lstrip("# ").partition(" =")[0] for line in text.splitlines()] == [
        line.lstrip("# ").partition(" =")[0]
        for line in (ROOT / "config/watcherd.toml").read_text("utf-8").splitlines()
    ]


def test_the_configuration_is_one(tmp_path):
    path = tmp_path / "watcherd.toml"
    path.write_text(written(install())[SYSTEM.configuration], "utf-8")
    loaded = settings.load({}, {}, tmp_path, path)
    assert str(loaded.inbox["inbox"].path) == SYSTEM.folders.inbox


# Folders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folders", "opened"),
    [
        (SYSTEM.folders, []),
        (Folders.under("/data/scans"), ["/data/scans"]),
        (Folders.under("/data"), ["/data"]),
        (Folders.under("/mnt"), ["/mnt/inbox", "/mnt/outbox", "/mnt/archive", "/mnt/failed"]),
        (Folders("/in", "/data/a", "/data/b", "/data/c"), ["/in", "/data/a", "/data/b", "/data/c"]),
        (Folders("/data/in", "/srv/watcherd/a", "/srv/watcherd/b", "/srv/watcherd/c"), ["/data/in"]),
    ],
    ids=lambda it: it.inbox if isinstance(it, Folders) else "",
)  # fmt: skip
def test_the_sandbox_is_opened_for_one_folder_around_all_where_that_is_not_too_wide(folders, opened):
    drop_in = written(install(inboxes=[folders])).get(SYSTEM.drop_in, "")
    assert re.findall(r"(?m)^ReadWritePaths=(.*)$", drop_in) == opened


def test_every_inbox_of_the_configuration_gets_its_folders():
    inboxes = [SYSTEM.folders, Folders.under("/data/scans")]
    lines = written(install(inboxes=inboxes))[SYSTEM.tmpfiles].splitlines()
    made = [line.split()[1] for line in lines if line.startswith("d ")]
    assert made == [path for folders in inboxes for path in folders.all()]
    assert len([line for line in lines if line.startswith("# ")]) < 10


def test_a_user_gets_folders_where_they_are_missing_and_no_account():
    steps = install(USER, [USER.folders])
    assert [step.path for step in steps if isinstance(step, Make)] == list(Folders.under("/home/ana/watcherd").all())
    assert not [command for command in commands(steps) if not command.startswith("systemctl --user ")]


def test_a_user_s_own_places_are_kept_to():
    environment = {"HOME": "/home/ana", "XDG_CONFIG_HOME": "/data/etc", "XDG_STATE_HOME": "not/absolute"}
    host = installation.of_user(environment)
    assert host.units == "/data/etc/systemd/user"
    assert host.state == "/home/ana/.local/state/watcherd"


# What the service could not reach ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/home/ana/.venv/bin/watcherd", "/root/.pyenv/bin/python3", "/run/user/1000/v"])
def test_a_program_that_the_sandbox_hides_is_refused(path):
    with pytest.raises(Refused, match=re.escape(path)):
        installation.require_reachable(["/opt/watcherd/bin/watcherd", path], [], lambda _: None)


def test_a_program_behind_a_closed_folder_is_refused():
    with pytest.raises(Refused, match="chmod o\\+x /opt/mine"):
        installation.require_reachable(["/opt/mine/bin/watcherd"], [], lambda _: "/opt/mine")


def test_a_folder_that_the_sandbox_hides_is_refused():
    with pytest.raises(Refused, match="/home/ana/inbox"):
        installation.require_reachable([], ["/home/ana/inbox"], lambda _: None)


def test_what_can_be_reached_is_not_refused():
    installation.require_reachable(
        ["/opt/watcherd/bin/watcherd", "/homeless"], ["/srv/watcherd/inbox"], lambda _: None
    )
