"""An overlay mount, as in a container: a writer below it is unseen, so nothing is asked of leases there."""

import shutil
import subprocess

import pytest


@pytest.fixture
def overlay(site, mounts):
    """Put all folders of the site onto an overlay mount."""
    upper = mounts.mount(site.base / "upper")
    for folder in (site.base / "lower", site.base / "merged", upper / "files", upper / "work"):
        folder.mkdir()
    layers = f"lowerdir={site.base / 'lower'},upperdir={upper / 'files'},workdir={upper / 'work'}"
    merged = site.base / "merged"
    mounted = [shutil.which("mount"), "-t", "overlay", "-o", layers, "watcherd-test", merged]
    if subprocess.run(mounted, check=False, capture_output=True).returncode:
        pytest.skip("overlays cannot be mounted here")
    mounts.paths.insert(0, merged)
    for name in ("inbox", "outbox", "archive", "failed"):
        setattr(site, name, merged / name)
        (merged / name).mkdir()
    site.configure()


@pytest.mark.usefixtures("overlay")
def test_on_an_overlay_no_lease_is_believed_and_each_file_comes_to_its_one_end(site, picture):
    daemon = site.start()
    watching = daemon.wait("inbox.watching")
    assert (watching["file_system"], watching["lease"], watching["settle"]) == ("overlay", False, 10)
    assert daemon.stop() == 0
    site.configure(inbox={"settle": "300ms"})
    daemon = site.start()
    for number in range(20):
        site.drop(f"{number % 3}/{number}.txt", b"word " * (number + 1))
    site.drop("a.png", picture())
    site.drop("bad.txt", bytes(3000))
    site.await_empty_inbox()
    assert site.await_failure("bad.txt")["class"] == "not-text"
    assert [site.words(f"{number % 3}/{number}.txt") for number in range(20)] == list(range(1, 21))
    assert (site.archive / "a.png").exists()
    assert daemon.stop() == 0
    assert not site.drafts()
    site.audit()
