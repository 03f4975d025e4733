"""Fuzzing of the word count: whatever the bytes, only a FileFault comes out, or what Python itself counts."""

import codecs
import sys
from io import BytesIO

import atheris

with atheris.instrument_imports(include=["watcherd.processors"]):
    from watcherd.model import FileFault, Limits
    from watcherd.processors.words import count

MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"\0\0\xfe\xff", b"%PDF-")


def one(data):
    """Count in chunks of two sizes; the first byte chooses the smaller one."""
    small = 4 + (data[0] % 60 if data else 0)
    whole, parts = counted(data), counted(data, chunk=small)
    assert whole == parts, (whole, parts)
    if isinstance(whole, str) or data.startswith(MARKS):
        return
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    assert (whole.words, whole.lines, whole.characters) == (len(text.split()), text.count("\n"), len(text)), whole


def counted(data, **options):
    """Return the Words, or the class of the fault."""
    try:
        return count(BytesIO(data), limits=Limits(**options))
    except FileFault as fault:
        return fault.failure.value


atheris.Setup(sys.argv, one)
atheris.Fuzz()
