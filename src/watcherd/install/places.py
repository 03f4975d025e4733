"""Where a machine, or one of its users, keeps what belongs to a service (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Folders(NamedTuple):
    """The folders of one inbox."""

    inbox: str
    outbox: str
    archive: str
    failed: str

    @classmethod
    def under(cls, folder: str) -> Folders:
        """Return those of the usual names."""
        return cls(*(f"{folder}/{name}" for name in cls._fields))


@dataclass(frozen=True, slots=True)
class Host:
    """Where this machine, or this user, keeps what belongs to a service.

    `unit` is its name: watcherd, or watcherd@NAME for a further one; `folders` are the default ones.
    """

    unit: str
    units: str
    configuration: str
    state: str
    folders: Folders
    is_user: bool = False

    @property
    def drop_in(self) -> str:
        """What opens folders outside of the usual ones for writing."""
        return f"{self.units}/{self.unit}.service.d/folders.conf"

    @property
    def sysusers(self) -> str:
        """What describes the account that all services of a machine share."""
        return "/etc/sysusers.d/watcherd.conf"

    @property
    def tmpfiles(self) -> str:
        """What describes its folders."""
        return f"/etc/tmpfiles.d/{self.unit}.conf"

    @property
    def common(self) -> tuple[str, ...]:
        """Every file that services share: their units, and what describes their account."""
        unit = f"{self.units}/watcherd.service"
        return (unit,) if self.is_user else (unit, f"{self.units}/watcherd@.service", self.sysusers)

    @property
    def own(self) -> tuple[str, ...]:
        """Every file of this service alone, but for its configuration."""
        return () if self.is_user else (self.drop_in, self.tmpfiles)

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that an installation may write."""
        return (self.configuration, *self.common, *self.own)


def of_system(name: str = "") -> Host:
    """Return where the machine keeps what belongs to its service, or to one of several."""
    within = f"/{name}" if name else ""
    return Host(
        unit=f"watcherd@{name}" if name else "watcherd",
        units="/etc/systemd/system",
        configuration=f"/etc/watcherd/{name or 'watcherd'}.toml",
        state=f"/var/lib/watcherd{within}",
        folders=Folders.under(f"/srv/watcherd{within}"),
    )


def of_user(home: str, environ: Mapping[str, str]) -> Host:
    """Return where a user keeps things, as the XDG base directory specification has it."""
    config = _absolute(environ.get("XDG_CONFIG_HOME")) or f"{home}/.config"
    state = _absolute(environ.get("XDG_STATE_HOME")) or f"{home}/.local/state"
    return Host(
        unit="watcherd",
        units=f"{config}/systemd/user",
        configuration=f"{config}/watcherd/watcherd.toml",
        state=f"{state}/watcherd",
        folders=Folders.under(f"{home}/watcherd"),
        is_user=True,
    )


def _absolute(path: str | None) -> str | None:
    return path if path and PurePosixPath(path).is_absolute() else None


def lies_in(path: str, folder: str) -> bool:
    """Whether a path is that folder, or lies in it."""
    return PurePosixPath(path).is_relative_to(folder)
