"""R19: Redis refused, frozen, flapping at 1 Hz, and full of wrong bytes, under load.

No query fails. The first five cost 60 ms more at the most, later ones 2 ms more at the 99th
percentile, and a Redis that is back is used within 5 s. The bounds here are wider where others
work on the same machine; `docs/cache.md` has what was measured on a quiet one.
"""

import asyncio
import contextlib
import random
import time

import pytest

from caching import SAME, results, snapshot
from redises import FalseRedis, RealRedis, commands, eventually
from routing import CHAT, Published, ask, routing
from upstream import Upstream

CACHED = "tiergarten:cache:*"  # keys of the cache; events have others
FIRST = 5
FIRST_SECONDS = 0.06
NEXT_SECONDS = 0.002
NOISE_SECONDS = 0.1  # of a machine on which others work
RECOVERY_SECONDS = 5.0


@pytest.fixture
async def upstream():
    async with Upstream() as running:
        yield running


@pytest.fixture
async def redis(tmp_path):
    async with RealRedis(tmp_path) as running:
        yield running


@contextlib.asynccontextmanager
async def served(upstream, url, **settings):
    told = {"redis_url": url, "cache_secret": "one for all", **settings}
    async with routing(Published(snapshot(upstream)), **told) as client:
        yield client


async def taken(client, count, name):
    """Return how long some different queries took, which all miss, in seconds."""
    found = []
    for number in range(count):
        began = time.perf_counter()
        reply = await client.post(CHAT, json=ask(f"{name} {number}", **SAME))
        found.append(time.perf_counter() - began)
        assert reply.status_code == 200, reply.text
        assert reply.headers["x-tiergarten-cache"] == "miss"
    return found


def late(times):
    """Return the 99th percentile."""
    return sorted(times)[int(0.99 * (len(times) - 1))]


def up(client, value):
    async def is_up():
        return f"tiergarten_router_redis_up {value}" in (await client.get("/metrics")).text

    return is_up


async def usual(client):
    """Return what a query takes at the 99th percentile when all is well."""
    await taken(client, 20, "warm")
    return late(await taken(client, 100, "well"))


async def hold(client, usual_seconds, name):
    """Ask a hundred queries, and hold them to the bounds."""
    first = await taken(client, FIRST, f"first {name}")
    following = await taken(client, 100, f"then {name}")

    assert max(first) <= usual_seconds + FIRST_SECONDS + NOISE_SECONDS
    assert late(following) <= usual_seconds + NEXT_SECONDS + NOISE_SECONDS


async def test_a_refused_redis_costs_nothing_and_is_used_once_it_is_there(upstream, redis):
    await redis.kill()
    async with served(upstream, redis.url) as client:
        well = await usual(client)
        await hold(client, well, "refused")
        assert (await results(client)).keys() == {"error"}

        await redis.start()
        began = time.perf_counter()
        await eventually(up(client, 1.0))

        assert time.perf_counter() - began <= RECOVERY_SECONDS

        async def is_asked():
            await client.post(CHAT, json=ask(f"at {time.perf_counter()}", **SAME))
            return "miss" in await results(client)

        await eventually(is_asked)


async def test_a_frozen_redis_costs_the_first_queries_60_ms_and_is_back_within_5_s(upstream, redis):
    async with served(upstream, redis.url) as client:
        await eventually(up(client, 1.0))
        well = await usual(client)
        hit = await client.post(CHAT, json=ask("well 1", **SAME))
        assert hit.headers["x-tiergarten-cache"] == "hit"

        redis.freeze()
        await hold(client, well, "frozen")

        known = await client.post(CHAT, json=ask("well 1", **SAME))
        assert known.headers["x-tiergarten-cache"] == "hit"  # memory needs no Redis
        await eventually(up(client, 0.0))
        redis.thaw()
        began = time.perf_counter()
        await eventually(up(client, 1.0))
        assert time.perf_counter() - began <= RECOVERY_SECONDS


async def test_many_queries_at_the_moment_of_a_freeze_all_end_well(upstream, redis):
    async with served(upstream, redis.url) as client:
        await eventually(up(client, 1.0))
        await usual(client)
        redis.freeze()

        began = time.perf_counter()
        bodies = [ask(f"at once {number}", **SAME) for number in range(50)]
        replies = await asyncio.gather(*(client.post(CHAT, json=body) for body in bodies))

        assert {reply.status_code for reply in replies} == {200}
        assert time.perf_counter() - began < 5


async def test_a_redis_that_flaps_once_a_second_fails_nobody(upstream, redis):
    async with served(upstream, redis.url) as client:
        await eventually(up(client, 1.0))
        well = await usual(client)
        over = asyncio.Event()

        async def flap():
            for _ in range(3):
                await redis.kill()
                await asyncio.sleep(0.5)
                await redis.start()
                await asyncio.sleep(0.5)
            over.set()

        flapping = asyncio.create_task(flap())
        times, number = [], 0
        while not over.is_set():
            times += await taken(client, 10, f"flapping {number}")
            number += 1
        await flapping

        assert late(times) <= well + FIRST_SECONDS + NOISE_SECONDS
        await eventually(up(client, 1.0))


async def test_wrong_bytes_in_keys_are_misses_that_are_counted(upstream, redis):
    async with served(upstream, redis.url, redis_seconds=5) as one:
        await eventually(up(one, 1.0))
        await taken(one, 10, "garbled")

        async def are_stored():
            return len(await redis.ask("KEYS", CACHED)) == 10

        await eventually(are_stored)
    chance = random.Random(19)  # noqa: S311 -- the same bytes each time
    for key in await redis.ask("KEYS", CACHED):
        whole = await redis.ask("GET", key)
        place = chance.randrange(len(whole))
        flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        await redis.ask("SET", key, chance.choice([flipped, whole[:place], b""]), "EX", "99")

    async with served(upstream, redis.url, redis_seconds=5) as other:  # of the same secret
        await eventually(up(other, 1.0))
        await taken(other, 10, "garbled")
        assert await results(other) == {"error": 10}


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_wrong_bytes_on_the_wire_fail_nobody(upstream, seed):
    chance = random.Random(seed)  # noqa: S311 -- the same bytes each time

    async def says(reader, writer):
        """Greet as a Redis does, and then say anything."""
        async for words in commands(reader):
            known = {b"PING": b"+PONG\r\n", b"CLIENT": b"+OK\r\n"}
            writer.write(known.get(words[0]) or chance.choice(ANYTHING) + chance.randbytes(9))

    async with FalseRedis(says) as false, served(upstream, false.url) as client:
        well = await usual(client)

        times = await taken(client, 100, "anything")

        assert late(times) <= well + FIRST_SECONDS + NOISE_SECONDS
        assert "hit" not in await results(client)


ANYTHING = (
    b"+",
    b"-",
    b":",
    b"$",
    b"*",
    b"$5\r\n",
    b"*2\r\n",
    b"+OK\r\n",
    b"$-1\r\n",
    b"_\r\n",
    b"",
)


async def test_a_full_redis_fails_nobody(upstream, redis):
    await redis.ask("CONFIG", "SET", "maxmemory", "1")
    async with served(upstream, redis.url) as client:
        await eventually(up(client, 1.0))

        await hold(client, await usual(client), "full")


async def test_a_redis_of_5_s_latency_is_left_alone(upstream, redis):
    async with served(upstream, redis.url) as client:
        await eventually(up(client, 1.0))
        well = await usual(client)
        await redis.ask("CLIENT", "PAUSE", "5000", "ALL")

        await hold(client, well, "paused")
