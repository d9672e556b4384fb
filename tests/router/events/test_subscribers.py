"""One subscriber: filters, and the queue for the time in which it does not read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscribing import Taker, lines
from tiergarten_router.events.log import Position
from tiergarten_router.events.messages import Heartbeat, Reset
from tiergarten_router.events.subscribers import (
    QUEUE_BYTES,
    QUEUE_EVENTS,
    TOO_SLOW,
    Chunk,
    Filter,
    Head,
    Subscriber,
)

HERE = Position("e", 9)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock | None = None) -> tuple[Subscriber, Taker]:
    """Return a subscriber that does not read."""
    taker = Taker()
    taker.ready = False
    found = Subscriber(Filter(), lines, taker, clock or Clock(), lambda: None)
    taker.on_ready = found.drain
    return found, taker


def chunk(first: int, count: int = 1, padding: int = 0) -> Chunk:
    """Return events of sequences from `first` on."""
    bodies = [
        json.dumps({"type": "x", "router": "r", "seq": seq, "p": "x" * padding}).encode() + b"\n"
        for seq in range(first, first + count)
    ]
    return Chunk(b"".join(bodies), count, first, first + count - 1)


@pytest.mark.parametrize(
    ("wanted", "head", "fits"),
    [
        (Filter(), Head("tier.ready", "q2"), True),
        (Filter(("query.", "tier.")), Head("tier.ready"), True),
        (Filter(("query.",)), Head("tier.ready"), False),
        (Filter(("query.completed",)), Head("query.completed"), True),
        (Filter(tier="q2"), Head("tier.ready", "q2"), True),
        (Filter(tier="q2"), Head("tier.ready", "q22"), False),
        (Filter(tier="q2"), Head("router.started"), False),
        (Filter(query="a"), Head("query.failed", query="a"), True),
        (Filter(query="a"), Head("query.failed", query="b"), False),
    ],
)
def test_filters_want_what_they_say(wanted: Filter, head: Head, *, fits: bool) -> None:
    assert wanted.wants(head) is fits
    assert wanted.problem() == ""


@pytest.mark.parametrize(
    "wanted", [Filter(("x",)), Filter(tier="a b"), Filter(query="x" * 65), Filter(tier="\n")]
)
def test_filters_that_fit_nothing_say_why(wanted: Filter) -> None:
    assert wanted.problem()


def test_one_that_reads_has_nothing_queued() -> None:
    subscriber, taker = made()
    taker.ready = True

    subscriber.offer(chunk(1, 300))

    assert subscriber.queued_bytes == 0
    assert len(taker.seqs) == 300


def test_what_waits_comes_in_order_when_it_reads() -> None:
    subscriber, taker = made()
    for seq in range(1, QUEUE_EVENTS + 1):
        subscriber.offer(chunk(seq))

    taker.reads(on=True)

    assert taker.seqs == list(range(1, QUEUE_EVENTS + 1))
    assert subscriber.clear


@pytest.mark.parametrize("padding", [0, QUEUE_BYTES // 8], ids=["events", "bytes"])
def test_too_much_is_dropped_and_told_once(padding: int) -> None:
    subscriber, taker = made()
    last = QUEUE_EVENTS + 1 if not padding else 8
    for seq in range(1, last + 1):
        subscriber.offer(chunk(seq, padding=padding))

    assert subscriber.queued_bytes <= QUEUE_BYTES
    taker.reads(on=True)

    assert taker.of("lagged") == [{"type": "lagged", "from": 1, "to": last - 1, "count": last - 1}]
    assert taker.seqs == [last]


def test_a_chunk_that_never_fits_is_dropped_with_the_rest() -> None:
    subscriber, taker = made()
    subscriber.offer(chunk(1))
    subscriber.offer(chunk(2, QUEUE_EVENTS + 1))

    taker.reads(on=True)

    assert taker.of("lagged")[0]["to"] == QUEUE_EVENTS + 2
    assert taker.seqs == []


def test_the_second_time_within_a_minute_ends_it() -> None:
    clock = Clock()
    subscriber, taker = made(clock)
    subscriber.offer(chunk(1, QUEUE_EVENTS + 1))
    clock.now += 59
    subscriber.offer(chunk(300, QUEUE_EVENTS + 1))

    assert taker.closed == (TOO_SLOW, "too slow")
    subscriber.offer(chunk(900))
    assert subscriber.queued_bytes == 0
    assert subscriber.clear


def test_the_second_time_later_is_told_with_what_was_not_told_yet() -> None:
    clock = Clock()
    subscriber, taker = made(clock)
    subscriber.offer(chunk(1, QUEUE_EVENTS + 1))
    clock.now += 61
    subscriber.offer(chunk(258, QUEUE_EVENTS + 1))

    taker.reads(on=True)

    assert taker.closed is None
    assert taker.of("lagged") == [{"type": "lagged", "from": 1, "to": 514, "count": 514}]


def test_a_reset_survives_an_overflow_and_covers_what_was_before() -> None:
    subscriber, taker = made()
    subscriber.offer(chunk(5))
    subscriber.notice(Reset("f", 0, "epoch"), Position("f", 0), kept=True)
    subscriber.offer(chunk(1, QUEUE_EVENTS - 1))
    subscriber.offer(chunk(QUEUE_EVENTS, 2))

    taker.reads(on=True)

    assert [message["type"] for message in taker.messages] == ["reset", "lagged", "x", "x"]
    assert taker.of("lagged")[0]["from"] == 1


def test_events_without_a_place_lag_without_one() -> None:
    subscriber, taker = made()
    subscriber.offer(Chunk(b'{"type":"x"}\n', QUEUE_EVENTS))
    subscriber.offer(Chunk(b'{"type":"x"}\n', 1))

    taker.reads(on=True)

    assert taker.of("lagged") == [
        {"type": "lagged", "from": None, "to": None, "count": QUEUE_EVENTS}
    ]


def test_heartbeats_wait_for_nobody() -> None:
    subscriber, taker = made()
    subscriber.offer(chunk(1))

    subscriber.beat(b'{"type":"heartbeat"}\n')
    taker.reads(on=True)
    subscriber.notice(Heartbeat("e", 9), HERE)

    assert taker.pings == 1
    assert [message["type"] for message in taker.messages] == ["x", "heartbeat"]


@given(st.lists(st.tuples(st.integers(1, 120), st.booleans()), max_size=60))
def test_whatever_it_reads_every_event_comes_or_is_told(steps: list[tuple[int, bool]]) -> None:
    clock = Clock()
    subscriber, taker = made(clock)
    last = 0
    for count, reads in steps:
        clock.now += 61  # never closed, so that all must be accounted for
        subscriber.offer(chunk(last + 1, count))
        last += count
        taker.reads(on=reads)
    taker.reads(on=True)

    came = set(taker.seqs)
    for told in taker.of("lagged"):
        came |= set(range(told["from"], told["to"] + 1))
    assert came == set(range(1, last + 1))
    assert taker.seqs == sorted(set(taker.seqs))
