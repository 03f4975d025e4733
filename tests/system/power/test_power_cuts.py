"""The power goes, and once more amid the start after it: what was flushed is there, and of all else any part."""

import random

import pytest
from PIL import Image
from tests.conftest import QUARANTINED, SOAK
from tests.system.account import hold_to_account, result_of, visible

#: How often the power goes amid a run, and how often once more amid the one after it.
CUTS = 20 if SOAK else 2

KINDS = ["ext4", "xfs", "btrfs"] if SOAK else ["ext4"]

#: What is done with an input, and which folder is on a disk of its own: what is flushed on one is not on the other.
WAYS = [
    ("archive", None),
    ("archive", "archive"),
    ("archive", "state"),
    ("archive", "outbox"),
    ("delete", None),
    ("keep", None),
]

BAD = b"no picture"


class Machine:
    """The folders of a site on disks that lose their power."""

    def __init__(self, site, disks):
        self._site, self._disks = site, disks
        self._dice = random.Random()
        self.powered = disks.powered

    def cut_short(self, run, *, hold):
        """Run, and lose the power amid it and amid the run after it, time and again; hold to account after each."""
        with self.powered() as first:
            run()
        for _ in range(CUTS):
            self._disks.lose_power(first, self._dice)
            with self.powered() as second:
                hold()
                run()
            self._disks.lose_power(second, self._dice)
            with self.powered():
                hold()
                run()
                hold(at_end=True)

    def run(self, *command):
        """Run a command that does its work, whether or not it finds something that is bad."""
        done = self._site.command(*command, timeout=60)
        assert done.returncode in {0, QUARANTINED}, done.stderr.decode()


@pytest.fixture(params=KINDS)
def machine(site, disks, request):
    """Return a function that puts the folders of a site onto disks, and drops its inputs."""

    def make(inputs, *, elsewhere=None, after="archive"):
        paths = [site.base / "disk"] + [site.base / "other"] * bool(elsewhere)
        for path in paths:
            path.mkdir()
        for name in ("inbox", "outbox", "archive", "failed", "state"):
            setattr(site, name, paths[name == elsewhere] / name)
        site.configure(inbox={"after": after, "settle": "0s"})
        made = disks(request.param, *paths)
        with made.powered():
            for root in (site.inbox, site.outbox, site.archive, site.failed):
                root.mkdir()
            for name, content in inputs.items():
                site.drop(name, content)
        return Machine(site, made)

    return make


@pytest.fixture
def inputs(picture):
    """Return texts and pictures."""
    texts = {f"{number}.txt": b"word " * (number + 1) for number in range(60)}
    return texts | {f"{number}.png": picture((64, 64), seed=number) for number in range(6)}


@pytest.mark.parametrize(("after", "elsewhere"), WAYS)
def test_a_power_cut_loses_no_input_and_doubles_no_result(site, machine, inputs, after, elsewhere):
    def hold(*, at_end=False):
        hold_at_any_instant(site, inputs, after)
        if at_end:
            hold_to_account(site, inputs, after, kills=1)

    machine = machine(inputs, elsewhere=elsewhere, after=after)
    machine.cut_short(lambda: machine.run("drain"), hold=hold)


@pytest.mark.parametrize("elsewhere", [None, "failed"])
def test_a_power_cut_leaves_a_bad_file_in_its_place_or_set_aside_with_its_reason(site, machine, elsewhere):
    bad = {f"{number}.png": BAD + bytes([number]) for number in range(30)}

    def hold(*, at_end=False):
        for name, content in bad.items():
            assert site.has(name) or site.failure(name), f"{name} has no reason"
            assert content in contents(site, name, site.failed), f"{name} is lost"
        if at_end:
            assert visible(site.failed) == sorted([*bad, *(f"{name}.error.json" for name in bad)])
            assert not site.left()
            assert not visible(site.outbox)
            assert not site.drafts()
            site.audit()

    machine = machine(bad, elsewhere=elsewhere)
    machine.cut_short(lambda: machine.run("drain"), hold=hold)


@pytest.mark.parametrize("elsewhere", [None, "failed"])
def test_a_power_cut_amid_a_retry_leaves_the_file_in_one_of_its_places_for_one_result(
    site, machine, picture, elsewhere
):
    mended = {f"{number}.png": picture((16, 16), seed=number) for number in range(30)}

    def hold(*, at_end=False):
        for name, content in mended.items():
            assert content in contents(site, name, site.failed, site.archive), f"{name} is lost"
        if at_end:
            hold_to_account(site, mended, "archive", kills=1)

    def run():
        machine.run("retry", "--all")
        machine.run("drain")

    machine = machine(dict.fromkeys(mended, BAD), elsewhere=elsewhere)
    with machine.powered():
        machine.run("drain")
        for name, content in mended.items():
            (site.failed / name).write_bytes(content)
    machine.cut_short(run, hold=hold)


def hold_at_any_instant(site, inputs, after):
    """Require that no input is gone without its result, and that whatever has a name is whole."""
    results = visible(site.outbox)
    assert set(results) <= set(map(result_of, inputs))
    for name, content in inputs.items():
        assert content in contents(site, name, site.archive) or after == "delete", f"{name} is lost"
        assert result_of(name) in results or site.has(name), f"{name} is gone, and has no result"
    for name in results:
        if name.endswith(".png"):
            Image.open(site.outbox / name).load()
        else:
            text = name.removesuffix(".words.json")
            assert site.words(text) == len(inputs[text].split())
    for name in visible(site.archive):
        assert (site.archive / name).read_bytes() == inputs[name], f"{name} is there in part"


def contents(site, name, *roots):
    """Return what may be a file: what has its name in its inbox or a root, or is in our own folder on its way."""
    paths = [*(root / name for root in (site.inbox, *roots)), *(site.inbox / ".watcherd").glob("*")]
    return {path.read_bytes() for path in paths if path.is_file()}
