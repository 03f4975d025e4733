"""What all tests share: a daemon of one's own, run as people run it, and waiting without guessing how long."""

import ctypes
import inspect
import io
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from functools import cache
from pathlib import Path

import hypothesis
import pytest
import structlog
from PIL import Image

from watcherd import cli

# Examples are many, and a busy machine is slow: neither says anything about the code.
hypothesis.settings.register_profile(
    "busy",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("busy")

COMMAND = [sys.executable, "-m", "watcherd"]

#: Whether there is time for all that can be tried: `make soak`.
SOAK = bool(os.environ.get("SOAK"))

#: The status of a drain that set something aside.
QUARANTINED = 3

#: Seconds that anything may take which ought to happen at once: this machine may be busy with other things.
SOON = 30.0


def wait_for(condition, what="the condition", seconds=SOON):
    """Return the first true answer of `condition`, asked every few milliseconds; fail after `seconds`."""
    ends = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < ends, f"{what} did not come within {seconds} s"
        time.sleep(0.005)
    return answer


def never(condition, what="the condition", seconds=1.0):
    """Watch `condition` for so many seconds, and fail where it comes true."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        assert not condition(), f"{what} came"
        time.sleep(0.02)


class Site:
    """The folders of one daemon, the configuration that names them, and the files that people drop there."""

    wait_for, never = staticmethod(wait_for), staticmethod(never)

    def __init__(self, base):
        self.base = Path(base)
        self.inbox, self.outbox, self.archive, self.failed, self.state = (
            self.base / name for name in ("inbox", "outbox", "archive", "failed", "state")
        )
        self.config = self.base / "watcherd.toml"
        self.daemons = []
        self._serial = itertools.count()
        self.inbox.mkdir()
        self.outbox.mkdir()
        self.configure()

    # What is configured --------------------------------------------------------------------------------------------

    def configure(self, *, inbox=(), state=None, **tables):
        """Write the configuration; `inbox` overrides keys of its only inbox, `tables` are further ones, or keys."""
        keys = {name: getattr(self, name) for name in ("outbox", "archive", "failed")}
        inbox = {"path": self.inbox, **keys, **dict(inbox)}
        top = {"state": state or self.state, **{key: it for key, it in tables.items() if not isinstance(it, dict)}}
        inner = {name: it for name, it in tables.items() if isinstance(it, dict)}
        inner = {"inbox.scans": inbox, "log": {"level": "info"}} | inner
        lines = [*_toml(top), *(line for name, table in inner.items() for line in (f"[{name}]", *_toml(table)))]
        self.config.write_text("\n".join(lines), "utf-8")
        return self

    # What people do ------------------------------------------------------------------------------------------------

    def write(self, name, content=b"a few words\n", root=None):
        """Write a file in place, as most programs do; return its path."""
        path = (root or self.inbox) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def drop(self, name, content=b"a few words\n", root=None):
        """Rename a finished file into place, as careful programs do; return its path."""
        path = (root or self.inbox) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = (root or self.inbox) / f".dropping-{next(self._serial)}"
        hidden.write_bytes(content)
        return hidden.rename(path)

    def texts(self, count, folder="."):
        """Drop texts of one word, two words, and so on; return their names."""
        names = [os.path.normpath(f"{folder}/text-{number:04}.txt") for number in range(count)]
        for number, name in enumerate(names):
            self.drop(name, b"word " * (number + 1))
        return names

    # What is seen --------------------------------------------------------------------------------------------------

    def words(self, name):
        """Return what was counted in the text `name`, or None while there is no result."""
        try:
            return json.loads((self.outbox / f"{name}.words.json").read_bytes())["words"]
        except FileNotFoundError:
            return None

    def failure(self, name):
        """Return the reason that lies beside the quarantined file `name`, or None while there is none."""
        try:
            return json.loads((self.failed / f"{name}.error.json").read_bytes())
        except FileNotFoundError:
            return None

    def await_words(self, name, seconds=SOON):
        """Wait for the result of the text `name`, and return its words."""
        wait_for(lambda: self.words(name) is not None, f"the result of {name}", seconds)
        return self.words(name)

    def await_failure(self, name, seconds=SOON):
        """Wait until `name` is quarantined, input and reason, and that is on record; return the reason."""
        wait_for(
            lambda: self.failure(name) and self.is_settled() and not self.has(name),
            f"the quarantine of {name}",
            seconds,
        )
        return self.failure(name)

    def await_work(self):
        """Wait until a file is being worked on."""
        wait_for(lambda: self.rows("id", "state = 'working'"), "work")

    def await_empty_inbox(self, seconds=SOON):
        """Wait until every file was taken for good."""
        # Asked before, too: between two questions a file may have been on its way out, and be taken.
        wait_for(lambda: not self.left() and self.is_settled() and not self.left(), "an empty inbox", seconds)

    def is_settled(self):
        """Whether nothing is on its way out: what is taken there may turn out to be newer, and is given back."""
        return not self.rows("id", "state IN ('publishing', 'quarantining')")

    def has(self, name):
        """Whether a file of this name is in the inbox."""
        return os.path.lexists(self.inbox / name)

    def left(self):
        """Return the names of the files in the inbox that people would see."""
        return files(self.inbox)

    def drafts(self):
        """Return what lies in watcherd's own folders, but for the note that names the owner."""
        roots = [root for root in (self.inbox, self.outbox, self.archive, self.failed) if root.is_dir()]
        return [path for root in roots for path in (root / ".watcherd").glob("*") if path.name != "owner"]

    def rows(self, columns, where="1"):
        """Return rows of the ledger: what nobody outside can see, as which attempts were charged."""
        return self.ledger(f"SELECT {columns} FROM file WHERE {where}")  # noqa: S608 (our words)

    def ledger(self, question):
        """Return what the ledger answers to a question in SQL."""
        with closing(sqlite3.connect(f"file:{self.state}/ledger.db?mode=ro", uri=True)) as ledger:
            return ledger.execute(question).fetchall()

    # Daemons -------------------------------------------------------------------------------------------------------

    def daemon(self, *arguments, prefix=(), environment=None):
        """Return a daemon with this configuration, not started; `prefix` is what runs it, as strace."""
        arguments = arguments or ("--config", self.config, "run")
        log = self.base / f"log-{len(self.daemons)}.jsonl"
        self.daemons.append(Daemon([*prefix, *COMMAND, *arguments], log, environment))
        return self.daemons[-1]

    def start(self, **how):
        """Start a daemon and wait until it watches the inbox."""
        daemon = self.daemon(**how)
        daemon.start()
        daemon.wait("inbox.rescanned")
        return daemon

    def command(self, *arguments, timeout=SOON, prefix=()):
        """Run another command over the same configuration; return the finished process, its output as bytes."""
        command = [*prefix, *COMMAND, "--config", self.config, *arguments]
        return subprocess.run(command, capture_output=True, timeout=timeout, check=False)

    def audit(self, status=0):
        """Hold ledger and folders against each other; return what was found. `status` is what it must exit with."""
        done = self.command("audit", "--json")
        found = json.loads(done.stdout or b"null")
        assert done.returncode == status, (found, done.stderr)
        return found

    def run_until_empty(self, seconds=SOON):
        """Start, wait until every input was taken, stop; return the daemon."""
        daemon = self.daemon().start()
        self.await_empty_inbox(seconds)
        assert daemon.stop() == 0
        return daemon


class Daemon:
    """One run of the command. Its log is read as monitoring would read it."""

    def __init__(self, command, log, environment=None):
        self.command = command
        self.log = log
        self.environment = {**os.environ, **(environment or {})}
        self.process = None
        self.was_killed = False
        self._pid = 0

    def spawn(self):
        """Start the process; return at once."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self.command, stderr=log, env=self.environment, start_new_session=True)
        return self

    def start(self):
        """Start, and wait until it says that it is ready."""
        self.spawn()
        self.wait("daemon.ready")
        return self

    @property
    def pid(self):
        """The daemon's own process, also where another one runs it."""
        self._pid = self._pid or self.wait("daemon.started")["pid"]
        return self._pid

    def events(self, name=None, **fields):
        """Return what was logged so far, of this name and with these fields."""
        wanted = {"event": name, **fields} if name else fields
        events = map(_event, self.log.read_bytes().splitlines(keepends=True))
        return [event for event in events if event and all(event.get(key) == wanted[key] for key in wanted)]

    def wait(self, name, seconds=SOON, **fields):
        """Wait for an event, and return the first; fail at once where the process has ended without."""

        def found():
            ended = self.process.poll() is not None
            events = self.events(name, **fields)
            assert events or not ended, f"it ended with {self.process.returncode} before {name}:\n{self.tail()}"
            return events

        return wait_for(found, f"{name} {fields or ''} in\n{self.tail()}\n", seconds)[0]

    def tail(self):
        """Return the last lines of the log, for a message."""
        return self.log.read_text("utf-8", "replace")[-3000:] if self.process else "it was not started"

    def send(self, number):
        """Send the daemon a signal."""
        os.kill(self.pid, number)

    def stop(self, number=signal.SIGTERM, seconds=SOON):
        """Ask it to stop, and return its exit status."""
        self.send(number)
        return self.process.wait(seconds)

    def kill(self):
        """End it as a crash would, and wait until the kernel has buried it."""
        self.was_killed = True
        with suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        return self.process.wait(SOON)

    def stop_if_it_lives(self):
        """Ask it to stop, unless it has been killed by now; return at once."""
        with suppress(ProcessLookupError):
            self.send(signal.SIGTERM)

    def workers(self):
        """Return the process ids of its worker processes, dead ones left out."""
        return [pid for pid, parent, state in _processes() if parent == self.pid and state != "Z"]

    def worker_at(self, path):
        """Return the worker process that has this file open, if there is one."""
        for pid in self.workers():
            with suppress(OSError):
                for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                    with suppress(OSError):
                        if os.readlink(descriptor) == str(path):
                            return pid
        return None

    def clear(self):
        """End whatever is left of it."""
        if self.process is None:
            return
        for event in self.events("daemon.started"):
            with suppress(ProcessLookupError):
                if self.process.poll() is None or _runs_us(event["pid"]):
                    os.kill(event["pid"], signal.SIGKILL)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # strace with what it runs, which may have said nothing yet
        self.process.wait(SOON)
        for event in self.events("daemon.started"):  # strace may be gone before the one that it ran
            wait_for(lambda pid=event["pid"]: not _runs_us(pid), "its end")


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    """Say with which order of tests a run failed: the header that says it is left out with `-q`."""
    seed = config.getoption("randomly_seed", None)
    if exitstatus and seed is not None:
        terminalreporter.write_line(f"the order of these tests: --randomly-seed={seed}")


@pytest.fixture(scope="session")
def lacking():
    """Return what ends a test for want of root or of a tool: a skip, but with `REQUIRE_ALL`, as in CI, a failure."""
    return pytest.fail if os.environ.get("REQUIRE_ALL") else pytest.skip


@pytest.fixture
def deep():
    """Return a function that makes a folder in a folder and so on, each of this name, and returns the last, open."""
    with ExitStack() as removed:

        def deep(top, name, levels):
            inside = os.open(top, os.O_RDONLY)
            # Python's own way to remove it needs a frame for each level.
            removed.callback(subprocess.run, ["rm", "-rf", f"{top}/{name}"], check=True)
            for _ in range(levels):
                os.mkdir(name, dir_fd=inside)
                above, inside = inside, os.open(name, os.O_RDONLY, dir_fd=inside)
                os.close(above)
            removed.callback(os.close, inside)
            return inside

        yield deep


@pytest.fixture
def too_deep():
    """Let Python's stack hold little more than it does; return a number of frames that is too many."""
    most = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 200)
    yield 250
    sys.setrecursionlimit(most)


