"""Inputs that wait as something is in their way."""

from watcherd.model import File, Job, Kind, Version
from watcherd.publish.leaving import Leaving
from watcherd.publish.stages import Stage
from watcherd.publish.unretired import Unretired


def test_an_input_that_waits_is_told_once_and_asked_why_it_has_what_is_in_its_way_now():
    waiting = Unretired("/inbox")
    job = Job(1, File("scans", "a.txt", Version(1, 2, 3, 4)), Kind.TEXT)
    it = Leaving(job, *(None for _ in Leaving._fields[1:]))
    assert waiting.put(Stage.VISIBLE, it, "its inbox is away")
    waiting.released()
    assert waiting.put(Stage.VISIBLE, it, "Operation not permitted: a.txt") is None
    assert waiting.reasons() == {"a.txt": "Operation not permitted: a.txt"}
