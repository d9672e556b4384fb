"""The store against a real Redis that works, is refused, frozen, flapping, and one that lies."""

import asyncio
import contextlib
import time

import pytest
import structlog

from redises import FalseRedis, RealRedis, eventually, replies
from tiergarten_router.store.client import Script, State, entries
from tiergarten_router.store.failures import Refused, Unavailable
from tiergarten_router.store.lane import CALL_SECONDS

SCRIPT = Script("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}")


@pytest.fixture
async def redis(tmp_path):
    async with RealRedis(tmp_path) as running:
        yield running


async def waited(store, calls=1):
    """Return the longest of some calls in a row that all fail, in seconds."""
    longest = 0.0
    for _ in range(calls):
        began = time.perf_counter()
        with pytest.raises(Unavailable):
            await store.get(b"key")
        longest = max(longest, time.perf_counter() - began)
    return longest


def tried_again(false):
    async def tried():
        return false.connections > 1

    return tried


async def test_values_are_kept_for_their_time(redis, keeps, until):
    async with keeps(redis.url) as store:
        await until(store, up=True)
        assert await store.get(b"key") is None

        await store.set(b"key", b"\x00value", 100)
        await store.set(b"short", b"value", 0.0001)

        assert await store.get(b"key") == b"\x00value"
        assert 99 <= await redis.ask("TTL", "key") <= 100
        async with asyncio.timeout(10):
            while await store.get(b"short") is not None:  # a millisecond
                pass


async def test_many_calls_share_one_connection_and_each_gets_its_own_reply(redis, keeps, until):
    async with keeps(redis.url) as store:
        await until(store, up=True)
        numbers = range(500)

        await asyncio.gather(*(store.set(b"%d" % n, b"v%d" % n, 60) for n in numbers))
        values = await asyncio.gather(*(store.get(b"%d" % n) for n in numbers))

        assert values == [b"v%d" % n for n in numbers]
        clients = (await redis.ask("CLIENT", "LIST")).splitlines()
        assert len(clients) == 2  # ours, and the one that asks


async def test_a_call_that_is_given_up_takes_nobodys_reply(redis, keeps, until):
    async with keeps(redis.url) as store:
        await until(store, up=True)
        await store.set(b"mine", b"mine", 60)
        await store.set(b"yours", b"yours", 60)

        calls = [asyncio.create_task(store.get(b"mine")) for _ in range(10)]
        await asyncio.sleep(0)  # sent, not answered
        calls[3].cancel()
        yours = await store.get(b"yours")

        assert yours == b"yours"
        assert [c for c in calls if not c.cancelled() and await c != b"mine"] == []


async def test_a_script_is_sent_whole_only_when_it_is_unknown(redis, keeps, until):
    async with keeps(redis.url) as store:
        await until(store, up=True)

        assert await store.eval(SCRIPT, [b"n"], "x") == [b"n", b"x", 1]
        assert await store.eval(SCRIPT, [b"n"], "x") == [b"n", b"x", 2]
        await redis.ask("SCRIPT", "FLUSH")
        assert await store.eval(SCRIPT, [b"n"], "x") == [b"n", b"x", 3]


async def test_an_error_of_redis_is_refused_by_its_kind_and_breaks_nothing(redis, keeps, until):
    async with keeps(redis.url) as store:
        await until(store, up=True)
        await store.set(b"text", b"x", 60)

        with pytest.raises(Refused, match="refused the command: ") as refused:
            await store.call("LPUSH", b"text", b"prompt")
        with pytest.raises(Refused, match="ResponseError"):
            await store.eval(Script("return redis.call('LPUSH', KEYS[1], 'prompt')"), [b"text"])

        assert "prompt" not in str(refused.value)
        assert store.up
        assert await store.get(b"text") == b"x"


async def test_the_entries_of_a_stream_come_in_order(redis, keeps, until):
    async with keeps(redis.url) as store:
        await until(store, up=True)
        for number in (1, 2, 3):
            await store.call("XADD", b"s", f"{number}-0", "n", number)

        assert await store.xrange(b"s", "(1-0", count=1) == [(b"2-0", {b"n": b"2"})]
        assert [ident for ident, _ in await store.xrange(b"s")] == [b"1-0", b"2-0", b"3-0"]


async def test_without_a_server_every_call_fails_at_once(keeps, redis):
    await redis.kill()

    async with keeps(redis.url) as store:
        assert await waited(store, 100) < 0.05

        assert not store.up


