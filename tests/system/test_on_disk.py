"""What is on disk when: the order in which a crash of the machine could cut a batch, observed call by call."""

import re
from dataclasses import dataclass

import pytest

CALLS = "fsync,fdatasync,syncfs,rename,renameat,renameat2,linkat,unlinkat,unlink"


@dataclass(frozen=True)
class Call:
    """A system call: when it began and when it had returned, as line numbers of the trace."""

    name: str
    words: str
    begun: int
    done: int


@pytest.fixture
def traced(site, strace):
    """Return a function that runs the daemon until something was said, and returns the calls that it made."""

    def run(event, count=1):
        trace = site.base / "trace"
        daemon = site.daemon(prefix=strace("-y", "-s", "400", "-o", trace, "-e", f"trace={CALLS}")).start()
        site.wait_for(lambda: len(daemon.events(event)) >= count, event)
        assert daemon.stop() == 0
        return read(trace)

    return run


@pytest.mark.parametrize("count", [1, 40])
def test_nothing_is_shown_before_it_is_on_disk_and_on_record_nor_retired_before_it_is_shown(site, traced, count):
    names = site.texts(count)
    calls = traced("file.published", count)
    for name in names:
        shown_on_disk = shown_in_order(calls, site.outbox, f"{name}.words.json")
        taken = rename(calls, f"{site.inbox}>", f'"{name}"')
        assert shown_on_disk.done < taken.begun, f"{name} was taken before the name of its result was on disk"
        for folder in (site.inbox, site.archive):
            assert first_sync(calls, folder, taken), f"{name} was taken, and that is not on disk"


@pytest.mark.parametrize("way", ["delete", "archive elsewhere"])
def test_an_original_is_removed_last_of_all(site, traced, way, request):
    if way == "archive elsewhere":
        request.getfixturevalue("mounts").mount(site.archive)
    site.configure(inbox={"after": way.split()[0]})
    site.drop("a.txt")
    calls = traced("file.published")
    taken = rename(calls, f"{site.inbox}>", '"a.txt"')
    (gone,) = [call for call in calls if call.name.startswith("unlink") and "taken-" in call.words]
    assert shown_in_order(calls, site.outbox, "a.txt.words.json").done < taken.begun
    assert taken.done < gone.begun
    if way == "archive elsewhere":
        placed = rename(calls, f"{site.archive}", '"a.txt"')
        assert first_sync(calls, site.archive, placed).done < gone.begun


def test_with_keep_a_result_is_shown_once_it_is_on_disk_and_on_record_and_the_input_is_not_touched(site, traced):
    site.configure(inbox={"after": "keep"})
    site.drop("a.txt")
    calls = traced("file.published")
    shown_in_order(calls, site.outbox, "a.txt.words.json")
    assert not [call for call in calls if f"{site.inbox}>" in call.words and '"a.txt"' in call.words]


def test_a_result_is_replaced_once_the_new_one_is_on_disk_and_on_record_and_only_then_is_the_old_one_gone(
    site, traced
):
    site.configure(inbox={"after": "keep"})
    site.drop("a.txt", b"one")
    traced("file.published")
    site.drop("a.txt", b"one two")
    calls = traced("file.published")
    exchanged = rename(calls, '"a.txt.words.json"', "RENAME_EXCHANGE")
    shown_in_order(calls, site.outbox, "a.txt.words.json")
    (gone,) = [call for call in calls if call.name == "unlinkat" and draft_of(exchanged) in call.words]
    assert exchanged.done < gone.begun


def test_a_draft_that_cannot_be_shown_is_removed_once_it_is_on_disk_that_it_is_not_to_be(site, traced):
    """Else it would count as shown, and its input be taken, after a crash of the machine."""
    site.configure(inbox={"after": "keep"})
    (site.outbox / "a.txt.words.json").write_text("a user's")
    site.drop("a.txt")
    calls = traced("file.quarantined")
    removed = [call for call in calls if call.name == "unlinkat" and f"{site.outbox}/.watcherd>" in call.words]
    (gone,) = [call for call in removed if re.search(r'-\d+"', call.words)]  # no probe, and no note
    on_disk = next(call for call in calls if is_sync_of(call, site.outbox, draft_of(gone)))
    on_record = [call for call in calls if is_sync(call, "ledger.db-wal") and on_disk.done < call.begun < gone.begun]
    assert len(on_record) == 2, "what was intended and what was withdrawn were not both on disk"


def test_a_bad_file_is_taken_once_its_reason_is_on_disk_and_on_record_and_shown(site, traced):
    site.drop("bad.txt", bytes(3000))
    calls = traced("file.quarantined")
    taken = rename(calls, f"{site.inbox}>", '"bad.txt"')
    assert shown_in_order(calls, site.failed, "bad.txt.error.json").done < taken.begun
    for folder in (site.inbox, site.failed):
        assert first_sync(calls, folder, taken), "it was taken, and that is not on disk"


def shown_in_order(calls, root, name):
    """Require that a draft was on disk, and then on record, before it got its name; return the sync of its folder."""
    shown = rename(calls, f"{root}/.watcherd>", f'"{name}"')
    on_disk = [call for call in calls if is_sync_of(call, root, draft_of(shown)) and call.done < shown.begun]
    assert on_disk, f"{name} was shown before its draft was on disk"
    on_record = [call for call in calls if is_sync(call, "ledger.db-wal") and call.done < shown.begun]
    assert any(call.begun > on_disk[0].done for call in on_record), f"{name} was shown before it was on record"
    synced = first_sync(calls, root, shown)
    assert synced, f"{name} was shown, and that is not on disk"
    return synced


def first_sync(calls, folder, after):
    """Return the first sync of a folder that began after a call was done, if there is one."""
    return next((call for call in calls if after.done < call.begun and is_sync(call, f"{folder}>")), None)


def draft_of(shown):
    """Return the name that a draft had before it got the one that people see."""
    return re.search(r'"([^"]+)"', shown.words)[1]


def is_sync_of(call, root, draft):
    return is_sync(call, f"{root}/.watcherd/{draft}>") or (call.name == "syncfs" and str(root) in call.words)


def is_sync(call, what):
    return call.name in {"fsync", "fdatasync"} and what in call.words


def rename(calls, *words):
    """Return the one rename in which all these words are."""
    (call,) = [it for it in calls if it.name.startswith("rename") and all(word in it.words for word in words)]
    return call


def read(trace):
    """Read what strace wrote: one line a call, or two where another thread's came between."""
    calls, open_ = [], {}
    for number, line in enumerate(trace.read_text("utf-8", "replace").splitlines()):
        process, _, rest = line.partition(" ")
        rest = rest.strip()
        if resumed := re.match(r"<\.\.\. (\w+) resumed>(.*)", rest):
            name, words, begun = open_.pop(process)
            calls.append(Call(name, words + resumed[2], begun, number))
        elif made := re.match(r"(\w+)\((.*)", rest):
            if rest.endswith("<unfinished ...>"):
                open_[process] = made[1], made[2], number
            else:
                calls.append(Call(made[1], made[2], number, number))
    return [call for call in calls if " = -1 " not in call.words]
