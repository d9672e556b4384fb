"""The bus: what is told reaches subscribers before the router ends."""

from subscribing import Side, event
from tiergarten_router.events import bus


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
