"""The log in a real Redis: one script, its bounds, and what it does with what is not its own."""

import asyncio
from functools import partial

import pytest

from redises import RealRedis, eventually
from subscribing import Taker, event, redis_log, side, store_of, storing
from tiergarten_router.events.hub import Start
from tiergarten_router.events.log import WINDOW_EVENTS, LogDown, Page, Position
from tiergarten_router.events.redis_log import PENDING_MAX, TURN_EVENTS
from tiergarten_router.events.subscribers import Filter

STREAM = "tiergarten:{events}:stream"
PLACE = "tiergarten:{events}:place"


def has(taker: Taker, count: int) -> bool:
    """Return whether so many events have come."""
    return len(taker.numbers) >= count


async def test_a_turn_adds_and_reads_in_one_go_and_returns_what_was_kept(redis: RealRedis) -> None:
    async with storing(redis) as store:
        log = redis_log(store)
        first = await log.turn([b'{"type":"1"}', b'{"type":"2"}'])
        both = await log.turn([b'{"type":"3"}'], Position(first.held.epoch, 1), 10)

    assert (first.held.first, first.held.last, first.payloads) == (1, 2, [])
    assert both.payloads == [b'{"type":"2"}', b'{"type":"3"}']
    assert both.held.last == 3
    assert await redis.ask("XLEN", STREAM) == 3


async def test_a_start_before_its_connection_is_up_goes_on_in_the_same_epoch(
    redis: RealRedis,
) -> None:
    async with storing(redis) as store:
        before = await redis_log(store).turn([b"{}"])
    late = store_of(redis)

    async with side(redis_log(late, "router-b")) as here:
        here.tells(1)
        await asyncio.sleep(0.1)  # until it has tried a few times
        async with storing(redis, late):
            await eventually(lambda: _is_last(redis, b"2"))
            held = await redis_log(late).span()

    assert held.epoch == before.held.epoch


async def _is_last(redis: RealRedis, seq: bytes) -> bool:
    return bool(await redis.ask("HGET", PLACE, "seq") == seq)


async def test_sequences_beyond_what_lua_prints_exactly_go_on_by_one(redis: RealRedis) -> None:
    async with storing(redis) as store:
        log = redis_log(store)
        await log.turn([b"{}"])
        await redis.ask("HSET", PLACE, "seq", str(10**15))
        found = await log.turn([b"{}", b"{}"])
        page = await log.page(Position(found.held.epoch, 10**15))

    assert found.held.last == 10**15 + 2
    assert isinstance(page, Page)
    assert len(page.payloads) == 2


async def test_the_window_is_bounded_by_number(redis: RealRedis) -> None:
    async with storing(redis) as store:
        log = redis_log(store)
        for _ in range(0, WINDOW_EVENTS + 2000, 1000):
            await log.turn([b"{}"] * 1000)
        held = await log.span()

    assert WINDOW_EVENTS <= held.last - held.first + 1 <= WINDOW_EVENTS + 200


async def test_the_window_is_bounded_by_time(redis: RealRedis) -> None:
    async with storing(redis) as store:
        log = redis_log(store)
        epoch = (await log.turn([b"{}"])).held.epoch
        await redis.ask("DEL", STREAM)
        for seq in range(1, 251):  # as if added at the beginning of 1970
            await redis.ask("XADD", STREAM, f"{seq}-1000", "e", "{}")
        await redis.ask("HSET", PLACE, "seq", "250")
        held = (await log.turn([b"{}"])).held

    assert (held.epoch, held.first, held.last) == (epoch, 251, 251)


@pytest.mark.parametrize("key", [STREAM, PLACE])
async def test_foreign_data_under_our_keys_is_an_outage_and_no_fault(
    redis: RealRedis, key: str
) -> None:
    async with storing(redis) as store:
        log = redis_log(store)
        await log.turn([b"{}"])
        await redis.ask("DEL", key)
        await redis.ask("SET", key, b"\x00garbage")

        with pytest.raises(LogDown):
            await log.turn([b"{}"], Position("e", 0), 10)


