"""What watcherd can do with a file: one table, a row for each kind. A new kind is a module and a row.

A processor is a plain function: an open file in, the content of its result and a `Result` of a few numbers out. It
knows no clock, no log, no ledger and no name but the one that it writes into its result; it says what is wrong with
the file by raising `FileFault`. What it makes of an error of its descriptor does not matter: its caller has heard it.

    words       word counts: which way a text is counted, and the JSON line
    reading     a text chunk by chunk, in whole characters
    encoding    by mark, UTF-8, older, or no text (pure)
    codepages   which of the older encodings (pure)
    tally       counting and validating UTF-8 with NumPy
    grayscale/  grey pictures: a writer for each format
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from watcherd.model import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from watcherd.model import Limits, Result


# We use NumPy for its loops over bytes only. Its threads for matrices would spin during the import: 0.1 s of CPU.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


class Process(Protocol):
    """Process `source`; return the content of its result, and what there is to say of it.

    `source` is unbuffered, seekable and read from its start, `name` is its path as the result shall state it (empty
    where it is isolated: a path may be longer than what a worker is told), and `checkpoint` is called often and may
    raise to end the work; what is isolated is ended with its process.
    """

    def __call__(  # noqa: D102 (the class says it)
        self, source: BinaryIO, *, name: str, limits: Limits, checkpoint: Callable[[], None]
    ) -> tuple[bytes | memoryview, Result]: ...


@dataclass(frozen=True, slots=True)
class Processor:
    """A row of the table.

    A result's name is `prefix`, the source's name, `suffix`. `isolated`: run in a process of its own, because its
    libraries parse what strangers send and may crash, hang or eat all memory.
    """

    module: str
    prefix: str
    suffix: str
    isolated: bool


TABLE: Mapping[Kind, Processor] = {
    Kind.TEXT: Processor("watcherd.processors.words", "", ".words.json", isolated=False),
    Kind.IMAGE: Processor("watcherd.processors.grayscale", "grayscale_", "", isolated=True),
}


def load(module: str) -> Process:
    """Import a processor now: the image libraries cost memory where only texts are counted, and the reverse."""
    return cast("Process", import_module(module).process)
