"""The documents say what the code does: names, keys, defaults, events and paths are held against each other."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path

import click
import pytest

import watcherd
from watcherd import daemon, settings
from watcherd.cli import commands
from watcherd.intake import rules
from watcherd.model import Failure
from watcherd.settings import live

ROOT = Path(__file__).parents[2]
CODE = ROOT / "src/watcherd"
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
TOPS = ("src/", "tests/", "config/", "locks/", "benchmarks/", "systemd/", ".ci/")
LEVELS = {"debug", "info", "warning", "error", "critical"}

#: What ``file.{…}`` stands for where a job is given back.
RETURNED = {"file.changed", "file.waiting", "file.vanished"}


def text_of(document):
    return (ROOT / document).read_text("utf-8")


def section(document, heading):
    """Return what stands under a heading, down to the next one that is no deeper."""
    depth = heading.index(" ")
    _, _, rest = text_of(document).partition(f"\n{heading}\n")
    assert rest, f"{document} has no {heading}"
    return re.split(rf"\n#{{1,{depth}}} ", rest)[0]


def rows(text):
    """Return the cells of each table row that begins with something in backquotes."""
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line[:3] == "| `"
    ]


def quoted(text):
    """Return what stands in backquotes outside of blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


@cache
def modules():
    """Return every file of the package with its syntax tree."""
    return [(path, ast.parse(path.read_text("utf-8"))) for path in sorted(CODE.rglob("*.py"))]


# Paths, links, tests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_is_named_exists(document):
    named = {name for name in quoted(text_of(document)) if name.startswith(TOPS) and "NAME" not in name}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document):
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", text_of(document)):
        name, _, anchor = target.partition("#")
        assert (ROOT / name).exists(), target
        assert not anchor or anchor in anchors(name or document), target


def anchors(document):
    headings = re.findall(r"(?m)^#+ (.*)$", text_of(document))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def listed(text):
    """Return what an indented list names, with what is said of each."""
    return dict(re.findall(r"(?m)^    (\S+?)/?  +(\S.*)$", text))


ROOMS = sorted(path.parent for path in CODE.rglob("__init__.py"))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_each_room_names_its_modules(room):
    files = {path.stem for path in room.glob("*.py")} - {"__init__", "__main__"}
    rooms = {path.name for path in room.iterdir() if (path / "__init__.py").exists()}
    said = ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8")), clean=False)
    assert set(listed(said)) == files | rooms


def test_the_drawing_of_the_rooms_names_rooms():
    block = re.search(r"(?s)```\n(.*?)```", section("ARCHITECTURE.md", "## Code map"))[1]
    assert set(re.findall(r"\w+", block)) <= set(listed(watcherd.__doc__ or ""))


def test_every_test_that_is_named_exists():
    written = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    names = set(re.findall(r"(?m)^ *def (test_\w+)", written))
    named = {name for document in DOCUMENTS for name in quoted(text_of(document)) if re.fullmatch(r"test_\w+", name)}
    assert named - names == set()


def test_each_of_the_ten_promises_names_a_test():
    promises = re.findall(r"(?m)^\| (\d\d) \|.*$", section("ARCHITECTURE.md", "## Promises"))
    tested = re.findall(r"(?m)^\| (\d\d) \|.*`test_\w+`.*$", section("ARCHITECTURE.md", "## Promises"))
    assert promises == tested == [f"{number:02}" for number in range(1, 11)]
    assert len(re.findall(r"(?m)^\d+\. \*\*", section("README.md", "## What it promises"))) == 10


# Threads -----------------------------------------------------------------------------------------------------------


def test_the_list_of_threads_names_every_thread():
    started = {pattern for _, tree in modules() for node in ast.walk(tree) if (pattern := thread_name(node))}
    said = {name for names in listed(daemon.__doc__ or "") for name in names.split(", ")} - {"main"}
    assert [name for name in said if not any(re.fullmatch(pattern, name) for pattern in started)] == []
    assert [pattern for pattern in started if not any(re.fullmatch(pattern, name) for name in said)] == []


