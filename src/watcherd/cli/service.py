"""`watcherd service`: the systemd service, installed and taken away: what is asked for, and what is there."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

import watcherd
from watcherd.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from watcherd.install.places import Folders, Host
    from watcherd.install.plan import Facts
    from watcherd.settings import Settings

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

#: What is there where systemd is PID 1 (sd_booted(3)).
_BOOTED = "/run/systemd/system"

#: Names that would clash with the configuration, the folders or the state of the service without a name.
_TAKEN = ("watcherd", "inbox", "outbox", "archive", "failed", "lock")


def _checked(_: click.Context, __: click.Parameter, name: str) -> str:
    if name and (not re.fullmatch("[a-z0-9_-]{1,200}", name) or name in _TAKEN):  # so that its files' names fit
        message = f"a name is made of a-z, 0-9, _ and -, at most 200 of them, and none of {', '.join(_TAKEN)}."
        raise click.BadParameter(message)
    return name


_name = click.option("--name", default="", callback=_checked, metavar="NAME", help="One of several: watcherd@NAME.")


@click.group(epilog=_EPILOG)
def service() -> None:
    """Install or remove the systemd service."""


@service.command(epilog=_INSTALL_EPILOG)
@_user
@_name
@click.option("--inbox", type=options.PATH, metavar="DIR", help="Watch this folder. [default: in /srv/watcherd]")
@click.option("--outbox", type=options.PATH, metavar="DIR", help="Where results appear; goes with --inbox.")
@_dry_run
@click.pass_obj
def install(config: Path | None, /, *, is_user: bool, name: str, dry_run: bool, **flags: Path | None) -> None:
    """Write unit, user, folders and configuration; start it.

    Repeat it to bring it up to date. A configuration that is there is
    kept, and the folders that it names are opened to the service.
    """
    from watcherd.cli import steps
    from watcherd.install import plan, reach

    host = _host(config, name, is_user=is_user)
    settings = _settings(host, {name: path for name, path in flags.items() if path})
    inboxes = _inboxes(settings)
    _require_command()
    reach.require_names(chain.from_iterable(inboxes))
    if not is_user:
        _require_reachable(host, settings, inboxes)
        os.umask(0o022)  # sudo may give one under which the service could not read what is written for it
    if not dry_run:
        _require_systemd(host)
    steps.go(plan.install(host, _command(), inboxes, _facts(host, inboxes)), dry_run=dry_run)
    if is_user:
        print("note    it runs while you are logged in; `loginctl enable-linger` lets it run always")


@service.command(epilog=_UNINSTALL_EPILOG)
@_user
@_name
@_dry_run
@click.pass_obj
def uninstall(config: Path | None, /, *, is_user: bool, name: str, dry_run: bool) -> None:
    """Stop it, and remove what was installed.

    Configuration, ledger, user and all folders of files stay.
    """
    from watcherd.cli import steps
    from watcherd.install import plan

    host = _host(config, name, is_user=is_user)
    found = plan.uninstall(host, _facts(host))
    if not found:
        print("note    there is no service of `watcherd service install` to remove")
    if found and not dry_run:
        _require_systemd(host)
    steps.go(found, dry_run=dry_run)


# What is there


def _host(config: Path | None, name: str, *, is_user: bool) -> Host:
    from watcherd.install import places

    if is_user and name:
        raise click.UsageError("--name goes without --user: a user has one service.")
    if is_user and not os.environ.get("HOME"):
        raise click.UsageError("--user needs $HOME, in which a user's service is kept.")
    host = places.of_user(os.environ["HOME"], os.environ) if is_user else places.of_system(name)
    if is_user:
        _require_own(host)
    _require_configuration(config, host)
    return host


def _require_configuration(named: Path | None, host: Host) -> None:
    """Refuse one that this service does not read: another than the one that is meant would be started, or stopped."""
    if named is not None and _real(named) != os.path.realpath(host.configuration):
        raise click.UsageError(f"this service reads {host.configuration}: --name NAME, in place of --config.")


def _require_own(host: Host) -> None:
    """Refuse root another user's folders: what it writes there goes wherever that user's links lead."""
    around = next(path for path in (Path(host.units), *Path(host.units).parents) if os.path.exists(path))
    if os.geteuid() == 0 and around.stat().st_uid != 0:
        mend = "log in as that user, and not by su or sudo"
        raise click.ClickException(f"{around} belongs to another user, whose service root does not keep: {mend}")


def _settings(host: Host, flags: Mapping[str, Path]) -> Settings:
    """Return what the existing configuration says, else the one that is to be written."""
    usual = {"inbox": Path(host.folders.inbox), "outbox": Path(host.folders.outbox)}
    there = os.path.exists(host.configuration)
    settings = options.load_from({} if there else flags or usual, host.configuration if there else None)
    wanted = {_real(path) for path in flags.values()}
    if not any(wanted <= set(folders) for folders in _inboxes(settings)):
        mend = "name the folders in it, and come again without --inbox and --outbox"
        raise click.ClickException(f"{host.configuration} is there already: {mend}")
    return settings


def _real(path: Path) -> str:
    """Return where a path leads that was given to a command, whose shell may have left a ``~`` at its beginning."""
    from watcherd.settings.layers import at_home

    return os.path.realpath(at_home(path))


def _inboxes(settings: Settings) -> list[Folders]:
    """Return the real folders of each inbox: a link is neither opened nor given to anybody."""
    from watcherd.install.places import Folders

    named = ((it.path, it.outbox, it.archive, it.failed) for it in settings.inbox.values())
    return [Folders(*map(os.path.realpath, paths)) for paths in named]


def _facts(host: Host, inboxes: Sequence[Folders] = ()) -> Facts:
    from watcherd.install.plan import Facts

    links = (link.stem for link in Path(host.units).glob("*.wants/watcherd*.service"))
    enabled = {unit for unit in links if unit.partition("@")[0] == "watcherd"}
    places = (host.configuration, host.state, *chain.from_iterable(inboxes))
    return Facts({path: _content(path) for path in host.files}, enabled, set(filter(os.path.exists, places)))


def _content(path: str) -> str | None:
    try:
        return Path(path).read_text("utf-8", errors="replace")  # somebody's own may be in any encoding
    except FileNotFoundError:
        return None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}; mend that, and come again") from error


# What is refused


def _command() -> str:
    return os.path.join(sysconfig.get_path("scripts"), "watcherd")


def _require_command() -> None:
    if not os.access(_command(), os.X_OK):
        raise click.ClickException(f"there is no {_command()} for the service to run: install it there with pip")


def _require_systemd(host: Host) -> None:
    if not os.path.isdir(_BOOTED):
        raise click.ClickException("this machine does not run systemd: start `watcherd run` by what it runs instead")
    if host.is_user and not os.path.isdir(f"{os.environ.get('XDG_RUNTIME_DIR')}/systemd"):
        mend = "log in as that user, and not by su or sudo"
        raise click.ClickException(f"$XDG_RUNTIME_DIR leads to no service manager of this user: {mend}")


def _require_reachable(host: Host, settings: Settings, inboxes: Sequence[Folders]) -> None:
    from watcherd.cli.standing import look
    from watcherd.install import reach

    program = (_command(), sys.executable, sys.base_prefix, watcherd.__file__)
    paths = dict.fromkeys(it for path in program for it in (path, os.path.realpath(path)))
    reach.require_program(paths, sys.prefix, look)
    reach.require_folders(chain.from_iterable(inboxes), look)
    reach.require_configuration(host, _state(host, settings), look)


def _state(host: Host, settings: Settings) -> str | None:
    """Return where the configuration says that the ledger is kept; None where it does not say."""
    if not os.path.exists(host.configuration):
        return host.state
    is_said = settings.layers.place("state").startswith(host.configuration)
    return os.path.abspath(settings.state) if is_said else None
