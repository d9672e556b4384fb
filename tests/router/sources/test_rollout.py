"""What is started and what is ended: properties first, then the cases that taught them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router.core.snapshot import ReplicaState
from tiergarten_router.sources.rollout import Running, Steps, Wanted, steps
from tiergarten_router.sources.template import Template

OLD, NEW = Template(("llama-server", "-c", "1024")), Template(("llama-server", "-c", "2048"))
READY, LOADING, FAILED = ReplicaState.READY, ReplicaState.LOADING, ReplicaState.FAILED
DRAINING, PENDING = ReplicaState.DRAINING, ReplicaState.PENDING


def running(*states: ReplicaState, template: Template = OLD, first: int = 0) -> list[Running]:
    return [Running("q2", first + n, template, state) for n, state in enumerate(states)]


def wanted(replicas: int, template: Template = OLD, *, surge: bool = True) -> Wanted:
    return Wanted("q2", template, replicas, surge)


situations = st.lists(
    st.builds(Running, st.just("q2"), st.integers(0, 9), st.sampled_from([OLD, NEW]),
              st.sampled_from(ReplicaState)),
    max_size=6, unique_by=lambda replica: replica.index,
)  # fmt: skip
wishes = st.builds(wanted, st.integers(0, 4), st.sampled_from([OLD, NEW]), surge=st.booleans())


@given(wishes, situations)
def test_a_step_starts_only_free_indices_and_ends_only_what_is_not_draining(wish, there):
    plan = steps([wish], there)

    assert len(set(plan.start)) == len(plan.start)
    assert not {index for _, index in plan.start} & {replica.index for replica in there}
    staying = {(r.tier, r.index) for r in there if r.state is not DRAINING}
    assert set(plan.end) <= staying
    assert len(set(plan.end)) == len(plan.end)


@given(wishes, situations)
def test_never_more_run_than_wanted_and_one_for_the_roll(wish, there):
    plan = steps([wish], there)

    most = max(len(there), wish.replicas + wish.surge)
    assert len(there) + len(plan.start) <= most


@given(wishes, situations)
def test_a_step_leaves_as_many_serving_as_before_or_wanted(wish, there):
    plan = steps([wish], there)

    serving = sum(replica.state is READY for replica in there)
    left = sum(r.state is READY for r in there if (r.tier, r.index) not in plan.end)
    least = wish.replicas if wish.surge else wish.replicas - 1
    assert left >= min(serving, least)


@given(wishes, situations)
def test_steps_end_with_exactly_what_is_wanted(wish, there):
    for _ in range(50):
        plan = steps([wish], there)
        if plan == Steps() and all(replica.state is READY for replica in there):
            break
        there = [replace(r, state=DRAINING) if (r.tier, r.index) in plan.end else r for r in there]
        there += [Running(tier, index, wish.template, PENDING) for tier, index in plan.start]
        there = advance(there)

    assert [(r.template, r.state) for r in there] == [(wish.template, READY)] * wish.replicas


def advance(there: list[Running]) -> list[Running]:
    """One replica that drains is gone, or else one that loads is ready."""
    for state in (DRAINING, PENDING, LOADING, FAILED):
        if found := next((r for r in there if r.state is state), None):
            there = [r for r in there if r is not found]
            return there if state is DRAINING else [*there, replace(found, state=READY)]
    return there


@pytest.mark.parametrize(
    ("wish", "there", "start", "end"),
    [
        pytest.param(wanted(2), [], [0, 1], [], id="from nothing"),
        pytest.param(wanted(2), running(READY), [1], [], id="one more"),
        pytest.param(wanted(1), running(READY, READY), [], [1], id="the last one goes"),
        pytest.param(wanted(1), running(FAILED, READY), [], [0], id="the failed one goes first"),
        pytest.param(wanted(0), running(READY, LOADING), [], [1, 0], id="suspended"),
        pytest.param(wanted(1), running(FAILED), [], [], id="a failed one restarts itself"),
        pytest.param(wanted(2), running(READY, DRAINING), [2], [], id="back up during a drain"),
        pytest.param(wanted(1, NEW), running(READY), [1], [], id="roll: first the new one"),
        pytest.param(
            wanted(1, NEW), [*running(READY), *running(LOADING, template=NEW, first=1)],
            [], [], id="roll: the old one serves while the new one loads",
        ),
        pytest.param(
            wanted(1, NEW), [*running(READY), *running(READY, template=NEW, first=1)],
            [], [0], id="roll: then the old one goes",
        ),
        pytest.param(
            wanted(1, NEW), [*running(READY), *running(FAILED, template=NEW, first=1)],
            [], [], id="roll: a new one that fails stops it",
        ),
        pytest.param(wanted(2, NEW), running(READY, READY), [2], [], id="roll: one at a time"),
        pytest.param(wanted(1, NEW), running(FAILED), [1], [0], id="roll: a failed one goes"),
        pytest.param(
            wanted(1, NEW, surge=False), running(READY), [], [0], id="no room: first the old one"
        ),
        pytest.param(
            wanted(1, NEW, surge=False), running(DRAINING), [], [], id="no room: wait for the drain"
        ),
        pytest.param(wanted(1, NEW, surge=False), [], [0], [], id="no room: then the new one"),
        pytest.param(
            wanted(2, NEW, surge=False), running(READY, READY), [], [1], id="no room: one at a time"
        ),
    ],
)  # fmt: skip
def test_what_to_do_follows_from_what_is_wanted_and_what_runs(wish, there, start, end):
    plan = steps([wish], there)

    assert [index for _, index in plan.start] == start
    assert [index for _, index in plan.end] == end


def test_a_tier_that_is_gone_is_ended():
    there = [*running(READY, DRAINING), Running("q4", 0, OLD, LOADING)]

    plan = steps([], there)

    assert plan == Steps(end=(("q2", 0), ("q4", 0)))