async def test_a_server_that_comes_is_found_and_one_that_goes_is_missed(redis, keeps, until):
    await redis.kill()
    told: list[bool] = []
    async with keeps(redis.url) as store:
        store.listeners.append(told.append)
        with structlog.testing.capture_logs() as logs:
            await waited(store)
            await redis.start()
            began = time.perf_counter()
            await until(store, up=True)
            assert time.perf_counter() - began < 5
            assert (store.state, store.why) == (State.CLOSED, "")

            await redis.kill()
            await until(store, up=False)

            await waited(store)
        assert store.state is not State.CLOSED

    assert told == [True, False]
    events = [line["event"] for line in logs]
    assert [event for event in events if event == "redis_up"] == ["redis_up"]
    assert "redis_failed" not in events


async def test_a_frozen_server_costs_the_first_calls_50_ms_and_the_next_ones_nothing(
    redis, keeps, until
):
    async with keeps(redis.url, CALL_SECONDS) as store:
        await until(store, up=True)
        redis.freeze()

        first = await waited(store, 5)
        assert 0.04 < first < 1  # the machine may be busy
        await until(store, up=False)
        assert store.why == "Redis is silent"
        assert await waited(store, 100) < 0.05

        redis.thaw()
        began = time.perf_counter()
        await until(store, up=True)
        assert time.perf_counter() - began < 5


async def test_calls_that_are_under_way_when_it_freezes_all_end(redis, keeps, until):
    async with keeps(redis.url, CALL_SECONDS) as store:
        await until(store, up=True)
        redis.freeze()

        async with asyncio.timeout(10):
            ends = await asyncio.gather(
                *(store.get(b"k") for _ in range(2000)), return_exceptions=True
            )

        assert {type(end) for end in ends} == {Unavailable}
        assert "too many calls" in str(ends[-1])


async def test_a_flapping_server_is_used_whenever_it_is_there(redis, keeps, until):
    async with keeps(redis.url) as store:
        for _ in range(3):
            await until(store, up=True)
            await store.set(b"key", b"value", 60)
            await redis.kill()
            await until(store, up=False)
            await redis.start()


@pytest.mark.parametrize(
    "reply",
    [
        *(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n", b":1\r\n", b"\x00\xff\xfe"),
        *(b"-\xff\xff\r\n", b"$99999999999999999999\r\n"),
    ],
)
async def test_what_is_no_redis_is_never_up(keeps, reply):
    async with FalseRedis(replies(reply)) as false, keeps(false.url, CALL_SECONDS) as store:
        await eventually(tried_again(false))

        assert not store.up
        assert await waited(store, 10) < 1


@pytest.mark.parametrize(
    "reply",
    [
        *(b"garbage\r\n", b"$5\r\nab\r\n\r\n\r\n", b"*-7\r\n", b"\r\n", b"+a\r\n+b\r\n"),
        b"-LOADING x\r\n",
    ],
)
async def test_wrong_bytes_break_the_connection_and_a_new_one_is_made(keeps, until, reply):
    async with (
        FalseRedis(replies(b"+PONG\r\n", reply)) as false,
        keeps(false.url, CALL_SECONDS) as store,
    ):
        await until(store, up=True)

        async def asks():
            with contextlib.suppress(Unavailable, Refused):
                await store.get(b"key")
            return false.connections > 1

        await eventually(asks)
        await until(store, up=True)


async def test_an_error_of_wrong_bytes_is_an_error_all_the_same(keeps, until):
    async with FalseRedis(replies(b"+PONG\r\n", b"-\xff\r\n")) as false, keeps(false.url) as store:
        await until(store, up=True)

        with pytest.raises(Refused, match="ResponseError"):
            await store.get(b"key")

        assert store.up


async def test_a_value_that_is_no_value_is_none(keeps, until):
    async with FalseRedis(replies(b"+PONG\r\n", b":7\r\n")) as false, keeps(false.url) as store:
        await until(store, up=True)

        assert await store.get(b"key") is None


async def test_a_listener_that_fails_is_logged_and_the_store_goes_on(redis, keeps, until):
    async with keeps(redis.url) as store:
        raised: list[bool] = []

        def fails(up):
            if not raised:
                raised.append(up)
                raise KeyError("listener")

        store.listeners.append(fails)
        with structlog.testing.capture_logs() as logs:
            await until(store, up=True)

            async def is_back():
                return raised and store.up

            await eventually(is_back)

    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["redis_failed"]


@pytest.mark.parametrize("reply", [7, [7], [(b"1-0", [b"odd"])], [(b"1-0", None)], None])
def test_what_are_no_entries_is_told(reply):
    with pytest.raises(Unavailable, match="none of a stream"):
        entries(reply)
