"""What waits for a publisher: nothing is lost, kinds keep their order, and none waits behind another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watcherd.model import CameBack, Draft, File, Job, Kind, Record, Returned, SystemFault, Version
from watcherd.publish.arrivals import Arrivals
from watcherd.publish.inputs.carrier import Carried
from watcherd.publish.leaving import Leaving
from watcherd.states import State

FILE = File("scans", "a", Version(1, 1, 1, 1))


def waiting(kinds):
    """Return what came, in this order, and what it waits in."""
    came = [Returned(Job(number, FILE, kind), State.WAITING, "") for number, kind in enumerate(kinds)]
    arrivals = Arrivals()
    for arrival in came:
        arrivals.put(arrival)
    return came, arrivals


def of(kind, arrivals):
    return [arrival for arrival in arrivals if arrival.job.kind is kind]


@given(st.lists(st.sampled_from(Kind)), st.integers(1, 9))
def test_all_that_came_is_taken_once_in_full_batches_and_in_the_order_of_its_kind(kinds, most):
    came, arrivals = waiting(kinds)
    taken = []
    while arrivals:
        batch = arrivals.take(most)
        assert len(batch) == min(most, len(came) - len(taken))
        taken += batch
    assert [of(kind, taken) for kind in Kind] == [of(kind, came) for kind in Kind]


@given(st.lists(st.sampled_from(Kind)), st.integers(0, 9))
def test_each_kind_has_its_share_of_a_batch_if_it_has_as_many(kinds, most):
    came, arrivals = waiting(kinds)
    batch = arrivals.take(most)
    for kind in Kind:
        assert len(of(kind, batch)) >= min(len(of(kind, came)), most // len(Kind))


def test_a_fault_or_what_was_carried_or_came_back_waits_behind_no_other_kind():
    _, arrivals = waiting([Kind.TEXT] * 100)
    job = Job(100, FILE, Kind.IMAGE)
    others = [
        SystemFault("it fails", root="/"),
        Carried(Leaving(job, State.PUBLISHING, 0, Draft("", 0), None, None), None),
        CameBack(Record(101, FILE, Kind.IMAGE, State.QUARANTINED), Kind.IMAGE),
    ]
    for arrival in others:
        arrivals.put(arrival)
    assert set(others) <= set(arrivals.take(10))


def test_what_came_back_as_another_kind_is_taken_before_what_came_of_it_since():
    _, arrivals = waiting([Kind.TEXT] * 10)
    came_back = CameBack(Record(100, FILE, Kind.TEXT, State.QUARANTINED), Kind.IMAGE)
    since = Returned(Job(101, FILE, Kind.IMAGE), State.WAITING, "")
    arrivals.put(came_back)
    arrivals.put(since)
    taken = arrivals.take(4)
    assert taken.index(came_back) < taken.index(since)