def thread_name(node):
    """Return the name that a call of `Thread` gives, as a pattern."""
    if not (isinstance(node, ast.Call) and ast.unparse(node.func) in {"Thread", "lifeline.thread"}):
        return None
    name = next(keyword.value for keyword in node.keywords if keyword.arg == "name")
    if ast.unparse(name) == "name":  # lifeline's own
        return None
    parts = name.values if isinstance(name, ast.JoinedStr) else [name]
    return "".join(re.escape(part.value) if isinstance(part, ast.Constant) else r"\w+" for part in parts)


# Events ------------------------------------------------------------------------------------------------------------


@cache
def emitted():
    """Return every event of the code, with the levels that are known of it."""
    events = defaultdict(set)
    for _, tree in modules():
        for node in ast.walk(tree):
            for event, level in [*of_call(node), *of_mapping(node)]:
                events[event] |= {level} & LEVELS
    return events


def of_call(node):
    """Yield events of ``log.info("…")``, of ``tell("…")``, and behind a level, as in ``say("info", "…", job)``."""
    if not isinstance(node, ast.Call):
        return
    method = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if method in LEVELS | {"tell"} and node.args:
        yield from ((event, method) for event in names_of(node.args[0]))
    elif method.lstrip("_") in {"say", "log"} and len(node.args) > 1:
        yield from ((event, getattr(node.args[0], "value", "")) for event in names_of(node.args[1]))


def of_mapping(node):
    """Yield the events of ``{"event": "…", "level": "…"}``, which needs no logger."""
    if isinstance(node, ast.Dict):
        said = {
            getattr(key, "value", None): getattr(value, "value", "")
            for key, value in zip(node.keys, node.values, strict=True)
        }
        if isinstance(said.get("event"), str) and "." in said["event"]:
            yield said["event"], said.get("level", "")


def names_of(argument):
    if isinstance(argument, ast.Constant) and re.fullmatch(r"[a-z]+\.[a-z_]+", str(argument.value)):
        return {argument.value}
    if isinstance(argument, ast.JoinedStr):
        assert ast.unparse(argument).startswith("f'file.{"), "an event whose name is put together is not known here"
        return RETURNED
    return set()


def test_the_table_of_events_is_the_codes():
    told = {cells[0].strip("`"): cells[1] for cells in rows(section("README.md", "## Log events"))}
    events = emitted()
    assert set(told) == set(events)
    known = {event: levels for event, levels in events.items() if len(levels) == 1}
    assert {event: {told[event]} for event in known} == known


def test_every_event_that_is_mentioned_is_one():
    things = "|".join({event.partition(".")[0] for event in emitted()})
    for document in DOCUMENTS:
        named = {name for name in quoted(text_of(document)) if re.fullmatch(rf"({things})\.[a-z]+_?[a-z]*", name)}
        assert {name for name in named if not is_file(name)} <= set(emitted()) | set(keys_of_readme())


def is_file(name):
    return name.endswith((".py", ".md", ".toml", ".sql", ".db"))


# Settings ----------------------------------------------------------------------------------------------------------


def keys_of_readme():
    """Return each key of the table with its default and whether it is marked as live."""
    table = rows(section("README.md", "## Configuration"))
    return {cells[0].split("`")[1]: (cells[1].strip("`"), "↻" in cells[0]) for cells in table}


@pytest.fixture
def defaults(tmp_path):
    loaded = settings.load({"inbox": tmp_path / "in", "outbox": tmp_path / "out"}, {"HOME": "/home/ana"}, tmp_path)
    return {key.replace("inbox.inbox.", "inbox.*."): origin.value for key, origin in settings.origins(loaded).items()}


def test_the_table_of_keys_has_every_key_with_its_default(defaults):
    table = {key: default for key, (default, _) in keys_of_readme().items()}
    assert set(table) == set(defaults)
    plain = {
        key: value
        for key, value in table.items()
        if key not in {"state", *(f"inbox.*.{role}" for role in ("path", "outbox", "archive", "failed"))}
    }
    assert {key: json.loads(value) for key, value in plain.items()} == {key: defaults[key] for key in plain}


def test_the_table_of_keys_marks_what_a_reload_changes():
    changing = {f"{table}.{key}" for table, keys in live.LIVE.items() for key in keys}
    changing |= {*live.LIVE_AT_TOP, *(f"inbox.*.{key}" for key in live.LIVE_OF_INBOX)}
    assert {key for key, (_, marked) in keys_of_readme().items() if marked} == changing


