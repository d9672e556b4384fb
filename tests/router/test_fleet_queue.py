"""The queue of a tier, under any order of claims, waits, ends, time-outs and snapshots."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from routing import tier
from tiergarten_router.core.affinity import ANYBODY, Claim
from tiergarten_router.core.breaker import Phase
from tiergarten_router.core.health import Health
from tiergarten_router.core.snapshot import Endpoint, Snapshot
from tiergarten_router.errors import NoReadyTier, RouterError, Saturated
from tiergarten_router.fleet import Fleet, Group, Lease, Replica
from tiergarten_router.settings import Settings

IDS = ("q2-0", "q2-1", "q2-2")
SLOTS = 2
QUEUE_PER_SLOT = 2
FOREVER = float("inf")
SICK = Health(healthy=False, latency_seconds=0.0, message="ConnectError")
WELL = Health(healthy=True, latency_seconds=0.01)


class World:
    """A fleet of one tier, and the time."""

    def __init__(self, *ids: str, slots: int = SLOTS, **set_: float) -> None:
        self.now = 100.0
        bounds = Settings(**({"queue_per_slot": QUEUE_PER_SLOT} | set_))  # type: ignore[arg-type]  # fields of many types
        self.fleet = Fleet(bounds, lambda: self.now, lambda: 0.5)
        self.slots = slots
        self.publish(*ids)

    def publish(self, *ids: str) -> None:
        endpoints = tuple(Endpoint(name, f"http://{name}") for name in ids)
        self.fleet.replace(Snapshot((tier("q2", endpoints=endpoints, slots=self.slots),)))

    @property
    def group(self) -> Group:
        return next(iter(self.fleet.groups()))

    def replica(self, name: str) -> Replica:
        return self.group.replicas[name]

    async def lease(self, *tried: str, until: float = FOREVER, claim: Claim = ANYBODY) -> Lease:
        return await self.fleet.lease("q2", tried, until, claim)

    async def waiter(
        self, *tried: str, until: float = FOREVER, claim: Claim = ANYBODY
    ) -> "asyncio.Task[Lease]":
        task = asyncio.create_task(self.lease(*tried, until=until, claim=claim))
        await asyncio.sleep(0)
        return task


class Queue(RuleBasedStateMachine):
    """Every slot is counted once, nobody overtakes, and nobody waits while a slot is free."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World(*IDS[:2])
        self.tasks: list[asyncio.Task[Lease]] = []
        self.leases: list[Lease] = []
        self.seen: list[Replica] = []
        self.served: list[asyncio.Task[Lease]] = []

    @rule()
    def ask(self) -> None:
        async def ask() -> None:
            task = asyncio.create_task(self.world.lease())
            task.add_done_callback(self.served.append)
            self.tasks.append(task)

        self.loop.run_until_complete(ask())

    @rule()
    def turn(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))

    @precondition(lambda self: self.leases)
    @rule(index=st.integers(0, 20))
    def end(self, index: int) -> None:
        self.leases.pop(index % len(self.leases)).release()

    @precondition(lambda self: self.tasks)
    @rule(index=st.integers(0, 20))
    def leave(self, index: int) -> None:
        self.tasks[index % len(self.tasks)].cancel()

    @precondition(lambda self: self.leases)
    @rule(index=st.integers(0, 20), index_too=st.integers(0, 20))
    def end_and_leave(self, index: int, index_too: int) -> None:
        self.end(index)
        if self.tasks:
            self.leave(index_too)

    @rule(ids=st.sets(st.sampled_from(IDS), max_size=3))
    def publish(self, ids: set[str]) -> None:
        stay = {name: self.world.replica(name) for name in ids & self.world.group.replicas.keys()}
        self.world.publish(*sorted(ids))
        assert all(self.world.replica(name) is replica for name, replica in stay.items())

    @rule(healthy=st.booleans(), index=st.integers(0, 2))
    def check(self, index: int, *, healthy: bool) -> None:
        replica = self.world.group.replicas.get(IDS[index])
        if replica is not None:
            self.world.fleet.checked("q2", replica, WELL if healthy else SICK)

    @invariant()
    def everything_is_counted(self) -> None:
        self.settle()
        self.seen = [
            *{id(r): r for r in [*self.seen, *self.world.group.replicas.values()]}.values()
        ]
        for replica in self.seen:
            mine = sum(lease.replica is replica for lease in self.leases)
            assert replica.in_flight == mine <= SLOTS

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        self.settle()
        serving = [r for r in self.world.group.replicas.values() if r.serves]
        free = sum(SLOTS - replica.in_flight for replica in serving)
        assert not (self.tasks and (free or not serving))
        assert len(self.world.group.waiting) == len(self.tasks)

    def settle(self) -> None:
        """Let everybody run who can, and take in what became of them, in order."""
        for _ in range(4):
            self.loop.run_until_complete(asyncio.sleep(0))
        order = [task for task in self.served if not task.cancelled() and not task.exception()]
        assert order == [task for task in self.tasks if task in order]  # first come, first served
        for task in self.served:
            self.tasks.remove(task)
            with suppress(asyncio.CancelledError, NoReadyTier, Saturated):
                self.leases.append(task.result())
        self.served.clear()

    def teardown(self) -> None:
        self.settle()
        for task in self.tasks:
            task.cancel()
        for lease in self.leases:
            lease.release()
        self.leases.clear()
        self.settle()
        assert all(replica.in_flight == 0 for replica in self.seen)
        self.loop.close()


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


