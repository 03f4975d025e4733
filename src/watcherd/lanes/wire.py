"""What passes between the daemon and a worker process: one packet for a request, one for its answer.

Packets are JSON, because a worker that a hostile file has taken over may send what it likes: what is read here is
checked, and is at worst a `ValueError`. The daemon's end of it is `request` and `read_answer`, the worker's
`read_request` and `answer`. (Pure.)

No request names the file: below many folders its path is longer than any packet.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, get_args, get_type_hints

from watcherd import __version__
from watcherd.lanes.slot import DraftError
from watcherd.model import Failure, FileFault, Limits, Result

#: Bytes of the longest packet, which is an answer.
LONGEST = 1 << 16

#: What a worker says once it is ready. One of another version, installed since the daemon began, may know none of the
#: other packets: it gets no job, and the reason that is told is what it said.
READY = f"its watcherd is {__version__}: restart this one".encode()

#: What a worker says before it looks at a request.
TAKEN = b"taken"

_MESSAGE, _TRACE = 1_000, 4_000  # characters; escaped, each is at most 12 bytes
_RESULTS = {result.__name__: (result, get_type_hints(result)) for result in get_args(Result)}


def request(job: int, limits: Limits) -> bytes:
    """Write what a worker is told of the job whose id is `job`; the descriptors travel beside it."""
    return json.dumps({"id": job, "limits": asdict(limits)}).encode()


def read_request(packet: bytes) -> tuple[int, Limits]:
    """Read the job's id and the limits."""
    said = json.loads(packet)
    return said["id"], Limits(**said["limits"])


def answer(job: int, outcome: Result | FileFault | OSError) -> bytes:
    """Write what became of the job whose id is `job`."""
    return json.dumps({"id": job, **_said(outcome)}).encode()


def _said(outcome: Result | FileFault | OSError) -> dict[str, Any]:
    match outcome:
        case FileFault(failure=failure, trace=trace):
            return {"failure": failure, "message": str(outcome)[:_MESSAGE], "trace": trace[-_TRACE:]}
        case OSError(errno=errno, strerror=strerror):
            return {"errno": errno, "message": str(strerror)[:_MESSAGE], "draft": isinstance(outcome, DraftError)}
        case _:
            return {"result": type(outcome).__name__, "fields": outcome._asdict()}


def read_answer(packet: bytes, job: int) -> Result:
    """Return the Result in the answer to the job whose id is `job`, or raise the error that is in it.

    Raises FileFault, DraftError, OSError as `work` in the worker did; ValueError where this is no answer to it.
    """
    try:
        match json.loads(packet):
            case {"id": int(other)} if other != job:
                raise ValueError(f"an answer to job {other} instead of {job}")
            case {"id": int(), "failure": str(failure), "message": str(message), "trace": str(trace)}:
                raise FileFault(Failure(failure), message, trace)
            case {"id": int(), "errno": int(number), "message": str(message), "draft": bool(is_draft)}:
                raise (DraftError if is_draft else OSError)(number, message)
            case {"id": int(), "result": str(name), "fields": fields}:
                return _result(name, fields)
    except (KeyError, TypeError, RecursionError):
        pass
    raise ValueError(f"not an answer: {packet[:80]!r}")


def _result(name: str, fields: dict[str, Any]) -> Result:
    result, types = _RESULTS[name]
    if any(type(fields[field]) is not expected for field, expected in types.items()):
        raise TypeError(name)
    made: Result = result(**fields)
    return made
