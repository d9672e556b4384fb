"""kopf may end whenever it likes: the operator goes on, and misses nothing."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from kit.cluster import Cluster
from operating import World
from tiergarten_operator import handlers
from tiergarten_operator.cluster import Api, Credentials, Store, connect
from tiergarten_operator.cluster.api import JSON
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


class Breaking:
    """Passes requests on to the API server, and ends watches with an error when told to."""

    def __init__(self, server: Api) -> None:
        self._session = server._session
        self._broken = asyncio.Event()

    def end_watches(self) -> None:
        """End every watch that runs with what an etcd that changes its leader causes."""
        self._broken.set()
        self._broken = asyncio.Event()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        await runner.cleanup()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        url = f"{self._session.configuration.host}{request.path_qs}"
        pool = self._session.rest_client.pool_manager
        async with pool.request(request.method, url) as answer:  # kopf only reads
            out = web.StreamResponse(status=answer.status, headers={"Content-Type": JSON})
            await out.prepare(request)
            copying = asyncio.create_task(self._copy(answer, out))
            broken = asyncio.create_task(self._broken.wait())
            await asyncio.wait({copying, broken}, return_when=asyncio.FIRST_COMPLETED)
            copying.cancel()
            broken.cancel()
            if "watch" in request.query and broken.done() and not broken.cancelled():
                error = {"kind": "Status", "code": 500, "message": "etcdserver: leader changed"}
                line = json.dumps({"type": "ERROR", "object": error})
                await out.write(f"{line}\n".encode())
            return out

    async def _copy(self, answer: Any, out: web.StreamResponse) -> None:
        async for chunk in answer.content.iter_any():
            await out.write(chunk)


async def test_kopf_is_started_again_after_an_error_in_a_watch_and_sees_what_came_meanwhile(
    world: World, cluster: Cluster
) -> None:
    world.tier("q4")
    stop, restarts = asyncio.Event(), list[str]()
    queue: WorkQueue[Key] = WorkQueue(time.monotonic)
    sink = handlers.Sink(Store(), queue, lambda: None, lambda _: None)

    async def seen(name: str) -> None:
        async with asyncio.timeout(30):
            while sink.store.get(TIER, world.namespace, name) is None:  # noqa: ASYNC110 -- a store has no events
                await asyncio.sleep(0.02)

    async with connect(cluster.kubeconfig, 10) as server:
        breaking = Breaking(server)
        async with breaking.serve() as url:

            async def login() -> Credentials:
                return Credentials(url)

            watching = Watching(
                handlers.registry(sink, login, asyncio.get_running_loop(), [TIER]),
                partial(handlers.settings, clusterwide=False, request_seconds=10),
                [world.namespace],
                time.monotonic,
                restarted=restarts.append,
                backoff=Backoff(0.05, 0.1),
            )
            watched = asyncio.create_task(watching.run(stop))
            await seen("q4")
            async with asyncio.timeout(30):
                while not restarts:
                    breaking.end_watches()
                    await asyncio.sleep(0.2)
            world.tier("q5", routing={"rank": 5})
            await seen("q5")
            stop.set()
            await watched

    assert set(restarts) == {"WatchingError"}
