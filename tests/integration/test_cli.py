"""The command line: what it prints, and with which status it leaves."""

import errno
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from contextlib import suppress
from pathlib import Path

import click
import pytest
from tests.integration.conftest import failing

from watcherd import __version__, cli
from watcherd.cli import options, show
from watcherd.model import Refused, Stopped
from watcherd.paths import as_fields, typed

#: The way in that the installed script goes.
SCRIPT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["scripts"]["watcherd"]

pytestmark = pytest.mark.usefixtures("uncounted")

COMMANDS = ["run", "drain", "init", "check", "config", "failures", "retry", "audit", "service", "completion"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Give a working directory of its own, in an environment that says nothing."""
    for name in list(os.environ):
        if name.startswith(("WATCHERD_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def watcherd(here, called):  # noqa: ARG001 (it runs there)
    """Run the command here."""
    return called


@pytest.fixture
def ready(watcherd):
    """Write a configuration and its folders here."""
    assert watcherd("init")[0] == 0


def installed(*arguments, **more):
    return subprocess.Popen([sys.executable, "-m", "watcherd", *arguments], **more)


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_has_an_example_and_fits_a_screen(watcherd, command):
    status, out, _ = watcherd(*([command] if command else []), "--help")
    assert status == 0
    assert "watcherd" in out.partition("\n  ")[2].rpartition("Example")[2] or "Begin with" in out
    assert len(out.splitlines()) <= 24
    assert max(map(len, out.splitlines())) <= 80
    assert not [line for line in out.splitlines()[1:] if line.endswith("...")], "a sentence is cut short"


def test_the_examples_of_a_drain_and_of_its_audit_do_it_when_they_are_pasted(watcherd, here):
    (here / "scans").mkdir()
    (here / "scans/a.txt").write_text("one two")
    for command in ("drain", "audit"):
        (example,) = (line for line in watcherd(command, "--help")[1].splitlines() if "--inbox scans" in line)
        assert watcherd(*example.split()[1:])[0] == 0
    assert (here / "counted/a.txt.words.json").exists()


def test_help_imports_nothing_heavy():
    code = "import sys, watcherd.cli; print(*sys.modules)"
    assert not {"pydantic", "numpy", "PIL", "rich", "structlog"} & _loaded(code)


def _loaded(code):
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(said.split())


def test_the_daemon_is_imported_without_what_draws_and_without_what_counts():
    code = "from watcherd.cli import options\nwith options.without_rich():\n import watcherd.daemon, sys\n"
    assert not {"rich.console", "numpy", "PIL"} & _loaded(code + "print(*sys.modules)")


def test_what_draws_can_be_imported_afterwards():
    code = "from watcherd.cli import options\nwith options.without_rich():\n import structlog\n"
    assert "rich" in _loaded(code + "import rich, sys; print(*sys.modules)")


def test_counting_starts_no_threads_of_its_own():
    code = "import os, watcherd.processors.words; print(*os.listdir('/proc/self/task'))"
    assert len(_loaded(code)) == 1


def test_the_version_is_said(watcherd):
    assert watcherd("--version") == (0, f"watcherd {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["run", "--inbx", "a"],
        ["run", "--after", "eat"],
        ["retry"],
        ["completion"],
        ["completion", "tcsh"],
        ["config", "extra"],
        ["chek"],
        ["service", "instal"],
    ],
)
def test_wrong_usage_is_said_in_one_line_with_status_2(watcherd, arguments):
    status, out, err = watcherd(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("watcherd: ")
    assert re.search(r"[.?)] Try `watcherd.* --help`\.\n$", err)
    assert err.count("\n") == 1
    assert "\\t" not in err


def test_a_configuration_that_is_named_behind_the_command_is_told_its_place(watcherd):
    status, _, err = watcherd("run", "--config", "my.toml")
    assert (status, "watcherd --config FILE COMMAND" in err) == (2, True)


def test_wrong_configuration_is_a_line_for_each_problem_with_status_2(watcherd, here):
    (here / "watcherd.toml").write_text('[log]\nlevel = "loud"\nlevl = 1\n')
    status, out, err = watcherd("run")
    assert (status, out) == (2, "")
    assert [line.partition(": ")[0] for line in err.splitlines()] == ["watcherd"] * 3


@pytest.mark.parametrize("arguments", [[], ["service"]])
def test_without_a_command_it_says_all_that_there_are_with_status_2(watcherd, arguments):
    status, out, err = watcherd(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("Usage: watcherd")
    assert "Commands:\n  " in err


def parameters(command, name="watcherd"):
    """Yield the parameters of a command and of those beneath it, with a name for each."""
    yield from ((f"{name} {parameter.name}", parameter) for parameter in command.params)
    for inner in getattr(command, "commands", {}).values():
        yield from parameters(inner, f"{name} {inner.name}")


def test_no_path_is_judged_before_the_command_can_say_what_is_wrong_with_it():
    paths = {name: it.type for name, it in parameters(cli.commands) if isinstance(it.type, click.Path)}
    assert {"watcherd config", "watcherd init directory", "watcherd check inbox"} <= set(paths)
    assert [name for name, path in paths.items() if path.readable or path.writable or path.exists] == []


# init


def test_init_writes_the_configuration_and_its_folders(watcherd, here):
    status, out, _ = watcherd("init", "there")
    assert status == 0
    assert sorted(path.name for path in (here / "there").iterdir()) == [
        "archive",
        "failed",
        "inbox",
        "outbox",
        "watcherd.toml",
    ]
    assert out.splitlines()[-1] == "made   there/watcherd.toml"


def test_init_overwrites_nothing_and_says_so(watcherd, here):
    (here / "watcherd.toml").write_text("mine")
    (here / "inbox").mkdir()
    status, out, _ = watcherd("init")
    assert status == 0
    assert {"exists watcherd.toml", "exists inbox", "made   outbox"} <= set(out.splitlines())
    assert (here / "watcherd.toml").read_text() == "mine"


def test_init_as_json_has_the_same_facts(watcherd, here):
    (here / "inbox").mkdir()
    facts = json.loads(watcherd("init", "--json")[1])
    assert facts[0] == {"path": "inbox", "made": False}
    assert facts[-1] == {"path": "watcherd.toml", "made": True}


def test_init_says_what_stands_in_its_way(watcherd, here):
    (here / "inbox").write_text("no folder")
    assert watcherd("init") == (1, "", "watcherd: inbox is no folder; move it away, or name another\n")


@pytest.mark.parametrize("folder", ["/proc/nowhere", "/dev/null/x"])
def test_init_where_nothing_can_be_made_says_why(watcherd, folder):
    status, _, err = watcherd("init", folder)
    assert status == 1
    assert "cannot be made" in err


def test_init_names_the_configuration_once_it_is_on_disk(watcherd, here, monkeypatch):
    with monkeypatch.context() as context:
        context.setattr(os, "fsync", failing(errno.EIO))
        assert "watcherd.toml cannot be written: Input/output error" in watcherd("init")[2]
    assert {path.name for path in here.iterdir()} == {"archive", "failed", "inbox", "outbox"}
    assert watcherd("init")[1].splitlines()[-1] == "made   watcherd.toml"


def test_init_removes_what_one_that_was_killed_left(watcherd, here):
    dies = "import os; from watcherd import cli; os.fsync = lambda _: os._exit(9); cli.main(['init'])"
    assert subprocess.run([sys.executable, "-c", dies], cwd=here, check=False).returncode == 9
    assert [*here.glob(".*")]
    assert watcherd("init")[1].splitlines()[-1] == "made   watcherd.toml"
    assert not [*here.glob(".*")]


def test_init_takes_no_name_that_somebody_was_first_to_give(watcherd, here, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: (here / "watcherd.toml").write_text("mine"))
    assert watcherd("init")[1].splitlines()[-1] == "exists watcherd.toml"
    assert (here / "watcherd.toml").read_text() == "mine"
    assert not [*here.glob(".*")]


def test_init_writes_through_no_link(watcherd, here):
    (here / "watcherd.toml").symlink_to(here / "elsewhere")
    status, out, _ = watcherd("init")
    assert status == 0
    assert "exists watcherd.toml" in out.splitlines()
    assert not (here / "elsewhere").exists()


# config


@pytest.mark.usefixtures("ready")
def test_config_says_each_value_and_where_it_came_from(watcherd, here, monkeypatch):
    monkeypatch.setenv("WATCHERD_TEXT__TIMEOUT", "1m")
    lines = [line.split("\t") for line in watcherd("config")[1].splitlines()]
    assert ["text.timeout", '"1m"', "WATCHERD_TEXT__TIMEOUT"] in lines
    assert ["queue.capacity", "256", "default"] in lines
    assert next(line for line in lines if line[0] == "inbox.inbox.path")[1] == f'"{here}/inbox"'
    assert next(line for line in lines if line[0] == "text.workers")[1].startswith('"auto" (here ')


@pytest.mark.usefixtures("ready")
def test_config_as_json_has_the_same_facts(watcherd):
    facts = json.loads(watcherd("config", "--json")[1])
    assert facts["queue.capacity"] == {"value": 256, "from": "default"}
    assert facts["image.workers"]["value"] == "auto"
    assert facts["image.workers"]["chosen"] >= 1


def test_the_schema_needs_no_configuration(watcherd):
    status, out, _ = watcherd("config", "--schema")
    assert status == 0
    assert json.loads(out)["properties"]["stop_timeout"]["default"] == "30s"


def test_the_configuration_is_named_before_the_command(watcherd, here):
    watcherd("init", "there")
    facts = json.loads(watcherd("--config", "there/watcherd.toml", "config", "--json")[1])
    assert facts["inbox.inbox.path"]["value"] == f"{here}/there/inbox"


@pytest.mark.usefixtures("ready")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_that_is_left_aside_is_said(watcherd, here):
    os.chown(here / "watcherd.toml", 12345, -1)
    status, _, err = watcherd("config", "--inbox", "a", "--outbox", "b")
    assert (status, err) == (0, "")
    assert "belongs to user 12345" in watcherd("config")[2]


def test_a_working_directory_that_is_gone_is_said_in_one_line(watcherd, here, monkeypatch):
    gone = here / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    try:
        told = watcherd("--config", here / "watcherd.toml", "config")
    finally:
        monkeypatch.chdir(here)
    assert told == (2, "", "watcherd: working directory: it was removed; go to another one\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("config", "--inbox", "", "--outbox", "out"),
        ("init", ""),
        ("--config", "", "config"),
        ("config", "--state", ""),
    ],
)
def test_an_empty_path_is_not_the_working_directory(watcherd, here, arguments):
    before = sorted(here.iterdir())
    status, _, err = watcherd(*arguments)
    assert status == 2
    assert "is empty" in err
    assert sorted(here.iterdir()) == before


# completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_shells_script(watcherd, shell):
    status, out, _ = watcherd("completion", shell)
    assert status == 0
    assert "_WATCHERD_COMPLETE" in out


# run


def test_run_makes_missing_folders_where_it_is_told_to(watcherd, here, monkeypatch):
    ran = []
    monkeypatch.setattr("watcherd.daemon.run", lambda settings, reload: ran.append((settings, reload())) or 0)
    assert watcherd("run", "--inbox", "deep/in", "--outbox", "out", "--make-folders")[0] == 0
    assert (here / "deep/in").is_dir()
    assert (here / "out").is_dir()
    settings, again = ran[0]
    assert settings == again


@pytest.mark.parametrize("command", ["run", "drain"])
def test_a_missing_outbox_is_said_with_its_mend_before_anything_is_made(watcherd, here, command):
    (here / "in").mkdir()
    status, out, err = watcherd(command, "--inbox", "in", "--outbox", "deep/out put")
    assert (status, out) == (1, "")
    mend = f"mount it, or make it: mkdir -p '{here}/deep/out put', or start with --make-folders"
    assert err == f"watcherd: {here}/deep/out put is missing; {mend}\n"
    assert [path.name for path in here.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("inbox", "outbox"), [("link", "out"), ("in", "link"), ("link/in", "out"), ("in", "link/out")]
)
def test_a_folder_that_cannot_be_made_where_a_link_leads_is_said_at_once(watcherd, here, inbox, outbox):
    (here / "link").symlink_to("nowhere")
    status, _, err = watcherd("run", "--inbox", inbox, "--outbox", outbox, "--make-folders")
    missing = inbox if "link" in inbox else outbox
    mend = f"mount it, or make it: mkdir -p {here}/{missing.replace('link', 'nowhere')}"
    assert (status, err) == (1, f"watcherd: {here}/{missing} is missing; {mend}\n")


@pytest.mark.parametrize("folder", ["in", "out"])
def test_a_folder_to_be_made_that_is_there_and_cannot_be_reached_says_why(watcherd, here, folder):
    (here / folder).symlink_to(folder)
    status, _, err = watcherd("run", "--inbox", "in", "--outbox", "out", "--make-folders")
    reason = "Too many levels of symbolic links; correct its link, or name another"
    assert (status, err) == (1, f"watcherd: {here}/{folder} cannot be reached: {reason}\n")


@pytest.mark.parametrize("command", ["run", "drain"])
@pytest.mark.parametrize("file", ["in", "out"])
@pytest.mark.parametrize("make", [[], ["--make-folders"]])
def test_a_file_in_place_of_a_folder_is_said_before_anything_is_made(watcherd, here, command, file, make):
    (here / {"in": "out", "out": "in"}[file]).mkdir()
    (here / file).touch()
    status, _, err = watcherd(command, "--inbox", "in", "--outbox", "out", *make)
    assert (status, err) == (1, f"watcherd: {here}/{file} is no folder; move it away, or name another\n")
    assert sorted(path.name for path in here.iterdir()) == ["in", "out"]


@pytest.mark.parametrize("make", [[], ["--make-folders"]])
def test_a_file_in_place_of_one_outbox_of_several_ends_no_start(watcherd, here, monkeypatch, make):
    monkeypatch.setattr("watcherd.daemon.run", lambda settings, reload: 7)  # noqa: ARG005 (the daemon's)
    (here / "file").touch()
    (here / "b").mkdir()
    one = '[inbox.one]\npath = "one"\noutbox = "file"\narchive = "c"\nfailed = "d"\n'
    (here / "watcherd.toml").write_text(f'{one}[inbox.two]\npath = "two"\noutbox = "b"\n')
    assert watcherd("run", *make) == (7, "", "")


def test_an_inbox_that_cannot_be_looked_at_is_waited_for_as_a_missing_one_and_ends_no_start(watcherd, here):
    (here / "out").mkdir()
    (here / "in").symlink_to("in")
    status, out, err = watcherd("drain", "--inbox", "in", "--outbox", "out", "--json")
    assert (status, json.loads(out)["left"]) == (1, 0)
    assert "in is lost: Too many levels of symbolic links; correct its link, and drain again\n" in err


def test_drain_makes_missing_folders_where_it_is_told_to(watcherd, here):
    assert watcherd("drain", "--inbox", "in", "--outbox", "deep/out", "--make-folders", "--json")[0] == 0
    assert (here / "in").is_dir()
    assert (here / "deep/out").is_dir()


def test_run_says_which_folder_it_cannot_make(watcherd, here):
    (here / "file").touch()
    status, _, err = watcherd("run", "--inbox", "file/in", "--outbox", "out", "--make-folders")
    assert status == 1
    assert err == f"watcherd: {here}/file/in cannot be made: Not a directory; make it or name another\n"


def test_the_status_of_the_daemon_is_ours(watcherd, monkeypatch):
    monkeypatch.setattr("watcherd.daemon.run", lambda settings, reload: 7)  # noqa: ARG005 (the daemon's)
    assert watcherd("run", "--inbox", "in", "--outbox", "out", "--make-folders")[0] == 7


# failures, retry, audit


@pytest.mark.parametrize("json_too", [[], ["--json"]])
@pytest.mark.parametrize(
    "command", [["failures"], ["retry", "--all"], ["retry", "a.txt"], ["retry", "--class", "timeout"], ["audit"]]
)
def test_where_no_ledger_ever_was_that_is_said(watcherd, here, command, json_too):
    folders = ("--inbox", "in", "--outbox", "out", "--state", "mistyped")
    never = f"watcherd: there is no ledger in {here}/mistyped: no watcherd has run with this state directory"
    mend = "give the command what its watcherd was given, or start that first"
    assert watcherd(*command, *json_too, *folders) == (1, "", f"{never}; {mend}\n")
    assert list(here.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")
def test_that_nothing_is_set_aside_is_said_on_a_terminal(watcherd, here):
    folders = ("--inbox", "in", "--outbox", "out", "--state", "state")
    assert watcherd("drain", "--make-folders", *folders)[0] == 0
    for command, said in (
        ("failures", "Nothing is set aside.\r\n"),
        ("failures --class timeout", "Nothing is set aside as timeout.\r\n"),
        ("failures --json", "[]\r\n"),
        ("retry --all", "Nothing is set aside.\r\n"),
        ("retry --class timeout", "Nothing is set aside as timeout.\r\n"),
    ):
        assert on_terminal(*command.split(), *folders, cwd=here) == (0, said)


@pytest.mark.usefixtures("counted")
def test_the_status_of_an_audit_says_what_it_found_also_where_its_summary_cannot_be_written(watcherd, here):
    folders = ("--inbox", "in", "--outbox", "out", "--state", "state")
    assert watcherd("drain", "--make-folders", *folders)[0] == 0
    with Path("/dev/full").open("w") as full:
        assert installed("audit", *folders, cwd=here, stderr=full).wait(timeout=30) == 0


# What may happen to any command


@pytest.mark.usefixtures("ready")
def test_a_drain_that_a_signal_ends_before_it_began_leaves_with_its_number_in_one_line(watcherd, monkeypatch):
    def stopped(*_, **__):
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr("watcherd.drain.drain", stopped)
    said = "watcherd: stopped before anything was begun: nothing is lost\n"
    assert watcherd("drain") == (143, "", said)


#: A module in place of one that takes long to import: meanwhile Ctrl-C is pressed, and whatever is raised is caught.
SLOW_MODULE = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    raise SystemExit
except BaseException:
    os._exit(7)
"""

WAYS_IN = [["-m", "watcherd"], ["-c", "from {} import {} as main; main()".format(*SCRIPT.split(":"))]]


@pytest.mark.parametrize(("ignored", "status"), [(False, -signal.SIGINT), (True, 7)])
@pytest.mark.parametrize("module", ["click", "structlog"])
@pytest.mark.parametrize("way_in", WAYS_IN)
def test_ctrl_c_ends_a_command_silently_by_the_signal_while_it_is_imported_unless_it_is_ignored(
    here, way_in, module, ignored, status
):
    (here / f"{module}.py").write_text(SLOW_MODULE)
    process = subprocess.run(
        [sys.executable, *way_in, "run", "--inbox", "a", "--outbox", "b", "--make-folders"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL),
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (process.returncode, process.stdout, process.stderr) == (status, b"", b"")


@pytest.mark.usefixtures("ready")
def test_no_folder_is_said_not_to_answer_while_a_command_is_imported(watcherd, monkeypatch):
    waits, loader = [], options.loader

    def importing(*arguments):
        timers = [it for it in threading.enumerate() if isinstance(it, threading.Timer) and not it.finished.is_set()]
        waits.append(timers)
        return loader(*arguments)

    monkeypatch.setattr(options, "loader", importing)
    assert watcherd("config")[0] == 0
    assert waits == [[]]


KILLED_CHECK = """
import os, signal
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
from watcherd import cli
cli.main(["check"])
"""


@pytest.mark.usefixtures("ready")
def test_a_check_that_is_killed_leaves_nothing_in_the_folders_that_it_tries(here):
    before = sorted(here.rglob("*"))
    process = subprocess.run([sys.executable, "-c", KILLED_CHECK], cwd=here, check=False, timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("python", [[], ["-X", "utf8=0"]])
def test_names_are_utf_8_whatever_the_locale_takes_them_for(here, monkeypatch, python):
    for name, value in {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}.items():
        monkeypatch.setenv(name, value)
    (here / "watcherd.toml").write_text('[inbox.a]\npath = "Eingänge"\noutbox = "Ausgänge"\n', "utf-8")
    (here / "Eingänge").mkdir()
    (here / "Eingänge/grüße.txt").write_text("ein zwei")
    command = [sys.executable, *python, "-m", "watcherd", "drain", "--make-folders"]
    assert subprocess.run(command, cwd=here, capture_output=True, check=False, timeout=30).returncode == 0
    result = json.loads((here / "Ausgänge/grüße.txt.words.json").read_bytes())
    assert (result["source"], result["words"], "source_b64" in result) == ("grüße.txt", 2, False)


def test_a_compiled_module_that_a_full_disk_cut_short_is_not_taken_for_an_interrupt(here, monkeypatch):
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(here / "compiled"))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    assert installed(*FACTS, cwd=here, stdout=subprocess.DEVNULL).wait(30) == 0
    (module,) = here.glob("compiled/**/watcherd/settings/__init__.*.pyc")
    os.truncate(module, 100)
    process = installed(*FACTS, cwd=here, stderr=subprocess.PIPE)
    assert b"EOFError: marshal data too short" in process.communicate(timeout=30)[1]
    assert process.returncode == 1


#: Lets a process start so many threads and no more, as the limits of users and containers do.
FEW_THREADS = """
import sys, threading
begin = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
real, left = getattr(threading, begin), [int(sys.argv.pop(1))]
def started(*arguments, **more):
    left[0] -= 1
    if left[0] < 0:
        raise RuntimeError("can't start new thread")
    return real(*arguments, **more)
setattr(threading, begin, started)
from watcherd import cli
cli.main()
"""


@pytest.mark.parametrize("few", range(9))
def test_that_no_thread_can_be_started_is_said_in_one_line(here, few):
    folders = ["--inbox", "a", "--outbox", "b", "--make-folders"]
    command = [sys.executable, "-c", FEW_THREADS, str(few), "run", *folders]
    process = subprocess.run(command, cwd=here, capture_output=True, check=False, timeout=30)
    complaints = [line for line in process.stderr.splitlines() if not line.startswith(b"{")]
    mend = b"raise this process's limits (TasksMax, ulimit -u, memory), or update its container's runtime"
    assert complaints == [b"watcherd: cannot start a thread: " + mend]
    assert process.returncode == 1


@pytest.mark.usefixtures("counted")
def test_a_reader_that_has_gone_is_no_fault_to_complain_of(here):
    reading, writing = os.pipe()
    os.close(reading)
    process = installed("config", "--inbox", "a", "--outbox", "b", cwd=here, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (process.communicate(timeout=30)[1], process.returncode) == (b"", 1)


FACTS = ("config", "--inbox", "a", "--outbox", "b")


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("arguments", [FACTS, ["--help"], ["--version"], ["completion", "bash"], ["init"]])
def test_a_full_disk_behind_the_output_is_said(here, arguments):
    with Path("/dev/full").open("w") as full:
        process = installed(*arguments, cwd=here, stdout=full, stderr=subprocess.PIPE)
        err = process.communicate(timeout=30)[1]
    assert err == b"watcherd: cannot write to standard output: No space left on device\n"
    assert process.returncode == 1


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("arguments", [FACTS, ["--version"], ["completion", "fish"]])
def test_a_closed_output_is_no_fault(here, arguments):
    command = shlex.join([sys.executable, "-m", "watcherd", *arguments])
    process = subprocess.run(["sh", "-c", f"{command} >&-"], cwd=here, capture_output=True, check=False)  # noqa: S607
    assert (process.returncode, process.stderr) == (0, b"")


def on_terminal(*arguments, cwd):
    """Run the installed command on a terminal of its own; return its status and all that it showed."""
    child, terminal = pty.fork()
    if not child:
        os.chdir(cwd)
        os.execv(sys.executable, [sys.executable, "-m", "watcherd", *arguments])  # noqa: S606 (none is wanted)
    shown = b""
    with suppress(OSError):  # EIO: the other side has gone
        while block := os.read(terminal, 1 << 16):
            shown += block
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


@pytest.mark.usefixtures("counted")
@pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")
def test_on_a_terminal_facts_are_a_table_with_headings(here):
    status, shown = on_terminal("config", "--inbox", "a", "--outbox", "b", cwd=here)
    assert status == 0
    assert "key" in shown.splitlines()[0]
    assert "\t" not in shown


def test_a_terminal_that_says_it_has_no_columns_is_shown_every_fact_all_the_same(monkeypatch, capsys):
    monkeypatch.setattr(show, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "0")
    show.table(("", ""), [("waiting", 0)])
    assert capsys.readouterr().out.splitlines() == ["waiting  0"]


def test_a_table_without_headings_has_no_line_for_them_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(show, "on_terminal", lambda: True)
    show.table(("", ""), [("waiting", 0)])
    assert capsys.readouterr().out.splitlines() == ["waiting  0"]


# How facts are written


@pytest.mark.parametrize(("seconds", "written"), [(0.42, "0.4 s"), (125, "2 min 05 s"), (4800, "1 h 20 min")])
def test_times_are_written_for_people(seconds, written):
    assert show.duration(seconds) == written


def test_a_path_that_is_no_text_is_exact_in_json():
    assert as_fields("path", "a\n") == {"path": "a\n"}
    assert as_fields("path", os.fsdecode(b"\xff")) == {"path": "\ufffd", "path_b64": "/w=="}


def test_a_path_that_is_no_text_within_a_text_is_replaced_in_json(capsys):
    show.as_json({"message": os.fsdecode(b"No such file: \xff.txt")})
    assert json.loads(capsys.readouterr().out) == {"message": "No such file: \ufffd.txt"}


@pytest.mark.skipif(shutil.which("bash") is None, reason="it is bash that is asked")
@pytest.mark.parametrize("name", [b"br\xff\nk.jpg", b"it's\t\\\x01f", "größe\n".encode(), b"a b"])
def test_a_path_that_is_no_plain_text_can_be_pasted_into_bash(name):
    pasted = typed(os.fsdecode(name))
    assert pasted.isprintable()
    pasted = pasted if pasted.startswith("$") else shlex.quote(pasted)
    assert subprocess.check_output(["bash", "-c", f"printf %s {pasted}"]) == name  # noqa: S607


def test_a_cell_stays_on_its_line():
    assert show.safe("a\nb\x1b") == "a\\nb\\x1b"


def test_a_name_in_json_is_nothing_that_a_terminal_obeys(capsys):
    show.as_json(["a\x7f\x9b2Jb"])
    assert capsys.readouterr().out == '[\n  "a\\u007f\\u009b2Jb"\n]\n'


def test_a_name_in_an_error_is_nothing_that_a_terminal_obeys(watcherd, monkeypatch):
    def refused(settings, reload):  # noqa: ARG001 (the daemon's)
        raise Refused("cannot use the folder failed: Permission denied (a\x1b]0;b\x07)")

    monkeypatch.setattr("watcherd.daemon.run", refused)
    status, _, err = watcherd("run", "--inbox", "in", "--outbox", "out", "--make-folders")
    assert (status, err) == (1, "watcherd: cannot use the folder failed: Permission denied (a\\x1b]0;b\\x07)\n")


def test_an_error_of_ours_is_one_line_with_status_1(watcherd, monkeypatch):
    def refused(settings, reload):  # noqa: ARG001 (the daemon's)
        raise Refused("another daemon holds\nthis inbox")

    monkeypatch.setattr("watcherd.daemon.run", refused)
    status, _, err = watcherd("run", "--inbox", "in", "--outbox", "out", "--make-folders")
    assert (status, err) == (1, "watcherd: another daemon holds this inbox\n")


@pytest.mark.usefixtures("counted")
@pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")
def test_a_sound_machine_is_told_so_on_a_terminal(here):
    for folder in ("in", "out"):
        (here / folder).mkdir()
    status, shown = on_terminal("check", "--inbox", "in", "--outbox", "out", cwd=here)
    assert status == 0
    assert "Nothing stands in the way." in shown


@pytest.mark.usefixtures("counted")
@pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")
def test_run_on_a_terminal_says_what_to_do_next_and_ctrl_c_stops_it(here):
    for folder in ("in", "out"):
        (here / folder).mkdir()
    child, terminal = pty.fork()
    if not child:
        os.chdir(here)
        arguments = ["run", "--inbox", "in", "--outbox", "out"]
        os.execv(sys.executable, [sys.executable, "-m", "watcherd", *arguments])  # noqa: S606 (none is wanted)
    shown, interrupted = b"", False
    with suppress(OSError):  # EIO: the other side has gone
        while block := os.read(terminal, 1 << 16):
            shown += block
            if b"daemon.ready" in shown and not interrupted:  # which may come in two blocks
                interrupted = os.write(terminal, b"\x03")
    os.close(terminal)
    assert f"Drop files into {here}/in; results appear in {here}/out; Ctrl-C stops.".encode() in shown
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
