"""`watcherd check`: the configuration and the machine, every problem at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from watcherd.cli import options, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watcherd.cli.trials import Finding

_PROBLEMS = 2
_EPILOG = """\b
Examples:
  watcherd check
  watcherd check --inbox /srv/in --outbox /srv/out --json
"""


@click.command(epilog=_EPILOG)
@options.json_option
@options.folder_options
def check(*, as_json: bool, **flags: object) -> int:
    """Validate the configuration and the machine.

    Lists every problem with its mend, and exits with 2 if there is one.
    """
    findings = _findings(flags)
    if as_json:
        show.as_json([_facts(finding) for finding in findings])
    else:
        _report(findings)
    return _PROBLEMS if any(finding.is_problem for finding in findings) else 0


def _findings(flags: dict[str, object]) -> list[Finding]:
    from watcherd.cli import machine, trials
    from watcherd.settings import ConfigurationError

    try:
        settings = options.load(flags)
    except ConfigurationError as error:
        found = [trials.Finding(problem.place, problem.text, problem.mend) for problem in error.problems]
        return found + (list(machine.examine(error.besides)) if error.besides else [])
    return list(machine.examine(settings))


def _report(findings: Sequence[Finding]) -> None:
    rows = [("problem" if it.is_problem else "note", it.subject, it.message, it.mend) for it in findings]
    show.table(("", "what", "finding", "mend"), rows)
    if not any(finding.is_problem for finding in findings) and show.on_terminal():
        print("Nothing stands in the way.")


def _facts(finding: Finding) -> dict[str, object]:
    return {
        "problem": finding.is_problem,
        "what": finding.subject,
        "message": finding.message,
        "mend": finding.mend or None,
    }
