"""`watcherd service`: the systemd service, installed and taken away; each step is told."""
# ruff: noqa: PLC0415
# (settings bring pydantic, which takes longer to import than `--help` may take)

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import click

import watcherd
from watcherd.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from watcherd.service.installation import Folders, Host, Step

_EPILOG = """\b
Examples:
  sudo /opt/watcherd/bin/watcherd service install --dry-run
  watcherd service install --user
"""
_INSTALL_EPILOG = """\b
Examples:
  sudo /opt/watcherd/bin/watcherd service install --dry-run
  watcherd service install --user --inbox ~/in --outbox ~/out
"""
_UNINSTALL_EPILOG = """\b
Example:
  sudo /opt/watcherd/bin/watcherd service uninstall --dry-run
"""
_user = click.option("--user", "is_user", is_flag=True, help="A service of this user, without root.")
_dry_run = click.option("--dry-run", is_flag=True, help="Tell every step, and do none.")
_FOLDER = click.Path(path_type=Path)

#: What is there where systemd is PID 1 (sd_booted(3)).
_BOOTED = "/run/systemd/system"

#: What lies beside the configurations and folders of those that have a name.
_TAKEN = ("watcherd", "inbox", "outbox", "archive", "failed")


def _checked(context: click.Context, _: click.Parameter, name: str) -> str:
    if name and (not re.fullmatch("[a-z0-9_-]+", name) or name in _TAKEN):
        raise click.BadParameter(f"a name is made of a-z, 0-9, _ and -, and none of {', '.join(_TAKEN)}.", context)
    return name


_name = click.option("--name", default="", callback=_checked, metavar="NAME", help="One of several: watcherd@NAME.")


@click.group(epilog=_EPILOG)
def service() -> None:
    """Install or remove the systemd service."""


@service.command(epilog=_INSTALL_EPILOG)
@_user
@_name
@click.option("--inbox", type=_FOLDER, metavar="DIR", help="Watch this folder. [default: in /srv/watcherd]")
@click.option("--outbox", type=_FOLDER, metavar="DIR", help="Where results appear; goes with --inbox.")
@_dry_run
@click.pass_context
def install(context: click.Context, /, *, is_user: bool, name: str, dry_run: bool, **flags: Path | None) -> None:
    """Write unit, user, folders and configuration; start it.

    Come again to bring it up to date. A configuration that is there is
    kept, and the folders that it names are opened to the service.
    """
    from watcherd.service import installation

    host = _host(name, is_user=is_user)
    inboxes = _inboxes(context, host, {name: path for name, path in flags.items() if path})
    if not is_user:
        _require_reachable(inboxes)
    if not dry_run:
        _require_systemd()
    _go(installation.install(host, _command(), inboxes, _found(host)), dry_run=dry_run)
    if is_user:
        print("note    it runs while you are logged in; `loginctl enable-linger` lets it run always")


@service.command(epilog=_UNINSTALL_EPILOG)
@_user
@_name
@_dry_run
def uninstall(*, is_user: bool, name: str, dry_run: bool) -> None:
    """Stop it, and remove what was installed.

    Configuration, ledger, user and all folders of files stay.
    """
    from watcherd.service import installation

    host = _host(name, is_user=is_user)
    steps = installation.uninstall(host, _found(host))
    if not steps:
        print("note    there is no service of `watcherd service install` to remove")
    _go(steps, dry_run=dry_run)


# What is there


def _host(name: str, *, is_user: bool) -> Host:
    from watcherd.service import installation

    if is_user and name:
        raise click.UsageError("--name goes without --user: a user has one service.")
    return installation.of_user(os.environ) if is_user else installation.of_system(name)


def _inboxes(context: click.Context, host: Host, flags: Mapping[str, Path]) -> list[Folders]:
    """Return the folders of each inbox: of the configuration that is there, else of the one to be written."""
    from watcherd.service.installation import Folders

    usual = {"inbox": Path(host.folders.inbox), "outbox": Path(host.folders.outbox)}
    there = os.path.exists(host.configuration)
    settings = options.load_from(context, {} if there else flags or usual, host.configuration if there else None)
    inboxes = [Folders(*map(str, (it.path, it.outbox, it.archive, it.failed))) for it in settings.inbox.values()]
    wanted = {os.path.abspath(path) for path in flags.values()}
    if not any(wanted <= set(folders.all()) for folders in inboxes):
        mend = "name the folders in it, and come again without --inbox and --outbox"
        raise click.ClickException(f"{host.configuration} is there already: {mend}")
    return inboxes


def _found(host: Host) -> dict[str, str | None]:
    from watcherd.service import installation

    return {path: _content(path) for path in installation.files(host)}


def _content(path: str) -> str | None:
    try:
        return Path(path).read_text("utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from error


def _command() -> str:
    return os.path.join(sysconfig.get_path("scripts"), "watcherd")


def _require_reachable(inboxes: Sequence[Folders]) -> None:
    from watcherd.service import installation

    program = (_command(), sys.executable, sys.base_prefix, watcherd.__file__)
    paths = dict.fromkeys(it for path in program for it in (path, os.path.realpath(path)))
    folders = [os.path.realpath(path) for inbox in inboxes for path in inbox.all()]
    installation.require_reachable(paths, folders, _closed)


def _require_systemd() -> None:
    if not os.path.isdir(_BOOTED):
        raise click.ClickException("this machine does not run systemd: start `watcherd run` by what it runs instead")


def _closed(path: str) -> str | None:
    """Return the outermost folder on the way to `path` that not everybody may enter, or None."""
    around = reversed([str(folder) for folder in Path(path).parents])
    return next((it for it in around if os.path.isdir(it) and not os.stat(it).st_mode & stat.S_IXOTH), None)


# What is done


def _go(steps: Sequence[Step], *, dry_run: bool) -> None:
    for step in steps:
        print(f"{'would ' if dry_run else ''}{_told(step)}", flush=True)
        if not dry_run:
            _do(step)


def _told(step: Step) -> str:
    from watcherd.service.installation import Keep, Make, Remove, Run, Write

    match step:
        case Write(path):
            return f"write   {path}"
        case Make(path):
            return f"make    {path}"
        case Remove(path):
            return f"remove  {path}"
        case Keep(path):
            return f"keep    {path}"
        case Run(command):
            return f"run     {' '.join(command)}"


def _do(step: Step) -> None:
    from watcherd.service.installation import Make, Remove, Run, Write

    try:
        match step:
            case Write(path, content):
                _write(Path(path), content)
            case Make(path):
                os.makedirs(path, exist_ok=True)
            case Remove(path):
                _remove(Path(path))
            case Run(command):
                _run(command)
    except OSError as error:
        mend = (
            "run it with sudo, or with --user" if isinstance(error, PermissionError) else "mend that, and come again"
        )
        raise click.ClickException(f"{error.filename}: {error.strerror}; {mend}") from error


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")
    path.chmod(0o644)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent.name.endswith(".service.d") and not list(path.parent.iterdir()):
        path.parent.rmdir()


def _run(command: Sequence[str]) -> None:
    done = subprocess.run([shutil.which(command[0]) or command[0], *command[1:]], check=False)
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)} failed with status {done.returncode}: `{_hint(command)}`")


def _hint(command: Sequence[str]) -> str:
    return f"journalctl {'--user ' if '--user' in command else ''}-u 'watcherd*' -n 20"
