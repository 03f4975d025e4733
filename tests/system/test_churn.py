"""Whatever people do to an inbox, whether or not the daemon sees it: what survives comes to its one end."""

import os
import random
import signal
from collections import Counter
from contextlib import suppress

import pytest

SOAK = bool(os.environ.get("SOAK"))


class Churn:
    """Random operations on an inbox, and what must have come of them: files are told by their content."""

    def __init__(self, site, seed):
        self.site = site
        self.dice = random.Random(seed)
        self.count = 0
        self.made = {}  # content → its words
        self.must = set()  # contents that nobody removed
        self.names = Counter()  # content → the names that it was given, each a file of its own

    def act(self):
        """Do one thing, to what is there in this instant: the daemon may take it first."""
        acts = [self.create, self.create, self.write, self.move, self.link, self.remove, self.swap, self.folder]
        act = self.dice.choice(acts)
        with suppress(FileNotFoundError, NotADirectoryError):
            act()

    def content(self):
        """Return what no other file holds."""
        self.count += 1
        content = f"file {self.count} ".encode() + b"word " * self.dice.randint(0, 9)
        self.made[content] = len(content.split())
        self.names[content] = 1
        return content

    def path(self):
        """Return a path at which a file may be."""
        folder = self.dice.choice(["", "a/", "a/b/", "c/d/e/"])
        return self.site.inbox / f"{folder}{self.dice.randint(0, 20)}.txt"

    def existing(self):
        """Return the path of a file, where there is one."""
        names = self.site.left()
        return self.site.inbox / self.dice.choice(names) if names else self.path()

    def create(self):
        """Rename a finished file into place."""
        content, path = self.content(), self.path()
        self.must.add(content)
        if path.exists():
            self.lose(path)
        self.site.drop(path.relative_to(self.site.inbox), content)

    def write(self):
        """Write a file in place."""
        path = self.path()
        if not path.exists():
            content = self.content()
            self.site.write(path.relative_to(self.site.inbox), content)
            self.must.add(content)

    def move(self):
        """Rename a file, also over another."""
        source, target = self.existing(), self.path()
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and target != source:
            self.lose(target)
        source.rename(target)

    def link(self):
        """Give a file a second name."""
        source, target = self.existing(), self.path()
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            content = source.read_bytes()
            target.hardlink_to(source)
            self.names[content] += 1

    def remove(self):
        """Remove a file."""
        path = self.existing()
        self.lose(path)
        path.unlink()

    def swap(self):
        """Let two files change places."""
        one, other, aside = self.existing(), self.existing(), self.site.inbox / ".aside"
        if one != other:
            one.rename(aside)
            try:
                other.rename(one)
            finally:
                if other.exists():
                    self.lose(other)
                aside.rename(other if other.parent.is_dir() else one)

    def folder(self):
        """Rename a folder."""
        source, target = self.site.inbox / "a", self.site.inbox / f"moved-{self.count}"
        if source.is_dir() and not target.exists():
            source.rename(target)

    def lose(self, path):
        """Take note that what is there now may be gone for good: the daemon may have taken it already."""
        self.must.discard(path.read_bytes())


@pytest.mark.timeout(1800 if SOAK else 240)
@pytest.mark.parametrize("seed", range(100 if SOAK else 4))
def test_whatever_survives_comes_to_its_one_end(site, seed):
    churn = Churn(site, seed)
    daemon = site.start()
    for _ in range(6):
        daemon.send(signal.SIGSTOP)
        for _ in range(30):
            churn.act()
        daemon.send(signal.SIGCONT)
        for _ in range(10):
            churn.act()
    site.await_empty_inbox(120)  # names of one file settle anew as one of them leaves
    assert daemon.stop() == 0
    archive = {str(path.relative_to(site.archive)): path.read_bytes() for path in site.archive.rglob("*.txt")}
    archived = Counter(archive.values())
    assert churn.must - set(archived) == set(), f"lost, with seed {seed}"
    assert archived <= churn.names, f"done twice, with seed {seed}"
    for name, content in archive.items():  # one that was moved between result and retirement has a result more
        assert site.words(name) == churn.made[content]
    site.audit()
