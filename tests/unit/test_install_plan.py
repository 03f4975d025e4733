"""What is done to install the service and to remove it: decided without touching anything."""

import tomllib

import pytest

from watcherd.install import places, plan
from watcherd.install.places import Folders
from watcherd.install.plan import Facts, Keep, Make, Remove, Run, Write
from watcherd.install.unit_files import MARK

COMMAND = "/opt/words and pictures/bin/watcherd"
SYSTEM = places.of_system()
PHOTOS = places.of_system("photos")
USER = places.of_user("/home/ana", {})
UNIT = f"{SYSTEM.units}/watcherd.service"
ELSEWHERE = [Folders.under("/data/scans")]


def facts(host, files=None, enabled=(), *, is_there=False):
    there = {host.configuration, host.state, *host.folders} if is_there else set()
    return Facts(dict.fromkeys(host.files) | (files or {}), frozenset(enabled), there)


def install(host=SYSTEM, inboxes=None, files=None, **others):
    return plan.install(host, COMMAND, inboxes or [host.folders], facts(host, files, **others))


def installed(host=SYSTEM, inboxes=None, files=None):
    """Return what is in the files once it is installed."""
    return after(install(host, inboxes, files), facts(host, files).files)


def written(steps):
    return {step.path: step.content for step in steps if isinstance(step, Write)}


def removed(steps):
    return {step.path for step in steps if isinstance(step, Remove)}


def after(steps, files):
    """Return what is in the files once the steps are done."""
    return {**files, **written(steps), **dict.fromkeys(removed(steps))}


def commands(steps):
    return [" ".join(step.command) for step in steps if isinstance(step, Run)]


# Install -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [SYSTEM, USER], ids=["system", "user"])
def test_what_is_installed_is_not_written_again_nor_restarted(host):
    again = install(host, files=installed(host), enabled=["watcherd"], is_there=True)
    assert not [step for step in again if isinstance(step, (Write, Make, Remove))]
    assert commands(again)[-1].endswith(" start watcherd.service")


def test_what_has_changed_since_is_written_and_started_anew():
    again = install(files=installed() | {UNIT: MARK + "of an older version"})
    assert set(written(again)) == {UNIT}
    assert commands(again)[-1] == "systemctl restart watcherd.service"


def test_the_units_are_written_once_all_that_could_fail_before_is_done():
    steps = install(inboxes=ELSEWHERE)
    order = [step.path if isinstance(step, Write) else step.command[0] for step in steps]
    units = [path for path in SYSTEM.files if path.startswith(SYSTEM.units)]
    assert order.index("systemd-tmpfiles") < min(map(order.index, units))


def test_a_unit_that_several_have_in_common_is_new_to_each_that_runs():
    older = {f"{SYSTEM.units}/watcherd@.service": MARK + "of an older version"}
    steps = install(files=installed() | older, enabled=["watcherd", "watcherd@photos", "watcherd@a"])
    assert "systemctl try-restart watcherd@a.service watcherd@photos.service" in commands(steps)


def test_what_is_one_s_own_disturbs_no_other():
    steps = install(inboxes=ELSEWHERE, files=installed(), enabled=["watcherd", "watcherd@photos"])
    assert set(written(steps)) == {SYSTEM.drop_in, SYSTEM.tmpfiles}
    assert not [command for command in commands(steps) if "try-restart" in command]


def test_a_drop_in_that_is_not_wanted_any_more_is_removed_and_the_service_started_without():
    steps = install(files=installed(inboxes=ELSEWHERE))
    assert removed(steps) == {SYSTEM.drop_in}
    assert commands(steps)[-1] == "systemctl restart watcherd.service"


def test_somebody_s_own_drop_in_of_that_name_is_left_alone():
    assert not removed(install(files=installed() | {SYSTEM.drop_in: "theirs"}))


