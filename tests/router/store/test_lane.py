"""One connection for all: what goes out together, and what it bounds."""

import asyncio

import pytest

from redises import FalseRedis, RealRedis, commands
from tiergarten_router.store.address import parse
from tiergarten_router.store.connections import connect
from tiergarten_router.store.failures import Unavailable
from tiergarten_router.store.lane import OUTBOX_BYTES, Pipeline


async def test_calls_of_one_turn_go_out_together():
    sizes = []

    async def says(reader, writer):
        async for words in commands(reader):
            if words[0] == b"GET":
                sizes.append(len(reader._buffer))
            writer.write(b"+PONG\r\n" if words[0] == b"PING" else b"$1\r\nv\r\n")

    async with FalseRedis(says) as false:
        lane = Pipeline(await connect(parse(false.url)))

        values = await asyncio.gather(*(lane.execute("GET", b"key") for _ in range(20)))

        assert values == [b"v"] * 20
        assert sizes[0] > 15 * len(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n")  # the others came with it
        await lane.close()
        with pytest.raises(Unavailable, match="was left"):
            await lane.execute("PING")


async def test_bytes_that_nobody_takes_are_bounded(tmp_path):
    async with RealRedis(tmp_path) as redis:
        lane = Pipeline(await connect(parse(redis.url)))
        redis.freeze()
        value = b"x" * (OUTBOX_BYTES // 4)

        ends = await asyncio.gather(
            *(lane.execute("SET", b"key", value) for _ in range(40)), return_exceptions=True
        )

        assert {str(end) for end in ends} >= {"too many calls wait for Redis"}
        assert sum("too many" in str(end) for end in ends) >= 35
        assert lane.why == "Redis is silent"
        await lane.close()


async def test_a_reply_that_nobody_asked_for_breaks_the_lane():
    async def says(reader, writer):
        async for words in commands(reader):
            writer.write(b"+PONG\r\n" if words[0] != b"GET" else b"$1\r\na\r\n$1\r\nb\r\n")

    async with FalseRedis(says) as false:
        lane = Pipeline(await connect(parse(false.url)))

        assert await lane.execute("GET", b"key") == b"a"
        async with asyncio.timeout(20):
            await lane.run()

        with pytest.raises(Unavailable, match="was lost"):
            await lane.execute("GET", b"key")
        await lane.close()


async def test_a_connection_that_ends_while_it_is_written_to_breaks_the_lane(tmp_path):
    async with RealRedis(tmp_path) as redis:
        lane = Pipeline(await connect(parse(redis.url)))
        await redis.kill()

        with pytest.raises(Unavailable):
            await asyncio.gather(*(lane.execute("GET", b"key") for _ in range(3)))

        await lane.run()
        await lane.close()
