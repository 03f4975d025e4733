"""Commands, progress bars and tables: the only room that prints.

Results go to standard output, everything else to standard error. A command imports what it needs when it runs, so
that `--help` and completion answer at once.

    run         run
    folders     the inboxes and outboxes that run and drain need
    drain       drain: progress bar and summary
    init        init
    check       check: how findings are told
    trials      what check tries in folders
    machine     what check asks of the kernel, of memory and of libraries
    config      config
    failures    failures, retry
    audit       audit
    service     service install, service uninstall: what is asked for, and what is there
    standing    whether the service may read or enter a path
    steps       the steps of an installation, told and done
    whole       files for people: written whole, or not at all
    completion  completion
    options     what several commands share: folders as flags, loading the settings
    show        tables, JSON, safe cells
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from watcherd import __version__
from watcherd.cli import audit, check, completion, config, drain, failures, init, options, run, service, show
from watcherd.model import WatcherdError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Errors of a stream to a disk that takes no more.
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

_EPILOG = """\b
Begin with:
  watcherd run --inbox inbox --outbox outbox --make-folders
or, to keep a configuration: watcherd init && watcherd run
"""


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.option(
    "--config",
    type=options.PATH,
    metavar="FILE",
    help="The configuration file. [default: in one of the usual places]",
)
@click.version_option(__version__, prog_name="watcherd", message="%(prog)s %(version)s")
@click.pass_context
def commands(context: click.Context, config: Path | None) -> None:
    """Watch inbox folders: texts become word counts, images become grey."""
    context.obj = config


for _command in (
    *(run.run, drain.drain, init.init, check.check, config.config),
    *(failures.failures, failures.retry, audit.audit, service.service, completion.completion),
):
    commands.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, and leave with the contract's exit status."""
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        # What a terminal's encoding cannot show is escaped, and no reason to fail.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    status = _status(arguments)
    sys.exit(_flushed(status))


def _open_what_is_closed() -> None:
    """Open closed standard streams to nowhere: otherwise the next file that is opened gets their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 (open to the end)


def _status(arguments: Sequence[str] | None) -> int:
    try:
        return commands.main(arguments, prog_name="watcherd", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return error.exit_code
    except click.ClickException as error:
        _complain(_worded(error), error)
        return error.exit_code
    except WatcherdError as error:
        return _ended_by(error)
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        _complain(f"cannot write to standard output: {error.strerror}")
        return 1


def _ended_by(error: WatcherdError) -> int:
    """Say what ended a command, each problem of a configuration by itself; return the exit status."""
    from watcherd.settings import ConfigurationError

    if not isinstance(error, ConfigurationError):
        _complain(str(error))
        return 1
    for problem in error.problems:
        show.complain(str(problem))
    return 2


def _worded(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption) and error.option_name == "--config":
        return "--config stands before the command: watcherd --config FILE COMMAND."
    return error.format_message()


def _complain(message: str, error: click.ClickException | None = None) -> None:
    context = getattr(error, "ctx", None)
    said = " ".join(line.strip() for line in message.splitlines())
    ended = said if said.endswith((".", "?", ")")) else f"{said}."
    show.complain(f"{ended} Try `{context.command_path} --help`." if context else said)


def _flushed(status: int) -> int:
    """Write out what is still buffered: a reader that has gone is nothing to complain of, a full disk is."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Otherwise the interpreter tries again when it ends, and prints the error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not status and not isinstance(error, BrokenPipeError):
            _complain(f"cannot write to standard output: {error.strerror}")
        return status or 1
    return status
