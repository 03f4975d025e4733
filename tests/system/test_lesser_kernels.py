"""Calls that an old kernel does not know, or a container forbids: what can be done without them is done."""

import pytest
from tests.conftest import QUARANTINED

CALLS = [("faccessat2", "EPERM"), ("fallocate", "ENOSYS"), ("fallocate", "EPERM"), ("syncfs", "ENOSYS")]


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