@pytest.fixture
def site(tmp_path):
    """Give folders and a configuration; end every daemon that the test leaves behind."""
    site = Site(tmp_path)
    yield site
    for daemon in site.daemons:
        daemon.clear()
        sys.stderr.write(f"{daemon.log.name}\n{daemon.tail()}\n")  # shown where the test failed


@pytest.fixture
def counted():
    """Let coverage count what a test's children run, where those of its neighbours are `uncounted`."""


@pytest.fixture
def uncounted(request, monkeypatch):
    """Start children without coverage, which takes them longer than all else: other tests count what they run."""
    if "counted" not in request.fixturenames:
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture
def called(capfd):
    """Return a function that runs the command in this process; it returns its status, output and complaints."""

    def running(*arguments):
        with pytest.raises(SystemExit) as left:
            cli.main([str(argument) for argument in arguments])
        return left.value.code, *capfd.readouterr()

    return running


@pytest.fixture(scope="session")
def picture():
    """Return a function that makes the bytes of a picture in colours, of some size and format."""

    @cache
    def make(size=(8, 8), kind="PNG", seed=0):
        image = Image.linear_gradient("L").resize(size)
        other = image.transpose(Image.Transpose.ROTATE_90 if size[0] == size[1] else Image.Transpose.FLIP_TOP_BOTTOM)
        return _encoded(Image.merge("RGB", [image, other, image.point(lambda value: (value + seed) % 256)]), kind)

    return make


