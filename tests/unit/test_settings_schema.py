"""The JSON Schema of the configuration file takes what the program takes, and refuses what it refuses."""

import re
import tomllib
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.cli.config import schema
from watcherd.settings.units import LARGEST, LONGEST, MinFree, duration_text, size_text

EXAMPLE = resources.files("watcherd").joinpath("watcherd.toml").read_text()
UNCOMMENTED = re.sub(r"^# (?=[a-z_]+ = )", "", EXAMPLE, flags=re.MULTILINE)
README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
INBOX = '[inbox.scans]\npath = "in"\noutbox = "out"\n'
VALIDATOR = jsonschema.Draft202012Validator(schema())


def takes(text):
    return VALIDATOR.is_valid(tomllib.loads(text))


def test_it_is_a_schema_and_says_of_which_draft():
    VALIDATOR.check_schema(VALIDATOR.schema)
    assert VALIDATOR.schema["$schema"] == VALIDATOR.META_SCHEMA["$id"]


def test_it_speaks_of_the_file_and_not_of_what_is_made_of_it():
    assert "None" not in str(VALIDATOR.schema)


@pytest.mark.parametrize("text", [EXAMPLE, UNCOMMENTED, *re.findall(r"```toml\n(.*?)```", README, re.DOTALL)])
def test_it_takes_every_configuration_that_we_show(text):
    VALIDATOR.validate(tomllib.loads(text))


@pytest.mark.parametrize(
    "line",
    [
        "min_free = 5",
        'min_free = "2GiB"',
        'min_free = "0.5%"',
        'stop_timeout = "1H30 Min"',
        'state = "s"',
        'min_free = "1_024MiB"',
        *("min_free = 0", 'min_free = "0%"', 'min_free = "001%"', 'stop_timeout = "0s"'),
    ],
)
def test_it_takes_what_people_may_write(line):
    assert takes(f"{line}\n{INBOX}")


@pytest.mark.parametrize(
    "line",
    [
        *('settle = "banana"', "settle = 3", 'after = "eat"', 'pathh = "x"', 'include = "*.txt"'),
        *('[inbox.Sca-ns]\npath = "a"\noutbox = "b"', '[inbox.b]\npath = "a"', '[text]\nmax_bytes = "lots"'),
        *('rescan = "0s"', 'rescan = "0.0d 0s"', 'include = [""]', '[inbox.b]\npath = ""\noutbox = "b"'),
        *('[text]\ntimeout = "0ms"', "[image]\nmemory = 0", '[image]\nmemory = "0.0KiB"', '[text]\nmax_bytes = "00"'),
        *("[text]\nchunk = 65_535", "[text]\nchunk = 67_108_865", '[text]\nchunk = "0B"'),
        *('[text]\nchunk = "-1"', "[text]\nworkers = 0", '[text]\nworkers = "many"', '[retry]\nbackoff = "5sx"'),
    ],
)
def test_it_refuses_what_the_program_refuses(line):
    assert not takes(f"{INBOX}{line}\n")


@given(st.floats(1e-9, LONGEST), st.integers(1, LARGEST), st.floats(1e-9, 0.99))
def test_it_takes_whatever_the_program_writes(seconds, count, share):
    values = duration_text(seconds), size_text(count), MinFree(share=share)
    assert takes(f'stop_timeout = "{values[0]}"\nmin_free = "{values[1]}"\n')
    assert takes(f'min_free = "{values[2]}"')
