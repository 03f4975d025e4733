"""Count the words, lines and characters of a text, exactly as ``len(text.split())`` has them, at memory's speed.

How it goes, and why:

- A text is read into one buffer per thread and looked at by NumPy, a byte at a time: which bytes are white space, and
  how often white space is followed by something else. NumPy lets other threads run meanwhile. No string is built.
- Whatever the encoding, it is UTF-8 that is counted: a chunk in another one is decoded and encoded anew.
- A chunk always holds whole characters. The bytes of a character that its end cut in two wait for the next chunk.
- The first pass expects UTF-8 and checks it as strictly as Python does. Where it fails, the bytes around that place
  decide: damaged UTF-8, an older encoding, or no text at all. Then the text is counted again from its start.
- A file of a page is decoded and split: NumPy's calls would cost more than the work.
"""

from __future__ import annotations

import codecs
import json
import threading
from typing import TYPE_CHECKING, BinaryIO

from watcherd.model import Failure, FileFault, Limits, Words
from watcherd.paths import as_fields
from watcherd.processors.encoding import PDF, UTF8_MARK, announced, detect, refuse_binary
from watcherd.processors.reading import TextReader
from watcherd.processors.tally import Scratch, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULTS = Limits()

_SMALL = 4 << 10  # bytes up to which `str.split` is faster than NumPy

#: Bytes of a shifted sequence of UTF-7, or of an escaped name of a character, which are read as one.
_LONGEST_RUN = 1 << 20

_quoted = json.JSONEncoder(ensure_ascii=False).encode


def count(source: BinaryIO, *, limits: Limits = DEFAULTS, checkpoint: Callable[[], None] = lambda: None) -> Words:
    """Count what is in `source`, a binary file with ``readinto`` and ``seek``, from its start.

    The `encoding` of `limits` is "auto" (byte-order mark, else UTF-8, else detection) or one of texts, by the name
    that `codecs.lookup` gives it; bytes that are invalid in it are counted in `invalid_bytes` and read as U+FFFD.
    `checkpoint` is called for every `chunk` of bytes (4 or more) and may raise to end the work. Memory is a small
    multiple of `chunk`, whatever the file.

    Raises FileFault (`NOT_TEXT`, `TOO_LARGE`: more than `max_bytes`), and what `source` and `checkpoint` raise.
    """
    _own.lost = 0
    scratch = _own.scratch_of(limits.chunk)
    reader = TextReader(source, scratch.buffer, limits.max_bytes, checkpoint)
    head = reader.head()
    wanted = "" if limits.encoding == "auto" else limits.encoding.removesuffix("-sig")
    if not wanted and len(head) <= _SMALL and (words := _count_small(head)):
        return words
    return _count_large(reader, scratch, head, wanted)


def process(source: BinaryIO, *, name: str, limits: Limits, checkpoint: Callable[[], None]) -> tuple[bytes, Words]:
    """Count the words of `source`; the result is one line of JSON. See `Process`, `count`."""
    words = count(source, limits=limits, checkpoint=checkpoint)
    return _line(name, words), words


def _line(name: str, words: Words) -> bytes:
    """Return the result as JSON, assembled by hand: an encoder takes as long as counting a small text."""
    source = ", ".join(f'"{key}": {_quoted(path)}' for key, path in as_fields("source", name).items())
    counts = f'"words": {words.words}, "lines": {words.lines}, "characters": {words.characters}'
    read_as = f'"bytes": {words.bytes}, "encoding": {_quoted(words.encoding)}'
    invalid = f', "invalid_bytes": {words.invalid_bytes}' if words.invalid_bytes else ""
    return f"{{{source}, {counts}, {read_as}{invalid}}}\n".encode()


def _count_small(data: bytes) -> Words | None:
    """Count a small file, all of which is in `data`; None where it is not plain UTF-8 without a mark."""
    if b"\0" in data or data.startswith((UTF8_MARK, PDF)):
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return Words(len(text.split()), text.count("\n"), len(text), len(data), "utf-8")


def _count_large(reader: TextReader, scratch: Scratch, head: bytes, wanted: str) -> Words:
    mark, name = announced(head, wanted)
    if not name.startswith(("utf-16", "utf-32")):
        refuse_binary(head)
    if name != "utf-8":
        return _count_decoded(reader, scratch, name, len(mark))
    try:
        return _count_utf8(reader, scratch, len(mark), _COUNTING if wanted or mark else "strict")
    except UnicodeDecodeError as error:
        name = detect(reader.around(error.start))
    if name == "utf-8":
        return _count_utf8(reader, scratch, 0, _COUNTING)
    return _count_decoded(reader, scratch, name, 0)


def _count_utf8(reader: TextReader, scratch: Scratch, start: int, errors: str) -> Words:
    """Count UTF-8 from the byte `start` on.

    Raises UnicodeDecodeError where `errors` is "strict"; its `start` is the place of the first bad byte in the file.
    """
    tally = Tally(scratch)
    position = start
    for block in reader.characters(start, tally.room):
        if not tally.add(block):
            try:
                tally.add_text(block.tobytes().decode("utf-8", errors))
            except UnicodeDecodeError as error:
                error.start += position
                raise
        position += len(block)
    return _summed(tally, "utf-8", reader.total)


def _count_decoded(reader: TextReader, scratch: Scratch, encoding: str, start: int) -> Words:
    tally = Tally(scratch)
    decoder = codecs.getincrementaldecoder(encoding)(_COUNTING)
    try:
        for block in reader.blocks(start):
            tally.add_text(decoder.decode(block))
            _refuse_unending(decoder)
        tally.add_text(decoder.decode(b"", final=True))
    except UnicodeError as error:  # a few codecs fail however errors are to be handled
        raise FileFault(Failure.NOT_TEXT, f"cannot be read as {encoding}: {error}") from error
    return _summed(tally, encoding, reader.total)


def _refuse_unending(decoder: codecs.IncrementalDecoder) -> None:
    """Raise UnicodeError where a decoder keeps all that it was given, to read it again with each block."""
    kept, _ = decoder.getstate()
    if len(kept) > _LONGEST_RUN:
        raise UnicodeError(f"a sequence of more than {_LONGEST_RUN:,} bytes does not end")


def _summed(tally: Tally, encoding: str, total: int) -> Words:
    return Words(tally.words, tally.lines, tally.characters, total, encoding, _own.lost)


class _Own(threading.local):
    """What each thread has for itself."""

    def __init__(self) -> None:
        self.lost = 0  # bytes of the text in hand that are invalid in its encoding
        self._scratch = Scratch(0)

    def scratch_of(self, size: int) -> Scratch:
        """Return memory for blocks of up to `size` bytes, which is reused while the size stays the same."""
        if self._scratch.size != size:
            self._scratch = Scratch(size)
        return self._scratch


_own = _Own()


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Replace undecodable bytes as "replace" does, and count them."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    _own.lost += error.end - error.start
    return "\ufffd", error.end


_COUNTING = "watcherd.replace"
codecs.register_error(_COUNTING, _replace)
