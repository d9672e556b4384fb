"""Leases, the queue and the breakers: who may be asked, and in which order those who wait are."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from routing import tier
from tiergarten_router.core.health import Health
from tiergarten_router.core.snapshot import Endpoint, ReplicaState, Snapshot
from tiergarten_router.errors import NoReadyTier, Saturated
from tiergarten_router.fleet import Fleet, Lease, Replica
from tiergarten_router.settings import Settings

FOREVER = float("inf")
SICK = Health(healthy=False, latency_seconds=0, message="ConnectError")
WELL = Health(healthy=True, latency_seconds=0.01, processing=1, deferred=0)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fleet(
    *urls: str, clock: Callable[[], float] | None = None, slots: int = 1, **set_: float
) -> Fleet:
    made = Fleet(Settings(**set_), clock or Clock(), lambda: 0.5)  # type: ignore[arg-type]  # fields of many types
    made.replace(Snapshot((tier("q2", *urls, slots=slots),)))
    return made


async def lease(of: Fleet, *tried: str) -> Lease:
    return await of.lease("q2", set(tried), FOREVER)


def replica(of: Fleet, index: int = 0) -> Replica:
    return list(next(iter(of.groups())).replicas.values())[index]


class Leases(RuleBasedStateMachine):
    """Any order of claims, ends and new snapshots keeps the counts right."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.fleet = fleet("http://a", "http://b", slots=3)
        self.open: list[Lease] = []

    @rule()
    def claim(self) -> None:
        async def claim() -> Lease | None:
            if sum(r.in_flight for r in next(iter(self.fleet.groups())).replicas.values()) >= 6:
                return None
            return await lease(self.fleet)

        got = self.loop.run_until_complete(claim())
        if got is not None:
            self.open.append(got)

    @rule(index=st.integers(0, 20), twice=st.booleans())
    def end(self, index: int, *, twice: bool) -> None:
        if self.open:
            ended = self.open.pop(index % len(self.open))
            ended.release()
            if twice:
                ended.release()

    @rule()
    def same_snapshot(self) -> None:
        self.fleet.replace(Snapshot((tier("q2", "http://a", "http://b", slots=3, rank=7),)))

    @invariant()
    def counts_are_the_open_leases(self) -> None:
        for one in next(iter(self.fleet.groups())).replicas.values():
            mine = sum(open_.replica is one for open_ in self.open)
            assert one.in_flight == mine >= 0
            assert one.in_flight <= 3

    def teardown(self) -> None:
        self.loop.close()


TestLeases = Leases.TestCase


async def test_those_who_wait_are_served_in_order() -> None:
    made, order = fleet("http://a"), []

    async def wait(number: int) -> None:
        got = await lease(made)
        order.append(number)
        got.release()

    first = await lease(made)
    waiting = [asyncio.create_task(wait(number)) for number in range(5)]
    await asyncio.sleep(0)
    first.release()
    await asyncio.gather(*waiting)

    assert order == [0, 1, 2, 3, 4]
    assert replica(made).in_flight == 0


async def test_a_newcomer_does_not_jump_the_queue() -> None:
    made = fleet("http://a")
    first = await lease(made)
    waiting = asyncio.create_task(lease(made))
    await asyncio.sleep(0)
    first.release()  # granted, but the waiter has not run yet

    newcomer = asyncio.create_task(lease(made))
    (await waiting).release()

    (await newcomer).release()


async def test_a_waiter_cancelled_in_the_moment_of_its_grant_leaks_nothing() -> None:
    made = fleet("http://a")
    first = await lease(made)
    waiting = asyncio.create_task(lease(made))
    await asyncio.sleep(0)

    first.release()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert replica(made).in_flight == 0
    (await lease(made)).release()


async def test_a_waiter_that_is_cancelled_while_it_waits_leaves_the_queue() -> None:
    made = fleet("http://a")
    first = await lease(made)
    waiting = asyncio.create_task(lease(made))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert not next(iter(made.groups())).waiting
    first.release()