@pytest.mark.parametrize(
    "block", re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
)
def test_every_configuration_shown_is_one(block, tmp_path):
    assert tomllib.loads(block)
    (tmp_path / "shown.toml").write_text(block, "utf-8")
    settings.load({}, {"HOME": "/home/ana"}, tmp_path, tmp_path / "shown.toml")


def test_every_variable_shown_is_a_key():
    text = re.sub(r"journalctl .*", "", text_of("README.md"))  # those are fields of an event
    shown = re.findall(r"WATCHERD_([A-Z_]+?)(?:=|`)", text)
    dotted = {name.lower().replace("__", ".") for name in shown} - {"config"}
    known = {re.escape(key).replace(r"\*", r"\w+") for key in keys_of_readme()}
    assert [key for key in dotted if not any(re.fullmatch(pattern, key) for pattern in known)] == []


def test_names_that_are_never_taken_are_listed():
    told = {name.lower() for name in quoted(section("README.md", "## Configuration"))}
    assert {f"*{suffix}" for suffix in rules.NEVER_TAKEN_SUFFIXES} | rules.NEVER_TAKEN | rules.NEVER_ENTERED <= told


def test_the_table_of_classes_is_the_codes():
    table = {cells[0].strip("`"): cells[2] == "yes" for cells in rows(section("README.md", "### What was set aside"))}
    assert table == {failure.value: failure.passing for failure in Failure}


# Commands ----------------------------------------------------------------------------------------------------------


def shown_commands():
    """Return the arguments of every `watcherd …` that a document shows to be typed."""
    for document in DOCUMENTS:
        for block in re.findall(r"```console\n(.*?)```", text_of(document), re.DOTALL):
            typed = (line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))
            parts = (part for line in typed for part in re.split(r";|&&|&|\|", line.partition(" #")[0]))
            split = (shlex.split(part) for part in parts if re.match(r"\s*(\S+/)?watcherd ", part))
            yield from (tuple(words[1:]) for words in split)


@pytest.mark.parametrize("arguments", sorted(set(shown_commands())), ids=" ".join)
def test_every_command_shown_can_be_typed(arguments):
    try:
        context = commands.make_context("watcherd", list(arguments))
        name, command, rest = commands.resolve_command(context, [*context._protected_args, *context.args])  # noqa: SLF001 (click has no other way to parse without running)
        inner = command.make_context(name, rest, parent=context)
        if isinstance(command, click.Group):
            name, command, rest = command.resolve_command(inner, [*inner._protected_args, *inner.args])  # noqa: SLF001 (the same)
            command.make_context(name, rest, parent=inner)
    except click.exceptions.Exit as leaving:  # --version
        assert leaving.exit_code == 0  # noqa: PT017 (any other exception is the failure)


def test_the_headings_in_the_session_are_those_of_the_tables():
    headings = {
        tuple(" ".join(ast.literal_eval(node.args[0])).split())
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "show.table"
    }
    words = {word for heading in headings for word in heading}
    lines = [tuple(line.split()) for line in section("README.md", "## A session").splitlines()]
    shown = {line for line in lines if len(line) > 2 and words.issuperset(line)}
    assert ("inbox", "quarantined", "class", "why") in shown
    assert shown <= headings


def test_the_table_of_commands_is_the_codes():
    table = {
        cells[0].strip("`").split(" ")[0]: " ".join(cells) for cells in rows(section("README.md", "## Commands"))
    }
    assert set(table) == set(commands.commands)
    for name, words in table.items():
        known = {flag for command in family(commands.commands[name]) for it in command.params for flag in it.opts}
        assert set(re.findall(r"--[a-z-]+", words)) <= known, name


def family(command):
    """Return a command with those beneath it."""
    return [command, *getattr(command, "commands", {}).values()]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_that_is_named_can_be_made(document):
    targets = set(re.findall(r"(?m)^([a-z-]+):", text_of("Makefile")))
    assert set(re.findall(r"(?:`|\$ )make ([a-z-]+)", text_of(document))) <= targets
