"""The values that travel between rooms, and the three kinds of error.

Pure: nothing here does anything. Every path is relative to a root and is a ``str`` as `os.fsdecode` gives it, so
that names which are not text survive the whole way as surrogates; `os.fsencode` gives the kernel's bytes back.

What is made several times for each file is a named tuple, which takes a third of the time of a frozen dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from watcherd.states import State


@unique
class Kind(StrEnum):
    """Which processor and which lane a file goes to."""

    TEXT = "text"
    IMAGE = "image"


@unique
class After(StrEnum):
    """What becomes of an input once its result is durable."""

    ARCHIVE = "archive"
    DELETE = "delete"
    KEEP = "keep"


@unique
class Failure(StrEnum):
    """Why a file cannot be processed: the classes of quarantine."""

    NOT_TEXT = "not-text"  # binary content under a text's name
    TOO_LARGE = "too-large"  # more bytes or pixels than allowed
    NOT_IMAGE = "not-image"  # no allowed format recognises the content
    TRUNCATED = "truncated"  # the content ends too early
    CORRUPT = "corrupt"  # recognised, and damaged
    UNSUPPORTED = "unsupported"  # undamaged, and of a variety that cannot be written back
    MEMORY = "memory"  # needs more memory than one worker may have
    TIMEOUT = "timeout"  # took longer than one job may take
    CRASHED = "crashed"  # ended its worker, or met a bug of ours
    RESULT_OCCUPIED = "result-occupied"  # its result's name is held by something that we did not make
    UNPLACEABLE = "unplaceable"  # its result or archive cannot be put where it belongs

    @property
    def passing(self) -> bool:
        """Whether another attempt could end otherwise."""
        return self in {Failure.TIMEOUT, Failure.CRASHED, Failure.UNPLACEABLE}


class Version(NamedTuple):
    """What tells one content of a file from the next, as `os.stat` reports it; `sameness` says what of it to ask for.

    Times are in nanoseconds, `signed`: a file may claim any, also one before 1677 or after 2262.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class File(NamedTuple):
    """One regular file in an inbox, at one version. `inbox` is the inbox's name, `path` relative to its root."""

    inbox: str
    path: str
    version: Version


class Job(NamedTuple):
    """A file admitted to a lane.

    `id` is never used twice in a daemon's life: it names the draft, and fences off a result that comes too late.
    `attempts` counts the ones charged before this one, `kills` those that ended by a kill from outside and were
    not charged. `alone`: a suspect of an unclean end, which is worked on while nothing else is.
    """

    id: int
    file: File
    kind: Kind
    attempts: int = 0
    kills: int = 0
    alone: bool = False


class Words(NamedTuple):
    """What was counted in a text. `lines` are line feeds, `characters` code points without a byte-order mark."""

    words: int
    lines: int
    characters: int
    bytes: int
    encoding: str
    invalid_bytes: int = 0


class Picture(NamedTuple):
    """What was written for an image. `format` and `mode` are Pillow's names; `width` and `height` are pixels."""

    format: str
    mode: str
    width: int
    height: int
    frames: int = 1


Result = Words | Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one job may take, and how texts are read. Bytes, pixels, seconds."""

    max_bytes: int = 16 << 30
    encoding: str = "auto"
    chunk: int = 1 << 19
    max_pixels: int = 100_000_000
    memory: int = 1 << 30
    timeout: float = 300.0


class Draft(NamedTuple):
    """A result on its way: `name` in the outbox's folder of drafts, and the inode that proves it ours.

    `size`, in bytes, is known once it is filled, `mtime_ns` once it is on disk (0: not yet): then both prove that it
    is as we wrote it.
    """

    name: str
    inode: int
    size: int = 0
    mtime_ns: int = 0


NO_DRAFT = Draft("", 0)


class Done(NamedTuple):
    """A job whose draft holds its result. `seconds` is the time that the work took."""

    job: Job
    draft: Draft
    result: Result
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A job that failed through its file: `failure` says how, `message` says it to people.

    `charged` is false where the worker was killed from outside: that proves nothing against the file.
    `trace` is the traceback, where the failure is a bug of ours.
    """

    job: Job
    failure: Failure
    message: str
    charged: bool = True
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Stalled:
    """A job that the system could not carry out: `fault` says why. The file is not charged."""

    job: Job
    fault: SystemFault


@dataclass(frozen=True, slots=True)
class Returned:
    """A job given back undone and uncharged: `to` is `WAITING` (changed, unreadable, stopped) or `VANISHED`.

    `changed` says that its file is another version by now, or has to settle as if it were.
    """

    job: Job
    to: State
    reason: str
    changed: bool = False


Outcome = Done | Failed | Stalled | Returned


@dataclass(frozen=True, slots=True)
class Record:
    """What the ledger holds of one version of a file.

    `attempts` were charged, `kills` were not (a worker killed from outside). `number` is the one that result and
    archive share (0: none); `result` is the draft of the result, or of the reason, and what proves that ours once it
    is visible (empty until there is one; size and time are 0 also in rows from version 1 of the ledger). `due` and
    `at` are wall-clock seconds since the epoch: when to try again; when it came to its state, or, with a result, when
    that was about to be shown.
    """

    id: int
    file: File
    kind: Kind
    state: State
    attempts: int = 0
    kills: int = 0
    alone: bool = False
    due: float = 0.0
    failure: Failure | None = None
    message: str = ""
    number: int = 0
    result: Draft = NO_DRAFT
    at: int = 0


@dataclass(frozen=True, slots=True)
class CameBack:
    """A quarantined file was dragged back into its inbox, or mended where it was kept: `record` is of the past.

    `kind` is the one that it has now.
    """

    record: Record
    kind: Kind


class Ended(NamedTuple):
    """How a version of a file ended, and which one: all that a scan asks about each of many kept files."""

    size: int
    mtime_ns: int
    state: State


def signed(number: int) -> int:
    """Return a number in the 64 bits, signed, of a ledger's column: an inode may need them all, a time even more."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


class WatcherdError(Exception):
    """An error of ours, said in one line: what, where and what to do.

    Its three kinds have three fates: a `FileFault` costs the file an attempt or sets it aside; a `SystemFault`
    pauses an inbox and costs the file nothing; anything else is a bug, is logged with its traceback, and ends the
    daemon unless it happened inside one file's job.
    """


class FileFault(WatcherdError):
    """This file cannot be processed, and it is the file's own fault. `trace` is a bug's traceback."""

    def __init__(self, failure: Failure, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.failure = failure
        self.trace = trace


class SystemFault(WatcherdError):
    """The machine could not do its part: `root` is the folder concerned, `errno` the kernel's word, if any.

    `took` is the seconds of work before the fault was met, where they may be many.
    """

    def __init__(self, message: str, *, root: str, errno: int | None = None, took: float = 0.0) -> None:
        super().__init__(message)
        self.root = root
        self.errno = errno
        self.took = took


class Refused(WatcherdError):
    """It must not run, or not this way: another daemon holds a folder, the ledger is newer, a program is hidden."""


class Stopped(Exception):
    """It is time to stop: what takes long raises it at a checkpoint. `number` is the signal that came, if one did."""

    def __init__(self, number: int = 0) -> None:
        super().__init__("stopped before anything was begun: nothing is lost")
        self.number = number
