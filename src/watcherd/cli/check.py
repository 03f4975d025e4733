"""`watcherd check`: the configuration and the machine, every problem at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from watcherd.cli import options, show

if TYPE_CHECKING:
    from watcherd.cli.trials import Finding

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
    is_sound = not any(it.is_problem for it in findings)
    if as_json:
        facts = [
            {"problem": it.is_problem, "what": it.subject, "message": it.message, "mend": it.mend or None}
            for it in findings
        ]
        show.as_json(facts)
    else:
        rows = [("problem" if it.is_problem else "note", it.subject, it.message, it.mend) for it in findings]
        show.table(("", "what", "finding", "mend"), rows)
        if is_sound and show.on_terminal():
            print("Nothing stands in the way.")
    return 0 if is_sound else 2


def _findings(flags: dict[str, object]) -> list[Finding]:
    from watcherd.cli import machine, trials
    from watcherd.settings import ConfigurationError

    try:
        settings = options.load(flags)
    except ConfigurationError as error:
        found = [trials.Finding(problem.place, problem.text, problem.mend) for problem in error.problems]
        return found + (list(machine.examine(error.besides)) if error.besides else [])
    return list(machine.examine(settings))
