"""What a text is written in: its byte-order mark, UTF-8, or an older encoding; or that it is no text at all."""

from __future__ import annotations

import codecs
import sys

from watcherd.model import Failure, FileFault
from watcherd.processors import codepages

UTF8_MARK, PDF = codecs.BOM_UTF8, b"%PDF-"

#: The longer mark first: UTF-32's begins with UTF-16's.
_MARKS = (
    (UTF8_MARK, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

#: Control characters that no text has: not white space, backspace, Ctrl-Z at the end of a DOS text, or escape.
_CONTROLS = bytes(sorted(set(range(0x20)) - set(b"\b\t\n\v\f\r\x1a\x1b\x1c\x1d\x1e\x1f")))
_BEYOND_ASCII = bytes(range(0x80, 0x100))
_NOT_IN_CP1252 = b"\x81\x8d\x8f\x90\x9d"
_FEW = 8  # odd bytes that are damage, in a text however short


def announced(head: bytes, wanted: str) -> tuple[bytes, str]:
    """Return the byte-order mark and the encoding that it stands for; without one that fits, `wanted` or UTF-8."""
    for mark, name in _MARKS:
        if head.startswith(mark) and name.startswith(wanted):
            return mark, name
    if wanted in {"utf-16", "utf-32"}:  # as `bytes.decode` has it: incremental decoders insist on a mark
        wanted += "-le" if sys.byteorder == "little" else "-be"
    return b"", wanted or "utf-8"


def refuse_binary(head: bytes) -> None:
    """Refuse what is valid UTF-8 and no text, by raising FileFault.

    NUL is a character, and a few of them are damage: eight pass, and so do less than 0.1 %. More, and this is UTF-16
    without a mark, an archive, a database, or a hole.
    """
    nuls = head.count(0)
    if head.startswith(PDF):
        raise _no_text("it is a PDF", "rename it")
    if nuls > _FEW and nuls * 1000 >= len(head):
        why = f"{nuls} of its first {len(head)} bytes are NUL"
        raise _no_text(why, "rename it, or set `encoding` under [text] where it is UTF-16 or UTF-32")


def detect(sample: bytes) -> str:
    """Return the encoding of a sample that is not valid UTF-8. Raises FileFault where it is no text.

    What has no NULs and no mark is not UTF-16, UTF-32 or UTF-7, whatever its letters would be in these.
    """
    controls = _count(sample, _CONTROLS)
    if controls * 1000 >= len(sample):
        raise _no_text(f"it is not UTF-8, and {controls} of {len(sample)} bytes there are control characters")
    if _mostly_utf8(sample):
        return "utf-8"
    name = codepages.guess(sample)
    odd = _count(sample, _NOT_IN_CP1252)
    if name == codepages.WESTERN and odd > _FEW and odd * 10 >= len(sample):
        raise _no_text("no known encoding fits it")
    return name


def _mostly_utf8(sample: bytes) -> bool:
    """Whether a sample is damaged UTF-8: less than 0.1 % is bad, or each bad byte has 16 good characters.

    Characters beyond ASCII, that is: in another encoding few bytes look like them by chance.
    """
    text = sample.decode("utf-8", "ignore")
    kept = text.encode("utf-8")
    bad, wide = len(sample) - len(kept), len(text) - len(kept.translate(None, _BEYOND_ASCII))
    return bad * 1000 < len(sample) or bad * 16 <= wide


def _count(sample: bytes, among: bytes) -> int:
    return len(sample) - len(sample.translate(None, among))


def _no_text(why: str, mend: str = "rename it, or set `encoding` under [text]") -> FileFault:
    return FileFault(Failure.NOT_TEXT, f"is no text, as {why}: {mend}")
