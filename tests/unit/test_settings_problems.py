"""Every problem at once, each with its place and its mend."""

import pytest

from watcherd.settings import ConfigurationError, load

INBOX = '[inbox.scans]\npath = "in"\noutbox = "out"\n'


@pytest.fixture
def problems(tmp_path):
    def finding(text="", flags=None, **environ):
        config = tmp_path / "watcherd.toml"
        config.write_text(text)
        with pytest.raises(ConfigurationError) as refused:
            load(flags or {}, {"STATE_DIRECTORY": str(tmp_path / "state")} | environ, tmp_path, config)
        return [str(problem).replace(f"{tmp_path}/", "") for problem in refused.value.problems]

    return finding


def test_all_problems_are_listed_at_once_each_with_its_place(problems):
    text = INBOX + 'settle = "soon"\n[text]\nworkers = 0\nmax_bites = "1GB"\n[colour]\n[log]\nlevel = "loud"\n'
    found = problems(text, WATCHERD_IMAGE__MEMORY="lots", flags={"state": "in/state"})
    assert sorted(line.partition(": ")[0] for line in found) == [
        "--state",
        "WATCHERD_IMAGE__MEMORY",
        "watcherd.toml:10",
        "watcherd.toml:4",
        "watcherd.toml:6",
        "watcherd.toml:7",
        "watcherd.toml:8",
    ]


def test_what_contradicts_itself_is_listed_beside_what_is_wrong_by_itself(problems):
    text = '[inbox.A]\npath = "in"\noutbox = "out"\n[retry]\nattempts = 0\nbackoff = "1h"\n[log]\nlevel = "loud"\n'
    found = problems(text + '[text]\nworkers = 0\nextensions = [".jpg"]\n')
    assert [line.partition(": ")[2].partition(";")[0] for line in found] == [
        "inbox.A: 'A' is no name for an inbox",
        "retry.attempts: must be at least 1",
        "retry.backoff: is longer than max_backoff, 5m",
        "log.level: 'loud' is not known here",
        "text.workers: must be at least 1",
        "text.extensions: text and image both claim .jpg",
    ]


def test_problems_of_a_file_are_in_the_order_of_its_lines_behind_all_others(problems):
    lines = "".join(f"[{table}]\nnone = 1\n" for table in ("log", "retry", "queue", "text", "image"))
    found = problems(INBOX + lines, WATCHERD_LOG__LEVEL="loud")
    numbers = [line.partition(": ")[0].removeprefix("watcherd.toml:") for line in found]
    assert numbers == ["WATCHERD_LOG__LEVEL", "5", "7", "9", "11", "13"]


