"""What the files of an installation hold."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd import rooms, settings
from watcherd.install import places, unit_files
from watcherd.install.places import Folders
from watcherd.settings.units import duration

ROOT = Path(__file__).parents[2]
COMMAND = "/opt/words and pictures/bin/watcherd"
SYSTEM = places.of_system()
UNIT = f"{SYSTEM.units}/watcherd.service"

#: What a folder can be called that a configuration can name.
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=8)
FOLDERS = st.lists(NAMES, min_size=4, max_size=4, unique=True).map(
    lambda it: Folders(*(f"/data/{name}" for name in it))
)


def wanted(*inboxes, command=COMMAND):
    return unit_files.wanted(SYSTEM, command, inboxes or [SYSTEM.folders])


def values(text, key):
    return re.findall(rf"(?m)^{key}=(.*)$", text)


def test_the_unit_runs_the_program_that_installs_it():
    unit = wanted()[UNIT]
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
    assert f"ExecStart={quoted} --config" in wanted(command=path)[UNIT]


# The folders -------------------------------------------------------------------------------------------------------


def described(*inboxes):
    """Return the types and paths of tmpfiles.d, unquoted; each line is of seven fields at most."""
    lines = unit_files.effective(wanted(*inboxes)[SYSTEM.tmpfiles])
    return [tuple(shlex.split(line)[:2]) for line in lines]


def test_every_inbox_of_the_configuration_gets_its_folders():
    inboxes = [SYSTEM.folders, Folders.under("/data/scans")]
    assert [path for kind, path in described(*inboxes) if kind == "d"] == [it for one in inboxes for it in one]
    assert len([line for line in wanted(*inboxes)[SYSTEM.tmpfiles].splitlines() if line.startswith("# ")]) < 10


def test_a_folder_that_is_named_like_a_usual_one_is_not_mistaken_for_it():
    folders = Folders(
        "/srv/watcherd/outbox-old/in", "/srv/watcherd/results/out", "/srv/watcherd/a", "/srv/watcherd/b"
    )
    assert [path for kind, path in described(folders) if kind == "d"] == list(folders)


def test_a_folder_s_name_is_no_pattern():
    found = described(Folders.under("/data/[2024] a*b?"))
    assert ("d", "/data/[2024] a*b?/inbox") in found
    assert ("a+", r"/data/\[2024] a\*b\?/inbox") in found
    assert ("x", r"/data/\[2024] a\*b\?/archive/.watcherd") in found


# The sandbox -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folders", "opened"),
    [
        (SYSTEM.folders, []),
        (Folders.under("/data/scans"), ["/data/scans"]),
        (Folders.under("/data"), ["/data"]),
        (Folders.under("/mnt"), ["/mnt/inbox", "/mnt/outbox", "/mnt/archive", "/mnt/failed"]),
        (Folders.under("/var/lib"), [f"/var/lib/{it}" for it in ("inbox", "outbox", "archive", "failed")]),
        (Folders("/d/i/a", "/d/o/a", "/d/o/b", "/d/o/c"), ["/d/i/a", "/d/o/a", "/d/o/b", "/d/o/c"]),
        (Folders("/data/in", "/srv/watcherd/a", "/srv/watcherd/b", "/srv/watcherd/c"), ["/data/in"]),
    ],
    ids=lambda it: it.inbox if isinstance(it, Folders) else "",
)  # fmt: skip
def test_the_sandbox_is_opened_for_the_folder_that_holds_all_and_no_wider(folders, opened):
    drop_in = wanted(folders).get(SYSTEM.drop_in, "")
    assert values(drop_in, "ReadWritePaths") == [f"-{path}" for path in opened]


def test_what_is_opened_is_mounted_first():
    drop_in = wanted(Folders.under("/data/a b"))[SYSTEM.drop_in]
    assert values(drop_in, "RequiresMountsFor") == ['"/data/a b"']
    assert values(drop_in, "ReadWritePaths") == ['"-/data/a b"']


# The configuration -------------------------------------------------------------------------------------------------


@given(folders=FOLDERS)
def test_the_configuration_names_our_folders_whatever_they_are_called(folders):
    found = tomllib.loads(unit_files.configuration(folders, SYSTEM.state))
    assert found["state"] == SYSTEM.state
    assert tuple(found["inbox"]["inbox"][key] for key in ("path", "outbox", "archive", "failed")) == folders


def test_the_configuration_is_the_example_in_all_else():
    def keys(text):
        return [line.lstrip("# ").partition(" =")[0] for line in text.splitlines()]

    example = (ROOT / "config/watcherd.toml").read_text("utf-8")
    assert keys(unit_files.configuration(Folders.under("/data"), SYSTEM.state)) == keys(example)


def test_the_configuration_is_one(tmp_path):
    path = tmp_path / "watcherd.toml"
    path.write_text(unit_files.configuration(SYSTEM.folders, SYSTEM.state), "utf-8")
    loaded = settings.load({}, {}, tmp_path, path)
    assert str(loaded.inbox["inbox"].path) == SYSTEM.folders.inbox


@given(folders=FOLDERS)
def test_tmpfiles_are_given_our_folders_whatever_they_are_called(folders):
    for line in unit_files.effective(unit_files.wanted(SYSTEM, COMMAND, [folders])[SYSTEM.tmpfiles]):
        if line.startswith("d "):
            assert shlex.split(line.replace("%%", "%"))[1] in folders


# What the units say ------------------------------------------------------------------------------------------------


def said(name):
    """Return the lines of a unit that say something, each with its key."""
    lines = [line for line in unit_files.effective(unit_files.packed(name)) if "=" in line]
    return [tuple(line.split("=", 1)) for line in lines]


@pytest.mark.parametrize("name", ["watcherd.service", "watcherd@.service", "user/watcherd.service"])
def test_a_stop_may_take_longer_than_what_is_waited_for_in_it(name):
    (allowed,) = [value for key, value in said(name) if key == "TimeoutStopSec"]
    waited = settings.Settings.model_fields["stop_timeout"].default + rooms.LEAVE + rooms.FLUSH
    assert duration(allowed) > waited


@pytest.mark.parametrize("name", ["watcherd.service", "watcherd@.service", "user/watcherd.service"])
def test_a_reload_that_may_look_at_a_mount_that_hangs_has_a_limit(name):
    (looks, _) = [value for key, value in said(name) if key == "ExecReload"]
    assert re.fullmatch(r"/usr/bin/timeout --signal=KILL \d+ \S+/watcherd --config \S+ config", looks)


def test_a_user_s_unit_says_what_the_system_s_says_as_far_as_it_says_anything():
    different = [line for line in said("user/watcherd.service") if line not in said("watcherd.service")]
    assert {key for key, _ in different} == {"ExecStart", "ExecReload", "WantedBy"}
