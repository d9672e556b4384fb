"""kopf may end whenever it likes: the operator goes on, and misses nothing."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from api_proxy import ApiProxy
from kit.cluster import Cluster
from operating import World
from tiergarten_operator import handlers
from tiergarten_operator.cluster import Store, connect
from tiergarten_operator.facts import DEPLOYMENT, TIER, Key
from tiergarten_operator.watching import Watching
from tiergarten_operator.workqueue import Backoff, WorkQueue

Run = Callable[..., Any]


@pytest.mark.level(1, alone=True)
def test_a_change_while_the_api_server_was_away_is_seen_after_it(
    world: World, cluster: Cluster, operator: Run
) -> None:
    world.models()
    world.tier("q4")
    with operator():
        world.wait_for_child("Deployment/q4")
        cluster.restart("kube-apiserver")
        world.change(TIER, "q4", {"spec": {"replicas": 3}})

        def scaled() -> bool:
            return bool(world.there(DEPLOYMENT, "q4")["spec"]["replicas"] == 3)

        world.wait("three replicas", scaled)


async def test_kopf_is_started_again_after_an_error_in_a_watch_and_sees_what_came_meanwhile(
    world: World, proxy: ApiProxy
) -> None:
    world.tier("q4")
    stop, restarts = asyncio.Event(), list[str]()
    queue: WorkQueue[Key] = WorkQueue(time.monotonic)
    sink = handlers.Sink(Store(), queue, lambda: None, lambda: None)

    async def seen(name: str) -> None:
        async with asyncio.timeout(30):
            while sink.store.get(TIER, world.namespace, name) is None:  # noqa: ASYNC110 -- a store has no events
                await asyncio.sleep(0.02)

    async def nothing() -> str:
        return ""

    async with connect(proxy.kubeconfig, 10) as server:
        watching = Watching(
            handlers.registry(sink, server.credentials, asyncio.get_running_loop(), [TIER]),
            partial(handlers.settings, request_seconds=10, silence_seconds=70),
            [world.namespace],
            time.monotonic,
            nothing,
            restarted=restarts.append,
            backoff=Backoff(0.05, 0.1),
        )
        watched = asyncio.create_task(watching.run(stop))
        await seen("q4")
        async with asyncio.timeout(30):
            while not restarts:
                await asyncio.to_thread(proxy.end_watches)
                await asyncio.sleep(0.2)
        world.tier("q5", routing={"rank": 5})
        await seen("q5")
        stop.set()
        await watched

    assert set(restarts) == {"WatchingError"}
