"""Answers that are kept: bounds, readers, and a Redis that comes and goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redises import RealRedis, eventually
from subscribing import storing
from tiergarten_router.events import answers
from tiergarten_router.events.answers import ANSWER_BYTES, TOTAL_BYTES, Answers, Kept, Part
from tiergarten_router.store.client import Store


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def keeping(
    store: Store | None, clock: Clock | None = None, patience: float = 60
) -> AsyncIterator[Answers]:
    """Run the answers of a router."""
    made = Answers(store, patience, clock or asyncio.get_running_loop().time)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def read(made: Answers, ident: str, after: int = 0) -> list[bytes]:
    """Return all pieces of an answer, which must end."""
    parts: list[Part] = []
    async with asyncio.timeout(20):
        parts += [part async for part in made.read(ident, after)]
    assert [part.ended for part in parts] == [False] * (len(parts) - 1) + [True]
    return [piece for part in parts for piece in part.pieces]


def filled(kept: Kept, *pieces: bytes) -> None:
    """Write an answer to its end."""
    for piece in pieces:
        kept.write(piece)
    kept.finish()


async def test_readers_get_the_same_pieces_whenever_they_come() -> None:
    async with keeping(None) as made:
        kept = made.begin()
        early = asyncio.create_task(read(made, kept.id))
        await asyncio.sleep(0)
        filled(kept, b"a", b"b", b"c")

        assert await early == [b"a", b"b", b"c"]
        assert await read(made, kept.id, 2) == [b"c"]
        assert await read(made, kept.id, 9) == []


async def test_another_replica_reads_while_it_is_written_and_is_noticed(redis: RealRedis) -> None:
    async with (
        storing(redis) as store,
        storing(redis) as other,
        keeping(store) as here,
        keeping(other) as there,
    ):
        kept = here.begin()
        kept.write(b"a")

        async def known() -> bool:
            return kept.flushed == 1

        async def noticed() -> bool:
            kept.write(b"b")
            return kept.read_elsewhere_at > 0

        await eventually(known)
        reading = asyncio.create_task(read(there, kept.id))
        await eventually(noticed)
        filled(kept, b"c")

        assert await reading == kept.pieces
        assert await read(there, kept.id, len(kept.pieces)) == []


async def test_what_redis_missed_for_a_while_it_gets_later(redis: RealRedis) -> None:
    async with storing(redis) as store, keeping(store) as here:
        kept = here.begin()
        redis.freeze()
        kept.write(b"a")
        await asyncio.sleep(0.15)  # until a call has been late
        redis.thaw()
        filled(kept, b"b")

        async def flushed() -> bool:
            return kept.flushed == 3

        await eventually(flushed)
        async with storing(redis) as other, keeping(other) as there:
            assert await read(there, kept.id) == [b"a", b"b"]


async def test_an_unknown_answer_is_nothing(redis: RealRedis) -> None:
    async with storing(redis) as store, keeping(store) as there, keeping(None) as alone:
        assert [part async for part in there.read("0" * 32, 0)] == []
        assert [part async for part in alone.read("0" * 32, 0)] == []


async def test_old_and_large_answers_are_forgotten() -> None:
    clock = Clock()
    made = Answers(None, 60, clock)
    old, new = made.begin(), made.begin()
    filled(old, b"a")
    clock.now += answers.KEPT_SECONDS + 1
    filled(new, b"b")

    made.tidy()
    assert [part async for part in made.read(old.id, 0)] == []
    assert await read(made, new.id) == [b"b"]
    large = [made.begin() for _ in range(TOTAL_BYTES // ANSWER_BYTES + 1)]
    for kept in large:
        filled(kept, b"x" * (ANSWER_BYTES + 1))
    made.tidy()

    assert large[0].overflows
    assert [part async for part in made.read(new.id, 0)] == []
    assert len(await read(made, large[-1].id)) == 1


async def test_a_writer_without_readers_is_ended_in_time_and_with_one_it_is_not() -> None:
    async with keeping(None, patience=0.05) as made:
        ended = asyncio.Event()

        async def writes() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        kept = made.begin()
        made.write(kept, writes())
        kept.write(b"a")
        reader, other = made.read(kept.id, 0), made.read(kept.id, 0)
        assert (await anext(reader)).pieces == [b"a"]
        assert (await anext(other)).pieces == [b"a"]
        await reader.aclose()
        await asyncio.sleep(0.15)  # longer than its patience
        assert not ended.is_set()

        await other.aclose()
        async with asyncio.timeout(10):
            await ended.wait()


async def test_a_reader_elsewhere_keeps_it_alive_for_a_while() -> None:
    loop = asyncio.get_running_loop()
    async with keeping(None, patience=0.1) as made:
        kept = made.begin()
        task = made.write(kept, asyncio.Event().wait())  # type: ignore[arg-type]  # what it returns is not read
        kept.write(b"a")
        begin = loop.time()
        kept.read_elsewhere_at = begin + 0.1
        reader = made.read(kept.id, 0)
        await anext(reader)
        await reader.aclose()
        await asyncio.wait({task}, timeout=10)

    assert task.cancelled()
    assert loop.time() - begin >= 0.19


async def test_an_answer_whose_router_is_gone_ends_without_an_end(redis: RealRedis) -> None:
    clock = Clock()
    async with storing(redis) as store, keeping(store, clock) as there:
        await redis.ask("XADD", "tiergarten:{answer:" + "0" * 32 + "}:events", "1-0", "e", "a")
        parts = there.read("0" * 32, 0)
        assert await anext(parts) == Part([b"a"], ended=False)
        clock.now += answers.SILENT_SECONDS + 1

        assert [part async for part in parts] == []


async def test_a_redis_that_is_away_is_waited_for(redis: RealRedis) -> None:
    clock = Clock()
    async with storing(redis) as store, keeping(store, clock) as there:
        await redis.kill()
        reading = asyncio.create_task(anext(there.read("0" * 32, 0), None))
        await asyncio.sleep(0.2)  # until it has tried
        clock.now += answers.SILENT_SECONDS + 1

        assert await reading is None
