"""Heartbeats are spread over their interval, and answers are due before the next one."""

from subscribing import EVERYTHING, Taker, lines
from tiergarten_router.events.heartbeats import PONG_SLOTS, SLOTS, Wheel
from tiergarten_router.events.subscribers import NO_PONG, Subscriber


def made() -> tuple[Subscriber, Taker]:
    taker = Taker()
    return Subscriber(EVERYTHING, lines, taker, lambda: 0.0, lambda: None), taker


def test_each_has_its_turn_once_in_an_interval_and_no_moment_has_many() -> None:
    wheel = Wheel()
    subscribers = [made()[0] for _ in range(3 * SLOTS)]
    for subscriber in subscribers:
        wheel.add(subscriber)
        wheel.add(subscriber)  # moves it, if at all

    turns = [wheel.turn() for _ in range(SLOTS)]

    assert max(map(len, turns)) <= 4
    assert {one for turn in turns for one in turn} == set(subscribers)
    assert sum(map(len, turns)) == len(subscribers)
    for subscriber in subscribers:
        wheel.discard(subscriber)
    assert not any(wheel.turn() for _ in range(SLOTS))


def test_one_that_does_not_answer_is_ended_when_its_answer_is_due() -> None:
    wheel = Wheel()
    subscriber, taker = made()
    wheel.add(subscriber)
    while subscriber not in wheel.turn():
        pass
    taker.pongs = False

    for _ in range(PONG_SLOTS - 1):
        wheel.turn()
    assert taker.closed is None
    wheel.turn()

    assert taker.closed == (NO_PONG, "no pong")
