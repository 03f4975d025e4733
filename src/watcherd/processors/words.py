"""Count the words, lines and characters of a text, exactly as ``len(text.split())`` has them, at memory's speed.

How it goes, and why:

- A text is read into one buffer per thread and looked at by NumPy, a byte at a time: which bytes are white space, and
  how often white space is followed by something else. NumPy lets other threads run meanwhile. No string is built.
- Whatever the encoding, it is UTF-8 that is counted: a chunk in another one is decoded and encoded anew.
- A chunk always holds whole characters. The bytes of a character that its end cut in two wait for the next chunk.
- The first pass believes in UTF-8 and checks it as strictly as Python does. Where it fails, the bytes around that
  place decide: damaged UTF-8, an older encoding, or no text at all. Then the text is counted again from its start.
- A file of a page is decoded and split: NumPy's calls would cost more than the work.
"""

from __future__ import annotations

import base64
import codecs
import json
import os
import re
import threading
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import numpy as np

from watcherd.model import Failure, FileFault, Words
from watcherd.processors.tally import Scratch, Tally, unfinished, valid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watcherd.model import Limits
    from watcherd.processors.tally import Bytes

_CHUNK = 1 << 19  # bytes: NumPy's calls then cost little, and what they pass over stays in a core's cache
_HEAD = 64 << 10  # bytes at the start that show a binary file
_SAMPLE = 64 << 10  # bytes around the first bad one that decide what a text is
_SMALL = 4 << 10  # bytes up to which `str.split` is faster than NumPy

#: The longer mark first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


#: Control characters that no text has: not white space, backspace, Ctrl-Z at the end of a DOS text, or escape.
_CONTROLS = bytes(sorted(set(range(0x20)) - set(b"\b\t\n\v\f\r\x1a\x1b\x1c\x1d\x1e\x1f")))


_JSON = json.JSONEncoder(ensure_ascii=False)

_BEYOND_ASCII = bytes(range(0x80, 0x100))

#: Bytes that no encoding uses as a part of a longer character.
_SPACE = re.compile(rb"[\t\n\r ]")


def count(
    source: BinaryIO,
    *,
    encoding: str = "auto",
    max_bytes: int = 16 << 30,
    checkpoint: Callable[[], None] = lambda: None,
    chunk: int = _CHUNK,
) -> Words:
    """Count what is in `source`, a binary file with ``readinto`` and ``seek``, from its start.

    `encoding` is "auto" (byte-order mark, else UTF-8, else detection) or a codec's name; bytes that are invalid in it
    are counted in `invalid_bytes` and read as U+FFFD. `checkpoint` is called for every `chunk` bytes (4 or more) and
    may raise to end the work. Memory is a small multiple of `chunk`, whatever the file.

    Raises FileFault (`NOT_TEXT`, `TOO_LARGE`: more than `max_bytes`), ValueError for an unknown encoding, and what
    `source` and `checkpoint` raise.
    """
    scratch = _own.scratch_of(chunk)
    reader = _Reader(source, scratch.buffer, max_bytes, checkpoint)
    head = reader.head()
    if encoding == "auto" and len(head) <= _SMALL and (words := _count_small(head)):
        return words
    return _count_large(reader, scratch, head, "" if encoding == "auto" else _codec(encoding))


def process(source: BinaryIO, draft: BinaryIO, *, name: str, limits: Limits, checkpoint: Callable[[], None]) -> Words:
    """Count the words of `source` and write the result, one line of JSON, into `draft`. See `Process`, `count`."""
    words = count(
        source,
        encoding=limits.encoding,
        max_bytes=limits.max_bytes,
        checkpoint=checkpoint,
        chunk=limits.chunk,
    )
    line = memoryview(_line(name, words))
    while line:  # an unbuffered file may take a part
        line = line[draft.write(line) :]
    return words


def _line(name: str, words: Words) -> bytes:
    exact = os.fsencode(name)
    shown = exact.decode("utf-8", "replace")
    fields: dict[str, str | int] = {"source": shown}
    if shown != name:
        fields["source_b64"] = base64.b64encode(exact).decode("ascii")
    fields |= {
        "words": words.words,
        "lines": words.lines,
        "characters": words.characters,
        "bytes": words.bytes,
        "encoding": words.encoding,
    }
    if words.invalid_bytes:
        fields["invalid_bytes"] = words.invalid_bytes
    return (_JSON.encode(fields) + "\n").encode("utf-8")


