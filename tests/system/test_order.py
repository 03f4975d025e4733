"""What is on disk when: the order in which a crash of the machine could cut a batch, observed call by call."""

import re
from dataclasses import dataclass

import pytest

CALLS = "fsync,fdatasync,syncfs,renameat2,linkat,unlinkat,unlink"


@dataclass(frozen=True)
class Call:
    """A system call: when it began and when it had returned, as line numbers of the trace."""

    name: str
    words: str
    begun: int
    done: int


@pytest.mark.parametrize("count", [1, 40])
def test_nothing_is_shown_before_it_is_on_disk_and_on_record_nor_retired_before_it_is_shown(site, strace, count):
    trace = site.base / "trace"
    names = site.texts(count)
    daemon = site.daemon(prefix=strace("-y", "-s", "400", "-o", trace, "-e", f"trace={CALLS}")).start()
    site.await_empty_inbox()
    assert daemon.stop() == 0
    calls = read(trace)
    for name in names:
        shown = the(calls, "renameat2", f'"{name}.words.json"')
        taken = the(calls, "renameat2", f"{site.inbox}>", f'"{name}"')
        draft = re.search(r'"([^"]+)"', shown.words)[1]
        on_disk = [call for call in calls if is_sync_of(call, site, draft) and call.done < shown.begun]
        assert on_disk, f"{name} was shown before its draft was on disk"
        on_record = [call for call in calls if is_sync(call, "ledger.db-wal") and call.done < shown.begun]
        assert any(call.begun > on_disk[0].done for call in on_record), f"{name} was shown before it was on record"
        assert any(
            shown.done < call.begun and call.done < taken.begun and is_sync(call, f"{site.outbox}>") for call in calls
        ), f"{name} was taken before the name of its result was on disk"
        for folder in (site.inbox, site.archive):
            assert any(taken.done < call.begun and is_sync(call, f"{folder}>") for call in calls)


@pytest.mark.parametrize("after", ["delete", "archive elsewhere"])
def test_an_original_is_removed_last_of_all(site, strace, after, request):
    if after == "archive elsewhere":
        request.getfixturevalue("mounts").mount(site.archive)
    site.configure(inbox={"after": after.split()[0]})
    trace = site.base / "trace"
    site.drop("a.txt")
    daemon = site.daemon(prefix=strace("-y", "-s", "400", "-o", trace, "-e", f"trace={CALLS}")).start()
    daemon.wait("file.published")
    assert daemon.stop() == 0
    calls = read(trace)
    shown = the(calls, "renameat2", '"a.txt.words.json"')
    taken = the(calls, "renameat2", f"{site.inbox}>", '"a.txt"')
    (gone,) = [call for call in calls if call.name.startswith("unlink") and "taken-" in call.words]
    assert shown.done < taken.begun < gone.begun
    assert any(
        shown.done < call.begun and call.done < taken.begun and is_sync(call, f"{site.outbox}>") for call in calls
    )
    if after == "archive elsewhere":
        placed = the(calls, "renameat2", f"{site.archive}", '"a.txt"')
        assert any(
            placed.done < call.begun and call.done < gone.begun and is_sync(call, f"{site.archive}>")
            for call in calls
        )


def is_sync_of(call, site, draft):
    return is_sync(call, f"{site.outbox}/.watcherd/{draft}>") or (
        call.name == "syncfs" and str(site.outbox) in call.words
    )


def is_sync(call, what):
    return call.name in {"fsync", "fdatasync"} and what in call.words


def the(calls, name, *words):
    (call,) = [call for call in calls if call.name == name and all(word in call.words for word in words)]
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