@pytest.fixture(scope="session")
def heavy():
    """Return the bytes of an image that keeps a worker busy for seconds."""
    return _encoded(Image.effect_noise((2000, 2000), 100).convert("RGB"), "WEBP", lossless=True, quality=0, method=0)


def _encoded(image, kind, **options):
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def files(root):
    """Return the relative paths of all files beneath `root` that people would see, sorted."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(folder, root)
        found += [os.path.normpath(os.path.join(inside, name)) for name in names if not name.startswith(".")]
    return sorted(found)


def _toml(table):
    return [f"{key} = {json.dumps(os.fspath(it) if isinstance(it, Path) else it)}" for key, it in table.items()]


def _event(line):
    return json.loads(line) if line.startswith(b"{") and line.endswith(b"\n") else None


def state_of(pid):
    """Return the letter that the kernel shows for a process; empty where there is none."""
    with suppress(OSError):
        return _state_and_parent(pid)[0]
    return ""


def is_alive(pid):
    """Whether a process is there, and not only what is left of one that nobody has buried yet."""
    return state_of(pid) not in {"", "X", "Z"}


def _processes():
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                state, parent = _state_and_parent(entry)
                yield int(entry), int(parent), state


def _state_and_parent(pid):
    return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[:2]


def _runs_us(pid):
    with suppress(OSError):
        return b"watcherd" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@pytest.fixture(autouse=True)
def the_same_noise():
    """Have Pillow's noise, which the C library draws, be the same whatever ran before: one in 400 hid a damage."""
    ctypes.CDLL(None).srand(1)


@pytest.fixture(autouse=True)
def logs_as_they_were():
    """Leave no test's configuration of logs, as a level that hides debug, to the next one."""
    yield
    structlog.reset_defaults()