async def test_a_slot_that_is_free_behind_a_waiter_that_is_granted_is_given_at_once() -> None:
    world = World("q2-0")
    first, second = await world.lease(), await world.lease()
    waiting = await world.waiter()
    first.release()  # to the waiter, which has not run yet
    second.release()  # to nobody

    async with asyncio.timeout(1):
        newcomer = await world.lease()

    newcomer.release()
    (await waiting).release()
    assert world.replica("q2-0").in_flight == 0


async def test_a_retry_that_waits_for_another_endpoint_keeps_no_free_one_from_others() -> None:
    world = World("q2-0", "q2-1", slots=1)
    busy, free = await world.lease("q2-1"), await world.lease("q2-0")
    retry = await world.waiter("q2-1")
    other = await world.waiter()

    free.release()

    assert (await other).replica.id == "q2-1"
    assert not retry.done()
    busy.release()
    assert (await retry).replica.id == "q2-0"


@pytest.mark.parametrize("way", ["cancelled", "timed out"])
async def test_who_gives_up_in_the_moment_of_its_grant_passes_the_slot_on(way: str) -> None:
    world = World("q2-0", slots=1, queue_seconds=0.05)
    held = await world.lease()
    leaving, next_ = await world.waiter(), await world.waiter()
    if way == "cancelled":
        held.release()
        leaving.cancel()
    else:
        loop = asyncio.get_running_loop()
        loop.call_later(0.04, held.release)
        until = loop.time() + 0.06
        while loop.time() < until:
            pass  # the loop is busy: the grant and then the time-out fall into one turn of it

    ends = await asyncio.gather(leaving, next_, return_exceptions=True)

    for end in ends:
        if isinstance(end, Lease):
            end.release()
    assert isinstance(ends[0], asyncio.CancelledError if way == "cancelled" else Saturated)
    assert world.replica("q2-0").in_flight == 0
    assert not world.group.waiting
    (await world.lease()).release()


async def test_a_wait_ends_with_the_query_s_time_and_says_when_to_come_back() -> None:
    world = World("q2-0", slots=1)
    await world.lease()
    world.replica("q2-0").latency_seconds.add(7.0)
    world.replica("q2-0").latency_seconds.add(12.0)

    for until in (world.now + 0.05, world.now - 5):
        async with asyncio.timeout(1):
            with pytest.raises(Saturated) as late:
                await world.lease(until=until)
        turn = 8  # the moving average
        assert late.value.retry_after_seconds in {turn, 2 * turn}

    assert not world.group.waiting


async def test_a_full_queue_refuses_and_loses_nobody() -> None:
    world = World("q2-0", slots=1)
    held = await world.lease()
    waiting = [await world.waiter() for _ in range(QUEUE_PER_SLOT)]

    with pytest.raises(Saturated) as full:
        await world.lease()

    assert full.value.retry_after_seconds is not None
    held.release()
    for waiter in waiting:
        (await waiter).release()


async def test_no_time_to_come_back_is_below_a_second_or_above_a_minute() -> None:
    for latency, told in ((0.001, 1), (9_000.0, 60)):
        world = World("q2-0", slots=1, queue_per_slot=0)
        await world.lease()
        world.replica("q2-0").latency_seconds.add(latency)

        with pytest.raises(Saturated) as full:
            await world.lease()

        assert full.value.retry_after_seconds == told


