"""Each message is made once, however many want it."""

from subscribing import EVERYTHING, Taker, event, lines
from tiergarten_router.events import kinds, messages
from tiergarten_router.events.batches import Batch
from tiergarten_router.events.log import Position
from tiergarten_router.events.subscribers import Filter, Subscriber

BODIES = [
    messages.envelope("router-a", kinds.encode(event(number, tier)))
    for number, tier in ((1, "q2"), (2, "q4"), (3, "q2"))
]


def test_a_group_gets_the_same_bytes_and_each_message_is_shaped_once() -> None:
    shaped: list[Position | None] = []

    def shape(body: bytes, position: Position | None) -> bytes:
        shaped.append(position)
        return lines(body, position)

    batch = Batch(BODIES, "e", 5)
    all_of_it = batch.chunk((shape, EVERYTHING))
    some = batch.chunk((shape, Filter(tier="q2")))

    assert all_of_it is batch.chunk((shape, EVERYTHING))
    assert shaped == [Position("e", seq) for seq in (5, 6, 7)]
    assert all_of_it is not None
    assert (all_of_it.events, all_of_it.first, all_of_it.last) == (3, 5, 7)
    assert some is not None
    assert (some.events, some.first, some.last) == (2, 5, 7)
    assert batch.chunk((shape, Filter(tier="q8"))) is None


def test_who_was_served_a_part_gets_the_rest() -> None:
    batch = Batch(BODIES, "e", 5)
    subscriber = Subscriber(EVERYTHING, lines, Taker(), lambda: 0.0, lambda: None)

    subscriber.after = 6
    rest = batch.rest(subscriber)
    assert rest is not None
    assert (rest.first, rest.last) == (7, 7)
    subscriber.after = 7
    assert batch.rest(subscriber) is None


def test_events_without_a_place_have_none() -> None:
    chunk = Batch(BODIES).chunk((lines, EVERYTHING))

    assert chunk is not None
    assert (chunk.first, chunk.last) == (None, None)
    assert chunk.data.count(b'"durable":false') == 3
