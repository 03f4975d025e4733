"""The commented example says what the program does."""

import re
import tomllib
from importlib import resources

from watcherd.settings import Settings, load, origins
from watcherd.settings.problems import KEYS

EXAMPLE = resources.files("watcherd").joinpath("watcherd.toml").read_text()
UNCOMMENTED = re.sub(r"^# (?=[a-z_]+ = )", "", EXAMPLE, flags=re.MULTILINE)


def values(tmp_path, text):
    config = tmp_path / "watcherd.toml"
    config.write_text(text)
    return {key: origin.value for key, origin in origins(load({}, {}, tmp_path, config)).items()}


def test_every_key_is_in_the_example():
    document = tomllib.loads(UNCOMMENTED)
    written = {key for key, value in document.items() if not isinstance(value, dict)}
    written |= {f"{table}.{key}" for table in document if table != "inbox" for key in _keys(document[table])}
    written |= {f"inbox.*.{key}" for key in document["inbox"]["inbox"]}
    assert written == set(KEYS)


def _keys(value):
    return value if isinstance(value, dict) else ()


def test_the_example_as_it_is_and_uncommented_are_the_defaults(tmp_path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert values(tmp_path, UNCOMMENTED) == values(tmp_path, EXAMPLE)


def test_the_example_uncommented_takes_nothing_from_the_defaults(tmp_path):
    config = tmp_path / "watcherd.toml"
    config.write_text(UNCOMMENTED)
    assert {origin.place.rpartition(":")[0] for origin in origins(load({}, {}, tmp_path, config)).values()} == {
        str(config)
    }


def test_the_schema_describes_every_key():
    schema = Settings.model_json_schema()
    tables = [schema, *schema["$defs"].values()]
    described = [value for table in tables for value in table.get("properties", {}).values() if "$ref" not in value]
    assert all("description" in value for value in described)
    assert schema["additionalProperties"] is False
