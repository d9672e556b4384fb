"""The bus: what is told reaches subscribers before the router ends."""

import asyncio

from subscribing import Side, event, side
from tiergarten_router.events import bus
from tiergarten_router.events.hub import Start
from tiergarten_router.events.log import Listener, MemoryLog, Position


async def test_the_last_events_are_told_before_subscribers_are_let_go(one: Side) -> None:
    taker = await one.subscribe()

    one.tells(5)
    await one.bus.close(10)

    assert taker.seqs == [1, 2, 3, 4, 5]
    assert taker.closed == (1012, "the router is stopping")


async def test_closing_does_not_wait_for_ever(one: Side) -> None:
    taker = await one.subscribe()
    one.tells(5)

    await one.bus.close(0)

    assert taker.closed is not None


def test_who_listens_to_nobody_is_told_nothing() -> None:
    assert bus.ignore(event()) is None  # type: ignore[func-returns-value]  # that is what is asserted


class Faulty(MemoryLog):
    """A log with a fault of ours in it."""

    faults = 1

    async def run(self, listener: Listener) -> None:
        if self.faults:
            self.faults -= 1
            await self._new.wait()
            raise ZeroDivisionError
        await super().run(listener)


async def test_a_fault_of_ours_costs_subscribers_a_reconnection_and_nobody_else_anything() -> None:
    async with side(Faulty("router-a", asyncio.get_running_loop().time)) as one:
        begin = Position((await one.bus.log.span()).epoch, 0)
        taker = await one.subscribe(Start(begin), joins=False)
        await taker.until(lambda: taker.closed)
        one.tells(2)
        again = await one.subscribe(Start(begin), joins=False)
        await again.until_seq(2)

    assert taker.closed == (1011, "the router failed")
    assert again.seqs == [1, 2]
