"""`watcherd config`: what is in force, and where each value came from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from watcherd.cli import options, show

if TYPE_CHECKING:
    from watcherd.settings import Origin

_EPILOG = """\b
Examples:
  watcherd config
  WATCHERD_TEXT__TIMEOUT=1m watcherd --config my.toml config --json
  watcherd config --schema > watcherd.schema.json
"""


@click.command(epilog=_EPILOG)
@click.option("--schema", "wants_schema", is_flag=True, help="Print the JSON Schema of the configuration file.")
@options.json_option
@options.folder_options
def config(*, wants_schema: bool, as_json: bool, **flags: object) -> None:
    """Show what is in force and where it came from."""
    if wants_schema:
        show.as_json(schema())
        return
    from watcherd.settings import origins

    found = origins(options.load(flags))
    if as_json:
        show.as_json({key: _facts(origin) for key, origin in found.items()})
    else:
        show.table(("key", "value", "from"), [(key, _written(origin), origin.place) for key, origin in found.items()])


def schema() -> dict[str, object]:
    """Return the JSON Schema of the configuration file."""
    from watcherd.settings import Settings

    draft, about = "https://json-schema.org/draft/2020-12/schema", "What a configuration of watcherd may say."
    return {"$schema": draft, **Settings.model_json_schema(), "description": about}


def _facts(origin: Origin) -> dict[str, object]:
    chosen = {} if origin.chosen is None else {"chosen": origin.chosen}
    return {"value": origin.value, "from": origin.place} | chosen


def _written(origin: Origin) -> str:
    """Write a value as the file has it; what "auto" comes to here follows it."""
    written = json.dumps(origin.value, ensure_ascii=False)
    return written if origin.chosen is None else f"{written} (here {origin.chosen})"