def test_an_inbox_that_is_no_table_is_not_also_a_missing_one(problems):
    (line,) = problems("inbox = 3")
    assert "3 is no table" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stop_timeot = 1", "stop_timeot; did you mean stop_timeout?"),
        ("[txt]\nworkers = 1", "txt; did you mean text?"),
        ("capacity = 1", "capacity; did you mean queue.capacity?"),
        ("[log]\nleven = 1", "log.leven; did you mean log.level?"),
        ("[inbox.a]\nsetle = 1", "inbox.a.setle; did you mean inbox.a.settle?"),
        ("[log]\nsettle = 1", "log.settle; did you mean inbox.NAME.settle?"),
        ('[inbox.a]\nstate = "s"', "inbox.a.state; did you mean state, above all tables?"),
        ('[image]\nmax_bytes = "1G"', "image.max_bytes; did you mean text.max_bytes?"),
        ("[Text]\nworkers = 1", "Text; did you mean text?"),
        ("[TEXT]\nworkers = 1", "TEXT; did you mean text?"),
        ('[inbox.a]\nPATH = "x"', "inbox.a.PATH; did you mean inbox.a.path?"),
        ("[log]\nSETTLE = 1", "log.SETTLE; did you mean inbox.NAME.settle?"),
        ('log_level = "info"', "log_level; did you mean log.level?"),
        ('inbox_path = "x"', "inbox_path; did you mean inbox.NAME.path?"),
        ("zzz = 1", "zzz; remove it; `watcherd config --schema` lists all keys"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(problems, text, said):
    assert any(f"unknown key {said}" in line for line in problems(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('stop_timeout = "-1s"', "'-1s' is no duration"),
        ("stop_timeout = 30", 'write a number with its unit in quotes, as in "30s"'),
        ("stop_timeout = -1", '-1 is no duration; write a number with its unit in quotes, as in "5s"'),
        ("stop_timeout = true", 'True is no duration; write a number with its unit in quotes, as in "5s"'),
        ('durability = "some"', "'some' is not known here; write 'full' or 'none'"),
        ('min_free = "100%"', "leaves nothing to write in"),
        ("[queue]\ncapacity = 0", "must be at least 1"),
        ("[queue]\ncapacity = true", "True is no whole number"),
        ("[queue]\ncapacity = 1.5", "1.5 is no whole number"),
        ('[text]\ntimeout = "0s"', "must be more than zero"),
        ('[text]\nmax_bytes = "0"', "must be more than zero"),
        ('[text]\nchunk = "4KiB"', "must be between 64KiB and 64MiB"),
        ('[text]\nchunk = "1GiB"', "must be between 64KiB and 64MiB"),
        ('[text]\nworkers = "many"', "'many' is no whole number"),
        ('[text]\nencoding = "klingon"', "'klingon' is no encoding of texts that Python knows"),
        ('[text]\nencoding = "rot13"', "'rot13' is no encoding of texts that Python knows"),
        ('[text]\nencoding = "idna"', "'idna' is no encoding of texts that Python knows"),
        ("[text]\nencoding = 8", "8 is no text; write one, in quotes"),
        ('[text]\nextensions = [".tar.gz"]', "'.tar.gz' is no extension"),
        ('[text]\nextensions = [""]', "'' is no extension"),
        ('[text]\nextensions = ".txt"', "'.txt' is no list of texts"),
        ('[text]\nextensions = [".JPG"]', "text and image both claim .jpg"),
        ('[image]\nextensions = ["txt"]', "text and image both claim .txt"),
        ('[retry]\nbackoff = "1h"', "is longer than max_backoff, 5m"),
        ('[log]\nlevel = "trace"', "write 'debug', 'info', 'warning' or 'error'"),
        ("text = 3", "3 is no table; write it as [text] with keys beneath"),
        ('[inbox]\npath = "in"', "each inbox is a table with a name of your choice, as in [inbox.scans]"),
        ('[inbox.A]\npath = "x"\noutbox = "y"', "'A' is no name for an inbox"),
        ("[inbox.a]\npath = 3", "3 is no path of a folder"),
        ('[inbox.a]\npath = "$HOME/in"', "'$HOME/in' begins with a variable, which is not expanded; write it out"),
        ('state = "${STATE}"', "'${STATE}' begins with a variable"),
        ('[inbox.a]\npath = ""', "'' is no path of a folder"),
        ('[inbox.a]\npath = "a\\u0000b"', "is no path of a folder"),
        ('[inbox.a]\ninclude = "*.txt"', "'*.txt' is no list of texts"),
        ('[inbox.a]\ninclude = ["a["]', "'a[' matches nothing"),
        ('[inbox.a]\nexclude = ["!"]', "'!' is no gitignore pattern"),
        ('[inbox.a]\nexclude = ["[c-a].txt"]', "'[c-a].txt' is no gitignore pattern"),
        ('[inbox.a]\nexclude = ["[\\t-\\n].txt"]', "is no gitignore pattern"),
        ('[inbox.a]\nexclude = ["[][:digit:]]*.txt"]', "has a class of characters, which is not known here"),
        ('[inbox.a]\nexclude = ["[![:digit:]]*.txt"]', "has a class of characters, which is not known here"),
        ('[inbox.a]\nexclude = ["# note"]', "'# note' matches nothing"),
        ('[inbox.a]\nrecursive = "perhaps"', "'perhaps' is neither true nor false; write true or false"),
        ("[inbox.a]\nrecursive = []", "[] is neither true nor false; write true or false"),
        ('[inbox.a]\nafter = "eat"', "'eat' is not known here; write 'archive', 'delete' or 'keep'"),
        ('[inbox.a]\nafter = ["keep"]', "['keep'] is not known here; write 'archive', 'delete' or 'keep'"),
        ('[inbox.a]\nrescan = "0s"', "must be more than zero"),
    ],
)
def test_a_senseless_value_is_refused_with_its_mend(problems, text, said):
    inbox = "" if "[inbox.a]" in text or "[inbox]" in text or "[inbox.A]" in text else "\n" + INBOX
    assert any(said in line for line in problems(text + inbox))


def test_extensions_lose_their_case_and_gain_their_dot(tmp_path):
    environ = {"WATCHERD_TEXT__EXTENSIONS": "TXT,.Md,txt", "STATE_DIRECTORY": str(tmp_path / "state")}
    assert load({"inbox": "a", "outbox": "b"}, environ, tmp_path).text.extensions == (".txt", ".md")


def test_an_encoding_gets_pythons_name(tmp_path):
    environ = {"WATCHERD_TEXT__ENCODING": "Latin1", "STATE_DIRECTORY": str(tmp_path / "state")}
    assert load({"inbox": "a", "outbox": "b"}, environ, tmp_path).text.encoding == "iso8859-1"


def test_without_any_inbox_it_is_said_how_to_give_one(problems):
    (line,) = problems("")
    assert "there is no inbox" in line
    assert "watcherd init" in line
    assert "--inbox DIR --outbox DIR" in line


@pytest.mark.parametrize("flag", ["outbox", "archive", "failed", "after"])
def test_a_flag_that_needs_an_inbox_flag_is_refused_without_it(problems, flag):
    for text in (INBOX, ""):
        (line,) = problems(text, {flag: "keep"})
        assert f"--{flag}: stands in place" in line


def test_an_inbox_flag_without_an_outbox_asks_for_the_flag(problems):
    assert problems(flags={"inbox": "in"}) == ["--inbox: inbox.inbox.outbox is missing; add --outbox DIR"]


def test_what_is_missing_in_the_environment_is_mended_there(problems):
    found = problems(WATCHERD_INBOX__A__OUTBOX="out")
    assert found == ["WATCHERD_INBOX__A__OUTBOX: inbox.a.path is missing; set WATCHERD_INBOX__A__PATH"]


def test_what_is_missing_in_a_file_is_mended_there(problems):
    found = problems('[inbox.a]\npath = "in"\n')
    assert found == ['watcherd.toml:1: inbox.a.outbox is missing; add outbox = "..." beneath [inbox.a]']


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("TEXT_TIMEOUT", "TEXT__TIMEOUT"),
        ("LOG_LEVEL", "LOG__LEVEL"),
        ("IMAGE_MEMORY", "IMAGE__MEMORY"),
        ("IMAGE_MAX_PIXELS", "IMAGE__MAX_PIXELS"),
        ("RETRY__MAX__BACKOFF", "RETRY__MAX_BACKOFF"),
        ("STOP__TIMEOUT", "STOP_TIMEOUT"),
        ("TEXT__TIMEOUTS", "TEXT__TIMEOUT"),
        ("TXT__TIMEOUT", "TEXT__TIMEOUT"),
        ("STATES__DIR", "STATE"),
        ("LOG_LEVL__X", "LOG__LEVEL"),
        ("TEXT__CAPACITY", "QUEUE__CAPACITY"),
        ("LOG__SETTLE", "INBOX__NAME__SETTLE"),
        ("LOG__MIN_FREE", "MIN_FREE"),
        ("INBOX_SCANS_AFTER", "INBOX__SCANS__AFTER"),
        ("INBOX__SCANS_AFTER", "INBOX__SCANS__AFTER"),
        ("INBOX_MY_SCANS_AFTER", "INBOX__MY_SCANS__AFTER"),
    ],
)
def test_a_variable_that_is_no_key_is_refused_with_the_name_that_was_meant(problems, said, meant):
    (line,) = problems(INBOX, **{f"WATCHERD_{said}": "x"})
    assert line.startswith(f"WATCHERD_{said}: ")
    assert line.endswith(f"; did you mean WATCHERD_{meant}?")


