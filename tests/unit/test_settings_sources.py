"""Which source is believed, where each value came from, and what paths are relative to."""

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.model import After
from watcherd.settings import ConfigurationError, load, origins
from watcherd.settings.layers import from_environment, lines_of

MINIMAL = '[inbox.scans]\npath = "in"\noutbox = "out"\n'


@pytest.fixture
def write(tmp_path):
    def writing(text, name="watcherd.toml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return writing


@pytest.fixture
def environ(tmp_path):
    return {"STATE_DIRECTORY": str(tmp_path / "state"), "HOME": str(tmp_path / "home")}


def test_flags_beat_the_environment_that_beats_the_file_that_beats_the_defaults(write, environ, tmp_path):
    config = write('[inbox.inbox]\npath = "1"\noutbox = "1"\nafter = "keep"\n[log]\nlevel = "error"\n')
    environ |= {"WATCHERD_INBOX__INBOX__AFTER": "delete", "WATCHERD_INBOX__INBOX__OUTBOX": "2"}
    settings = load({"inbox": "3", "outbox": "3o"}, environ, tmp_path, config)
    inbox = settings.inbox["inbox"]
    assert (inbox.path, inbox.outbox) == (tmp_path / "3", tmp_path / "3o")
    assert inbox.after is After.DELETE
    assert settings.log.level == "error"
    assert settings.log.format == "auto"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_may_begin_with_a_mark_and_end_its_lines_as_editors_on_windows_have_it(write, environ, tmp_path, end):
    config = write("")
    config.write_bytes(f"\ufeff{MINIMAL}".replace("\n", end).encode())
    settings = load({}, environ, tmp_path, config)
    assert settings.inbox["scans"].path.is_relative_to(tmp_path)
    assert settings.layers.place("inbox", "scans", "path") == f"{config}:2"


def test_inboxes_of_other_sources_are_left_aside_beside_inbox_flags_and_that_is_said(write, environ, tmp_path):
    config = write(MINIMAL)
    environ["WATCHERD_INBOX__PHOTOS__PATH"] = "p"
    settings = load({"inbox": "3", "outbox": "3o"}, environ, tmp_path, config)
    assert list(settings.inbox) == ["inbox"]
    assert settings.layers.notes == (
        "inbox.photos of WATCHERD_INBOX__PHOTOS__PATH is left aside: --inbox stands in its place",
        f"inbox.scans of {config}:1 is left aside: --inbox stands in its place",
    )


def test_every_value_says_where_it_came_from(write, environ, tmp_path):
    config = write(MINIMAL + '[text]\n# a comment\ntimeout = "1m"\nextensions = [\n  ".a",\n]\nworkers = 3\n')
    found = origins(load({"state": "s"}, environ | {"WATCHERD_LOG__LEVEL": "debug"}, tmp_path, config))
    places = {key: origin.place for key, origin in found.items()}
    assert places["inbox.scans.path"] == f"{config}:2"
    assert places["text.timeout"] == f"{config}:6"
    assert places["text.extensions"] == f"{config}:7"
    assert places["text.workers"] == f"{config}:10"
    assert places["log.level"] == "WATCHERD_LOG__LEVEL"
    assert places["state"] == "--state"
    assert places["inbox.scans.archive"] == "default, beside the outbox"
    assert places["queue.capacity"] == "default"


def test_origins_are_written_as_people_write_them(write, environ, tmp_path):
    found = origins(load({}, environ, tmp_path, write(MINIMAL)))
    written = {key: found[key].value for key in ("stop_timeout", "min_free", "image.memory", "ledger.history")}
    assert written == {"stop_timeout": "30s", "min_free": "1%", "image.memory": "1GiB", "ledger.history": "90d"}


def test_a_whole_number_of_the_environment_is_one_with_its_underscores(write, environ, tmp_path):
    environ |= {"WATCHERD_IMAGE__MAX_PIXELS": "100_000_000", "WATCHERD_TEXT__WORKERS": "3"}
    found = origins(load({}, environ, tmp_path, write(MINIMAL + "[image]\nworkers = 2\n")))
    assert [found[key].value for key in ("image.max_pixels", "text.workers", "image.workers")] == [100_000_000, 3, 2]


@pytest.mark.parametrize("said", ["_1", "1_", "1__0", "1_000.5"])
def test_underscores_stand_between_digits(write, environ, tmp_path, said):
    with pytest.raises(ConfigurationError, match="is no whole number"):
        load({}, environ | {"WATCHERD_QUEUE__CAPACITY": said}, tmp_path, write(MINIMAL))


def test_auto_says_what_it_comes_to_here(write, environ, tmp_path):
    found = origins(load({}, environ, tmp_path, write(MINIMAL)))
    assert found["text.workers"].value == "auto"
    assert 1 <= found["text.workers"].chosen <= len(os.sched_getaffinity(0))
    assert found["queue.capacity"].chosen is None


def test_paths_in_a_file_are_relative_to_its_folder(write, environ, tmp_path):
    config = write(MINIMAL, "deep/er/my.toml")
    inbox = load({}, environ, tmp_path, Path("deep/er/my.toml")).inbox["scans"]
    assert inbox.path == config.parent / "in"
    assert (inbox.archive, inbox.failed) == (config.parent / "archive", config.parent / "failed")


def test_paths_in_the_environment_are_relative_to_the_working_directory(write, environ, tmp_path):
    environ["WATCHERD_INBOX__SCANS__FAILED"] = "f"
    config = write(MINIMAL, "deep/my.toml")
    assert load({}, environ, tmp_path, config).inbox["scans"].failed == tmp_path / "f"


def test_a_tilde_is_the_home_folder(write, environ, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = write('[inbox.scans]\npath = "~/in"\noutbox = "out"\n')
    assert load({}, environ, tmp_path, config).inbox["scans"].path == tmp_path / "home/in"


@pytest.mark.parametrize("flags", [{}, {"inbox": "3", "outbox": "3o"}])
def test_a_tilde_is_the_home_folder_of_the_named_file_too(write, environ, tmp_path, monkeypatch, flags):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = write(MINIMAL + '[log]\nlevel = "error"\n', "home/my.toml")
    assert load(flags, environ, tmp_path, Path("~/my.toml")).layers.place("log", "level") == f"{config}:5"
    assert load({}, environ | {"WATCHERD_CONFIG": "~/my.toml"}, tmp_path).log.level == "error"


def test_the_way_up_from_a_symbolic_link_is_the_kernels(write, environ, tmp_path):
    (tmp_path / "real/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real/deep")
    config = write('[inbox.scans]\npath = "link/../in"\noutbox = "out"\n')
    assert load({}, environ, tmp_path, config).inbox["scans"].path == tmp_path / "real/in"


def test_a_path_that_is_no_text_goes_through(environ, tmp_path):
    name = os.fsdecode(b"in\xff")
    assert load({"inbox": name, "outbox": "o"}, environ, tmp_path).inbox["inbox"].path == tmp_path / name


def test_lists_in_the_environment_have_commas_or_brackets(tmp_path):
    layer = from_environment(
        {
            "WATCHERD_TEXT__EXTENSIONS": ".a, .b",
            "WATCHERD_INBOX__A__EXCLUDE": '["a,b", "c"]',
            "WATCHERD_X__INCLUDE": "[a",
            "WATCHERD_Y__INCLUDE": "[ab].txt, [cd].txt",
        },
        tmp_path,
    )
    assert layer.find(("text", "extensions")) == [".a", ".b"]
    assert layer.find(("inbox", "a", "exclude")) == ["a,b", "c"]
    assert layer.find(("x", "include")) == ["[a"]
    assert layer.find(("y", "include")) == ["[ab].txt", "[cd].txt"]


@pytest.mark.parametrize("name", ["a__b", "a_", "_a", "_", "__"])
def test_an_inbox_may_have_underscores_anywhere_in_its_name(tmp_path, name):
    layer = from_environment({f"WATCHERD_INBOX__{name.upper()}__PATH": "/x"}, tmp_path)
    assert layer.find(("inbox", name, "path")) == Path("/x")


def test_an_empty_variable_counts_as_unset_and_watcherd_config_is_no_key(tmp_path):
    assert not from_environment({"WATCHERD_LOG__LEVEL": "", "WATCHERD_CONFIG": "x"}, tmp_path).values


def test_the_named_file_comes_before_the_variables_and_that_before_the_usual_places(write, environ, tmp_path):
    def chosen(config=None, **more):
        return next(iter(load({}, environ | more, tmp_path, config).inbox))

    write(MINIMAL.replace("scans", "xdg"), "home/.config/watcherd/watcherd.toml")
    assert chosen() == "xdg"
    write(MINIMAL.replace("scans", "other"), "xdg/watcherd/watcherd.toml")
    assert chosen(XDG_CONFIG_HOME=str(tmp_path / "xdg")) == "other"
    write(MINIMAL.replace("scans", "here"))
    assert chosen() == "here"
    variable = write(MINIMAL.replace("scans", "variable"), "b.toml")
    assert chosen(WATCHERD_CONFIG="b.toml") == "variable"
    assert chosen(write(MINIMAL.replace("scans", "flag"), "c.toml"), WATCHERD_CONFIG=str(variable)) == "flag"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_strangers_file_in_the_working_directory_is_left_aside_with_a_note(write, environ, tmp_path):
    os.chown(write(MINIMAL), 12345, -1)
    write(MINIMAL.replace("scans", "mine"), "home/.config/watcherd/watcherd.toml")
    settings = load({}, environ, tmp_path)
    assert list(settings.inbox) == ["mine"]
    assert "belongs to user 12345" in settings.layers.notes[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link away")
def test_a_strangers_link_in_the_working_directory_is_left_aside_also_where_it_leads_to_a_file_of_ours(
    write, environ, tmp_path
):
    link = tmp_path / "watcherd.toml"
    link.symlink_to(write(MINIMAL, "elsewhere.toml"))
    os.lchown(link, 12345, -1)
    with pytest.raises(ConfigurationError, match="belongs to user 12345"):
        load({}, environ, tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_without_an_inbox_the_file_that_was_left_aside_is_named(write, environ, tmp_path):
    os.chown(write(MINIMAL), 12345, -1)
    with pytest.raises(ConfigurationError, match="belongs to user 12345"):
        load({}, environ, tmp_path)


def test_with_an_inbox_flag_no_file_is_read_that_was_not_named(write, environ, tmp_path):
    write("this is no TOML")
    settings = load({"inbox": "a", "outbox": "b"}, environ | {"WATCHERD_CONFIG": "nowhere"}, tmp_path)
    assert list(settings.inbox) == ["inbox"]


def test_with_an_inbox_flag_the_other_inboxes_of_a_named_file_are_left_aside(write, environ, tmp_path):
    config = write(MINIMAL + '[queue]\ncapacity = 3\n[inbox.inbox]\nsettle = "7s"\n')
    settings = load({"inbox": "a", "outbox": "b"}, environ, tmp_path, config)
    assert list(settings.inbox) == ["inbox"]
    assert settings.inbox["inbox"].settle == 7
    assert settings.queue.capacity == 3


def test_state_by_default_is_what_systemd_gives(environ, tmp_path, write):
    environ["STATE_DIRECTORY"] = "/one:/two"
    assert load({}, environ, tmp_path, write(MINIMAL)).state == Path("/one")


def test_state_with_an_inbox_flag_is_a_folder_of_its_own_for_each_inbox(environ, tmp_path):
    states = {load({"inbox": name, "outbox": "o"}, environ, tmp_path).state for name in ("a", "b", "./a")}
    assert len(states) == 2
    assert {state.parent for state in states} == {tmp_path / "state"}


@pytest.mark.parametrize(
    ("uid", "more", "state"),
    [
        (0, {"XDG_STATE_HOME": "/xdg"}, "/var/lib/watcherd"),
        (1000, {"XDG_STATE_HOME": "/xdg"}, "/xdg/watcherd"),
        (1000, {"XDG_STATE_HOME": "relative"}, "/home/me/.local/state/watcherd"),
        (1000, {}, "/home/me/.local/state/watcherd"),
    ],
)
def test_state_follows_from_who_we_are(uid, more, state, write, monkeypatch):
    config = write(MINIMAL)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert load({}, {"HOME": "/home/me"} | more, config.parent, config).state == Path(state)


def test_a_user_without_a_home_needs_none(write, monkeypatch):
    config = write(MINIMAL)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert load({}, {}, config.parent, config).state == Path("/.local/state/watcherd")
    assert [*load({"state": "here"}, {}, config.parent).inbox] == ["scans"]


def test_a_list_of_many_lines_is_parsed_once(write, environ, tmp_path, monkeypatch):
    lines = "".join(
        f'  "folder-{number}/*.txt",  # [1]\n' if number % 500 == 0 else f'  "{number}",\n' for number in range(2000)
    )
    config = write(f"{MINIMAL}exclude = [\n{lines}]\nsettle = '1s'\n")
    parsed = []
    monkeypatch.setattr("tomllib.loads", lambda text, loads=tomllib.loads: parsed.append(text) or loads(text))
    settings = load({}, environ, tmp_path, config)
    assert len(settings.inbox["scans"].exclude) == 2000
    assert settings.layers.place("inbox", "scans", "settle") == f"{config}:{4 + 2000 + 2}"
    assert sum(map(len, parsed)) < 10 * config.stat().st_size


KEYS = st.text("abcxyz_", min_size=1, max_size=4)
VALUES = st.sampled_from(["1", '"x"', "[\n  1,\n  # no\n]", '"""\na = 1\n[b]\n"""', "true", "{ in = 1 }"])


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4))
def test_each_key_of_a_file_is_found_on_its_line(tables):
    text, expected = "", []
    for table, pairs in tables.items():
        expected.append(((table,), text.count("\n") + 1))
        text += f"[{table}]\n"
        for key, value in pairs.items():
            inner = (table, key, "in") if "in =" in value else (table, key)
            expected.append((inner, text.count("\n") + 1))
            text += f"{key} = {value}  # comment\n\n"
    assert list(lines_of(text)) == expected
