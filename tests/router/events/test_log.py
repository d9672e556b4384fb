"""What every log promises, in memory and in Redis; and what only memory does."""

import asyncio

import pytest

from subscribing import Side, event, side
from tiergarten_router.events.log import (
    MARK_SECONDS,
    WINDOW_SECONDS,
    MemoryLog,
    Page,
    Position,
    Span,
    outside,
)
from tiergarten_router.events.messages import Reset


async def test_pages_follow_each_other_until_the_end(one: Side) -> None:
    place = await one.appended(25)

    found = await one.bus.log.page(Position(place.epoch, 0), 10)
    assert isinstance(found, Page)
    assert (found.first, len(found.payloads), found.end) == (1, 10, Position(place.epoch, 10))
    rest = await one.bus.log.page(found.end)
    assert isinstance(rest, Page)
    assert (rest.first, rest.end) == (11, place)
    nothing = await one.bus.log.page(place)
    assert nothing == Page(place.epoch, 26, [])
    assert nothing.end == place


async def test_the_same_event_is_the_same_bytes_each_time(one: Side) -> None:
    place = await one.appended(3)

    pages = [await one.bus.log.page(Position(place.epoch, 0)) for _ in range(2)]

    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (Position("e", 3), ""),
        (Position("e", 9), ""),
        (Position("e", 2), "window"),
        (Position("e", 10), "future"),
        (Position("f", 5), "epoch"),
    ],
)
def test_what_is_not_all_held_has_a_reason(after: Position, reason: str) -> None:
    found = outside(after, Span("e", 4, 9))

    assert found == (Reset("e", 9, reason) if reason else None)


async def test_flushing_waits_until_listeners_have_been_told(one: Side) -> None:
    taker = await one.subscribe()
    one.tells(700)

    async with asyncio.timeout(20):
        await one.bus.log.flush()

    assert taker.seqs == list(range(1, 701))


async def test_memory_forgets_what_is_older_than_the_window() -> None:
    now = 0.0
    log = MemoryLog("router-a", lambda: now)
    for age in range(3):
        for number in range(10):
            log.append(event(10 * age + number))
        log.forget()
        now += WINDOW_SECONDS / 2 + 1

    log.forget()
    held = await log.span()

    assert (held.first, held.last) == (21, 30)
    now += WINDOW_SECONDS
    log.forget()
    assert (await log.span()).first == 31
    assert MARK_SECONDS < WINDOW_SECONDS / 10


async def test_a_listener_that_memory_outruns_is_told() -> None:
    loop = asyncio.get_running_loop()
    log = MemoryLog("router-a", loop.time)
    async with side(log) as one:
        taker = await one.subscribe()
        for _ in range(11_000):  # in one turn of the loop, more than the window holds
            log.append(event())
        await taker.until(lambda: taker.of("reset"))
        one.tells(1)
        await taker.until_seq(11_001)

    assert taker.of("reset")[0]["reason"] == "window"
