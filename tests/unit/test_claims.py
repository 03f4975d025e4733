"""What is in flight: each path once, never more than the limit, and no wish to look again is lost."""

from __future__ import annotations

from threading import Thread

from hypothesis import given
from hypothesis import strategies as st

from watcherd.ledger.claims import Claims


def test_a_path_is_claimed_once():
    claims = Claims(10)
    assert claims.claim("a")
    assert not claims.claim("a")


def test_a_path_that_was_let_go_can_be_claimed_again():
    claims = Claims(10)
    claims.claim("a")
    claims.release("a")
    assert claims.claim("a")


def test_no_more_is_in_flight_than_the_limit():
    claims = Claims(2)
    assert [claims.claim(path) for path in "abc"] == [True, True, False]
    assert len(claims) == 2


def test_a_refusal_for_want_of_room_does_not_bring_the_path_back():
    claims = Claims(1)
    claims.claim("a")
    claims.claim("b")
    claims.release("a")
    assert claims.returned() == {}


def test_to_let_a_path_go_that_is_not_held_brings_nothing_back():
    claims = Claims(1)
    claims.release("a")
    assert claims.returned() == {}


def test_a_path_that_was_asked_for_meanwhile_comes_back():
    claims = Claims(10)
    claims.claim("a")
    claims.claim("a")
    claims.release("a")
    assert claims.returned() == {"a": False}


def test_to_ask_whether_a_path_is_held_counts_as_asking_for_it():
    claims = Claims(10)
    claims.claim("a")
    assert claims.holds("a")
    assert not claims.holds("b")
    claims.release("a")
    assert claims.returned() == {"a": False}


def test_what_changed_comes_back_and_says_so():
    claims = Claims(10)
    claims.claim("a")
    claims.release("a", changed=True)
    assert claims.returned() == {"a": True}


def test_what_is_to_be_looked_at_again_comes_back_once():
    claims = Claims(10)
    claims.claim("a")
    claims.release("a", again=True)
    assert claims.returned() == {"a": False}
    assert claims.returned() == {}


def test_what_is_asked_for_comes_back_at_once_or_once_it_is_free():
    woken = []
    claims = Claims(10, wake=lambda: woken.append("woken"))
    claims.ask("a")
    assert (claims.returned(), woken) == ({"a": False}, ["woken"])
    claims.claim("a")
    claims.ask("a")
    assert claims.returned() == {}
    assert not claims.claim("a")
    claims.release("a", changed=True)
    claims.ask("a")
    assert claims.returned() == {"a": True}


def test_claims_are_idle_once_nothing_is_held_and_nothing_waits_to_come_back():
    claims = Claims(10)
    assert claims.idle()
    claims.claim("a")
    assert not claims.idle()
    claims.release("a", again=True)
    assert not claims.idle()
    claims.returned()
    assert claims.idle()


def test_a_path_that_comes_back_wakes_and_may_be_claimed_from_there():
    woken = []
    claims = Claims(1, wake=lambda: woken.append(claims.claim("next")))
    claims.claim("a")
    claims.release("a", again=True)
    assert woken == [True]


def test_room_after_there_was_none_wakes_once_there_is_room_for_many():
    woken = []
    claims = Claims(8, wake=lambda: woken.append(len(claims)))
    for path in "abcdefgh":
        claims.claim(path)
    assert claims.room() == 0
    for path in "abcdefgh":
        claims.release(path)
    assert woken == [6]


def test_another_that_finds_a_little_room_takes_nobodys_wake_away():
    woken = []
    claims = Claims(8, wake=lambda: woken.append(len(claims)))
    for path in "abcdefgh":
        claims.claim(path)
    assert claims.room() == 0
    claims.release("a")
    assert claims.room() == 1
    claims.release("b")
    assert woken == [6]


def test_whoever_found_room_is_not_woken():
    woken = []
    claims = Claims(2, wake=lambda: woken.append("woken"))
    claims.claim("a")
    assert claims.room() == 1
    claims.release("a")
    assert woken == []


def test_threads_that_claim_the_same_paths_get_each_of_them_once():
    claims = Claims(1000)
    got: list[list[str]] = [[] for _ in range(4)]

    def claim_all(mine):
        mine.extend(path for path in map(str, range(500)) if claims.claim(path))

    threads = [Thread(target=claim_all, args=(mine,)) for mine in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path for mine in got for path in mine) == sorted(map(str, range(500)))


@given(
    st.lists(st.tuples(st.sampled_from(["claim", "holds", "release", "again", "returned"]), st.sampled_from("abc")))
)
def test_whoever_asked_for_a_held_path_hears_of_it(steps):
    claims = Claims(2)
    held: dict[str, bool] = {}
    back: dict[str, bool] = {}
    for step, path in steps:
        if step == "claim":
            taken = path not in held and len(held) < 2
            assert claims.claim(path) == taken
            if taken:
                held[path] = False
            elif path in held:
                held[path] = True
        elif step == "holds":
            assert claims.holds(path) == (path in held)
            if path in held:
                held[path] = True
        elif step == "returned":
            assert claims.returned() == back
            back = {}
        else:
            claims.release(path, again=step == "again")
            if held.pop(path, False) or step == "again":
                back[path] = False
        assert len(claims) == len(held)