async def test_a_waiter_is_told_when_its_endpoint_falls_ill_and_there_is_no_other() -> None:
    world = World("q2-0", "q2-1", slots=1)
    held = [await world.lease(), await world.lease()]
    retry, any_ = await world.waiter("q2-1"), await world.waiter()

    for _ in range(2):
        world.fleet.checked("q2", world.replica("q2-0"), SICK)

    with pytest.raises(NoReadyTier):
        await retry
    assert not any_.done()
    for lease in held:
        lease.release()
    assert (await any_).replica.id == "q2-1"


async def test_a_probe_granted_to_nobody_leaves_the_breaker_to_the_next() -> None:
    world = World("q2-0", "q2-1", slots=1)
    for _ in range(5):
        failing = await world.lease("q2-1")
        world.fleet.failed(failing)
        failing.release()
    sick = world.replica("q2-0")
    healthy = await world.lease()
    waiting = await world.waiter()
    world.now = sick.breaker.until
    world.fleet.checked("q2", sick, WELL)  # it gets the probe in this moment
    assert not sick.breaker.admits(world.now)

    waiting.cancel()
    with suppress(asyncio.CancelledError, RouterError):
        await waiting

    assert sick.breaker.phase is Phase.OPEN
    assert (await world.lease()).replica is sick
    healthy.release()


async def order_of(held: Lease, waiting: "dict[str, asyncio.Task[Lease]]") -> str:
    """Return the names of those who wait in the order in which they are served."""
    order = ""
    last = held
    while waiting:
        last.release()
        done, _ = await asyncio.wait(waiting.values(), return_when=asyncio.FIRST_COMPLETED)
        (name,) = (name for name, task in waiting.items() if task in done)
        order += name
        last = waiting.pop(name).result()
    last.release()
    return order


async def test_people_are_served_before_a_chat_ui_s_own_calls_and_callers_in_turn() -> None:
    world = World("q2-0", slots=1, queue_per_slot=9)
    held = await world.lease()
    claims = {
        "t": Claim(caller=1, background=True),
        "a": Claim(caller=1),
        "b": Claim(caller=1),
        "c": Claim(caller=1),
        "x": Claim(caller=2),
    }
    waiting = {name: await world.waiter(claim=claim) for name, claim in claims.items()}

    assert await order_of(held, waiting) == "axbct"


async def test_a_full_queue_sheds_background_calls_and_floods_first() -> None:
    world = World("q2-0", slots=1, queue_per_slot=2)
    held = await world.lease()
    title = await world.waiter(claim=Claim(caller=1, background=True))
    first = await world.waiter(claim=Claim(caller=1))

    second = await world.waiter(claim=Claim(caller=1))
    with pytest.raises(Saturated):
        await title
    other = await world.waiter(claim=Claim(caller=2))
    with pytest.raises(Saturated):
        await second
    with pytest.raises(Saturated):
        await world.lease(claim=Claim(caller=1))

    assert len(world.group.waiting) == 2
    assert await order_of(held, {"a": first, "x": other}) == "ax"


async def test_those_who_wait_are_told_when_every_replica_says_that_it_is_loading() -> None:
    world = World("q2-0", slots=1)
    held = await world.lease()
    waiting = await world.waiter()

    world.fleet.rests(held, 503, 7)
    held.release()

    with pytest.raises(Saturated) as told:
        await waiting
    assert (told.value.status, told.value.retry_after_seconds) == (503, 7)
    with pytest.raises(Saturated):
        await world.lease()
    world.now += 7
    (await world.lease()).release()


async def test_no_replica_shuts_itself_out_for_longer_than_a_minute() -> None:
    world = World("q2-0")
    held = await world.lease()
    world.fleet.rests(held, 429, 86_400)
    held.release()

    world.now += 61

    (await world.lease()).release()


async def test_a_lease_of_a_tier_that_is_gone_can_still_be_given_back() -> None:
    world = World("q2-0")
    held = await world.lease()
    world.fleet.replace(Snapshot())

    world.fleet.rests(held, 429, 1)
    world.fleet.failed(held)
    held.release()

    assert held.replica.in_flight == 0
