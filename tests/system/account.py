"""What a site must be like once all is done, however often it was cut short: each input is held to account."""

import sqlite3
from collections import Counter
from contextlib import suppress

from watcherd.publish.roots.names import derived


def fill(site, picture, folder, *, texts, images):
    """Drop files, and return their content by name."""
    inputs = {name: b"word " * (number + 1) for number, name in enumerate(site.texts(texts, folder))}
    for number in range(images):
        inputs[f"{folder}/{number}.png"] = picture(seed=number)
        site.drop(f"{folder}/{number}.png", inputs[f"{folder}/{number}.png"])
    return inputs


def finish(site, is_done):
    """Start the daemon once more, let it do all that is left, and stop it."""
    daemon = site.daemon().start()
    site.wait_for(is_done, "the rest", 60)
    daemon.wait("inbox.rescanned")
    assert daemon.stop() == 0


def ended(site):
    """Return how many files have come to their end, as the ledger knows it."""
    with suppress(sqlite3.OperationalError):  # it is not there yet
        return len(site.rows("id", "state IN ('published', 'quarantined')"))
    return 0


def visible(root):
    """Return the relative paths of all files beneath `root` but those in our own folder, sorted."""
    if not root.is_dir():
        return []
    found = (str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.startswith(".watcherd"))


def hold_to_account(site, inputs, after, *, kills=None):
    """Require one right result of each input, one retirement, no draft, and no charge but for `kills`."""
    assert Counter(visible(site.outbox)) == Counter(map(result_of, inputs))
    for name, content in inputs.items():
        if name.endswith(".txt"):
            assert site.words(name) == len(content.split())
    retired, left = {"archive": (inputs, []), "keep": ([], inputs), "delete": ([], [])}[after]
    assert visible(site.archive) == sorted(retired)
    assert site.left() == sorted(left)
    for name in retired:
        assert (site.archive / name).read_bytes() == inputs[name]
    assert visible(site.failed) == []
    assert not site.drafts()
    # What was worked on alone when the daemon died is charged, as it may be the cause; nobody else ever is.
    charges = sum(attempts for (attempts,) in site.rows("attempts"))
    kills = sum(daemon.was_killed for daemon in site.daemons[1:]) if kills is None else kills
    assert charges <= kills
    assert {state for (state,) in site.rows("state")} == {"published"}
    site.audit()


def carry_away(site):
    """Empty outbox and archive, as those do whom results are made for."""
    for root in (site.outbox, site.archive):
        for name in visible(root):
            (root / name).unlink()


def result_of(name):
    """Return the name of the result of an input."""
    folder, _, own = name.rpartition("/")
    result = derived(own, suffix=".words.json") if own.endswith(".txt") else derived(own, prefix="grayscale_")
    return f"{folder}/{result}" if folder else result
