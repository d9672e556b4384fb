"""A router in front of a real API server that freezes, dies and forgets: queries go on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from following import (
    Followed,
    Place,
    administrator,
    following,
    own_address,
    serving,
    until,
)
from kit.cluster import Cluster
from routing import CHAT, ask, series
from slices import DRAINING, ENDED, PORT, READY, Manifest, piece, pod, tier
from tiergarten_router.sources.kube.reflector import Bounds
from upstream import Upstream, always, answer

BACK_SECONDS = 30  # after the API server's return, by which all must be up to date
IMPATIENT = Bounds(silence_seconds=1.5, list_seconds=2, most_seconds=2, steady_seconds=1)


class Pod:
    """A server that stands for a pod, and the slice that tells of it."""

    def __init__(self, place: Place, name: str, up: Upstream) -> None:
        self.up, self._place, self._name = up, place, name

    def tell(self, said: Manifest) -> None:
        """Write the pod's slice; it has one of its own, for its port is one of its own."""
        port = PORT | {"port": self.up.port}
        entry = pod(self.up.host, self._name, said)
        self._place.put(piece(self._name, entry, ports=[port]))

    @property
    def asked(self) -> int:
        return len(self.up.queries)


@contextlib.asynccontextmanager
async def running(place: Place, *names: str) -> AsyncIterator[list[Pod]]:
    """Run pods of tier q4."""
    async with contextlib.AsyncExitStack() as ups:
        pods = []
        for name in names:
            up = Upstream(always(answer(name)), host=own_address())
            pods.append(Pod(place, name, await ups.enter_async_context(up)))
        place.put(tier())
        yield pods


async def query(client: httpx.AsyncClient) -> int:
    return (await client.post(CHAT, json=ask(model="q4"))).status_code


async def readiness(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/readyz")
    return {"code": answer.status_code, **answer.json()["source"]}


async def reachable(client: httpx.AsyncClient) -> bool:
    return bool((await readiness(client))["reachable"])


async def unreachable(client: httpx.AsyncClient) -> bool:
    return "does not answer" in (await readiness(client))["message"]


async def endpoints(client: httpx.AsyncClient) -> dict[str, str]:
    tiers = (await client.get("/v1/tiers")).json()["tiers"]
    return {replica["id"]: replica["state"] for tier in tiers for replica in tier["replicas"]}


async def test_a_pod_gets_no_query_before_it_is_ready_and_none_after_it_is_about_to_end(
    cluster: Cluster, place: Place
) -> None:
    async with (
        running(place, "a", "b") as (a, b),
        serving(administrator(cluster), place.namespace) as client,
    ):
        a.tell(READY)
        await until(lambda: ready(client, "a"))
        stop, failed = asyncio.Event(), 0

        async def load() -> None:
            nonlocal failed
            while not stop.is_set():
                failed += await query(client) != 200

        loads = [asyncio.create_task(load()) for _ in range(4)]
        assert b.asked == 0
        b.tell(READY)
        await until(lambda: ready(client, "a", "b"))
        async with asyncio.timeout(20):
            await b.up.until(lambda: b.asked > 0)

        a.tell(DRAINING)
        await until(lambda: ready(client, "b"))
        await until(lambda: idle(client, "a"))  # what was sent to it before is answered
        before = a.asked
        served = b.asked
        await b.up.until(lambda: b.asked > served + 20)
        a.tell(ENDED)
        await until(lambda: ready(client, "b"))
        stop.set()
        await asyncio.gather(*loads)

        assert (a.asked, failed) == (before, 0)


async def test_the_last_pod_of_a_tier_ends_with_its_conversations_and_begins_no_new_one(
    cluster: Cluster, place: Place
) -> None:
    asked = ask(model="q4")
    later = asked | {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": "and then?"},
        ]
    }
    async with (
        running(place, "a") as (a,),
        serving(administrator(cluster), place.namespace) as client,
    ):
        a.tell(READY)
        await until(lambda: ready(client, "a"))
        a.tell(DRAINING)
        await until(lambda: ready(client))

        assert (await client.post(CHAT, json=asked)).status_code == 503
        assert (await client.post(CHAT, json=later)).status_code == 200
        assert a.asked == 1


async def idle(client: httpx.AsyncClient, name: str) -> bool:
    tiers = (await client.get("/v1/tiers")).json()["tiers"]
    replicas = [replica for tier in tiers for replica in tier["replicas"]]
    return [it["in_flight"] for it in replicas if it["id"] == name] in ([], [0])


async def ready(client: httpx.AsyncClient, *names: str) -> bool:
    found = await endpoints(client)
    return {name for name, state in found.items() if state == "ready"} == set(names)


