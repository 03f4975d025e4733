"""SIGKILL before any call that changes the disk, on each way of a file: one right result, and retired once."""

from itertools import count

import pytest
from tests.system.account import hold_to_account, visible


def test_a_kill_before_any_call_on_the_way_of_a_file_loses_nothing_and_does_nothing_twice(site, cut, load, after):
    load.configure(inbox={"after": after})
    load.begin()

    def hold():
        load.finish()
        hold_to_account(site, load.inputs, after)

    cut.everywhere(load.run, prepare=load.add, hold=hold)


def test_a_kill_before_any_call_of_a_batch_that_is_synced_whole_loses_nothing_and_does_nothing_twice(site, cut, load):
    load.begin()

    def hold():
        load.finish()
        hold_to_account(site, load.inputs, "archive")

    cut.everywhere(load.run, prepare=lambda: load.add(texts=40, images=0), hold=hold)


def test_a_kill_before_any_call_while_a_kept_file_s_result_is_replaced_leaves_the_newest_one(site, cut, load):
    load.configure(inbox={"after": "keep"})
    names, versions, now = [f"{number}.txt" for number in range(3)], count(1), []

    def change():
        now[:] = [next(versions)]
        for name in names:
            site.drop(name, b"word " * now[0])

    def is_done():
        return all(site.words(name) == now[0] for name in names)

    def hold():
        load.run_until(is_done).process.wait()
        assert visible(site.outbox) == [f"{name}.words.json" for name in names]
        assert site.left() == names
        assert is_done()
        assert not site.drafts()
        assert visible(site.failed) == []
        site.audit()

    change()
    hold()
    cut.everywhere(lambda prefix: load.run_until(is_done, prefix), prepare=change, hold=hold)


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize("after", ["archive", "delete", "keep"])
def test_a_kill_before_any_call_where_no_rename_spares_what_is_there_does_nothing_twice(site, cut, load, after):
    load.configure(inbox={"after": after, "rescan": "200ms"})
    load.begin()

    def hold():
        load.finish()
        hold_to_account(site, load.inputs, after)

    cut.everywhere(load.run, prepare=load.add, hold=hold)


@pytest.mark.parametrize("ledger", ["the same", "its own", "its own, which is damaged"])
def test_a_drain_that_is_killed_has_its_results_though_another_inbox_is_drained_into_their_outbox_before_the_next(
    site, cut, ledger
):
    other = site.base / "other"
    other.mkdir()
    states = {site.inbox: site.state, other: site.state if ledger == "the same" else site.base / "other-state"}
    flags = [f"--{role}={getattr(site, role)}" for role in ("outbox", "archive", "failed")]

    def run(command, inbox, prefix=()):
        return site.daemon(command, f"--inbox={inbox}", f"--state={states[inbox]}", *flags, prefix=prefix).spawn()

    def hold():
        for inbox in (other, site.inbox):
            assert run("drain", inbox).process.wait() == 0
            assert run("audit", inbox).process.wait() == 0
        assert visible(site.outbox) == ["a.txt.words.json", "b.txt.words.json"]
        assert visible(site.archive) == ["a.txt", "b.txt"]
        assert not site.drafts()

    if ledger == "its own, which is damaged":
        site.write("ledger.db", b"", root=states[other])
    (other / "b.txt").write_text("one two")
    site.write("a.txt")
    call = "renameat2 outbox/.watcherd/#-#-#-#"
    cut.at(lambda prefix: run("drain", site.inbox, prefix), call, 1, prepare=lambda: None, hold=hold)
