"""The steps of an installation, as they are told and done."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

from watcherd.cli import whole
from watcherd.install.plan import Make, Remove, Run, Step, Write
from watcherd.install.unit_files import effective

if TYPE_CHECKING:
    from collections.abc import Sequence


def go(steps: Sequence[Step], *, dry_run: bool) -> None:
    """Tell each step, and do it. Raises ClickException at the first that fails."""
    for step in steps:
        print(f"{'would ' if dry_run else ''}{_told(step)}", flush=True)
        for line in _details(step):
            print(f"          {line}")
        if not dry_run:
            _do(step)


def _told(step: Step) -> str:
    """Write a step as its name and what it is about."""
    return f"{type(step).__name__.lower():<7} {' '.join(step.command) if isinstance(step, Run) else step.path}"


def _details(step: Step) -> list[str]:
    """Return what a file says about this machine: its users, its folders, who may do what in them."""
    return effective(step.content) if isinstance(step, Write) and step.path.endswith(".conf") else []


def _do(step: Step) -> None:
    try:
        match step:
            case Write(path, content):
                _write(Path(path), content)
            case Make(path):
                os.makedirs(path, exist_ok=True)
            case Remove(path):
                _remove(Path(path))
            case Run(command, tolerated):
                _run(command, tolerated)
    except OSError as error:
        mend = (
            "run it with sudo, or with --user" if isinstance(error, PermissionError) else "mend that, and come again"
        )
        named = error.filename or getattr(step, "path", "")  # the error of a full disk names no file
        raise click.ClickException(f"{named}: {error.strerror}; {mend}") from error


def _write(path: Path, content: str) -> None:
    """Write a file whole or not at all: the next attempt would take a part for somebody else's, and keep it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path = Path(os.path.realpath(path))
    with whole.draft_of(path, content.encode()) as draft:
        draft.chmod(0o644)
        draft.replace(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent.name.endswith(".service.d") and not list(path.parent.iterdir()):
        path.parent.rmdir()


def _run(command: Sequence[str], tolerated: int) -> None:
    done = subprocess.run(command, check=False)
    if done.returncode not in {0, tolerated}:
        hint = f"journalctl {'--user ' if '--user' in command else ''}-u 'watcherd*' -n 20"
        raise click.ClickException(f"{' '.join(command)} failed with status {done.returncode}: `{hint}`")
