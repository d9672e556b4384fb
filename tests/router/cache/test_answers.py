"""Memory in front of a real Redis: what is shared, what is a miss, and who waits for whom."""

import asyncio
import contextlib
import random

import pytest

from redises import RealRedis, eventually
from tiergarten_router.cache.answers import (
    ERROR,
    MISS,
    PREFIX,
    STORED_MAX,
    WRITES_MAX,
    Answers,
    Result,
)
from tiergarten_router.cache.entry import Entry, seal
from tiergarten_router.cache.key import Keys
from tiergarten_router.cache.memory import Memory
from tiergarten_router.metrics import Histogram
from tiergarten_router.store.address import parse
from tiergarten_router.store.client import Store

KEY = b"k" * 32
NAME = PREFIX + KEY.hex().encode()
ENTRY = Entry([b"data: x\n\n"], "q2", "tiny", 7, ("length",), 60.0)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def made(store=None, secret=b"secret", clock=None):
    seconds = Histogram("s", "", (1,), ("op",))
    clock = clock or asyncio.get_running_loop().time
    return Answers(Memory(1 << 20), store, Keys(secret).sealing, clock, seconds)


@contextlib.asynccontextmanager
async def storing(redis):
    store = Store(parse(redis.url), lambda: 0.0, 5)
    task = asyncio.create_task(store.run())
    try:
        await eventually(up(store))
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def up(store):
    async def is_up():
        return store.up

    return is_up


@pytest.fixture
async def redis(tmp_path):
    async with RealRedis(tmp_path) as running:
        yield running


async def written(answers):
    """Wait until all that was kept is shared."""
    await asyncio.gather(*answers._writes)


async def test_without_redis_an_entry_is_here_alone():
    answers = made()

    kept = answers.keep(KEY, ENTRY)

    assert answers.here(KEY) is kept
    assert await answers.shared(KEY) == MISS
    await answers.close()


async def test_what_one_router_keeps_another_finds_with_its_age_and_what_time_it_has_left(redis):
    async with storing(redis) as store:
        one, other = made(store), made(store, clock=Clock())
        one.keep(KEY, ENTRY)
        await written(one)
        await redis.ask("PEXPIRE", NAME, "20000")  # 40 of its 60 seconds are gone

        found = await other.shared(KEY)

        assert found.result is Result.HIT
        assert found.kept.entry == ENTRY
        assert found.kept.age(1000.0) in {40, 41, 42}
        assert 1000 < found.kept.until <= 1020
        assert other.here(KEY) is found.kept  # and needs Redis no more


async def test_what_is_not_there_is_a_miss_and_measured(redis):
    async with storing(redis) as store:
        answers = made(store)

        assert await answers.shared(KEY) == MISS
        assert "get" in {s.labels.get("op") for s in answers._seconds.family().samples}


async def test_a_router_with_another_secret_shares_nothing(redis):
    async with storing(redis) as store:
        one, other = made(store), made(store, b"other")
        one.keep(KEY, ENTRY)
        await written(one)

        assert await other.shared(KEY) == ERROR
        assert other.here(KEY) is None


@pytest.mark.parametrize(
    "command",
    [
        ("SET", NAME, b"foreign", "EX", "100"),
        ("SET", NAME, b"", "EX", "100"),
        ("SET", NAME, seal(ENTRY, b"x" * 32, Keys(b"secret").sealing), "EX", "100"),
        ("SET", NAME, seal(ENTRY, KEY, Keys(b"secret").sealing)),  # nobody said for how long
        ("LPUSH", NAME, b"another type"),
    ],
)
async def test_what_is_none_of_ours_is_a_miss_that_is_counted(redis, command):
    async with storing(redis) as store:
        answers = made(store)
        await redis.ask(*command)

        assert await answers.shared(KEY) == ERROR


async def test_a_redis_that_is_gone_is_a_miss_that_is_counted(redis):
    async with storing(redis) as store:
        answers = made(store)
        await redis.kill()
        answers.keep(KEY, ENTRY)

        assert await answers.shared(KEY) == ERROR
        assert answers.here(KEY) is not None
        await written(answers)
        await answers.close()


async def test_a_full_redis_costs_nothing(redis):
    async with storing(redis) as store:
        answers = made(store)
        await redis.ask("CONFIG", "SET", "maxmemory", "1")

        answers.keep(KEY, ENTRY)
        await written(answers)

        assert await redis.ask("EXISTS", NAME) == 0
        assert store.up


async def test_an_entry_that_is_too_large_is_not_shared(redis):
    async with storing(redis) as store:
        answers = made(store)
        noise = random.Random(7).randbytes(STORED_MAX)  # noqa: S311 -- what does not compress

        answers.keep(KEY, Entry([noise], "q2", "tiny", 7, (), 60.0))
        await written(answers)

        assert await redis.ask("EXISTS", NAME) == 0


async def test_writes_that_are_under_way_are_bounded_and_given_up_at_the_end(redis):
    async with storing(redis) as store:
        answers = made(store)
        redis.freeze()
        for number in range(2 * WRITES_MAX):
            answers.keep(b"%032d" % number, ENTRY)

        assert len(answers._writes) == WRITES_MAX
        await answers.close()
        assert not answers._writes


async def test_who_waits_gets_the_answer_of_the_first_one():
    answers = made()
    flight = answers.lead(KEY)
    assert answers.flight(KEY) is flight
    waiting = [asyncio.create_task(flight.wait(20)) for _ in range(3)]
    await asyncio.sleep(0)

    kept = answers.keep(KEY, ENTRY)
    flight.land(kept)
    flight.land(None, left=True)

    assert await asyncio.gather(*waiting) == [kept] * 3
    assert answers.flight(KEY) is None
    assert not flight.left


async def test_who_waits_is_told_that_there_is_no_answer_and_why():
    answers = made()
    flight = answers.lead(KEY)
    waiting = asyncio.create_task(flight.wait(20))
    await asyncio.sleep(0)

    flight.land(None, left=True)

    assert await waiting is None
    assert flight.left


async def test_nobody_waits_longer_than_it_wants_to():
    answers = made()
    flight = answers.lead(KEY)

    assert await flight.wait(0.001) is None

    assert answers.flight(KEY) is flight  # the others may go on waiting
    flight.land(None)
