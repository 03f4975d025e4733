"""What only the tests with real faults need: file systems of one's own, and a witness of system calls."""

import errno
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from tests.conftest import wait_for

pytest.register_assert_rewrite("tests.system.account")  # it holds to account: what it finds is to be told


@pytest.fixture
def mounts(tmp_path, lacking):
    """Give file systems in memory; all are unmounted in the end."""
    if os.geteuid() != 0:
        lacking("only root may mount")
    mounts = Mounts()
    try:
        mounts.mount(tmp_path / "trial", "64K")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"mounting is not allowed here: {error.stderr.decode().strip()}")
    yield mounts
    for path in mounts.paths:
        subprocess.run([shutil.which("umount"), "--lazy", "--quiet", path], check=False)


class Mounts:
    """File systems in memory, at paths of one's own."""

    def __init__(self):
        self.paths = []

    def mount(self, path, size="16M"):
        """Mount an empty file system of this size at `path`."""
        path.mkdir(exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "watcherd-test", path)
        self.paths.append(path)
        return path

    def remount(self, path, options):
        """Mount with other options what is mounted there."""
        _run("mount", "-o", f"remount,{options}", path)

    def unmount(self, path):
        """Unmount, as people do, as soon as nothing is open there."""
        umount = [shutil.which("umount"), path]
        wait_for(lambda: not subprocess.run(umount, check=False, capture_output=True).returncode, f"umount {path}")


@pytest.fixture(params=["archive", "archive elsewhere", "delete", "keep"])
def after(site, request):
    """Return what becomes of a done input, each in turn; elsewhere is another file system."""
    if request.param == "archive elsewhere":
        request.getfixturevalue("mounts").mount(site.archive)
    return request.param.split()[0]


@pytest.fixture
def served(site, lacking):
    """Give folders that a process serves, as a network's do: what is changed at their source makes no event here."""
    if os.geteuid() != 0 or shutil.which("bindfs") is None:
        lacking("only root can mount FUSE for all, with bindfs")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("there is no FUSE here")
    servers = []

    def serve(path, *options, source=None):
        servers.append(Server(source or site.base / f"served-{len(servers)}", path, options))
        site.wait_for(servers[-1].is_up, f"bindfs at {path}")
        return servers[-1]

    yield serve
    for server in servers:
        server.end()


@pytest.fixture
def remote(site, served):
    """Put all folders of the site onto one mount of a FUSE server; return the server."""
    server = served(site.base / "remote")
    for name in ("inbox", "outbox", "archive", "failed"):
        setattr(site, name, server.path / name)
        (server.path / name).mkdir()
    site.configure()
    return server


class Server:
    """A FUSE server that shows the folder `source` at `path`: events and leases tell nothing true there."""

    def __init__(self, source, path, options=()):
        self.source, self.path = source, path
        for folder in (source, path):
            folder.mkdir(exist_ok=True)
        self._process = subprocess.Popen([shutil.which("bindfs"), "-f", *options, source, path])

    def is_up(self):
        """Whether it serves; fails where it has ended."""
        assert self._process.poll() is None, "bindfs has ended"
        return os.path.ismount(self.path)

    @property
    def pid(self):
        """Its process id."""
        return self._process.pid

    @staticmethod
    def holds_up(pid):
        """Whether a process waits for the answer of a FUSE server."""
        return Path(f"/proc/{pid}/wchan").read_text("ascii") == "request_wait_answer"

    def hang(self):
        """Answer nothing any more."""
        self._process.send_signal(signal.SIGSTOP)

    def answer(self):
        """Answer again, also what was asked meanwhile."""
        self._process.send_signal(signal.SIGCONT)

    def end(self):
        """Serve no more; what waits for an answer gets an error."""
        subprocess.run([shutil.which("umount"), "--lazy", "--quiet", self.path], check=False)
        self._process.kill()
        self._process.wait()


def _run(command, *arguments):
    subprocess.run([shutil.which(command), *arguments], check=True, capture_output=True)


@pytest.fixture
def fill_up():
    """Return a function that takes all the room that a small file system has, and returns the file that holds it."""

    def fill(root):
        filler = root / ".filler"
        with filler.open("wb", buffering=0) as file:
            size = 1 << 20
            while size >= 1:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2
        return filler

    return fill


@pytest.fixture
def bring_back():
    """Return a function that gives a folder its name again.

    The daemon may make another in its place, and write into or take from either, at any moment.
    """

    def bring(away, folder):
        while away.exists():
            try:
                away.rename(folder)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
                merge(away, folder)

    def merge(away, folder):
        for path in away.iterdir():
            with suppress(FileNotFoundError):
                path.rename(folder / path.name)
        with suppress(OSError):  # something is in there again
            away.rmdir()

    return bring


@pytest.fixture
def said_once(site):
    """Return a function that waits for a pause, requires that it is said once, and returns its reason."""

    def repeated(daemon):
        reasons = [event["reason"] for event in daemon.events("intake.paused")]
        return len(reasons) > len(set(reasons)) or daemon.events("intake.resumed")

    def require(daemon, seconds=3):
        event = daemon.wait("intake.paused")
        site.never(lambda: repeated(daemon), "a second word of the same pause", seconds)
        return event["reason"]

    return require


@pytest.fixture
def paused(site, said_once):
    """Return a function that waits for a pause, and requires that it charges nothing and is said once."""

    def require(daemon, seconds=3):
        reason = said_once(daemon, seconds)
        assert not site.rows("id", "attempts > 0")
        assert not [*site.failed.rglob("*.json")]
        return reason

    return require


@pytest.fixture
def other(site):
    """Give the folders of a second inbox."""
    other = site.base / "other"
    for name in ("in", "out"):
        (other / name).mkdir(parents=True)
    site.configure(**{"inbox.other": {"path": other / "in", "outbox": other / "out"}})
    return other


@pytest.fixture
def strace(lacking):
    """Return a function that makes the prefix of a command whose system calls are watched, or cut short."""
    if shutil.which("strace") is None:
        lacking("strace is not installed")
    return lambda *options: ["strace", "-f", "-q", *map(str, options)]


@pytest.fixture
def as_nobody(site, lacking):
    """Return the prefix of a command that runs as nobody, who owns the site."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        lacking("only root can run a daemon as somebody else, with setpriv")
    for folder in (site.base, *site.base.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    for path in (site.base, *site.base.rglob("*")):
        os.chown(path, 65534, 65534)
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def pytest_collection_modifyitems(items):
    """Give each of these tests more time than one of the quick ones."""
    for item in items:
        if "tests/system" in item.path.as_posix() and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(180))
