"""`watcherd audit`: whether ledger and folders agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from watcherd.cli import options, show
from watcherd.paths import as_fields, typed

if TYPE_CHECKING:
    from watcherd.audit import Audit

_EPILOG = """\b
Examples:
  watcherd audit
  watcherd audit --inbox scans --outbox counted --json
Exit status 1 says that something is wrong. What was taken out of outbox or
archive is collected, and no error.
"""


@click.command(epilog=_EPILOG)
@options.json_option
@options.folder_options
def audit(*, as_json: bool, **flags: object) -> int:
    """Check whether ledger and folders agree."""
    settings = options.load(flags)
    from watcherd import audit as audited

    options.tell_of_others(settings)
    found = audited.audit(settings)
    if as_json:
        show.as_json(facts(found))
    else:
        if found.wrong:
            rows = [(it.inbox, it.what, typed(it.where), it.message) for it in found.wrong]
            show.table(("inbox", "what", "path", "why"), rows)
        show.remark(summary(found))
    return 1 if found.wrong else 0


def summary(found: Audit) -> str:
    """Say in one line what was held against what."""
    running = "; a daemon runs: what is on its way was not judged" if found.running else ""
    return f"{found.finished:,} files on record, {found.collected:,} collected, {len(found.wrong):,} wrong{running}"


def facts(found: Audit) -> dict[str, object]:
    """Return what was found, for machines."""
    return {
        "running": found.running,
        "finished": found.finished,
        "collected": found.collected,
        "wrong": [
            {"inbox": it.inbox, "what": it.what, **as_fields("path", it.where), "message": it.message}
            for it in found.wrong
        ],
    }
