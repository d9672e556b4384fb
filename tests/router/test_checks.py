"""Health checks: how often, of whom, and what follows."""

import asyncio
from contextlib import suppress

from routing import tier
from tiergarten_router.checks import Checks
from tiergarten_router.core.snapshot import Endpoint, ReplicaState, Snapshot
from tiergarten_router.fleet import Fleet
from tiergarten_router.settings import Settings
from upstream import Upstream, page


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
