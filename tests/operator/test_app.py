"""The operator as a whole: when it is ready and when it is ill."""

import asyncio
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from kit.cluster import Cluster
from operating import SETTINGS
from tiergarten_operator.app import Operator, Options
from tiergarten_operator.cluster import connect
from tiergarten_operator.metrics import Metrics


async def test_a_difference_that_stays_makes_it_ill(cluster: Cluster, namespace: str) -> None:
    async with connect(cluster.kubeconfig, 10) as server:
        operator = Operator(server, Options((namespace,)), SETTINGS, Metrics(CollectorRegistry()))
        assert operator._ill() == ""

        operator.audit.differing = {"Service": time.monotonic() - 30}
        assert operator._ill() == ""
        operator.audit.differing = {"Service": time.monotonic() - 61, "Job": time.monotonic()}

        assert operator._ill() == "what is known of Service is not what is there"


async def test_one_that_waits_for_the_lease_is_ready_and_ends_when_told_to(
    cluster: Cluster,
    namespace: str,
    tiers_known: None,  # noqa: ARG001 -- the definitions must be there
) -> None:
    async with connect(cluster.kubeconfig, 10) as server:
        options = Options((namespace,), lease_namespace=namespace)
        both = [Operator(server, options, SETTINGS, Metrics(CollectorRegistry())) for _ in range(2)]
        first = asyncio.create_task(both[0].run())
        async with asyncio.timeout(30):
            await both[0].synced.wait()
        second = asyncio.create_task(both[1].run())
        await asyncio.sleep(0)

        assert (both[0].leads, both[1].leads) == (True, False)
        assert both[1]._unready() == ""
        both[1].stop.set()
        await second
        both[0].stop.set()
        await first


async def test_an_api_server_that_is_not_there_is_why_it_is_not_ready(tmp_path: Path) -> None:
    context = "contexts: [{name: a, context: {cluster: a, user: a}}], users: [{name: a, user: {}}]"
    server_there = 'clusters: [{name: a, cluster: {server: "http://127.0.0.1:1"}}]'
    text = f"{{current-context: a, {context}, {server_there}}}"
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    async with connect(file, 5) as server:
        operator = Operator(server, Options(), SETTINGS, Metrics(CollectorRegistry()))
        running = asyncio.create_task(operator.run())
        async with asyncio.timeout(30):
            while "list modeltiers" not in operator._unready():  # noqa: ASYNC110 -- a reason has no events
                await asyncio.sleep(0.05)
        operator.stop.set()
        await running

    assert operator._unready().startswith("the watches are not up: list modeltiers: ")
    assert pytest.approx(0) == operator.metrics.api_up._value.get()
