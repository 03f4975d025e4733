"""Calls that an old kernel does not know, or a container forbids: what can be done without them is done."""

import subprocess

import pytest
from tests.conftest import QUARANTINED

CALLS = [
    ("faccessat2", "EPERM"),
    ("fallocate", "ENOSYS"),
    ("fallocate", "EPERM"),
    ("renameat2", "EPERM"),
    ("syncfs", "ENOSYS"),
]


@pytest.mark.parametrize(("call", "error"), CALLS)
def test_files_are_processed_and_put_back_where_a_call_is_unknown_or_forbidden(site, strace, picture, call, error):
    lesser = strace("--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error={error}")
    names = site.texts(40)
    site.drop("a.png", picture())
    site.drop("b.png", b"no picture")
    first = site.command("drain", timeout=120, prefix=lesser)
    assert first.returncode == QUARANTINED, first.stderr
    site.write("b.png", picture(), site.failed)
    assert site.command("retry", "--all", timeout=120, prefix=lesser).returncode == 0
    site.drop("a.png", picture())  # once more, for which names are taken
    second = site.command("drain", timeout=120, prefix=lesser)
    assert second.returncode == 0, second.stderr
    assert {it.name for it in site.outbox.glob("*.png")} == {f"grayscale_{name}.png" for name in ("a", "a.1", "b")}
    assert [site.words(name) for name in names] == list(range(1, 41))
    site.audit()


def test_without_proc_an_inbox_is_scanned_and_the_log_says_what_is_missing(site, picture):
    without = ["unshare", "-Urm", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    if subprocess.run([*without, "true"], check=False, capture_output=True).returncode:
        pytest.skip("may not make namespaces")
    daemon = site.start(prefix=without)
    assert daemon.wait("inbox.blind")["mend"].startswith("mount /proc")
    site.texts(5)
    site.drop("a.png", picture())
    site.await_empty_inbox()
    assert daemon.stop() == 0
    site.audit()