def test_a_table_and_a_value_of_one_name_in_the_environment_are_a_problem_of_the_value(problems):
    found = problems(INBOX, WATCHERD_LOG="x", WATCHERD_LOG__LEVEL="info")
    assert found == ["WATCHERD_LOG: log: 'x' is no table; set a key of it, as WATCHERD_LOG__LEVEL"]


@pytest.mark.parametrize(("said", "meant"), [("INBOX", "INBOX__NAME__PATH"), ("INBOX__SCANS", "INBOX__SCANS__PATH")])
def test_a_variable_in_place_of_an_inbox_s_table_is_told_with_a_variable(problems, said, meant):
    (line,) = (line for line in problems("", **{f"WATCHERD_{said}": "x"}) if "is no table" in line)
    assert line.endswith(f"; set a key of it, as WATCHERD_{meant}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"path = in", "is not TOML"),
        (b"# \xff", "is not UTF-8 at byte 2"),
        (b"x = " + b"9" * 5000, "is not TOML: "),
        (b"x = " + b"[" * 5000, "is not TOML: "),
        (None, "there is no such file; `watcherd init` writes one"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, content, said):
    config = tmp_path / "watcherd.toml"
    if content is not None:
        config.write_bytes(content)
    with pytest.raises(ConfigurationError, match=said):
        load({}, {}, tmp_path, config)


def test_a_folder_in_place_of_the_file_says_so(tmp_path):
    with pytest.raises(ConfigurationError) as refused:
        load({}, {}, tmp_path, tmp_path)
    assert str(refused.value) == f"{tmp_path}: is a folder; name the file in it, as in {tmp_path}/watcherd.toml"


def test_settings_cannot_be_changed(tmp_path):
    settings = load({"inbox": "a", "outbox": "b"}, {"STATE_DIRECTORY": str(tmp_path / "s")}, tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        settings.stop_timeout = 3
