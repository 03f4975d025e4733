"""`watcherd drain`: what is in the inboxes now, with a progress bar and a summary."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from signal import Signals
from typing import TYPE_CHECKING

import click

from watcherd.cli import folders, options, show
from watcherd.model import Stopped
from watcherd.paths import as_fields, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watcherd.drain import DrainReport

    #: Called with files done, files in all, bytes done, bytes in all.
    Advance = Callable[[int, int, int, int], None]

_SOME_QUARANTINED = 3
_EPILOG = """\b
Example:
  watcherd drain --inbox scans --outbox counted --make-folders
Exit status 3 says that some files were quarantined.
"""


@click.command(epilog=_EPILOG)
@folders.make_option
@options.json_option
@options.folder_options
def drain(*, make_folders: bool, as_json: bool, **flags: object) -> int:
    """Process what is in the inboxes now, then exit."""
    settings = options.load(flags)
    folders.require(settings, make=make_folders)
    with options.without_rich():
        from watcherd import drain as drained

    options.configure_logs(settings, above_bar=sys.stderr.isatty())
    try:
        with progress_bar() as advance:
            report = drained.drain(settings, progress=advance)
    except Stopped as stop:
        show.complain(str(stop))
        return 128 + stop.number
    if as_json:
        show.as_json(facts(report))
    else:
        summary(report)
    for trouble in report.troubles:
        show.complain(trouble)
    return status(report)


def status(report: DrainReport) -> int:
    """Return the exit status that says how a drain went."""
    if report.interrupted:
        return 128 + report.interrupted
    if report.troubles:
        return 1
    return _SOME_QUARANTINED if report.quarantined else 0


@contextmanager
def progress_bar() -> Iterator[Advance | None]:
    """Draw a bar on standard error while the block runs, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import console, progress

    columns = (
        progress.TextColumn("{task.fields[files]}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    bar = progress.Progress(*columns, console=console.Console(stderr=True), transient=True)
    task = bar.add_task("", total=None, files="looking")

    def advance(files_done: int, files_total: int, bytes_done: int, bytes_total: int) -> None:
        files = f"{files_done:,} of {files_total:,} files"
        bar.update(task, completed=bytes_done, total=bytes_total, files=files)

    # A terminal that is closed meanwhile shows no bar, and the summary may go elsewhere.
    with suppress(OSError):
        bar.start()
    try:
        yield advance
    finally:
        with suppress(OSError):
            bar.stop()


def summary(report: DrainReport) -> None:
    """Print how many files went which way, at what rate, and why those did that gave no result."""
    show.table(("", ""), _totals(report))
    named = [(inbox, typed(path), *why) for inbox, path, *why in report.quarantined]
    more = [("", f"and {report.unlisted:,} more", "", "see `watcherd failures`")] if report.unlisted else []
    show.table(("inbox", "quarantined", "class", "why"), [*named, *more])
    waiting = ((inbox, typed(path), why) for inbox, path, why in report.waiting)
    show.table(("inbox", "still waiting", "why"), waiting)


def _totals(report: DrainReport) -> Iterator[tuple[str, str]]:
    from rich.filesize import decimal

    yield from ((f"published, {kind}", f"{count:,}") for kind, count in report.published.items())
    quarantined = len(report.quarantined) + report.unlisted
    yield "quarantined", f"{quarantined:,}"
    yield "waiting", f"{len(report.waiting):,}"
    if report.left > len(report.waiting):
        yield "left in the inboxes", f"{report.left:,}"
    if report.interrupted:
        yield "interrupted by", Signals(report.interrupted).name
    yield "read", decimal(report.bytes)
    yield "took", show.duration(report.seconds)
    done = sum(report.published.values()) + quarantined
    yield "rate", f"{done / report.seconds:,.0f} files/s, {decimal(int(report.bytes / report.seconds))}/s"


def facts(report: DrainReport) -> dict[str, object]:
    """Return the summary for machines: counts, bytes, seconds."""
    return {
        "published": dict(report.published),
        "quarantined": [
            {"inbox": inbox, **as_fields("path", path), "class": failure, "message": message}
            for inbox, path, failure, message in report.quarantined
        ],
        "unlisted": report.unlisted,
        "waiting": [
            {"inbox": inbox, **as_fields("path", path), "reason": reason} for inbox, path, reason in report.waiting
        ],
        "left": report.left,
        "interrupted": Signals(report.interrupted).name if report.interrupted else None,
        "troubles": list(report.troubles),
        "bytes": report.bytes,
        "seconds": report.seconds,
    }
