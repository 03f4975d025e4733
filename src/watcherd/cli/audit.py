"""`watcherd audit`: whether ledger and folders agree."""

from __future__ import annotations

import click

from watcherd.cli import options, show
from watcherd.paths import as_fields, typed

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
        wrong = [
            {"inbox": it.inbox, "what": it.what, **as_fields("path", it.where), "message": it.message}
            for it in found.wrong
        ]
        counts = {"running": found.running, "finished": found.finished, "collected": found.collected}
        show.as_json({**counts, "wrong": wrong})
    else:
        rows = [(it.inbox, it.what, typed(it.where), it.message) for it in found.wrong]
        show.table(("inbox", "what", "path", "why"), rows)
        counted = f"{found.finished:,} files on record, {found.collected:,} collected, {len(rows):,} wrong"
        running = "; a daemon runs: what is on its way was not judged" if found.running else ""
        show.remark(counted + running)
    return 1 if found.wrong else 0
