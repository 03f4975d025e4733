"""SIGKILL before any call that changes the disk, in a start, a recovery, a reload and a pruning: nothing is lost."""

import shutil
import signal
from contextlib import suppress

import pytest
from tests.system.account import hold_to_account, result_of, visible


@pytest.fixture
def hold(site, load):
    """Return what lets another run finish all, and requires that nothing was lost or done twice."""

    def finish_and_hold():
        load.finish()
        hold_to_account(site, load.inputs, "archive")

    return finish_and_hold


def test_a_kill_before_any_call_of_the_very_first_run_loses_nothing(site, cut, load, hold):
    def anew():
        for root in (site.state, site.outbox, site.archive, site.failed, site.inbox / ".watcherd"):
            shutil.rmtree(root, ignore_errors=True)
        site.outbox.mkdir()
        load.inputs.clear()
        site.daemons.clear()
        load.add(texts=1)

    cut.everywhere(load.run, prepare=anew, hold=hold)


def test_a_kill_before_any_call_of_an_init_leaves_a_whole_configuration_or_none(site, cut):
    there, whole = site.base / "there", site.base / "whole"
    configuration = there / "watcherd.toml"
    assert site.command("init", whole).returncode == 0

    def init(prefix):
        return site.daemon("init", there, prefix=prefix).spawn()

    def hold():
        if not configuration.exists():
            assert site.command("init", there).returncode == 0
        assert configuration.read_bytes() == (whole / "watcherd.toml").read_bytes()
        assert not [*there.glob(".*")]

    cut.everywhere(init, prepare=lambda: shutil.rmtree(there, ignore_errors=True), hold=hold)


@pytest.mark.parametrize("first", ["renameat2 outbox/.watcherd/#-#-#-#", "renameat2 inbox/#/text-#.txt"])
def test_a_kill_before_any_call_of_a_recovery_loses_nothing_and_does_nothing_twice(site, cut, load, hold, first):
    load.begin()

    def cut_short():
        load.add()
        cut.once(load.run, first, 2)
        assert site.daemons[-1].was_killed

    cut.everywhere(load.run, prepare=cut_short, hold=hold)


def test_a_kill_before_any_call_of_a_run_that_reloads_loses_nothing_and_does_nothing_twice(site, cut, load, hold):
    load.begin()

    def reload(daemon):
        load.configure(text={"workers": 1, "timeout": f"{100 + len(site.daemons)}s"})
        with suppress(ProcessLookupError):  # it was killed as early as that
            daemon.send(signal.SIGHUP)

    def run(prefix):
        return load.run_until(lambda: load.is_done() and site.daemons[-1].events("daemon.reloaded"), prefix, reload)

    cut.everywhere(run, prepare=load.add, hold=hold)


def test_a_kill_before_any_call_of_a_pruning_forgets_what_is_gone_and_nothing_else(site, cut, load):
    site.drop("bad.txt", bytes(3000))

    def have_rows():
        load.configure()
        load.add()
        load.run_until(lambda: not site.left()).process.wait()
        load.configure(ledger={"history": "100ms"})

    def is_pruned():
        return [state for (state,) in site.rows("state")] == ["quarantined"]

    def hold():
        load.run_until(is_pruned).process.wait()
        assert visible(site.outbox) == sorted(map(result_of, load.inputs))
        assert visible(site.archive) == sorted(load.inputs)
        assert visible(site.failed) == ["bad.txt", "bad.txt.error.json"]
        assert not site.drafts()
        site.audit()

    cut.everywhere(lambda prefix: load.run_until(is_pruned, prefix), prepare=have_rows, hold=hold)
