"""`watcherd failures` and `watcherd retry`: what was set aside, and its way back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from watcherd.cli import options, show
from watcherd.model import Failure
from watcherd.paths import as_fields, typed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from watcherd.model import SystemFault
    from watcherd.publish.aside.quarantine import SetAside
    from watcherd.publish.aside.wayback import PutBack

_CLASSES = click.Choice([failure.value for failure in Failure])
_FAILURES_EPILOG = """\b
Examples:
  watcherd failures
  watcherd failures --class truncated --json
"""
_RETRY_EPILOG = """\b
Examples:
  watcherd retry sub/a.txt
  watcherd retry --class timeout
  watcherd retry --all
"""


@click.command(epilog=_FAILURES_EPILOG)
@click.option("--class", "failure", type=_CLASSES, metavar="CLASS", help="Only of this class, as in truncated.")
@options.json_option
@options.folder_options
def failures(*, failure: str | None, as_json: bool, **flags: object) -> int:
    """List quarantined files by class.

    And those that are to be, but cannot be moved yet.
    """
    settings = options.load(flags)
    from watcherd.failures import set_aside

    options.tell_of_others(settings)
    faults: list[SystemFault] = []
    rows = chosen(set_aside(settings, faults.append), (), failure)
    if as_json:
        show.as_json([failure_facts(row) for row in rows])
    else:
        failure_table(rows, "" if faults else nothing_set_aside(failure))
    return fault_status(faults)


@click.command(epilog=_RETRY_EPILOG)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--class", "failure", type=_CLASSES, metavar="CLASS", help="All of this class, as in timeout.")
@click.option("--all", "everything", is_flag=True, help="All that is quarantined.")
@options.json_option
@options.folder_options
def retry(*, paths: tuple[str, ...], failure: str | None, everything: bool, as_json: bool, **flags: object) -> int:
    """Put quarantined files back where they came from."""
    if not (paths or failure or everything):
        raise click.UsageError("say which: PATH, --class CLASS or --all.")
    if everything and (paths or failure):
        raise click.UsageError("--all is all there is: leave it out, or PATH and --class.")
    settings = options.load(flags)
    from watcherd.failures import finish, put_back, set_aside

    options.tell_of_others(settings)
    faults: list[SystemFault] = []
    finished = finish(settings, faults.append)
    rows = chosen(set_aside(settings, faults.append), paths, failure)
    outcomes = [*finished, *put_back(settings, rows)]
    if as_json:
        show.as_json([retry_facts(outcome) for outcome in outcomes])
    else:
        retry_table(outcomes, "" if paths or faults else nothing_set_aside(failure))
    return max(fault_status(faults), retry_status(paths, outcomes, failure, all_asked=not faults))


def chosen(rows: Iterable[SetAside], paths: Sequence[str], failure: str | None) -> list[SetAside]:
    """Return the rows of this class and at these paths (relative or whole; none: all), sorted by class."""
    wanted = {name for path in paths for name in _meant_by(path)}
    found = (row for row in rows if failure in {None, row.failure} and (not wanted or wanted & _names(row)))
    return sorted(found, key=lambda row: (row.failure, row.path))


def _names(row: SetAside) -> set[str]:
    return {row.path, _real(row.where), f"{row.record.file.inbox}/{row.path}"}


def _meant_by(path: str) -> set[str]:
    path = path.rstrip("/")
    return {path, _real(path)}


def _real(path: str) -> str:
    """Return where a file lies, whichever links lead to its folder; it may be one itself."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def fault_status(faults: Iterable[SystemFault]) -> int:
    """Complain of each inbox that could not be asked, once; return the exit status, 1 where there is one."""
    said = dict.fromkeys(map(str, faults))
    for fault in said:
        show.complain(fault)
    return 1 if said else 0


def retry_status(
    paths: Sequence[str], outcomes: Sequence[PutBack], failure: str | None = None, *, all_asked: bool = True
) -> int:
    """Complain of paths that are not quarantined; return the exit status, 1 where there is one, or a refused retry.

    Unless all inboxes could be asked, such a path may be in one of the others, which the complaint allows for.
    """
    known = {name for outcome in outcomes if paths for name in _names(outcome.row)}  # each looks at a folder
    unknown = [path for path in paths if known.isdisjoint(_meant_by(path))]
    how = (f" as {failure}" if failure else "") + ("" if all_asked else " in an inbox that can be asked")
    empty = "''"  # as of an unset variable
    for path in unknown:
        show.complain(f"{typed(path) or empty} is not quarantined{how}; `watcherd failures` lists what is")
    return 1 if unknown or any(outcome.refused for outcome in outcomes) else 0


def named(row: SetAside) -> str:
    """Return a name that only this row has, and `retry` takes: where it lies, if its own name was taken there."""
    return row.path if row.held or row.where.endswith(f"/{row.path}") else row.where


def nothing_set_aside(failure: str | None) -> str:
    """Say in a line that there is nothing, of this class or at all."""
    return f"Nothing is set aside as {failure}." if failure else "Nothing is set aside."


def failure_table(rows: Sequence[SetAside], nothing: str = "") -> None:
    """Print a line for each quarantined file; on a terminal, `nothing` where there is none."""
    show.table(("class", "inbox", "path", "attempts", "why", "since"), map(_cells, rows), nothing=nothing)


def _cells(row: SetAside) -> tuple[object, ...]:
    record = row.record
    why = f"{record.message} ({row.held})" if row.held else record.message
    return row.failure, record.file.inbox, typed(named(row)), record.attempts, why, show.time(record.at)


def failure_facts(row: SetAside) -> dict[str, object]:
    """Return a quarantined file for machines; `held` is null where it is set aside."""
    from watcherd.publish.aside.reason import stamp

    return {
        "class": row.failure,
        "message": row.record.message,
        "attempts": row.record.attempts,
        "inbox": row.record.file.inbox,
        "since": stamp(row.record.at),
        "held": row.held or None,
        **as_fields("path", row.path),
        **as_fields("where", row.where),
    }


def retry_table(outcomes: Sequence[PutBack], nothing: str = "") -> None:
    """Print a line for each retry, with the reason of those that were refused; on a terminal, `nothing` for none."""
    cells = (
        (outcome.row.record.file.inbox, typed(named(outcome.row)), outcome.refused or "put back")
        for outcome in outcomes
    )
    show.table(("inbox", "path", "outcome"), cells, nothing=nothing)


def retry_facts(outcome: PutBack) -> dict[str, object]:
    """Return the outcome of a retry for machines; `refused` is null where the file went back."""
    return {
        "inbox": outcome.row.record.file.inbox,
        "refused": outcome.refused or None,
        **as_fields("path", outcome.row.path),
    }
