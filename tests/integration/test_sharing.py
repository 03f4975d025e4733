"""Two inboxes with a ledger each that share archive and failed, as those do that flags name in one folder."""

import pytest

from watcherd import audit, drain, failures, rebuild
from watcherd import settings as configuration


@pytest.fixture
def neighbours(tmp_path):
    """Give the settings of two inboxes side by side. The first set a file aside that was carried away since."""
    both = [_settings(tmp_path, name) for name in ("one", "two")]
    _set_aside(both[0], b"\0" * 300)
    for path in (tmp_path / "failed").glob("a.txt*"):
        path.rename(tmp_path / path.name)  # the inode lives on, and is not given to the next reason
    return both


def _settings(base, name):
    folders = {"inbox": base / name, "outbox": base / f"{name}-out", "state": base / f"{name}-state"}
    folders["inbox"].mkdir()
    folders["outbox"].mkdir()
    return configuration.load(folders, {"WATCHERD_INBOX__INBOX__SETTLE": "50ms"}, base)


def _set_aside(settings, content):
    (inbox,) = settings.inbox.values()
    (inbox.path / "a.txt").write_bytes(content)
    assert len(drain.drain(settings).quarantined) == 1


def test_what_another_s_daemon_set_aside_by_the_name_of_what_was_carried_away_is_not_listed_nor_found_wrong(
    neighbours,
):
    one, two = neighbours
    _set_aside(two, b"\0" * 400)
    assert failures.set_aside(one, pytest.fail) == []
    assert [row.path for row in failures.set_aside(two, pytest.fail)] == ["a.txt"]
    assert audit.audit(one).wrong == []
    assert audit.audit(one).collected == 1


def test_a_ledger_that_is_made_anew_knows_nothing_of_what_another_s_daemon_set_aside(neighbours):
    one, two = neighbours
    _set_aside(two, b"\0" * 400)
    (one.state / "ledger.db").write_bytes(b"damaged")
    (two.state / "ledger.db").write_bytes(b"damaged")
    for settings in neighbours:
        rebuild.mend(settings.state / "ledger.db", settings, lambda: None)
    assert failures.set_aside(one, pytest.fail) == []
    assert [row.path for row in failures.set_aside(two, pytest.fail)] == ["a.txt"]