async def test_foreign_entries_are_no_fault(redis: RealRedis) -> None:
    async with storing(redis) as store:
        log = redis_log(store)
        held = (await log.turn([b"{}"])).held
        await redis.ask("XADD", STREAM, "2-1", "x", b"\xff\x00")
        await redis.ask("HSET", PLACE, "seq", "2")
        async with side(log) as one:
            taker = await one.subscribe(Start(Position(held.epoch, 1)))
            filtered = await one.subscribe(Start(Position(held.epoch, 0)), Filter(("query.",)))
            one.tells(1)
            await taker.until_seq(3)
            await filtered.until_seq(3)

    assert taker.of("unknown")[0]["seq"] == 2
    assert filtered.seqs == [3]


async def test_more_than_it_may_hold_back_is_dropped_and_told(redis: RealRedis) -> None:
    async with storing(redis) as store, side(redis_log(store)) as one:
        taker = await one.subscribe()

        one.tells(PENDING_MAX + 1)
        await taker.until(lambda: taker.of("reset"))
        await taker.until(lambda: taker.numbers and taker.numbers[-1] == PENDING_MAX + 1)

    assert taker.of("reset")[0]["reason"] == "outage"


async def test_what_is_appended_while_nobody_listens_is_kept(redis: RealRedis) -> None:
    async with storing(redis) as store, side(redis_log(store)) as one:
        for number in range(2 * TURN_EVENTS + 1):
            one.tell(event(number))

        async def all_kept() -> bool:
            return bool(await redis.ask("XLEN", STREAM) == 2 * TURN_EVENTS + 1)

        await eventually(all_kept)


async def test_a_late_reply_to_a_mere_look_is_no_outage(redis: RealRedis) -> None:
    async with storing(redis) as store, side(redis_log(store)) as one:
        taker = await one.subscribe()

        redis.freeze()
        await asyncio.sleep(0.08)  # longer than one call may take, shorter than three
        redis.thaw()
        await asyncio.sleep(0.1)
        one.tells(1)
        await taker.until(lambda: taker.numbers)

    assert taker.numbers == [1]


async def test_a_redis_that_takes_no_more_is_an_outage_and_ends_with_it(redis: RealRedis) -> None:
    async with storing(redis) as store, side(redis_log(store)) as one:
        taker = await one.subscribe()
        await redis.ask("CONFIG", "SET", "maxmemory", "1")
        one.tells(1)
        await taker.until(lambda: taker.numbers == [1])

        await redis.ask("CONFIG", "SET", "maxmemory", "0")
        await taker.until(lambda: taker.of("reset"))
        one.tells(1)
        await taker.until(lambda: taker.numbers == [1, 2])

    assert taker.messages[-1].get("seq")


async def test_a_turn_that_is_tried_again_adds_nothing_twice(redis: RealRedis) -> None:
    async with storing(redis) as store:
        log = redis_log(store)
        first = await log.turn([b"{}"], number="1", begins=True)
        again = await log.turn([b"{}"], number="1", begins=True)
        other = await redis_log(store, "router-b").turn([b"{}"], number="1")

    assert again.held == first.held
    assert (other.held.epoch, other.held.last) == (first.held.epoch, 2)


async def test_a_late_reply_loses_nothing_and_repeats_nothing(redis: RealRedis) -> None:
    async with storing(redis) as store, side(redis_log(store)) as one:
        taker = await one.subscribe()
        for turn in range(5):
            redis.freeze()
            one.tells(2)
            await asyncio.sleep(0.08)  # longer than one call may take, shorter than three
            redis.thaw()
            await taker.until(partial(has, taker, 2 * turn + 2))
        held = await one.bus.log.span()

    if not taker.of("reset"):  # a machine under load may make it an outage all the same
        assert taker.seqs == list(range(1, 11))
        assert held.last == 10


async def test_flushing_ends_without_redis_too(redis: RealRedis) -> None:
    async with storing(redis) as store, side(redis_log(store)) as one:
        await redis.kill()
        one.tells(1)

        async with asyncio.timeout(10):
            await one.bus.log.flush()
