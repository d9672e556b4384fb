"""Who shares answers: routers of one secret, for as long as route and models are the same."""

from typing import Any

from caching import SAME, snapshot
from redises import RealRedis, eventually
from routing import CHAT, Published, ask, route, routing, tier
from tiergarten_router.core.snapshot import Snapshot
from upstream import Upstream

CACHED = "tiergarten:cache:*"  # keys of the cache; events have others


async def test_another_digest_or_generation_never_hits():
    async with Upstream() as up:
        source = Published(Snapshot((tier("q2", up.url, digest="one"),), (route("q2"),)))
        async with routing(source) as client:
            assert source.publish

            async def said():
                reply = await client.post(CHAT, json=ask(**SAME))
                return reply.headers["x-tiergarten-cache"]

            assert [await said(), await said()] == ["miss", "hit"]
            source.publish(Snapshot((tier("q2", up.url, digest="two"),), (route("q2"),)))
            assert [await said(), await said()] == ["miss", "hit"]
            first = route("q2")
            meta = first.metadata.model_copy(update={"generation": 2})
            changed = first.model_copy(update={"metadata": meta})
            source.publish(Snapshot((tier("q2", up.url, digest="two"),), (changed,)))
            assert [await said(), await said()] == ["miss", "hit"]
            source.publish(Snapshot((tier("q2", up.url, digest="one"),), (route("q2"),)))
            assert await said() == "hit"  # it is what it was


async def test_two_callers_never_share_an_answer(router):
    async with Upstream() as up:
        client = await router(snapshot(up))

        async def said(**headers: str):
            reply = await client.post(CHAT, json=ask(**SAME), headers=headers)
            return reply.headers["x-tiergarten-cache"]

        for caller in ({}, {"Authorization": "Bearer one"}, {"Authorization": "Bearer two"}):
            assert [await said(**caller), await said(**caller)] == ["miss", "hit"]
        assert len(up.queries) == 3
        reply = await client.post(
            "/v1/route/explain", json=ask(**SAME), headers={"Authorization": "Bearer three"}
        )
        assert reply.json()["cache"] == "miss"


async def test_prints_of_routes_that_are_gone_are_forgotten():
    async with Upstream() as up:
        source = Published(None)
        async with routing(source) as client:
            for number in range(6):
                await eventually(published(source))
                assert source.publish
                source.publish(Snapshot((tier(f"q{number}", up.url, model=f"m{number}"),)))
                reply = await client.post(CHAT, json=ask(model=f"m{number}", **SAME))
                assert reply.status_code == 200


def published(source):
    async def is_published():
        return source.publish is not None

    return is_published


async def test_two_routers_share_answers_by_redis(tmp_path):
    async with Upstream() as up, RealRedis(tmp_path) as redis:
        told: dict[str, Any] = {
            "redis_url": redis.url, "redis_seconds": 5, "cache_secret": "one secret for all",
        }  # fmt: skip
        async with (
            routing(Published(snapshot(up)), **told) as one,
            routing(Published(snapshot(up)), **told) as other,
        ):
            for client in (one, other):
                await eventually(connected(client))
            first = await one.post(CHAT, json=ask(**SAME))
            await eventually(stored(redis))

            second = await other.post(CHAT, json=ask(**SAME))

            assert second.headers["x-tiergarten-cache"] == "hit"
            assert second.content == first.content
            assert len(up.queries) == 1
            text = (await other.get("/metrics")).text
            assert "tiergarten_router_redis_up 1.0" in text
            assert "tiergarten_router_redis_breaker_state 0.0" in text
            assert 'tiergarten_router_cache_seconds_count{op="get"} 1.0' in text


def connected(client):
    async def is_connected():
        return "tiergarten_router_redis_up 1.0" in (await client.get("/metrics")).text

    return is_connected


def stored(redis):
    async def is_stored():
        return bool(await redis.ask("KEYS", CACHED))

    return is_stored


async def test_redis_never_holds_what_was_asked(tmp_path):
    async with Upstream() as up, RealRedis(tmp_path) as redis:
        told: dict[str, Any] = {"redis_url": redis.url, "redis_seconds": 5}
        async with routing(Published(snapshot(up)), **told) as client:
            await eventually(connected(client))
            await client.post(CHAT, json=ask("a canary in a prompt", **SAME))
            await eventually(stored(redis))

        events = str(await redis.ask("XRANGE", "tiergarten:{events}:stream", "-", "+"))
        assert "query.received" in events
        assert "canary" not in events
        for key in await redis.ask("KEYS", CACHED):
            assert b"canary" not in key + await redis.ask("GET", key)
            assert 0 < await redis.ask("TTL", key) <= 3600
