"""What people do to an input at each stage of its way: what is there in the end has its one right result."""

import os
import subprocess

import pytest
from PIL import Image
from tests.conftest import files
from tests.system.account import result_of

NEWER = (30, 20)


def edit(path, newer):
    """Write other content into it."""
    path.write_bytes(newer)
    return path


def rename(path, _newer):
    """Give it another name."""
    return path.rename(path.with_name("b.webp"))


def remove(path, _newer):
    """Remove it."""
    path.unlink()


def move(path, _newer):
    """Move its folder."""
    path.parent.rename(path.parent.with_name("moved"))
    return path.parent.with_name("moved") / path.name


@pytest.fixture(params=[edit, rename, remove, move], ids=lambda deed: deed.__name__)
def deed(site, picture, request):
    """Return a function that does something to the file, and says its path within the inbox, if it has one, then."""

    def act(path):
        left = request.param(path, picture(NEWER, "WEBP"))
        return left and os.fspath(left.relative_to(site.inbox))

    return act


def size(path):
    with Image.open(path) as image:
        return image.size


def test_an_input_that_something_is_done_to_while_it_is_queued_is_processed_as_it_is_then(site, heavy, picture, deed):
    site.configure(image={"workers": 1}, log={"level": "debug"})
    site.drop("busy.webp", heavy)
    daemon = site.start()
    site.await_work()
    path = site.drop("sub/a.webp", picture((8, 8), "WEBP"))
    daemon.wait("file.queued", path="sub/a.webp")
    left = deed(path)
    is_processed_as(site, left, others=["grayscale_busy.webp"])


def test_an_input_that_something_is_done_to_while_it_is_worked_on_is_processed_as_it_is_then(site, heavy, deed):
    path = site.drop("sub/a.webp", heavy)
    site.start()
    site.await_work()
    left = deed(path)
    is_processed_as(site, left)


def is_processed_as(site, left, others=()):
    """Require that a file of this name, if any, has its result and its archive, and that there are no others."""
    site.wait_for(lambda: is_at_rest(site), "rest", 120)  # the heavy one may be worked on twice
    assert files(site.outbox) == sorted([*others, *([result_of(left)] if left else [])])
    if left:
        assert size(site.archive / left) == size(site.outbox / result_of(left))
    assert not site.rows("path", "attempts > 0")
    assert not site.drafts()


def is_at_rest(site):
    """Whether nothing waits, and nothing is being taken, which may turn out to be newer and be given back."""
    undone = "state NOT IN ('published', 'quarantined')"
    return not site.left() and not site.rows("id", undone) and not site.left()


def test_an_input_that_something_is_done_to_while_it_is_published_has_the_right_result_of_what_it_is_then(
    site, picture, strace, deed
):
    """What it was before may have one as well: it was on record when it happened."""
    path = site.drop("sub/a.webp", picture((8, 8), "WEBP"))
    delay = ("-e", "trace=renameat2", "-e", "inject=renameat2:delay_enter=500000")
    daemon = site.start(prefix=strace("--seccomp-bpf", "-o", "/dev/null", *delay))
    site.wait_for(lambda: site.rows("id", "state = 'publishing'"), "its row")
    left = deed(path)
    site.wait_for(lambda: is_at_rest(site) and len(files(site.archive)) == bool(left), "its end")
    assert daemon.stop() == 0
    for name in files(site.archive):
        assert size(site.archive / name) == size(site.outbox / result_of(name))
    assert not site.drafts()
    site.audit()


def test_a_log_that_grows_again_and_again_loses_no_line_and_each_part_has_its_own_result(site):
    site.configure(inbox={"settle": "50ms"})  # so that it is taken, too, between two lines
    site.start()
    lines = "for n in 1 2 3 4 5 6; do echo word >> grows.txt; sleep 0.3; done"
    for _ in range(2):
        subprocess.run(["/bin/sh", "-c", lines], cwd=site.inbox, check=True, timeout=60)
        # A busy machine takes none between two lines: what changes as it is worked on has to be quiet for longer.
        site.wait_for(lambda: not site.has("grows.txt"), "the end of a part")
    site.await_empty_inbox()
    parts = {name: len((site.archive / name).read_bytes().split()) for name in files(site.archive)}
    assert len(parts) > 1
    assert sum(parts.values()) == 12
    assert {name: site.words(name) for name in parts} == parts
