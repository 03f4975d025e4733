"""What the service could not reach, or may not be given: refused before anything is written."""

import re

import pytest

from watcherd.install import places, reach
from watcherd.install.reach import Standing
from watcherd.model import Refused

HOST = places.of_system()
ALICE = 1000


def look(**standings):
    """Return what is asked how it stands with a path: all is root's and open, but for these."""
    exceptions = {path.replace("_", "/"): standing for path, standing in standings.items()}
    return lambda path: exceptions.get(path, Standing(0, is_open=True))


CLOSED = Standing(0, is_open=False)


@pytest.mark.parametrize("path", ["/home/ana/.venv/bin/watcherd", "/root/venv/bin/python3", "/run/user/1000/v"])
def test_a_program_that_the_sandbox_hides_is_refused(path):
    with pytest.raises(Refused, match=re.escape(path)):
        reach.require_program(["/opt/watcherd/bin/watcherd", path], "/opt/watcherd", look())


@pytest.mark.parametrize(
    ("closed", "mend"),
    [
        ("_opt", "chmod o+x /opt"),
        ("_opt_mine", "chmod -R o=rX /opt/mine"),
        ("_opt_mine_w", "chmod -R o=rX /opt/mine"),
    ],
)
def test_a_program_that_is_closed_to_the_service_is_refused_with_what_opens_it(closed, mend):
    with pytest.raises(Refused, match=re.escape(mend) + "$"):
        reach.require_program(["/opt/mine/w"], "/opt/mine", look(**{closed: CLOSED}))


def test_a_folder_that_the_sandbox_hides_is_refused():
    with pytest.raises(Refused, match="/home/ana/inbox"):
        reach.require_folders(["/home/ana/inbox"], look())


def test_a_folder_behind_a_closed_one_is_refused():
    with pytest.raises(Refused, match="chmod o\\+x /data/priv"):
        reach.require_folders(["/data/priv/in"], look(_data_priv=CLOSED))


def test_the_command_that_opens_a_folder_is_one_that_a_shell_understands():
    with pytest.raises(Refused, match=r"chmod o\+x '/data/our files'$"):
        reach.require_folders(["/data/our files/in"], lambda path: CLOSED if path == "/data/our files" else None)


def test_a_folder_that_is_itself_closed_is_not_refused_as_it_is_opened_to_the_service():
    reach.require_folders(["/data/in"], look(_data_in=CLOSED))


@pytest.mark.parametrize("inner", [None, Standing(0, is_open=True), Standing(ALICE + 1, is_open=True)])
def test_a_folder_in_somebody_s_own_is_refused_as_they_could_put_another_in_its_place(inner):
    with pytest.raises(Refused, match="/data/alice on the way to it"):
        reach.require_folders(
            ["/data/alice/in"], look(_data_alice=Standing(ALICE, is_open=True), _data_alice_in=inner)
        )


def test_a_folder_of_whom_the_one_around_it_belongs_to_is_not_refused():
    hers = Standing(ALICE, is_open=True)
    reach.require_folders(["/data/alice/in"], look(_data_alice=hers, _data_alice_in=hers))


@pytest.mark.parametrize("name", ["a\nb", "a\x7fb", "a\udcffb"])
def test_a_folder_that_a_configuration_cannot_name_is_refused(name):
    with pytest.raises(Refused, match="cannot be named"):
        reach.require_names([f"/data/{name}"])


def test_a_configuration_that_the_service_could_not_read_is_refused():
    with pytest.raises(Refused, match=r"chmod o=rX /etc/watcherd$"):
        reach.require_configuration(HOST, HOST.state, look(_etc_watcherd=CLOSED))


@pytest.mark.parametrize("state", [None, "/data/state", "/var/lib/watcherd-old"])
def test_a_ledger_that_the_service_would_not_keep_where_it_is_looked_for_is_refused(state):
    with pytest.raises(Refused, match='say state = "/var/lib/watcherd"'):
        reach.require_configuration(HOST, state, look())


def test_what_can_be_reached_is_not_refused():
    reach.require_program(["/opt/watcherd/bin/watcherd", "/homeless"], "/opt/watcherd", look())
    reach.require_folders(["/srv/watcherd/inbox", "/data/in"], lambda _: None)
    reach.require_names(["/data/[2024] ünïcode 😀"])
    reach.require_configuration(HOST, f"{HOST.state}/within", look())
