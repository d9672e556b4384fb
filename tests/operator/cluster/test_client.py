"""The verbs of a reconcile, on a real API server."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kit import cluster as kit
from operating import World
from tiergarten_operator.cluster import Api, Cluster, Store, connect
from tiergarten_operator.errors import Conflict, LeaseLost
from tiergarten_operator.facts import SECRET, SERVICE, Ref

LABELS = {"app.kubernetes.io/managed-by": "tiergarten-operator", "tiergarten.dev/tier": "q4"}


@pytest.fixture
async def server(cluster: kit.Cluster) -> AsyncIterator[Api]:
    async with connect(cluster.kubeconfig, 10) as server:
        yield server


def service(world: World, port: int = 80, **metadata: Any) -> dict[str, Any]:
    head = {"name": "q4", "namespace": world.namespace, "labels": LABELS} | metadata
    spec = {"ports": [{"name": "http", "port": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": head, "spec": spec}


async def test_what_was_written_is_known_at_once(server: Api, world: World) -> None:
    told: list[str] = []
    cluster = Cluster(server, Store(), wrote=told.append)

    await cluster.apply(service(world))
    known = cluster.store.get(SERVICE, world.namespace, "q4")
    assert known is not None
    await cluster.merge(SERVICE, world.namespace, "q4", {"spec": {"type": "ClusterIP"}})
    await cluster.delete(Ref("Service", "q4"), world.namespace, known["metadata"]["uid"])
    await cluster.delete(Ref("Service", "q4"), world.namespace, known["metadata"]["uid"])

    assert cluster.store.get(SERVICE, world.namespace, "q4") is None
    assert world.get(SERVICE, "q4") is None
    verbs = ("apply", "change", "delete")
    assert told == [f"{verb} Service {world.namespace}/q4" for verb in verbs]


async def test_an_object_that_was_made_again_is_not_deleted(server: Api, world: World) -> None:
    cluster = Cluster(server, Store())
    await cluster.apply(service(world))

    await cluster.delete(Ref("Service", "q4"), world.namespace, "another-uid")

    assert world.get(SERVICE, "q4") is not None


async def test_a_dry_run_tells_and_keeps_nothing(server: Api, world: World) -> None:
    told: list[str] = []
    cluster = Cluster(server, Store(), dry_run=True, wrote=told.append)
    await cluster.apply(service(world))
    assert world.get(SERVICE, "q4") is None

    live = await Cluster(server, cluster.store).apply(service(world))
    await cluster.apply(service(world, port=90))
    await cluster.apply(service(world, name="q8", uid="of-a-write-that-was-only-tried"))
    await cluster.delete(Ref("Service", "q4"), world.namespace, live["metadata"]["uid"])

    what = f"Service {world.namespace}/q4"
    assert told == [
        f"apply {what} (new)",
        f"apply {what} (spec.ports[http].port)",
        f"delete {what}",
    ]
    assert world.there(SERVICE, "q4")["spec"]["ports"][0]["port"] == 80


async def test_a_conflict_is_one_when_it_counts(server: Api, world: World) -> None:
    cluster = Cluster(server, Store())

    with pytest.raises(Conflict):
        await cluster.apply(service(world, uid="another-uid"))


async def test_nothing_is_written_by_one_that_no_longer_may(server: Api, world: World) -> None:
    def lost() -> None:
        raise LeaseLost("lease: gone")

    cluster = Cluster(server, Store(), check=lost)

    with pytest.raises(LeaseLost):
        await cluster.apply(service(world))

    assert world.get(SERVICE, "q4") is None


async def test_only_keys_that_hold_something_count(server: Api, world: World) -> None:
    data = {"token": base64.b64encode(b"t").decode(), "empty": ""}
    world.make({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub"}, "data": data})
    cluster = Cluster(server, Store())

    assert await cluster.secret_keys(world.namespace, "hub") == frozenset({"token"})
    assert await cluster.secret_keys(world.namespace, "none") is None
    assert await cluster.get(SECRET, world.namespace, "none") is None


async def test_an_event_is_posted_once(server: Api, world: World) -> None:
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "q4.1", "namespace": world.namespace},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "test",
        "reportingInstance": "test",
        "action": "Test",
        "reason": "Test",
        "type": "Normal",
        "regarding": {"kind": "Namespace", "name": "x", "namespace": world.namespace},
    }
    told: list[str] = []
    cluster = Cluster(server, Store(), wrote=told.append)

    await cluster.report(event)
    await cluster.report(event)

    assert told == ["post an event"]
