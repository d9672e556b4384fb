"""A real cluster of one node, as a store sees it."""

import asyncio

import pytest

from redises import RealRedis, eventually
from routing import free_port
from tiergarten_router.store.client import Script
from tiergarten_router.store.failures import Refused, Unavailable
from tiergarten_router.store.lane import CALL_SECONDS

FROM_ONE = Script("return redis.call('GET', KEYS[1])")


@pytest.fixture
async def cluster(tmp_path):
    options = {"cluster_enabled": "yes", "cluster_port": str(free_port())}
    async with RealRedis(tmp_path, **options) as node:
        await node.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")

        async def is_formed():
            return "cluster_state:ok" in str(await node.ask("CLUSTER", "INFO"))

        await eventually(is_formed)
        yield node


def url(node):
    return f"redis+cluster://127.0.0.1:{node.port}"


async def patiently(call, *words):
    """Return what a call returns, on a busy machine too: its first one makes a connection."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await call(*words)
            except Unavailable:
                await asyncio.sleep(0.01)


async def test_keys_of_every_slot_are_kept_and_read(cluster, keeps, until):
    async with keeps(url(cluster)) as store:
        await until(store, up=True)

        for n in range(50):
            await patiently(store.set, b"%d" % n, b"v%d" % n, 60)
        values = [await patiently(store.get, b"%d" % n) for n in range(50)]

        assert values == [b"v%d" % n for n in range(50)]
        assert await patiently(store.eval, FROM_ONE, [b"7"]) == b"v7"
        await patiently(store.call, "XADD", b"s", "1-0", "a", "b")
        assert await patiently(store.xrange, b"s") == [(b"1-0", {b"a": b"b"})]
        with pytest.raises(Refused):
            await patiently(store.call, "LPUSH", b"7", b"x")


async def test_a_frozen_cluster_fails_at_once_after_the_first_calls_and_comes_back(
    cluster, keeps, until
):
    async with keeps(url(cluster), CALL_SECONDS) as store:
        await until(store, up=True)
        cluster.freeze()

        for _ in range(3):
            with pytest.raises(Unavailable, match="did not answer"):
                await store.get(b"key")
        with pytest.raises(Unavailable):
            await store.get(b"key")
        await until(store, up=False)

        cluster.thaw()
        await until(store, up=True)
        assert await patiently(store.get, b"key") is None


async def test_a_cluster_that_is_not_there_is_told(cluster, keeps):
    await cluster.kill()

    async with keeps(url(cluster)) as store:

        async def is_told():
            return "no node answers" in store.why

        await eventually(is_told)

        assert not store.up