def _codec(encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
        b"-".decode(name, "replace")  # rot13 and the like are codecs too, but of no text
    except LookupError as error:
        raise ValueError(f"unknown encoding {encoding!r}: use 'auto' or a name that Python knows") from error
    return name.removesuffix("-sig")


def _count_small(data: bytes) -> Words | None:
    """Count the plain case: the whole of a small file, which is UTF-8 without a mark."""
    if b"\0" in data or data.startswith((codecs.BOM_UTF8, b"%PDF-")):
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return Words(
        words=len(text.split()), lines=text.count("\n"), characters=len(text), bytes=len(data), encoding="utf-8"
    )


def _count_large(reader: _Reader, scratch: Scratch, head: bytes, wanted: str) -> Words:
    mark, name = _announced(head, wanted)
    if not name.startswith(("utf-16", "utf-32")):
        _refuse_binary(head)
    if name != "utf-8":
        return _count_decoded(reader, scratch, name, len(mark))
    try:
        return _count_utf8(reader, scratch, len(mark), strict=not (wanted or mark))
    except _NotUtf8 as error:
        name = _detect(reader.around(error.position))
    if name == "utf-8":
        return _count_utf8(reader, scratch, 0, strict=False)
    return _count_decoded(reader, scratch, name, 0)


def _announced(head: bytes, wanted: str) -> tuple[bytes, str]:
    """Return the byte-order mark and the encoding that it stands for; without one that fits, `wanted` or UTF-8."""
    for mark, name in _MARKS:
        if head.startswith(mark) and name.startswith(wanted):
            return mark, name
    return b"", wanted or "utf-8"


def _count_utf8(reader: _Reader, scratch: Scratch, start: int, *, strict: bool) -> Words:
    """Count UTF-8 from the byte `start` on. Raises _NotUtf8 at the first bad byte where `strict`."""
    tally = _begin(scratch)
    position = start
    for block in reader.characters(start):
        if valid(block, scratch):
            tally.add(block)
        elif strict:
            raise _NotUtf8(position + _first_bad(block.tobytes()))
        else:
            tally.add_text(block.tobytes().decode("utf-8", _COUNTING))
        position += len(block)
    return _summed(tally, "utf-8", reader.total)


def _first_bad(data: bytes) -> int:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    raise AssertionError("NumPy and Python differ on what is UTF-8")


def _count_decoded(reader: _Reader, scratch: Scratch, encoding: str, start: int) -> Words:
    tally = _begin(scratch)
    decoder = codecs.getincrementaldecoder(encoding)(_COUNTING)
    for block in reader.blocks(start):
        tally.add_text(decoder.decode(block))
    tally.add_text(decoder.decode(b"", final=True))
    return _summed(tally, encoding, reader.total)


def _begin(scratch: Scratch) -> Tally:
    _own.lost = 0
    return Tally(scratch)


def _summed(tally: Tally, encoding: str, total: int) -> Words:
    return Words(
        words=tally.words,
        lines=tally.lines,
        characters=tally.characters,
        bytes=total,
        encoding=encoding,
        invalid_bytes=_own.lost,
    )


class _NotUtf8(Exception):
    """The byte at `position` cannot be where it is in UTF-8."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


def _refuse_binary(head: bytes) -> None:
    """Refuse what is valid UTF-8 and no text.

    NUL is a character, and a few of them are damage: eight pass, and so do less than 0.1 %. More, and this is UTF-16
    without a mark, an archive, a database, or a hole.
    """
    nuls = head.count(0)
    if head.startswith(b"%PDF-"):
        raise _no_text("it is a PDF")
    if nuls > 8 and nuls * 1000 >= len(head):  # noqa: PLR2004 (said above)
        raise _no_text(f"{nuls} of its first {len(head)} bytes are NUL")


def _no_text(why: str) -> FileFault:
    return FileFault(Failure.NOT_TEXT, f"is no text, as {why}: rename it, or set `encoding` under [text]")


def _detect(sample: bytes) -> str:
    """Return the encoding of a sample that is not valid UTF-8. Raises FileFault where it is no text."""
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    if controls * 1000 >= len(sample):
        raise _no_text(f"it is not UTF-8, and {controls} of {len(sample)} bytes there are control characters")
    if _mostly_utf8(sample):
        return "utf-8"
    # Seldom needed, and a tenth of a second to import.
    from charset_normalizer import from_bytes  # noqa: PLC0415

    found = from_bytes(sample).best()
    if found is None:
        raise _no_text("no known encoding fits it")
    return codecs.lookup(found.encoding).name


def _mostly_utf8(sample: bytes) -> bool:
    """Whether a sample is damaged UTF-8: less than 0.1 % is bad, or each bad byte has 16 good characters.

    Characters beyond ASCII, that is: in another encoding few bytes look like them by chance.
    """
    text = sample.decode("utf-8", "ignore")
    kept = text.encode("utf-8")
    bad, wide = len(sample) - len(kept), len(text) - len(kept.translate(None, _BEYOND_ASCII))
    return bad * 1000 < len(sample) or bad * 16 <= wide


class _Reader:
    """Reads `source` chunk by chunk into `view`, within `max_bytes`. `total` is what was read, marks included."""

    def __init__(self, source: BinaryIO, view: memoryview, max_bytes: int, checkpoint: Callable[[], None]) -> None:
        self.total = 0
        self._source = cast("_Readable", source)
        self._view = view
        self._max_bytes = max_bytes
        self._checkpoint = checkpoint

    def head(self) -> bytes:
        """Read the first bytes, and see to it that the file is not too large by now."""
        self._source.seek(0)
        head = bytearray(_HEAD)
        size = self._fill(memoryview(head))
        if size == _HEAD:
            self._refuse_large(self._source.seek(0, os.SEEK_END))
        return bytes(head[:size])

    def blocks(self, start: int) -> Iterator[memoryview]:
        """Read from the byte `start` on."""
        self._seek(start)
        while size := self._fill(self._view):
            yield self._view[:size]

    def characters(self, start: int) -> Iterator[Bytes]:
        """Read from the byte `start` on, in whole UTF-8 characters; only the last block may end within one."""
        self._seek(start)
        held = 0
        while size := self._fill(self._view[held:]):
            end = held + size
            held = unfinished(self._view[:end])
            if end > held:
                yield np.frombuffer(self._view[: end - held], np.uint8)
            self._view[:held] = self._view[end - held : end]
        if held:
            yield np.frombuffer(self._view[:held], np.uint8)

    def around(self, position: int) -> bytes:
        """Read a sample around `position`, cut where no character of any encoding is cut."""
        start = max(position - _SAMPLE // 2, 0)
        self._seek(start)
        sample = bytearray(_SAMPLE)
        size = self._fill(memoryview(sample))
        return _between_spaces(bytes(sample[:size]), head=start == 0, tail=size < _SAMPLE)

    def _seek(self, start: int) -> None:
        self._source.seek(start)
        self.total = start

    def _fill(self, view: memoryview) -> int:
        """Fill `view` as far as the file goes; return the bytes read."""
        self._checkpoint()
        size = 0
        while size < len(view) and (got := self._source.readinto(view[size:])):
            size += got
        self.total += size
        self._refuse_large(self.total)
        return size

    def _refuse_large(self, size: int) -> None:
        if size > self._max_bytes:
            limit = f"{self._max_bytes:,}"
            raise FileFault(Failure.TOO_LARGE, f"has more than {limit} bytes: raise `max_bytes` under [text]")


class _Readable(Protocol):
    """What is asked of a source; `BinaryIO` does not promise it, but every binary file has it."""

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def readinto(self, view: memoryview, /) -> int: ...


def _between_spaces(sample: bytes, *, head: bool, tail: bool) -> bytes:
    """Cut a sample next to ASCII white space, unless it has the text's own `head` or `tail` there."""
    edge = len(sample) // 4
    first = None if head else _SPACE.search(sample, 0, edge)
    last = None if tail else _SPACE.search(sample[::-1], 0, edge)
    return sample[first.end() if first else 0 : len(sample) - (last.start() if last else 0)]


class _Own(threading.local):
    """What each thread has for itself."""

    def __init__(self) -> None:
        self.lost = 0
        self._scratch = Scratch(0)

    def scratch_of(self, size: int) -> Scratch:
        """Return memory for blocks of up to `size` bytes, the same as long as that is the same."""
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