async def test_a_queue_is_bounded_and_says_when_to_come_back() -> None:
    made = fleet("http://a", queue_per_slot=1)
    first = await lease(made)
    waiting = asyncio.create_task(lease(made))
    await asyncio.sleep(0)

    with pytest.raises(Saturated) as full:
        await lease(made)

    assert full.value.retry_after_seconds
    first.release()
    (await waiting).release()


async def test_those_who_wait_are_told_when_the_last_endpoint_goes() -> None:
    made = fleet("http://a")
    first = await lease(made)
    waiting = asyncio.create_task(lease(made))
    await asyncio.sleep(0)

    made.replace(Snapshot())

    with pytest.raises(NoReadyTier):
        await waiting
    first.release()


async def test_a_tier_that_nobody_knows_or_that_was_tried_has_no_endpoint() -> None:
    made = fleet("http://a")

    with pytest.raises(NoReadyTier):
        await made.lease("q9", (), FOREVER)
    with pytest.raises(NoReadyTier):
        await lease(made, "q2-0")


async def test_endpoints_that_stay_keep_their_counts_and_moved_ones_do_not() -> None:
    made = fleet("http://a", slots=2)
    held = await lease(made)

    made.replace(Snapshot((tier("q2", "http://a", "http://b", slots=2),)))
    assert [replica(made, i).in_flight for i in range(2)] == [1, 0]

    made.replace(Snapshot((tier("q2", "http://moved", slots=2),)))
    assert replica(made).in_flight == 0
    held.release()
    assert replica(made).in_flight == 0


async def test_two_failed_checks_take_an_endpoint_out_and_a_good_one_brings_it_back() -> None:
    made = fleet("http://a")
    one = replica(made)

    made.checked("q2", one, SICK)
    assert one.serves
    made.checked("q2", one, SICK)
    assert not made.ready("q2")
    assert one.message == "ConnectError"

    made.checked("q2", one, WELL)
    assert made.ready("q2")
    assert one.elsewhere == 1
    made.checked("gone", one, WELL)


async def test_an_endpoint_that_its_source_calls_ready_again_is_asked_again() -> None:
    made = fleet("http://a")
    for _ in range(2):
        made.checked("q2", replica(made), SICK)
    for state in (ReplicaState.LOADING, ReplicaState.READY):
        again = tier("q2", slots=1, endpoints=(Endpoint("q2-0", "http://a", state),))
        made.replace(Snapshot((again,)))

    assert made.ready("q2")


async def test_it_tells_when_checks_begin_to_fail_and_when_they_succeed_again() -> None:
    told = []
    made = fleet("http://a")
    made.on_health = lambda *change: told.append(change)

    for health in (WELL, SICK, SICK, SICK, WELL, WELL):
        made.checked("q2", replica(made), health)

    assert told == [("q2", "q2-0", False), ("q2", "q2-0", True)]


async def test_a_breaker_lets_one_probe_through_and_tells_of_its_changes() -> None:
    clock, told = Clock(), []
    made = fleet("http://a", "http://b", clock=clock, slots=9)
    made.on_breaker = lambda name, _, to: told.append((name, to))
    for _ in range(5):
        held = await lease(made, "q2-1")
        made.failed(held)
        held.release()
    assert {(await lease(made)).replica.id for _ in range(4)} == {"q2-1"}

    clock.now += 3
    probe = await lease(made, "q2-1")
    with pytest.raises(NoReadyTier):
        await lease(made, "q2-1")
    made.succeeded(probe)
    probe.release()

    assert told == [("q2", "open"), ("q2", "half-open"), ("q2", "closed")]
    assert (await lease(made, "q2-1")).replica.id == "q2-0"


async def test_the_only_endpoint_is_never_left_out() -> None:
    made = fleet("http://a")
    for _ in range(9):
        held = await lease(made)
        made.failed(held)
        held.release()

    (await lease(made)).release()


async def test_a_probe_that_comes_to_nothing_does_not_leave_the_breaker_half_open() -> None:
    clock = Clock()
    made = fleet("http://a", "http://b", clock=clock, slots=9)
    for _ in range(5):
        held = await lease(made, "q2-1")
        made.failed(held)
        held.release()
    clock.now += 3
    probe = await lease(made, "q2-1")
    made.abandoned(probe)
    probe.release()

    (await lease(made, "q2-1")).release()