def test_one_of_several_has_its_own_and_shares_the_unit():
    steps = install(PHOTOS, files={path: installed()[path] for path in SYSTEM.common}, enabled=["watcherd"])
    assert set(written(steps)) == {PHOTOS.tmpfiles, PHOTOS.configuration}
    assert tomllib.loads(written(steps)[PHOTOS.configuration])["state"] == "/var/lib/watcherd/photos"
    assert commands(steps)[-1] == "systemctl restart watcherd@photos.service"


def test_a_user_gets_folders_where_they_are_missing_and_no_account():
    steps = install(USER)
    assert [step.path for step in steps if isinstance(step, Make)] == list(USER.folders)
    assert not [command for command in commands(steps) if not command.startswith("systemctl --user ")]


def test_a_user_s_own_places_are_kept_to():
    host = places.of_user("/home/ana", {"XDG_CONFIG_HOME": "/data/etc", "XDG_STATE_HOME": "not/absolute"})
    assert host.units == "/data/etc/systemd/user"
    assert host.state == "/home/ana/.local/state/watcherd"


# Uninstall ---------------------------------------------------------------------------------------------------------


def uninstall(host, files, enabled=(), *, is_there=True):
    return plan.uninstall(host, facts(host, files, enabled, is_there=is_there))


@pytest.mark.parametrize("host", [SYSTEM, USER], ids=["system", "user"])
def test_removing_stops_it_first_and_leaves_configuration_and_ledger(host):
    found = installed(host)
    steps = uninstall(host, found, ["watcherd"])
    assert isinstance(steps[0], Run)
    assert "stop" in steps[0].command
    assert {path for path, content in after(steps, found).items() if content is not None} == {host.configuration}
    assert steps[-2:] == [Keep(host.configuration), Keep(host.state)]


def test_what_somebody_made_their_own_is_kept_and_not_removed():
    found = installed() | {SYSTEM.tmpfiles: "theirs", SYSTEM.configuration: "theirs too"}
    assert not written(install(files=found))
    assert removed(uninstall(SYSTEM, found)) == set(SYSTEM.common)


def test_what_services_have_in_common_goes_with_the_last_of_them():
    files = installed(PHOTOS, files=installed()) | installed()
    assert removed(uninstall(SYSTEM, files, ["watcherd", "watcherd@photos"])) == {SYSTEM.tmpfiles}
    assert removed(uninstall(PHOTOS, files, ["watcherd", "watcherd@photos"])) == {PHOTOS.tmpfiles}
    assert removed(uninstall(PHOTOS, files, ["watcherd@photos"])) == {PHOTOS.tmpfiles, *PHOTOS.common}


def test_only_the_last_one_stops_what_was_started_by_hand():
    assert "watcherd@*" not in commands(uninstall(SYSTEM, installed(), ["watcherd", "watcherd@photos"]))[0]
    assert "watcherd@*" in commands(uninstall(SYSTEM, installed(), ["watcherd"]))[0]


@pytest.mark.parametrize("host", [SYSTEM, USER], ids=["system", "user"])
def test_a_removal_that_was_cut_short_is_finished_by_the_next(host):
    found = installed(host)
    steps = uninstall(host, found, ["watcherd"])
    for done in range(len(steps)):
        files = after(steps[:done], found)
        left = after(uninstall(host, files), files)
        assert {path for path, content in left.items() if content is not None} == {host.configuration}


def test_to_stop_what_is_gone_already_is_no_error():
    (stop, *_) = uninstall(SYSTEM, installed())
    assert (stop.command[1], stop.tolerated) == ("stop", 5)


def test_where_nothing_is_nothing_is_removed():
    assert uninstall(SYSTEM, {UNIT: "somebody else's"}) == []


def test_a_name_that_no_service_has_removes_nothing():
    assert uninstall(places.of_system("nosuch"), {path: installed()[path] for path in SYSTEM.common}) == []


def test_what_is_not_there_is_not_said_to_be_kept():
    assert not [step for step in uninstall(SYSTEM, installed(), is_there=False) if isinstance(step, Keep)]
