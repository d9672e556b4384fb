"""All replicas are started, listed, drained and ended together."""

import asyncio

from tiergarten_router.core.snapshot import ReplicaState
from tiergarten_router.sources.replica import Bounds
from tiergarten_router.sources.replicas import Replicas
from tiergarten_router.sources.rollout import Running

ROOMY = Bounds(30, 30)
READY, DRAINING = ReplicaState.READY, ReplicaState.DRAINING


def states(replicas, tier="q2"):
    return [endpoint.state for endpoint in replicas.endpoints(tier)]


async def test_lists_what_runs_by_tier_and_index(stand_in, watched):
    replicas, template = Replicas(watched.changed), stand_in()
    try:
        for tier, index in (("q2", 1), ("q4", 0), ("q2", 0)):
            replicas.start(tier, index, template, ROOMY)
        await watched.until(lambda: {r.state for r in replicas.running()} == {READY})

        assert [endpoint.id for endpoint in replicas.endpoints("q2")] == ["q2-0", "q2-1"]
        assert Running("q4", 0, template, READY) in replicas.running()
        assert len({e.url for t in ("q2", "q4") for e in replicas.endpoints(t)}) == 3
        replicas.sample()
    finally:
        await replicas.stop()

    assert replicas.running() == ()


async def test_a_retired_one_is_forgotten_when_it_has_ended(stand_in, watched):
    replicas = Replicas(watched.changed)
    try:
        replicas.start("q2", 0, stand_in(), ROOMY)
        replicas.start("q2", 1, stand_in(), ROOMY)
        await watched.until(lambda: states(replicas) == [READY, READY])

        replicas.retire("q2", 0)

        assert states(replicas) == [DRAINING, READY]
        await watched.until(lambda: states(replicas) == [READY])
        assert replicas.endpoints("q2")[0].id == "q2-1"
    finally:
        await replicas.stop()


async def test_a_bound_that_is_changed_holds_for_those_that_run(stand_in, watched):
    replicas = Replicas(watched.changed)
    try:
        for tier in ("q2", "q4"):
            replicas.start(tier, 0, stand_in("--busy"), ROOMY)
        await watched.until(lambda: {r.state for r in replicas.running()} == {READY})

        replicas.bound("q2", Bounds(30, 0.1))
        for tier in ("q2", "q4"):
            replicas.retire(tier, 0)

        await watched.until(lambda: not replicas.endpoints("q2"), 10)
        assert states(replicas, "q4") == [DRAINING]
    finally:
        await replicas.stop()


async def test_what_does_not_listen_is_killed_at_the_end(stand_in, watched, deaths):
    replicas = Replicas(watched.changed)
    replicas.start("q2", 0, stand_in("--deaf"), ROOMY)
    await watched.until(lambda: states(replicas) == [READY])
    pid = next(iter(replicas.pids()))
    deaths.watch(pid)

    stopping = asyncio.create_task(replicas.stop())
    await watched.until(lambda: states(replicas) == [DRAINING])
    stopping.cancel()  # as by a second Ctrl-C
    await asyncio.gather(stopping, return_exceptions=True)

    assert await deaths.of(pid)


async def test_stop_without_replicas_is_nothing(watched):
    await Replicas(watched.changed).stop()
