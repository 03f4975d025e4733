"""Fuzzing of grey images: whatever the bytes, a FileFault comes out, or a picture that is what it is said to be.

A crash of a library, more memory than a worker may have, and a picture that takes for ever end this process, as they
would end a worker; the input is kept.
"""

import resource
import sys
from io import BytesIO

import atheris

with atheris.instrument_imports(include=["watcherd.processors", "PIL"]):
    from PIL import Image

    from watcherd.model import FileFault, Limits
    from watcherd.processors.grayscale import convert

LIMITS = Limits(max_pixels=1 << 20, memory=256 << 20)
EXACT = {"BMP", "PNG", "PPM", "TGA"}


def one(data):
    """Convert; look at the result as whoever opens it."""
    try:
        encoded, said = convert(BytesIO(data), limits=LIMITS)
    except FileFault as fault:
        assert "\n" not in str(fault), fault  # noqa: PT017 (no test, and the fault is right)
        return
    with Image.open(BytesIO(encoded)) as result:
        assert (result.format, result.size) == (said.format, (said.width, said.height)), said
        result.load()
        if said.format in EXACT and said.mode == "L" and said.frames == 1:
            with Image.open(BytesIO(data)) as source:
                assert result.convert("L").tobytes() == source.convert("L").tobytes(), said


resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
atheris.Setup(sys.argv, one)
atheris.Fuzz()
