"""Of two operators one leads, on a real API server; time is the test's."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from kit.cluster import Cluster
from tiergarten_operator.cluster import Api, Lease, connect
from tiergarten_operator.errors import LeaseLost


@dataclass
class Time:
    now: float = 0.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
async def server(cluster: Cluster) -> AsyncIterator[Api]:
    async with connect(cluster.kubeconfig, 10) as server:
        yield server


def lease(server: Api, namespace: str, me: str, time: Time) -> Lease:
    return Lease(server, namespace, "operator", me, time.clock, time.sleep)


async def test_the_first_leads_and_the_second_takes_over_when_it_no_longer_renews(
    server: Api, namespace: str
) -> None:
    time = Time()
    await lease(server, namespace, "first", time).acquire()
    assert time.now == 0

    await lease(server, namespace, "second", time).acquire()

    assert 15 < time.now <= 20


async def test_a_lease_that_is_given_back_is_free_at_once(server: Api, namespace: str) -> None:
    time = Time()
    first = lease(server, namespace, "first", time)
    await first.acquire()
    await first.release()

    await lease(server, namespace, "second", time).acquire()

    assert time.now == 0


async def test_a_leader_that_was_overtaken_knows_it_lost(server: Api, namespace: str) -> None:
    frozen, time = Time(), Time()
    first = lease(server, namespace, "first", frozen)
    await first.acquire()
    await lease(server, namespace, "second", time).acquire()

    with pytest.raises(LeaseLost):
        await first.hold()

    assert frozen.now <= 14
    await first.release()  # it is not ours, so nothing happens
    await lease(server, namespace, "second", time).acquire()
