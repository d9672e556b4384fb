"""A follower waits for entries on a connection of its own, and never longer than it was told."""

import asyncio

import pytest

from redises import FalseRedis, RealRedis, commands, eventually
from tiergarten_router.store.failures import Refused, Unavailable
from tiergarten_router.store.follower import entries


async def test_new_entries_wake_a_reader_that_blocks(tmp_path, keeps, until):
    async with RealRedis(tmp_path) as redis, keeps(redis.url) as store:
        await until(store, up=True)
        async with store.follower() as reader:
            reading = asyncio.create_task(reader.xread({b"s": "0"}, 30))

            async def is_blocked():
                return (await redis.ask("INFO", "clients"))["blocked_clients"] == 1

            await eventually(is_blocked)

            await store.call("XADD", b"s", "1-0", "a", "b")

            assert await reading == {b"s": [(b"1-0", {b"a": b"b"})]}
            assert await reader.xread({b"s": "1-0"}, 0) == {}
            with pytest.raises(Refused):
                await reader.xread({b"s": "no id"}, 0.001)


async def test_a_reader_whose_server_ends_is_told(tmp_path, keeps, until):
    async with RealRedis(tmp_path) as redis, keeps(redis.url) as store:
        await until(store, up=True)
        async with store.follower() as reader:
            reading = asyncio.create_task(reader.xread({b"s": "$"}, 30))
            await asyncio.sleep(0)
            await redis.kill()

            with pytest.raises(Unavailable, match="lost"):
                await reading
            with pytest.raises(Unavailable):
                await reader.xread({b"s": "$"}, 0.001)


async def test_a_reader_whose_server_is_frozen_waits_a_second_longer_and_no_more(
    tmp_path, keeps, until
):
    async with RealRedis(tmp_path) as redis, keeps(redis.url) as store:
        await until(store, up=True)
        async with store.follower() as reader:
            redis.freeze()

            async with asyncio.timeout(20):
                with pytest.raises(Unavailable, match="TimeoutError"):
                    await reader.xread({b"s": "$"}, 0.001)


async def test_a_follower_that_cannot_connect_is_told(keeps, until):
    async def once(reader, writer):
        """Be a Redis for one connection, and nothing for the others."""
        async for words in commands(reader):
            known = words[0] in {b"PING", b"CLIENT"} and false.connections == 1
            writer.write(b"+PONG\r\n" if known else b"!\r\n")

    async with FalseRedis(once) as false, keeps(false.url) as store:
        await until(store, up=True)

        with pytest.raises(Unavailable, match="cannot be reached"):
            async with store.follower():
                pass


@pytest.mark.parametrize("reply", [7, [7], [(b"1-0", [b"odd"])], [(b"1-0", None)], None])
def test_what_are_no_entries_is_told(reply):
    with pytest.raises(Unavailable, match="none of a stream"):
        entries(reply)


async def test_a_reply_that_is_none_of_a_stream_is_told(keeps, until):
    async def says(reader, writer):
        async for words in commands(reader):
            writer.write(b":7\r\n" if words[0] == b"XREAD" else b"+PONG\r\n")

    async with FalseRedis(says) as false, keeps(false.url) as store:
        await until(store, up=True)
        async with store.follower() as reader:
            with pytest.raises(Unavailable, match="none of a stream"):
                await reader.xread({b"s": "0"}, 0.001)