@pytest.mark.level(1, alone=True)
@pytest.mark.parametrize("fault", ["frozen", "killed"])
async def test_an_api_server_that_is_away_costs_no_query_and_is_told(
    cluster: Cluster, place: Place, fault: str
) -> None:
    async with running(place, "a", "b") as (a, b):
        a.tell(READY)
        account = administrator(cluster)
        async with serving(account, place.namespace, bounds=IMPATIENT) as client:
            await until(lambda: ready(client, "a"))
            assert await readiness(client) | {"age_seconds": 0} == {
                "code": 200, "reachable": True, "age_seconds": 0, "message": ""
            }  # fmt: skip

            if fault == "frozen":
                cluster.freeze("kube-apiserver")
            else:
                cluster.kill("kube-apiserver")

            await until(lambda: unreachable(client))
            assert [await query(client) for _ in range(20)] == [200] * 20
            found = await readiness(client)
            assert found["code"] == 200
            assert "does not answer" in found["message"]
            metrics = (await client.get("/metrics")).text
            assert "tiergarten_router_api_up 0.0" in metrics

            if fault == "frozen":
                cluster.thaw("kube-apiserver")
            else:
                await asyncio.to_thread(cluster.start, "kube-apiserver")
            b.tell(READY)
            await until(lambda: ready(client, "a", "b"), BACK_SECONDS)
            await until(lambda: reachable(client), BACK_SECONDS)
            metrics = (await client.get("/metrics")).text
            assert "tiergarten_router_api_up 1.0" in metrics
            assert series(metrics, "tier_ready_replicas") == {'tier="q4"': 2}


@pytest.mark.level(1, alone=True)
async def test_what_was_deleted_while_versions_were_forgotten_is_seen_after_a_new_list(
    cluster: Cluster, place: Place
) -> None:
    place.put(tier())
    place.put(tier("q2"))
    place.put(piece("one", pod("10.0.0.1", "q4-a", READY)))
    bounds = Bounds(least_seconds=0.05, most_seconds=0.2)
    async with following(administrator(cluster), place.namespace, bounds=bounds) as followed:
        await followed.until(followed.endpoints)

        def forget() -> None:
            """Let the API server begin anew, without a memory of what the router has missed."""
            cluster.kill("kube-apiserver")
            cluster.start("kube-apiserver")  # the watches come back after their back-off
            place.delete("ModelTier", "q2")
            place.put(piece("one", pod("10.0.0.2", "q4-b", READY)))
            cluster.kill("kube-apiserver")
            cluster.etcd.compact()
            cluster.start("kube-apiserver")

        with capture_logs() as lines:
            await asyncio.to_thread(forget)
            await followed.until(lambda: set(followed.tiers) == {"q4"}, BACK_SECONDS)
        assert "watch_expired" in {line["event"] for line in lines}
        await followed.until(lambda: set(followed.endpoints()) == {"q4-b"}, BACK_SECONDS)


@pytest.mark.level(1, alone=True)
async def test_a_router_that_starts_without_its_api_server_waits_and_says_so(
    cluster: Cluster, place: Place
) -> None:
    place.put(tier())
    cluster.kill("kube-apiserver")
    bounds = Bounds(least_seconds=0.05, most_seconds=0.2)
    async with serving(administrator(cluster), place.namespace, bounds=bounds) as client:
        assert (await client.get("/healthz")).status_code == 200
        await until(lambda: unreachable(client))
        assert (await readiness(client))["code"] == 503

        await asyncio.to_thread(cluster.start, "kube-apiserver")

        async def up() -> bool:
            return (await client.get("/readyz")).is_success

        await until(up, BACK_SECONDS)
        await until(lambda: reachable(client))
        assert list(await endpoints(client)) == []


@pytest.mark.parametrize("seed", range(2))
async def test_after_any_changes_the_snapshot_is_what_a_new_router_sees(
    cluster: Cluster, place: Place, seed: int
) -> None:
    draw = Random(seed)  # noqa: S311 -- a test's own dice
    there: set[tuple[str, str]] = set()

    def change() -> None:
        name = draw.choice(["q1", "q2", "q3"])
        kind = draw.choice(["ModelTier", "EndpointSlice"])
        if draw.random() < 0.3 and (kind, name) in there:
            there.remove((kind, name))
            place.delete(kind, name)
            return
        there.add((kind, name))
        if kind == "ModelTier":
            place.put(tier(name, routing={"rank": draw.randrange(9)}))
            return
        entries = [
            pod(f"10.0.0.{n}", f"p{n}", draw.choice([READY, DRAINING, ENDED]))
            for n in range(1, draw.randrange(2, 9))
        ]
        place.put(piece(name, *entries, tier=draw.choice(["q1", "q2"])))

    short = Bounds(watch_seconds=1, least_seconds=0.01, most_seconds=0.05)
    async with following(administrator(cluster), place.namespace, bounds=short) as followed:
        for _ in range(80):
            change()
            await asyncio.sleep(draw.choice([0, 0, 0.05]))

        async with following(administrator(cluster), place.namespace) as fresh:
            await fresh.until(lambda: True)
            await followed.until(lambda: seen(followed) == seen(fresh))


def seen(followed: Followed) -> object:
    """Return the tiers of the newest snapshot; they hold all that a query depends on."""
    return followed.snapshot.tiers
