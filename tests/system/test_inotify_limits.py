"""Watches and instances of inotify that run out: it is said with its mend, and the inbox is scanned meanwhile."""

import subprocess

import pytest


class Limits:
    """Limits of inotify in a user namespace of one's own, so that nobody else meets them."""

    def __init__(self, **limits):
        lines = " && ".join(f"echo {limit} > /proc/sys/user/{name}" for name, limit in limits.items())
        self.prefix = ["unshare", "-Ur", "sh", "-c", f'{lines} && exec "$@"', "sh"]
        if subprocess.run([*self.prefix, "true"], check=False, capture_output=True).returncode:
            pytest.skip("may not make a user namespace")

    def raise_for(self, daemon):
        """Do what the log says: raise the limits."""
        raising = "for it in watches instances; do echo 1000 > /proc/sys/user/max_inotify_$it; done"
        within = ["nsenter", "-U", "--preserve-credentials", "-t", str(daemon.pid), "sh", "-c", raising]
        subprocess.run(within, check=True, capture_output=True)


@pytest.mark.parametrize(("name", "limit"), [("watches", 1), ("instances", 0)])
def test_where_inotify_runs_out_it_is_said_with_its_mend_and_the_inbox_is_scanned_meanwhile(site, other, name, limit):
    limits = Limits(**{f"max_inotify_{name}": limit})
    for number in range(3):
        (site.inbox / f"{number}").mkdir()
    daemon = site.daemon(prefix=limits.prefix).start()
    assert f"max_user_{name}" in daemon.wait("inbox.blind", inbox="scans")["mend"]
    for inbox in ("scans", "other"):
        daemon.wait("inbox.rescanned", inbox=inbox)
    for folder in ("0", "1", "2"):
        site.drop(f"{folder}/a.txt")
    site.drop("a.txt", root=other / "in")
    for folder in ("0", "1", "2"):
        site.await_words(f"{folder}/a.txt")
    daemon.wait("file.published", inbox="other")
    assert len(daemon.events("inbox.blind", inbox="scans")) == 1
    limits.raise_for(daemon)
    daemon.wait("inbox.sighted", inbox="scans")
    site.drop("2/b.txt")
    site.await_words("2/b.txt")
