"""The publisher with its thread: what it says of each outcome, when it pauses, and what it leaves at its end."""

# ruff: noqa: SLF001 (what is broken on purpose is broken from inside)

from __future__ import annotations

import errno
import json
import os
import pkgutil
import subprocess
import time
from collections import Counter
from threading import Event

import pytest
from structlog.testing import capture_logs
from tests.integration.conftest import held

from watcherd.decide import RetryPolicy
from watcherd.ledger.ledger import Intent
from watcherd.model import After, Failed, Failure, Kind, Returned, Stalled, SystemFault
from watcherd.publish import health, publisher, unretired
from watcherd.publish.batch import BATCH
from watcherd.publish.inputs import carrier, carry
from watcherd.publish.judge import Judge
from watcherd.publish.roots.folders import Folders
from watcherd.publish.roots.root import Root
from watcherd.states import State

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Look around often: what a pause waits for is an event here."""
    monkeypatch.setattr(health, "TICK", 0.02)
    monkeypatch.setattr(publisher, "TICK", 0.02)
    monkeypatch.setattr(publisher, "IDLE", 0.005)


@pytest.fixture
def going(scene, look):
    """Make a scene whose publisher has started."""
    scene.publishing = scene.publisher()
    scene.publishing.start()
    look.eventually(lambda: not scene.publishing.paused)
    return scene


@pytest.fixture
def mounted(tmp_path):
    """Mount a small file system, and say how to mount it again."""
    folder = tmp_path / "outbox"
    folder.mkdir()

    def mount(*options):
        subprocess.run(["mount", *options, str(folder)], check=True)  # noqa: S607 (of this machine)

    mount("-t", "tmpfs", "-o", "size=256k", "tmpfs")
    yield folder, mount
    while os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607 (of this machine)


def ended(scene):
    return Counter(it.state for it in scene.ended)


def free(scene):
    return len(scene.claims) == 0


def leave_intents(scene, *paths, **more):
    """Put on record what is about to be published, and die before it is."""
    scene.add(*paths, **more)
    scene.batch._write()
    scene.crash()


# Outcomes -----------------------------------------------------------------------------------------------------------


def test_what_is_done_is_published_told_and_let_go(going, look):
    done = going.done(going.job("a.txt"))
    going.publishing.put(done)
    look.eventually(lambda: free(going))
    assert look.tree(going.outbox) == {"a.txt.words.json"}
    (end,) = going.ended
    assert (end.state, end.visible, end.outcome) == (State.PUBLISHED, "a.txt.words.json", done)


def test_where_a_publisher_hangs_faults_do_not_pile_up_and_outcomes_are_kept(scene, look):
    hanging = scene.publisher()  # not started, it takes nothing
    for _ in range(1000):
        hanging.put(SystemFault("too few descriptors", root=scene.place.inbox_path))
    hanging.put(scene.done(scene.job("a.txt")))
    assert hanging._queue.qsize() == 1 + 1
    hanging.start()
    look.eventually(lambda: free(scene))
    assert look.tree(scene.outbox) == {"a.txt.words.json"}


def test_the_ledger_is_told_of_what_ended_once_nothing_is_left_to_do(going, look):
    going.publishing.put(going.done(going.job("a.txt")))
    look.eventually(lambda: free(going))
    look.eventually(lambda: not going.ledger._retired)
    going.crash()
    assert going.states("a.txt") == [State.PUBLISHED]


def test_a_thousand_files_are_published_once_each(going, look):
    names = [f"{n % 5}/{n}.txt" for n in range(1000)]
    for name in names:
        going.publishing.put(going.done(going.job(name)))
    look.eventually(lambda: free(going), 30)
    assert look.tree(going.archive) == set(names)
    assert ended(going) == {State.PUBLISHED: 1000}
    assert {it.outcome.job.id for it in going.ended} == {it.job.id for it in going.ended}


def test_a_file_of_one_kind_is_in_the_next_batch_however_many_of_another_came_before_it(scene, look):
    publishing = scene.publisher()  # it takes nothing before it is started
    for n in range(4 * BATCH):
        publishing.put(scene.done(scene.job(f"{n}.txt")))
    publishing.put(scene.done(scene.job("a.png", Kind.IMAGE)))
    publishing.start()
    look.eventually(lambda: free(scene), 30)
    assert "grayscale_a.png" in [it.visible for it in scene.ended[:BATCH]]


@pytest.mark.parametrize(
    "step", ["publish.reveal.show", "publish.inputs.retire.Inputs.retire", "publish.judge.Judge.judge"]
)
def test_each_file_of_a_batch_is_a_sign_of_life_as_a_slow_mount_takes_minutes_for_all(scene, look, monkeypatch, step):
    module, _, name = f"watcherd.{step}".rpartition(".")
    real, alive = pkgutil.resolve_name(f"watcherd.{step}"), []

    def slow(*arguments):
        alive.append(publishing.progressed)
        return real(*arguments)

    monkeypatch.setattr(f"{module}.{name}", slow)
    publishing = scene.publisher()
    for number in range(5):
        done = scene.done(scene.job(f"{number}.txt"))
        publishing.put(done if step != "publish.judge.Judge.judge" else Failed(done.job, Failure.CORRUPT, "damaged"))
    publishing.start()
    look.eventually(lambda: len(scene.ended) == 5)
    assert len(set(alive)) == len(alive) == 5


def test_a_failure_that_cannot_pass_is_quarantined_with_its_reason(going, look):
    job = going.job("sub/it's a.txt")
    going.publishing.put(Failed(job, Failure.NOT_TEXT, "has NUL bytes"))
    look.eventually(lambda: free(going))
    assert look.tree(going.failed) == {"sub/it's a.txt", "sub/it's a.txt.error.json"}
    told = json.loads((going.failed / "sub/it's a.txt.error.json").read_text())
    assert (told["class"], told["message"], told["attempts"]) == ("not-text", "has NUL bytes", 1)
    assert told["path"] == "sub/it's a.txt"
    assert told["retry"] == """watcherd retry -- 'sub/it'"'"'s a.txt'"""
    assert told["modified"].endswith("Z")
    assert going.record("sub/it's a.txt").failure is Failure.NOT_TEXT


def test_a_reason_holds_the_exact_path_of_a_name_that_is_no_text(going, look):
    name = os.fsdecode(b"\xff.txt")
    going.publishing.put(Failed(going.job(name), Failure.NOT_TEXT, "binary"))
    look.eventually(lambda: free(going))
    told = json.loads((going.failed / f"{name}.error.json").read_text())
    assert (told["path"], told["path_b64"]) == ("\ufffd.txt", "/y50eHQ=")


def test_a_failure_that_may_pass_is_tried_again_later_and_charged(going, look):
    going.publishing.update(RetryPolicy(backoff=100), lambda _: 0)
    before = time.time()
    with capture_logs() as logs:
        going.publishing.put(Failed(going.job("a.txt"), Failure.TIMEOUT, "too long"))
        look.eventually(lambda: free(going) and logs)
    record = going.record("a.txt")
    assert (record.state, record.attempts, record.failure) == (State.RETRYING, 1, Failure.TIMEOUT)
    assert before + 75 <= record.due <= time.time() + 100
    assert look.tree(going.inbox) == {"a.txt"}
    assert going.claims.returned() == {"a.txt": False}  # so that the intake asks when it is due
    assert [(it["event"], it["attempts"]) for it in logs] == [("file.retrying", 1)]


def test_the_last_attempt_sets_the_file_aside(going, look):
    going.publishing.put(Failed(going.job("a.txt", attempts=2), Failure.TIMEOUT, "too long"))
    look.eventually(lambda: free(going))
    assert going.states("a.txt") == [State.QUARANTINED]
    assert going.record("a.txt").attempts == 3


def test_a_kill_from_outside_is_not_charged(going, look):
    going.publishing.put(Failed(going.job("a.txt"), Failure.CRASHED, "killed", charged=False))
    look.eventually(lambda: free(going))
    assert (going.record("a.txt").attempts, going.record("a.txt").kills) == (0, 1)


@pytest.mark.parametrize(("alone", "charged"), [(False, False), (True, True)])
def test_an_attempt_that_fails_pauses_nothing_unless_it_was_killed_alone(scene, look, alone, charged):
    pauses = []
    publishing = scene.publisher(on_pause=lambda: pauses.append(publishing.paused))
    publishing.start()
    publishing.put(Failed(scene.job("a.txt", alone=alone), Failure.CRASHED, "killed", charged=charged))
    publishing.put(scene.done(scene.job("b.txt")))
    look.eventually(lambda: scene.ended)
    assert pauses == [""]  # the start's end


def test_kills_of_a_file_that_runs_alone_pause_the_intake(scene, look):
    pauses = []
    publishing = scene.publisher(on_pause=lambda: pauses.append(publishing.paused))
    publishing.start()
    publishing.put(Failed(scene.job("a.txt", kills=4, alone=True), Failure.CRASHED, "killed", charged=False))
    look.eventually(lambda: any("killed from outside" in it for it in pauses))
    look.eventually(lambda: pauses[-1] == "")


def test_what_the_system_could_not_carry_out_comes_again_uncharged_and_pauses(scene, look):
    pauses = []
    publishing = scene.publisher(on_pause=lambda: pauses.append(publishing.paused))
    publishing.start()
    with capture_logs() as logs:
        publishing.put(Stalled(scene.job("a.txt"), SystemFault("the disk is full", root="/")))
        look.eventually(lambda: free(scene))
        look.eventually(lambda: pauses == ["", "the disk is full", ""])
    assert [it["path"] for it in logs if it["event"] == "file.waiting"] == ["a.txt"]
    record = scene.record("a.txt")
    assert (record.state, record.attempts, record.kills) == (State.RETRYING, 0, 0)
    assert scene.claims.returned() == {"a.txt": False}


def test_an_outbox_that_shows_other_sizes_than_were_written_is_said_and_charges_nobody(going, look):
    done = going.done(going.job("a.txt", attempts=1))
    os.truncate(going.outbox / ".watcherd" / done.draft.name, 3)
    with capture_logs() as logs:
        going.publishing.put(done)
        look.eventually(lambda: free(going) and logs)
    (paused,) = [it["reason"] for it in logs if it["event"] == "intake.paused"]
    assert paused.startswith(f"{going.outbox}: a file has another size there than was written")
    record = going.record("a.txt")
    assert (record.state, record.attempts) == (State.RETRYING, 1)
    assert look.drafts(going.outbox) == set()


def test_a_fault_that_another_room_met_pauses_too(scene, look):
    pauses = []
    publishing = scene.publisher(on_pause=lambda: pauses.append(publishing.paused))
    publishing.start()
    publishing.put(SystemFault("no more descriptors", root=""))
    look.eventually(lambda: pauses == ["", "no more descriptors", ""])


def test_a_file_that_changed_is_looked_at_again_and_its_row_is_gone(going, look):
    with capture_logs() as logs:
        going.publishing.put(Returned(going.job("a.txt", attempts=1), State.WAITING, "changed", changed=True))
        look.eventually(lambda: free(going) and logs)
    assert [(it["event"], it["log_level"]) for it in logs] == [("file.changed", "info")]
    assert going.claims.returned() == {"a.txt": True}
    assert going.states("a.txt") == [None]


def test_a_file_that_vanished_is_forgotten(going, look):
    with capture_logs() as logs:
        going.publishing.put(Returned(going.job("a.txt", attempts=1), State.VANISHED, "removed"))
        look.eventually(lambda: free(going) and logs)
    assert [(it["event"], it["log_level"]) for it in logs] == [("file.vanished", "debug")]
    assert going.claims.returned() == {}
    assert going.states("a.txt") == [None]


def test_a_file_that_is_removed_before_its_result_is_visible_is_forgotten(going, look):
    done = going.done(going.job("a.txt"))
    os.unlink(going.inbox / "a.txt")
    going.publishing.put(done)
    look.eventually(lambda: free(going))
    assert going.states("a.txt") == [None]
    assert going.claims.returned() == {}
    assert look.drafts(going.outbox) == set()


def test_a_file_that_is_edited_before_its_result_is_visible_is_looked_at_again(going, look):
    done = going.done(going.job("a.txt"))
    going.drop("a.txt", b"edited since")
    going.publishing.put(done)
    look.eventually(lambda: free(going))
    assert going.states("a.txt") == [None]
    assert going.claims.returned() == {"a.txt": True}


def test_a_bug_in_a_job_is_told_with_its_trace(going, look):
    failed = Failed(going.job("a.txt", attempts=2), Failure.CRASHED, "a bug", trace="Traceback …")
    going.publishing.put(failed)
    look.eventually(lambda: free(going))
    assert going.ended[0].outcome is failed


def test_a_file_that_was_given_back_keeps_its_charges(going, look):
    going.publishing.put(Returned(going.job("a.txt", attempts=2), State.WAITING, "stopped"))
    look.eventually(lambda: free(going))
    assert going.claims.returned() == {"a.txt": False}
    assert (going.record("a.txt").state, going.record("a.txt").attempts) == (State.RETRYING, 2)


@pytest.mark.parametrize("name", ["a.txt", os.fsdecode(b"\xff.txt")])
def test_an_occupied_result_of_a_kept_file_is_quarantined_and_the_input_stays(scene_of, look, name):
    scene = scene_of(After.KEEP)
    (scene.outbox / f"{name}.words.json").write_text("a user's")
    publishing = scene.publisher()
    publishing.start()
    publishing.put(scene.done(scene.job(name)))
    look.eventually(lambda: free(scene))
    assert json.loads((scene.failed / f"{name}.error.json").read_text())["class"] == "result-occupied"
    assert look.tree(scene.inbox) == {name}
    assert scene.states(name) == [State.QUARANTINED]


@pytest.mark.parametrize("folder", ["sub", os.fsdecode(b"\xff")])
def test_a_result_that_cannot_be_placed_is_tried_as_often_as_the_policy_says(scene, look, folder):
    (scene.outbox / folder).write_text("a user's file")
    publishing = scene.publisher(policy=RetryPolicy(attempts=2, backoff=0.01))
    publishing.start()
    publishing.put(scene.done(scene.job(f"{folder}/a.txt")))
    look.eventually(lambda: free(scene))
    assert scene.record(f"{folder}/a.txt").attempts == 1
    publishing.put(scene.done(scene.job(f"{folder}/a.txt", content=None, attempts=1)))
    look.eventually(lambda: free(scene))
    assert json.loads((scene.failed / f"{folder}/a.txt.error.json").read_text())["class"] == "unplaceable"
    assert look.drafts(scene.outbox, scene.failed) == set()


def test_a_quarantine_that_cannot_be_placed_spins_nothing(going, look):
    (going.failed / "sub").write_text("a user's file")
    going.publishing.put(Failed(going.job("sub/a.txt"), Failure.NOT_TEXT, "binary"))
    going.publishing.put(going.done(going.job("b.txt")))
    look.eventually(lambda: ended(going)[State.PUBLISHED] == 1)
    assert look.tree(going.inbox) == {"sub/a.txt"}
    os.unlink(going.failed / "sub")
    look.eventually(lambda: ended(going)[State.QUARANTINED] == 1)
    assert look.tree(going.failed) == {"sub/a.txt", "sub/a.txt.error.json"}


def test_bad_files_whose_place_is_closed_to_us_give_their_claims_back(going, look, monkeypatch):
    def closed(_, root, path, **how):
        if (root, path) == (str(going.failed), "sub"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "sub")
        return entered(_, root, path, **how)

    entered = Folders._descriptor
    with monkeypatch.context() as shut:
        shut.setattr(Folders, "_descriptor", closed)
        for name in ("sub/a.txt", "sub/b.txt"):
            going.publishing.put(Failed(going.job(name), Failure.NOT_TEXT, "binary"))
        look.eventually(lambda: free(going))
        assert sorted(going.publishing.unretired()) == ["sub/a.txt", "sub/b.txt"]
    look.eventually(lambda: ended(going)[State.QUARANTINED] == 2)
    assert len(look.tree(going.failed)) == 4


def test_an_input_that_waited_aside_lets_go_of_no_newer_file_s_claim_when_it_is_taken(scene, look):
    claimed = []
    (scene.archive / "sub").write_text("a user's file")
    publishing = scene.publisher(on_end=lambda *_: claimed.append(scene.claims.claim("sub/a.txt")))  # by an intake
    publishing.start()
    publishing.put(scene.done(scene.job("sub/a.txt")))
    look.eventually(lambda: free(scene))
    os.unlink(scene.archive / "sub")
    look.eventually(lambda: claimed)
    assert publishing.stop(10)
    assert claimed == [True]
    assert not free(scene)


def test_an_input_that_cannot_be_taken_is_tried_again_soon_also_where_all_was_calm(scene, look, monkeypatch):
    monkeypatch.setattr(health, "CALM", 600.0)
    publishing = scene.publisher()
    publishing.start()
    look.eventually(lambda: publishing._health.until_due() > health.TICK)
    (scene.archive / "sub").write_text("a user's file")
    publishing.put(scene.done(scene.job("sub/a.txt")))
    look.eventually(publishing.unretired)
    os.unlink(scene.archive / "sub")
    look.eventually(lambda: ended(scene)[State.PUBLISHED] == 1)


def test_inputs_that_cannot_be_taken_give_their_claims_back_and_what_came_over_them_is_looked_at(going, look):
    (going.archive / "sub").write_text("a user's file")
    for name in ("sub/a.txt", "sub/b.txt"):
        going.publishing.put(going.done(going.job(name)))
    look.eventually(lambda: free(going))
    assert sorted(going.publishing.unretired()) == ["sub/a.txt", "sub/b.txt"]
    os.replace(going.drop("newer"), going.inbox / "sub/a.txt")
    os.unlink(going.archive / "sub")
    look.eventually(lambda: ended(going)[State.PUBLISHED] == 2)
    look.eventually(lambda: going.claims.returned().keys() >= {"sub/a.txt"})
    assert (look.tree(going.inbox), look.tree(going.archive)) == ({"sub/a.txt"}, {"sub/b.txt"})


# Pausing ------------------------------------------------------------------------------------------------------------


def test_nothing_is_admitted_before_the_earlier_run_is_taken_up(scene, look):
    publishing = scene.publisher()
    assert publishing.paused == health.STARTING
    publishing.start()
    look.eventually(lambda: not publishing.paused)


def test_nothing_is_admitted_before_what_an_earlier_run_left_has_come_to_its_end(scene, look):
    job = scene.job("a.txt")
    scene.ledger.intend([Intent(job, State.PUBLISHING, 0, scene.done(job).draft)])
    scene.crash()
    seen = []
    publishing = scene.publisher(on_pause=lambda: seen.extend(scene.states("a.txt")))
    publishing.start()
    look.eventually(lambda: seen)
    assert seen == [State.PUBLISHED]


def test_of_more_than_may_wait_that_an_earlier_run_left_each_is_retired_once_nothing_is_in_its_way(
    scene, look, monkeypatch
):
    monkeypatch.setattr(unretired, "MOST", 1)
    leave_intents(scene, "one/a.txt", "two/a.txt")
    for name in ("one", "two"):
        (scene.archive / name).write_text("a user's file")
    publishing = scene.publisher()
    publishing.start()
    look.eventually(lambda: "cannot be taken" in publishing.paused)
    (first,) = publishing.unretired()
    os.unlink(scene.archive / os.path.dirname(first))
    look.eventually(lambda: scene.states(first) == [State.PUBLISHED])
    assert look.tree(scene.archive) == {first, *{"one", "two"} - {os.path.dirname(first)}}


def test_an_outbox_that_is_another_folder_gets_nothing_until_it_is_back(going, look):
    done = going.done(going.job("a.txt"))
    going.place.outbox.rest()
    os.rename(going.outbox, going.state / "unmounted")
    going.outbox.mkdir()
    going.publishing.put(done)
    look.eventually(lambda: "not the folder that watcherd started with" in going.publishing.paused)
    assert look.tree(going.outbox) == look.drafts(going.outbox) == set()
    os.rmdir(going.outbox)
    os.rename(going.state / "unmounted", going.outbox)
    look.eventually(lambda: free(going))
    assert look.tree(going.outbox) == {"a.txt.words.json"}
    look.eventually(lambda: not going.publishing.paused)


@as_root
def test_a_file_system_that_was_unmounted_gets_nothing_until_it_is_mounted_again(scene_of, mounted, look):
    outbox, mount = mounted
    scene = scene_of()
    publishing = scene.publisher()
    publishing.start()
    look.eventually(lambda: not publishing.paused)
    look.eventually(lambda: not held(outbox))
    job = scene.job("a.txt")
    subprocess.run(["umount", str(outbox)], check=True)  # noqa: S607 (of this machine)
    with pytest.raises(SystemFault) as fault:
        scene.done(job)
    publishing.put(Stalled(job, fault.value))
    look.eventually(lambda: "not the folder" in publishing.paused)
    assert os.listdir(outbox) == []
    mount("-t", "tmpfs", "-o", "size=256k", "tmpfs")
    look.eventually(lambda: not publishing.paused and free(scene))
    publishing.put(scene.done(scene.job("a.txt", content=None)))
    look.eventually(lambda: look.tree(outbox) == {"a.txt.words.json"})


@as_root
def test_a_read_only_outbox_pauses_and_charges_nobody(scene_of, mounted, look):
    outbox, mount = mounted
    scene = scene_of()
    publishing = scene.publisher()
    publishing.start()
    look.eventually(lambda: not publishing.paused)
    done, other = scene.done(scene.job("a.txt")), scene.job("b.txt")
    scene.place.outbox.rest()
    mount("-o", "remount,ro")
    publishing.put(done)
    publishing.put(Failed(other, Failure.TIMEOUT, "too long"))
    look.eventually(lambda: "Read-only" in publishing.paused)
    assert scene.record("b.txt").attempts == 0
    assert look.tree(scene.inbox) == {"a.txt", "b.txt"}
    mount("-o", "remount,rw")
    look.eventually(lambda: free(scene))
    assert look.tree(outbox) == {"a.txt.words.json"}
    assert scene.record("b.txt").attempts == 1
    assert scene.deaths == []


@as_root
def test_a_full_disk_pauses_and_resumes_and_charges_nobody(scene_of, mounted, look):
    outbox, _ = mounted
    scene = scene_of()
    publishing = scene.publisher()
    publishing.start()
    look.eventually(lambda: not publishing.paused)
    with open(outbox / "hog", "wb", buffering=0) as hog:
        try:
            while hog.write(b"x" * 4096):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 (that it is this one is what fills it)
    job = scene.job("a.txt")
    with pytest.raises(SystemFault) as fault:
        scene.done(job, b"y" * 8192)
    publishing.put(Stalled(job, fault.value))
    look.eventually(lambda: free(scene))
    look.eventually(lambda: "No space left" in publishing.paused)
    assert scene.record("a.txt").attempts == 0
    os.unlink(outbox / "hog")
    look.eventually(lambda: not publishing.paused)


def test_too_little_space_pauses_the_intake_and_what_is_done_still_leaves(scene, look):
    least = [1 << 60]
    publishing = scene.publisher(least_free=lambda _: least[0])
    publishing.start()
    look.eventually(lambda: "min_free" in publishing.paused)
    publishing.put(scene.done(scene.job("a.txt")))
    look.eventually(lambda: free(scene))
    assert look.tree(scene.outbox) == {"a.txt.words.json"}
    least[0] = 0
    look.eventually(lambda: not publishing.paused)


def test_a_pause_is_told_when_it_begins_and_when_it_ends_and_not_in_between(scene, look):
    pauses, least, looks = [], [1 << 60], []
    publishing = scene.publisher(
        least_free=lambda _: (looks.append(1), least[0])[1], on_pause=lambda: pauses.append(publishing.paused)
    )
    publishing.start()
    look.eventually(lambda: len(looks) > 5)
    least[0] = 0
    look.eventually(lambda: "" in pauses)
    assert len(pauses) == 2


def test_the_roots_are_probed_before_a_file_is_charged(going, look, monkeypatch):
    def fails(self):
        raise SystemFault(f"{self.path} is not well", root=self.path)

    monkeypatch.setattr(Root, "probe", fails)
    going.publishing.put(Failed(going.job("a.txt"), Failure.TIMEOUT, "too long"))
    look.eventually(lambda: "not well" in going.publishing.paused)
    assert going.states("a.txt") == [State.WORKING]
    monkeypatch.undo()
    look.eventually(lambda: free(going))
    assert going.record("a.txt").attempts == 1


def test_a_ledger_that_fails_pauses_and_loses_nothing(going, look, monkeypatch):
    real = going.ledger._transaction

    def fails(**_):
        raise SystemFault("the ledger is on a full disk", root="")

    prepared = [going.job(f"{n}.txt") for n in range(3)]
    monkeypatch.setattr(going.ledger, "_transaction", fails)
    for it in prepared:
        going.publishing.put(going.done(it))
    look.eventually(lambda: "full disk" in going.publishing.paused)
    assert look.tree(going.outbox) == set()
    monkeypatch.setattr(going.ledger, "_transaction", real)
    look.eventually(lambda: free(going))
    assert ended(going) == {State.PUBLISHED: 3}


# Another file system, the end ---------------------------------------------------------------------------------------


def test_an_input_for_another_file_system_holds_nobody_up(scene_of, elsewhere, look, monkeypatch):
    scene = scene_of(archive=elsewhere / "archive")
    slow, real = Event(), carry._fill
    monkeypatch.setattr(carry, "_fill", lambda *what: (slow.wait(10), real(*what)))
    publishing = scene.publisher()
    publishing.start()
    publishing.put(scene.done(scene.job("a.txt")))
    publishing.put(scene.done(scene.job("b.txt")))
    look.eventually(lambda: len(look.tree(scene.outbox)) == 2)
    assert not free(scene)
    slow.set()
    look.eventually(lambda: free(scene))
    assert look.tree(scene.archive) == {"a.txt", "b.txt"}


def test_a_stop_settles_what_was_put(scene, look):
    publishing = scene.publisher()
    publishing.start()
    for n in range(600):
        publishing.put(scene.done(scene.job(f"{n}.txt")))
    assert publishing.stop(30)
    assert len(look.tree(scene.outbox)) == 600
    assert free(scene)
    scene.crash()
    assert set(scene.states(*[f"{n}.txt" for n in range(600)])) == {State.PUBLISHED}


@pytest.fixture
def carried_after(scene_of, elsewhere, look, monkeypatch):
    """Return a function that has an input carried, where what `where` calls `name` raises `error` at first.

    It returns the pauses that came, and what is in the archive then.
    """

    def carried_after(error, where, name):
        scene, real, tries = scene_of(archive=elsewhere / "archive"), getattr(where, name), []

        def fails_once(*what):
            tries.append(what)
            if len(tries) == 1:
                raise error
            return real(*what)

        monkeypatch.setattr(where, name, fails_once)
        pauses: list[str] = []
        publishing = scene.publisher(on_pause=lambda: pauses.append(publishing.paused))
        publishing.start()
        publishing.put(scene.done(scene.job("a.txt")))
        look.eventually(lambda: ended(scene)[State.PUBLISHED] == 1)
        return pauses, look.tree(scene.archive)

    return carried_after


def test_a_carried_input_whose_archive_fails_pauses_and_goes_on(carried_after):
    pauses, archived = carried_after(SystemFault("the archive is full", root=""), carry, "_fill")
    assert "the archive is full" in pauses
    assert archived == {"a.txt"}


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_shortage_while_an_input_is_carried_pauses_and_goes_on_once_it_is_over(carried_after, number):
    pauses, archived = carried_after(OSError(number, os.strerror(number), "a.txt"), carrier, "carry")
    assert any(it.startswith(os.strerror(number)) for it in pauses)
    assert archived == {"a.txt"}


def test_a_ledger_that_fails_at_the_end_is_told_of(scene, look, monkeypatch):
    publishing = scene.publisher()
    publishing.start()
    look.eventually(lambda: publishing._idle)

    def fails(**_):
        raise SystemFault("the ledger is on a full disk", root="")

    monkeypatch.setattr(scene.ledger, "_transaction", fails)
    assert publishing.stop(10)
    assert "full disk" in publishing.paused
    monkeypatch.undo()


def test_what_ended_beside_a_fault_that_lasts_until_the_stop_is_told_all_the_same(scene, look, monkeypatch):
    def fails(*_):
        raise SystemFault("it cannot be told whose fault it is", root="")

    (scene.outbox / "sub").write_text("a user's file")
    monkeypatch.setattr(Judge, "judge", fails)
    publishing = scene.publisher()
    for name in ("sub/unplaceable.txt", "a.txt"):
        publishing.put(scene.done(scene.job(name)))
    with capture_logs() as logs:
        publishing.start()
        look.eventually(lambda: "whose fault" in publishing.paused)
        assert publishing.stop(10)
    assert [it["path"] for it in logs if it["event"] == "file.published"] == ["a.txt"]
    assert ended(scene) == publishing.ended == Counter({State.PUBLISHED: 1})


def test_a_stop_within_a_pause_gives_back_uncharged_what_is_not_on_record(scene, look, monkeypatch):
    publishing = scene.publisher()
    publishing.start()
    look.eventually(lambda: not publishing.paused)
    jobs = [scene.job(f"{n}.txt") for n in range(3)]
    charged = scene.job("charged.txt", attempts=1)
    outcomes = [*map(scene.done, jobs), Failed(charged, Failure.TIMEOUT, "too long")]

    def fails(self, *_):
        raise SystemFault(f"{self.path} is not well", root=self.path)

    monkeypatch.setattr(Root, "check", fails)
    monkeypatch.setattr(Root, "probe", fails)
    for outcome in outcomes:
        publishing.put(outcome)
    look.eventually(lambda: "not well" in publishing.paused)
    assert publishing.stop(10)
    assert scene.states("0.txt", "1.txt", "2.txt") == [None] * 3
    assert (scene.record("charged.txt").state, scene.record("charged.txt").attempts) == (State.RETRYING, 1)
    assert look.drafts(scene.outbox) == set()


def test_a_stop_gives_back_uncharged_what_was_about_to_be_on_record_and_what_came_in_a_pause(
    going, look, monkeypatch
):
    def fails(it):
        raise SystemFault("no probe" if isinstance(it, Root) else "no record", root="")

    monkeypatch.setattr(going.ledger, "intend", fails)
    going.publishing.put(going.done(going.job("a.txt")))
    look.eventually(lambda: going.publishing.paused == "no record")
    monkeypatch.setattr(Root, "probe", fails)
    look.eventually(lambda: going.publishing.paused == "no probe")  # nothing goes on from here
    going.publishing.put(going.done(going.job("b.txt")))
    assert going.publishing.stop(10)
    assert going.states("a.txt", "b.txt") == [None, None]


def test_a_stop_within_a_pause_whose_fault_has_passed_settles_what_was_put(going, look, monkeypatch):
    real = going.ledger.intend

    def fails(_):
        monkeypatch.setattr(going.ledger, "intend", real)
        raise SystemFault("not now", root="")

    monkeypatch.setattr(going.ledger, "intend", fails)
    monkeypatch.setattr(health, "TICK", 600.0)  # the pause lasts until the stop
    going.publishing.put(going.done(going.job("a.txt")))
    look.eventually(lambda: going.publishing.paused)
    assert going.publishing.stop(10)
    assert ended(going) == {State.PUBLISHED: 1}


def test_a_stop_leaves_the_draft_of_what_may_be_on_record_though_the_ledger_failed_to_the_next_start(
    going, look, monkeypatch
):
    def disk_fails(*_):
        raise SystemFault("its disk fails", root="")

    def is_written_all_the_same(intents):
        intend(intents)
        disk_fails()

    intend = going.ledger.intend
    monkeypatch.setattr(going.ledger, "intend", is_written_all_the_same)
    monkeypatch.setattr(going.ledger, "give_back", disk_fails)
    going.publishing.put(going.done(going.job("a.txt")))
    look.eventually(lambda: going.publishing.paused)
    assert going.publishing.stop(10)
    going.crash()
    going.recover()
    assert going.settle() == [State.PUBLISHED]
    assert look.tree(going.outbox) == {"a.txt.words.json"}


def test_an_idle_publisher_stops_at_once(scene, look, monkeypatch):
    monkeypatch.setattr(publisher, "TICK", 3600.0)
    publishing = scene.publisher()
    publishing.start()
    look.eventually(lambda: publishing._idle)
    assert publishing.stop(5)


def test_an_idle_publisher_holds_no_folder_open(going, look):
    going.publishing.put(going.done(going.job("sub/a.txt")))
    look.eventually(lambda: free(going))
    look.eventually(lambda: not held(going.inbox, going.outbox, going.archive, going.failed))


def test_a_pause_holds_no_folder_open_so_that_it_can_be_mended(going, look, monkeypatch):
    probes = []
    real = Root.probe
    going.job("a.txt")  # in hand, so that folders are open; and the first that fails says nothing of the others
    for root in going.place.roots:
        root.ours()

    def fails(self):
        real(self)
        probes.append(self)
        raise SystemFault(f"{self.path} is not well", root=self.path)

    monkeypatch.setattr(Root, "probe", fails)
    going.publishing.put(SystemFault("something else", root=""))
    look.eventually(lambda: len(probes) > 2)
    look.eventually(lambda: not held(going.inbox, going.outbox, going.archive, going.failed))


def test_a_bug_ends_the_thread_and_is_told(scene, look, monkeypatch):
    def bug(_):
        raise ZeroDivisionError

    monkeypatch.setattr(scene.batch.__class__, "settle", bug)
    publishing = scene.publisher()
    publishing.start()
    publishing.put(scene.done(scene.job("a.txt")))
    look.eventually(lambda: scene.deaths)
    assert isinstance(scene.deaths[0], ZeroDivisionError)
    assert publishing.stop(5)


def test_what_an_earlier_run_intended_is_published_at_the_start(scene, look):
    leave_intents(scene, "a.txt", "b.txt")
    publishing = scene.publisher()
    publishing.start()
    look.eventually(lambda: ended(scene) == {State.PUBLISHED: 2})
    assert look.tree(scene.archive) == {"a.txt", "b.txt"}


def test_why_a_retry_that_was_cut_short_cannot_be_finished_is_told(scene, look):
    (job,) = scene.add("a.txt", state=State.QUARANTINING)
    assert scene.settle() == [State.QUARANTINED]
    scene.ledger.flush()
    scene.ledger.send_back(job.id, time.time())
    scene.crash()
    scene.drop("a.txt")
    with capture_logs() as logs:
        scene.publisher().start()
        look.eventually(lambda: any(it["event"] == "retry.refused" for it in logs))
    (told,) = (it for it in logs if it["event"] == "retry.refused")
    assert (told["log_level"], told["inbox"], told["path"]) == ("warning", "scans", "a.txt")
    assert "is there again" in told["reason"]


def test_a_stop_right_after_the_start_leaves_nothing_of_a_short_recovery_to_the_next(scene, look, monkeypatch):
    def stopped(root, draft):
        publishing.close()
        return seen(root, draft)

    leave_intents(scene, "a.txt", "b.txt")
    publishing, seen = scene.publisher(), Root.seen
    monkeypatch.setattr(Root, "seen", stopped)
    monkeypatch.setattr(publisher, "RECOVERING", 30.0)  # a short one is, on any disk
    publishing.start()
    assert publishing.stop(10)
    assert ended(scene) == {State.PUBLISHED: 2}
    assert look.tree(scene.archive) == {"a.txt", "b.txt"}


def test_a_stop_waits_for_one_of_the_drafts_that_an_earlier_run_left_and_the_next_start_goes_on(
    scene, look, monkeypatch
):
    discard, removing, stopped = Root.discard, Event(), Event()
    monkeypatch.setattr("watcherd.publish.publisher.RECOVERING", -1.0)

    def slowly(*draft):
        removing.set()
        assert stopped.wait(10)
        discard(*draft)

    scene.add("a.txt")
    scene.batch._write()
    left = [scene.done(scene.job(f"{number}.txt")).draft.name for number in range(3)]
    scene.crash()
    monkeypatch.setattr(Root, "discard", slowly)
    publishing = scene.publisher()
    publishing.start()
    assert removing.wait(10)
    publishing.close()
    stopped.set()
    assert publishing.stop(10)
    assert len(look.drafts(scene.outbox) & {*left}) == 2
    scene.start_again()
    assert scene.settle() == [State.PUBLISHED]
    assert look.drafts(scene.outbox) == set()


def test_what_an_earlier_run_left_lets_go_of_no_newer_file_s_claim_and_has_its_name_looked_at_again(scene, look):
    leave_intents(scene, "a.txt", "b.txt")
    assert scene.claims.claim("a.txt")
    scene.publisher().start()
    look.eventually(lambda: ended(scene) == {State.PUBLISHED: 2})
    look.eventually(lambda: scene.claims.returned() == {"b.txt": False})
    assert not scene.claims.claim("a.txt")


@pytest.mark.parametrize(("blocked", "becomes"), [("outbox", None), ("archive", State.PUBLISHING)])
def test_what_an_earlier_run_left_and_cannot_be_placed_lets_go_of_no_newer_claim_and_is_looked_at_again(
    scene, look, blocked, becomes
):
    leave_intents(scene, "sub/a.txt")
    (getattr(scene, blocked) / "sub").write_text("a user's file")
    assert scene.claims.claim("sub/a.txt")
    publishing = scene.publisher()
    publishing.start()
    look.eventually(
        lambda: scene.states("sub/a.txt") == [becomes] and (publishing.unretired() or blocked == "outbox")
    )
    assert publishing.stop(10)
    assert len(scene.claims) == 1
    scene.claims.release("sub/a.txt")
    assert scene.claims.returned() == {"sub/a.txt": False}  # also a retry is only asked for where one was heard of


def test_what_an_earlier_run_left_and_cannot_be_placed_is_set_aside_once_though_it_is_in_work_again_by_then(
    scene_of, look, monkeypatch
):
    def withdrawn(job):
        withdraw(job)
        if job.id < scene.ledger.first:  # a suspect from now on, which an intake admits and a lane works on
            publishing.put(scene.done(scene.job("a.txt", content=None)))

    scene = scene_of(After.KEEP)
    leave_intents(scene, "a.txt")
    (scene.outbox / "a.txt.words.json").write_text("a user's")
    publishing, withdraw = scene.publisher(), scene.ledger.withdraw
    monkeypatch.setattr(scene.ledger, "withdraw", withdrawn)
    publishing.start()
    look.eventually(lambda: ended(scene)[State.QUARANTINED])
    assert publishing.stop(10)
    assert ended(scene) == {State.QUARANTINED: 1}
    assert look.tree(scene.failed) == {"a.txt.error.json"}
    assert scene.states("a.txt") == [State.QUARANTINED]


def test_what_an_earlier_run_left_and_cannot_be_placed_is_not_due_for_ever_beside_a_newer_version(
    scene, look, monkeypatch
):
    def withdrawn(job):
        newer.append(scene.job("sub/a.txt", content=b"newer"))  # an intake was faster
        withdraw(job)

    leave_intents(scene, "sub/a.txt", attempts=1)
    (scene.outbox / "sub").write_text("a user's file")
    newer, withdraw = [], scene.ledger.withdraw
    monkeypatch.setattr(scene.ledger, "withdraw", withdrawn)
    scene.publisher().start()
    look.eventually(lambda: scene.claims._held.get("sub/a.txt"))  # asked for, as the older one was given back
    assert [row.id for row in scene.ledger.unfinished("scans", *State)] == [newer[0].id]
