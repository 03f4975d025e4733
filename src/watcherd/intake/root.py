"""Whether an inbox's folder is there, whether it is still the same one, and what the kernel tells about it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from watcherd import beneath
from watcherd.access import ELSEWHERE, may, mend_of
from watcherd.intake.probe import mount
from watcherd.intake.watch import Heard, Watch

if TYPE_CHECKING:
    from watcherd.intake.probe import Mount

log = structlog.get_logger(__name__)

_MENDS = {
    errno.ENOENT: "mount /proc: an open folder, which is what is watched, has a name in there alone",
    errno.ENOSPC: "raise the limit: sysctl fs.inotify.max_user_watches=1048576",
    # The kernel has one error for both limits.
    errno.EMFILE: "raise the limit: sysctl fs.inotify.max_user_instances=1024, or this process's (LimitNOFILE)",
}

#: Why an inbox is lost although name and inode are right: a new folder often gets the inode of the one before.
_UPROOTED = "it was moved, deleted or unmounted"


def is_news(reason: str, before: str) -> bool:
    """Whether to say for what `reason` an inbox is lost, where `before` was said, or nothing yet (pure).

    It is news where it needs another mend, as a folder that was made again but is closed to us; not where merely
    nothing is left, as once a dead mount was unmounted.
    """
    return not before or mend_of(reason) not in {mend_of(before), mend_of("")}


def look(path: str) -> os.stat_result:
    """Return the status of the folder at `path`. Raises OSError where there is none, or it may not be looked into."""
    status = os.stat(os.path.join(path, ""))  # the slash: a file is no root
    if not may(path, os.R_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return status


class InboxRoot:
    """The root of one inbox. Once closed it holds nothing open, so that its file system can be unmounted.

    `named` is the path that people gave, which may lead to `path` by links. With `watching` false the kernel is asked
    for no events.
    """

    def __init__(self, name: str, path: str, *, named: str, watching: bool) -> None:
        self._path = path
        self._named = named or path
        self._watching = watching
        self._log = log.bind(inbox=name)
        self._seen: os.stat_result | None = None  # what was opened last
        self._was_mount = False  # whether a file system was mounted there
        self._watch: Watch | None = None
        self._uprooted = False  # whether that was moved, deleted or unmounted: its inode may be another's by now
        self._said = False  # that it is blind
        self.blind = False

    # Whether it is there -------------------------------------------------------------------------------------------

    def lost(self) -> str:
        """Return why the folder that was opened last is not the inbox any more; empty where it is."""
        reason = self._missed_at(self._path)
        if not reason and self._named != self._path and self._missed_at(self._named):
            return ELSEWHERE
        return reason or (_UPROOTED if self._uprooted else "")

    def away(self) -> bool:
        """Whether the folder that was opened last, if any was, is gone or another one. For any thread."""
        return self._seen is not None and bool(self._missed_at(self._path))

    def _missed_at(self, path: str) -> str:
        seen = self._seen  # which the intake's thread may replace meanwhile
        try:
            status = look(path)  # looked at every second, so no more is asked
        except OSError as error:
            return str(error.strerror)
        return "" if seen and os.path.samestat(status, seen) else "another folder took its place"

    def open(self) -> Mount:
        """Begin to watch the folder at the path. Raises OSError where it cannot be the inbox."""
        status, is_mount = look(self._path), os.path.ismount(self._path)
        # Any folder can be the inbox again, except the bare mount point of one that was mounted.
        if self._was_mount and not is_mount:
            raise OSError(errno.ENODEV, "nothing is mounted there", self._path)
        self._seen, self._was_mount, self._uprooted = status, is_mount, False
        if reason := self.lost():
            raise OSError(errno.ESTALE, reason, self._named)
        self.rearm()
        self._arm_top()
        return mount(self._path)

    def _arm_top(self) -> None:
        """Watch the folder itself before its scan: what that meets first is not known to be renamed into place."""
        with suppress(OSError):  # which the scan meets, and tells
            descriptor = beneath.open_folder(self._path)
            try:
                self.arm(descriptor, "")
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Let go of everything."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def may_enter(self, folder: str) -> bool:
        """Whether a folder in it may be listed, and what is there looked at."""
        return may(os.path.join(self._path, folder), os.R_OK | os.X_OK)

    # What the kernel tells -----------------------------------------------------------------------------------------

    def rearm(self) -> None:
        """Begin anew with an empty watch; a scan has to arm its folders."""
        self.close()
        if not self._watching:
            return
        try:
            self._watch = Watch()
        except OSError as error:
            self._unwatched(error, self._path)

    def reconsider(self) -> None:
        """Try anew, as a scan begins, to watch what could not be watched before."""
        self.blind = False
        if self._watch is None:
            self.rearm()

    def concluded(self) -> None:
        """Say, as a scan ends, if it could arm everything after all; the next blindness is news again then."""
        if self._said and not self.blind:
            self._log.info("inbox.sighted", path=self._path)
        self._said = self.blind

    def arm(self, descriptor: int, folder: str) -> None:
        """Watch an open folder; where that is impossible, the inbox is scanned more often."""
        if self._watch is None:
            return
        try:
            self._watch.arm(descriptor, folder)
        except OSError as error:
            self._unwatched(error, os.path.join(self._path, folder))

    def fileno(self) -> int | None:
        """Return the descriptor that is readable when there is something to hear."""
        return None if self._watch is None else self._watch.fileno()

    def hear(self) -> Heard:
        """Return what the kernel told; to be called when `fileno()` is readable."""
        if self._watch is None:
            return Heard()
        try:
            heard = self._watch.hear()
        except OSError as error:
            self._log.warning("inbox.blind", error=str(error), mend="none needed: it is watched anew and scanned")
            return Heard(overflowed=True)
        self._uprooted |= heard.uprooted
        return heard

    def _unwatched(self, error: OSError, folder: str) -> None:
        self.blind = True
        if not self._said:
            self._said = True
            mend = _MENDS.get(error.errno or 0, "see the error")
            self._log.warning("inbox.blind", path=folder, error=str(error.strerror), polled=True, mend=mend)
