"""Which endpoint gets the next query."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router.core import balance


@dataclass(frozen=True)
class Replica:
    id: str
    own: int = 0
    elsewhere: int = 0
    slots: int = 1
    share: float = 1.0


def load(replica):
    return balance.load(replica.own, replica.elsewhere, replica.slots, replica.share)


replicas = st.lists(
    st.builds(
        Replica,
        id=st.text("ab12", min_size=1, max_size=4),
        own=st.integers(0, 9),
        elsewhere=st.integers(0, 9),
        slots=st.integers(1, 4),
        share=st.floats(0.1, 1),
    ),
    unique_by=lambda replica: replica.id,
    max_size=8,
)


@given(replicas, st.integers(0, 1000))
def test_nothing_is_less_loaded_than_the_pick(offered, turn):
    picked = balance.pick(offered, load, turn)

    assert (picked is None) == (not offered)
    assert all(load(picked) <= load(other) for other in offered)


@given(replicas.flatmap(lambda r: st.tuples(st.just(r), st.permutations(r))), st.integers(0, 99))
def test_the_order_of_the_input_does_not_matter(orders, turn):
    assert balance.pick(orders[0], load, turn) == balance.pick(orders[1], load, turn)


def test_load_is_counted_by_slot():
    wide, narrow = Replica("wide", own=3, slots=4), Replica("narrow", own=1, slots=1)

    assert balance.pick([wide, narrow], load) is wide


def test_endpoints_of_equal_load_take_turns():
    offered = [Replica(f"q2-{index}") for index in range(3)]

    picked = Counter(balance.pick(offered, load, turn) for turn in range(9))

    assert picked == dict.fromkeys(offered, 3)


def test_queries_from_elsewhere_count_like_our_own():
    busy, less = Replica("a", elsewhere=2), Replica("b", own=1)

    assert balance.pick([busy, less], load) is less


def test_an_endpoint_in_slow_start_is_passed_over_while_others_are_idle():
    fresh, idle = Replica("fresh", share=0.1), Replica("idle")
    busy, busier = Replica("busy", own=8), Replica("busier", own=10)

    assert balance.pick([fresh, idle], load) is idle
    assert balance.pick([fresh, busy], load) is busy
    assert balance.pick([fresh, busier], load) is fresh


@pytest.mark.parametrize(
    ("reported", "own_then", "expected"),
    [
        pytest.param(5, 2, 3, id="three-from-elsewhere"),
        pytest.param(2, 2, 0, id="all-ours"),
        pytest.param(1, 2, 0, id="one-of-ours-had-not-arrived"),
    ],
)
def test_our_own_queries_are_taken_off_what_an_endpoint_reports(reported, own_then, expected):
    assert balance.others(reported, own_then) == expected


@given(st.lists(st.integers(), unique=True), st.floats(0, 1, exclude_max=True), st.integers(1, 20))
def test_a_shortlist_holds_different_endpoints_and_as_many_as_it_may(offered, draw, limit):
    chosen = balance.shortlist(offered, draw, limit)

    assert len(chosen) == len(set(chosen)) == min(limit, len(offered))
    assert set(chosen) <= set(offered)


def test_every_endpoint_comes_into_equally_many_shortlists():
    offered = range(100)

    seen = Counter(
        endpoint
        for step in range(100)
        for endpoint in balance.shortlist(offered, (step + 0.5) / 100, limit=16)
    )

    assert set(seen.values()) == {16}
