"""What no watch told is found by comparing, on a real API server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from kit.cluster import Cluster
from operating import SECONDS, World
from tiergarten_operator.cluster import Api, Audit, Store, connect
from tiergarten_operator.facts import SERVICE, TIER, Key


@pytest.fixture
async def server(cluster: Cluster) -> AsyncIterator[Api]:
    async with connect(cluster.kubeconfig, 10) as server:
        yield server


async def test_a_tier_that_nobody_told_of_is_to_be_reconciled(server: Api, world: World) -> None:
    world.tier("q4")
    audit = Audit(server, Store(), [world.namespace], clock=lambda: 7.0)

    async with asyncio.timeout(SECONDS):  # the list's own cache lags behind a write
        while not (found := await audit.compare([TIER, SERVICE]))["ModelTier"]:
            pass  # each comparison takes its time

    assert found == {"ModelTier": {Key(world.namespace, "q4")}, "Service": set()}
    assert audit.differing == {"ModelTier": 7.0}


async def test_what_is_gone_is_forgotten_and_what_is_the_same_is_not(
    server: Api, world: World
) -> None:
    store = Store()
    audit = Audit(server, store, [world.namespace])
    labels = {"app.kubernetes.io/managed-by": "tiergarten-operator", "tiergarten.dev/tier": "q4"}
    head = {"apiVersion": "v1", "kind": "Service"}
    for name in ("stays", "goes"):
        spec = {"ports": [{"port": 80}]}
        made = world.make(head | {"metadata": {"name": name, "labels": labels}, "spec": spec})
        store.put(SERVICE, made)
    assert await audit.compare([SERVICE]) == {"Service": set()}
    world.delete(SERVICE, "goes")
    world.make(  # the watch cache that lists are answered from goes on with it
        head | {"metadata": {"name": "new", "labels": labels}, "spec": {"ports": [{"port": 80}]}}
    )

    async def compared() -> bool:
        return (await audit.compare([SERVICE]))["Service"] == {Key(world.namespace, "q4")}

    async with asyncio.timeout(SECONDS):
        while not await compared():
            pass  # as above
    assert store.get(SERVICE, world.namespace, "goes") is None
    assert store.get(SERVICE, world.namespace, "stays") is not None
    assert "Service" in audit.differing  # the new one, which a watch must tell of
