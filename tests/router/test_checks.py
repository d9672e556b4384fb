"""Health checks: how often, of whom, and what follows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from routing import tier
from tiergarten_router.checks import AT_ONCE, MOST_A_TICK, Checks
from tiergarten_router.core.health import Health
from tiergarten_router.core.snapshot import Endpoint, ReplicaState, Snapshot
from tiergarten_router.fleet import Fleet, Group, Replica
from tiergarten_router.settings import Settings
from upstream import Upstream, dribble, never, page


def parts(**fields: float) -> tuple[Fleet, Checks]:
    settings = Settings(**fields)  # type: ignore[arg-type]  # fields of many types
    clock = asyncio.get_running_loop().time
    fleet = Fleet(settings, clock, lambda: 0.5)
    return fleet, Checks(fleet, settings, clock, lambda: 0.5)


async def one_more(up: Upstream) -> None:
    """Wait until the endpoint was asked once more, and for the turn in which that is taken in."""
    seen = len(up.requests)
    await up.until(lambda: len(up.requests) > seen)
    await asyncio.sleep(0)


async def test_the_interval_doubles_from_ten_seconds_to_a_minute() -> None:
    _, checks = parts()

    assert [checks.interval(failures) for failures in range(7)] == [10, 10, 20, 40, 60, 60, 60]


async def test_jitter_is_a_tenth_each_way() -> None:
    settings, clock = Settings(), asyncio.get_running_loop().time
    fleet = Fleet(settings, clock, lambda: 0.5)

    assert Checks(fleet, settings, clock, lambda: 0.0).interval(0) == 9
    assert Checks(fleet, settings, clock, lambda: 1.0).interval(0) == 11


async def test_a_sick_endpoint_is_left_out_and_comes_back() -> None:
    async with Upstream(pages={"/health": page({}, 500)}) as up:
        fleet, checks = parts(health_seconds=0.05)
        waiting = Endpoint("q2-1", "http://127.0.0.1:9", ReplicaState.LOADING)
        fleet.replace(Snapshot((tier("q2", endpoints=(Endpoint("q2-0", up.url), waiting)),)))
        task = asyncio.create_task(checks.run())
        async with asyncio.timeout(5):
            while fleet.ready("q2"):
                await one_more(up)
            up.pages.clear()
            while not fleet.ready("q2"):
                await one_more(up)

        group = next(iter(fleet.groups()))
        assert group.replicas["q2-0"].checked_at is not None
        assert group.replicas["q2-1"].checked_at is None  # its source does not call it ready
        fleet.replace(Snapshot())
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Turns:
    """Checks whose time is told, and the ends of which are too."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.now = 100.0
        settings = Settings()
        self.fleet = Fleet(settings, lambda: self.now, lambda: 0.5)
        self.checks = Checks(self.fleet, settings, lambda: self.now, lambda: 0.5)
        self.publish(*endpoints)

    def publish(self, *endpoints: Endpoint) -> None:
        self.fleet.replace(Snapshot((tier("q2", endpoints=endpoints),)))

    def due(self) -> list[tuple[Group, Replica]]:
        return self.checks._take_due()

    def ids(self) -> list[str]:
        return [replica.id for _, replica in self.due()]


@asynccontextmanager
async def checking(checks: Checks) -> AsyncIterator[None]:
    task = asyncio.create_task(checks.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(("healthy", "waits"), [(True, [10] * 5), (False, [10, 20, 40, 60, 60])])
async def test_an_endpoint_is_due_again_after_its_check_and_its_interval(
    waits: list[float], *, healthy: bool
) -> None:
    script = {} if healthy else {"/health": page({}, 500)}
    async with Upstream(pages=script) as up:
        turns = Turns(Endpoint("q2-0", up.url))
        for wait in waits:
            ((group, replica),) = turns.due()
            turns.now += 1000
            assert turns.ids() == []  # its check is not over
            await turns.checks._check(group, replica)
            turns.now += wait - 0.1
            assert turns.ids() == []
            turns.now += 0.1

        assert turns.ids() == ["q2-0"]


async def test_an_endpoint_that_goes_is_forgotten_and_one_that_comes_is_due_at_once() -> None:
    async with Upstream() as up:
        turns = Turns(Endpoint("q2-0", up.url))
        ((group, replica),) = turns.due()
        turns.publish()
        assert turns.ids() == []

        await turns.checks._check(group, replica)  # it went while it was checked
        assert turns.checks._due == {}

        turns.publish(Endpoint("q2-0", up.url))
        assert turns.ids() == ["q2-0"]
        turns.publish(Endpoint("q2-0", up.url + "/moved"))
        assert turns.ids() == ["q2-0"]


async def test_endpoints_that_hang_do_not_make_others_look_ill() -> None:
    async with Upstream(pages={"/health": never()}) as hung, Upstream() as up:
        fleet, checks = parts(health_timeout_seconds=0.3)
        ill = [Endpoint(f"q2-{number}", hung.url) for number in range(AT_ONCE)]
        fleet.replace(Snapshot((tier("q2", endpoints=(*ill, Endpoint("q2-x", up.url))),)))
        async with checking(checks):
            last = next(iter(fleet.groups())).replicas["q2-x"]
            async with asyncio.timeout(3):
                while last.checked_at is None:  # noqa: ASYNC110 -- nobody is told of a check
                    await asyncio.sleep(0.01)

        assert (last.message, last.failed_checks) == ("", 0)


async def test_an_endpoint_that_answers_a_byte_at_a_time_is_ill_in_time() -> None:
    async with Upstream(pages={"/health": dribble(page({}), 0.05, 1)}) as up:
        fleet, checks = parts(health_timeout_seconds=0.2, health_seconds=0.01)
        fleet.replace(Snapshot((tier("q2", up.url),)))
        async with checking(checks), asyncio.timeout(3):
            while fleet.ready("q2"):
                await one_more(up)

        assert (
            next(iter(fleet.groups())).replicas["q2-0"].message
            == "The endpoint did not answer in time."
        )


def test_a_failure_between_two_good_checks_changes_nothing() -> None:
    turns = Turns(Endpoint("q2-0", "http://a"))
    replica = next(iter(turns.fleet.groups())).replicas["q2-0"]

    for healthy in (False, True, False, True):
        turns.fleet.checked("q2", replica, Health(healthy=healthy, latency_seconds=0.0))
        assert turns.fleet.ready("q2")


async def test_of_many_endpoints_some_are_checked_at_a_time_and_none_is_forgotten() -> None:
    fleet, checks = parts(health_seconds=60)
    many = tuple(Endpoint(f"q2-{n}", f"http://127.0.0.1:{n + 1}") for n in range(60))
    fleet.replace(Snapshot((tier("q2", endpoints=many),)))

    rounds = [[replica.id for _, replica in checks._take_due()] for _ in range(4)]

    assert [len(found) for found in rounds] == [MOST_A_TICK, MOST_A_TICK, 60 - 2 * MOST_A_TICK, 0]
    assert len({name for found in rounds for name in found}) == 60
