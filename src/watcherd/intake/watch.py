"""Hints: what the kernel tells about an inbox while it happens. What it does not tell, a scan finds.

watchdog reads and takes apart inotify's events here, and no more than that: its observer holds every event after a
rename *out* of a folder for half a second until the other half comes, and a watch that fails is forgotten in
silence; both would be felt in an inbox whose files leave by rename. So there is no thread and no queue between the
kernel and a hint: whoever owns the watch waits for `fileno()` and calls `hear()`.

Folders are armed one by one by the scan that enters them, just before it lists them, so nothing falls between. What
moves or overflows is simply dropped and named as a folder to be scanned, which arms it again. The mask is narrow:
our own opens, closes and renames out of the inbox make no event, or looking would be its own reason to look.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from watchdog.observers.inotify_c import InotifyConstants, InotifyFD, Mask, inotify_add_watch, inotify_rm_watch

from watcherd.beneath import join
from watcherd.intake.settle import How

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watchdog.observers.inotify_c import InotifyEvent, WatchDescriptor

_MASK = Mask(
    InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_ATTRIB  # permission given back
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_EXCL_UNLINK
)
_LEFT = (
    InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_UNMOUNT
    | InotifyConstants.IN_IGNORED
)
#: The kernel tells each of these by itself: what is renamed in, and then written and closed, has two events.
_HOWS = (
    (InotifyConstants.IN_CLOSE_WRITE, How.CLOSED),
    (InotifyConstants.IN_MOVED_TO, How.RENAMED),
    (InotifyConstants.IN_CREATE, How.CREATED),
    (InotifyConstants.IN_ATTRIB, How.SEEN),
)


@dataclass(slots=True)
class Heard:
    """What one reading brought: files in order, folders to be scanned whole, and two kinds of bad news.

    `touched` are armed folders whose rights were changed, or only their times, which the kernel does not tell apart.
    """

    files: list[tuple[str, How]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)
    overflowed: bool = False  # the kernel dropped events
    uprooted: bool = False  # the root itself was moved, deleted or unmounted


class Watch:
    """One inotify instance for the folders of one inbox. Used by one thread.

    Raises OSError EMFILE where the user has no instance left.
    """

    def __init__(self) -> None:
        self._inotify = _Inotify()
        self._paths: dict[WatchDescriptor, str] = {}
        self._armed: dict[str, WatchDescriptor] = {}

    def __len__(self) -> int:
        """Return how many folders are armed."""
        return len(self._armed)

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something to hear."""
        return self._inotify.fileno()

    def arm(self, descriptor: int, path: str) -> None:
        """Watch the open folder behind `descriptor`, known as `path`. Raises OSError: ENOSPC at the user's limit."""
        watch = self._inotify.add(descriptor)  # the one that the folder has already, if it has any
        known = self._paths.pop(watch, None)
        if known is not None:
            del self._armed[known]  # the same folder, maybe under another name that it had
        if path in self._armed:  # another folder, whose end is not told for as long as somebody has it open
            self._disarm_all({path})
        self._paths[watch] = path
        self._armed[path] = watch

    def hear(self) -> Heard:
        """Return what happened, without waiting if `fileno()` is readable. Raises OSError where reading fails."""
        heard = Heard()
        moved: set[str] = set()  # disarmed together in the end: each by itself would take a look at all others
        for event in self._inotify.read_events():
            self._sort(event, heard, moved)
        if moved:
            self._disarm_all(moved)
        return heard

    def close(self) -> None:
        """Let go of everything; the kernel drops the watches."""
        self._inotify.close()

    def _sort(self, event: InotifyEvent, heard: Heard, moved: set[str]) -> None:
        if event.is_queue_overflow:
            heard.overflowed = True
            return
        folder = self._paths.get(event.wd)
        if folder is None or not moved.isdisjoint(_upwards(folder)):
            return
        if event.mask & _LEFT:
            if event.mask & InotifyConstants.IN_MOVE_SELF:
                moved.add(folder)
            else:
                self._disarm(folder)  # what was below it went first, and that is told of each
            heard.folders.append(folder)  # if it is there again, under this name, then it needs a new watch
            heard.uprooted |= not folder
        elif event.mask & InotifyConstants.IN_ISDIR:
            path = join(folder, os.fsdecode(event.name)) if event.name else folder
            touched = event.mask & InotifyConstants.IN_ATTRIB and path in self._armed
            (heard.touched if touched else heard.folders).append(path)  # else it appeared, or was closed to us
        elif event.name:
            path = join(folder, os.fsdecode(event.name))
            heard.files.append((path, next(how for bit, how in _HOWS if event.mask & bit)))

    def _disarm_all(self, folders: set[str]) -> None:
        """Disarm these folders, and all below them."""
        for path in [path for path in self._armed if not folders.isdisjoint(_upwards(path))]:
            self._disarm(path)

    def _disarm(self, folder: str) -> None:
        watch = self._armed.pop(folder)
        del self._paths[watch]
        self._inotify.remove(watch)


class _Inotify(InotifyFD):
    """watchdog's reader of inotify, without its thread and its callbacks."""

    _inotify_fd = -1

    def __init__(self) -> None:
        try:
            super().__init__()
        except OSError:
            if self._inotify_fd >= 0:  # made, and then no descriptor was left for its pipe
                os.close(self._inotify_fd)
            raise

    def close(self) -> None:
        self._is_reading = False  # no thread of watchdog's reads here to close it later, also where a reading failed
        super().close()

    def fileno(self) -> int:
        return self._inotify_fd

    def add(self, descriptor: int) -> WatchDescriptor:
        # By descriptor: a path could lead elsewhere by now, and may be longer than the kernel takes.
        watch = inotify_add_watch(self._inotify_fd, b"/proc/self/fd/%d" % descriptor, _MASK)
        if watch == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return watch

    def remove(self, watch: WatchDescriptor) -> None:
        inotify_rm_watch(self._inotify_fd, watch)  # fails where the folder is gone, and its watch with it


def _upwards(path: str) -> Iterator[str]:
    """Yield a path and the folders around it, up to the root."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield ""
