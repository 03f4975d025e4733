"""Whatever people do to an inbox, whether or not the daemon sees it: what survives comes to its one end."""

import io
import random
import signal
from collections import Counter
from contextlib import suppress

import pytest
from PIL import Image
from tests.conftest import SOAK, files
from tests.system.account import result_of

#: How files are called: half of them texts. A rename or a swap may call one what it is not.
ENDINGS = ["txt", "txt", "png", "jpg"]


class Churn:
    """Random operations on an inbox, and what must have come of them: files are told by their content."""

    def __init__(self, site, seed):
        self.site = site
        self.dice = random.Random(seed)
        self.count = 0
        self.made = {}  # content → its words, or the size of its picture
        self.must = set()  # contents that nobody removed
        self.names = Counter()  # content → the names that it was given, each a file of its own

    def act(self):
        """Do one thing, to what is there in this instant: the daemon may take it first."""
        acts = [self.create, self.create, self.write, self.move, self.link, self.remove, self.swap, self.folder]
        act = self.dice.choice(acts)
        with suppress(FileNotFoundError, NotADirectoryError):
            act()

    def content(self, path):
        """Return what no other file holds: a text or a picture, as its name will say."""
        self.count += 1
        content, result = self.text() if is_text(path.name) else self.picture()
        self.made[content] = result
        self.names[content] = 1
        return content

    def text(self):
        """Return a text, and its words."""
        content = f"file {self.count} ".encode() + b"word " * self.dice.randint(0, 9)
        return content, len(content.split())

    def picture(self):
        """Return a small picture that is as wide as no other, and its size."""
        size, written = (self.count, self.dice.randint(1, 9)), io.BytesIO()
        Image.new("RGB", size, "teal").save(written, self.dice.choice(["PNG", "JPEG"]))
        return written.getvalue(), size

    def path(self):
        """Return a path at which a file may be."""
        folder = self.dice.choice(["", "a/", "a/b/", "c/d/e/"])
        return self.site.inbox / f"{folder}{self.dice.randint(0, 20)}.{self.dice.choice(ENDINGS)}"

    def existing(self):
        """Return the path of a file, where there is one."""
        names = self.site.left()
        return self.site.inbox / self.dice.choice(names) if names else self.path()

    def create(self):
        """Rename a finished file into place."""
        path = self.path()
        content = self.content(path)
        if path.exists():
            self.lose(path)
        self.site.drop(path.relative_to(self.site.inbox), content)
        self.must.add(content)

    def write(self):
        """Write a file in place."""
        path = self.path()
        if not path.exists():
            content = self.content(path)
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
    archived, failed = kept(site.archive), kept(site.failed)
    ends = Counter((*archived.values(), *failed.values()))
    assert churn.must - set(ends) == set(), f"lost, with seed {seed}"
    assert ends <= churn.names, f"done twice, with seed {seed}"
    for name, content in archived.items():  # one that was moved between result and retirement has a result more
        assert result(site, name) == churn.made[content]
    for name, content in failed.items():  # what people gave a name that says something else
        assert site.failure(name)["class"] == ("not-text" if is_text(name) else "not-image"), (name, content)
        assert is_text(name) != isinstance(churn.made[content], int)
    site.audit()


def is_text(name):
    return name.endswith(".txt")


def kept(root):
    """Return the content of each input that was archived, or set aside."""
    return {name: (root / name).read_bytes() for name in files(root) if not name.endswith(".error.json")}


def result(site, name):
    """Return what was made of an input: its words, or the size of its grey picture."""
    if is_text(name):
        return site.words(name)
    with Image.open(site.outbox / result_of(name)) as grey:
        assert grey.mode == "L"
        return grey.size
