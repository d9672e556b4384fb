"""The client that comes back by itself, against real routers and one that misbehaves."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from redises import RealRedis
from routing import CHAT, Published, ask, free_port, routing
from subscribing import event
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.events import kinds, messages
from tiergarten_router.events.client import Here, Hole, Item, NotAllowed, Seen, Watcher
from tiergarten_router.events.kinds import Failed, Received, Started

SECONDS = 20


async def until(items: AsyncIterator[Item], holds: Callable[[Item], bool]) -> list[Item]:
    """Return the items up to and with one of which something holds."""
    found: list[Item] = []
    async with asyncio.timeout(SECONDS):
        async for item in items:
            found.append(item)
            if holds(item):
                return found
    raise AssertionError(found)


def ends(item: Item) -> bool:
    return isinstance(item, Seen) and isinstance(item.event, Failed)


async def test_events_come_typed_and_in_order() -> None:
    async with routing(Published(Snapshot())) as client:
        watcher = Watcher(str(client.base_url), latest=10)
        async with aclosing(watcher.items()) as items:
            past = await until(items, lambda item: isinstance(item, Here))
            await client.post(CHAT, json=ask())
            found = await until(items, lambda i: isinstance(i, Seen) and "query" in str(i.event))

    assert isinstance(past[0], Seen)
    assert isinstance(past[0].event, Started)
    assert isinstance(found[-1], Seen)
    assert isinstance(found[-1].event, Received)
    assert found[-1].seq == past[-2].seq + 1  # type: ignore[union-attr]  # an event
    assert (watcher.epoch, watcher.seq) == (found[-1].epoch, found[-1].seq)


async def test_it_comes_back_where_it_was_on_another_replica(redis: RealRedis) -> None:
    settings: dict[str, Any] = {"redis_url": redis.url}
    async with (
        routing(Published(Snapshot()), **settings) as one,
        routing(Published(Snapshot()), **settings) as two,
    ):
        watcher = Watcher(str(one.base_url))
        async with aclosing(watcher.items()) as items:
            await until(items, lambda item: isinstance(item, Here))
            watcher.url = str(two.base_url)
            assert watcher.connection is not None
            watcher.connection.transport.abort()
            sent = [await client.post(CHAT, json=ask()) for client in (one, two, one)]
            seen: list[Item] = []
            while len([item for item in seen if ends(item)]) < 3:
                seen += await until(items, lambda item: ends(item) or isinstance(item, Hole))

    assert {reply.status_code for reply in sent} == {404}
    events = [item for item in seen if isinstance(item, Seen)]
    assert not [item for item in seen if isinstance(item, Hole)]
    seqs = [item.seq for item in events]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


async def test_a_router_that_starts_late_is_waited_for() -> None:
    watcher = Watcher(f"http://127.0.0.1:{free_port()}")
    async with aclosing(watcher.items()) as items:
        waiting = asyncio.create_task(anext(items))
        await asyncio.sleep(0.2)  # until it has tried once
        async with routing(Published(Snapshot())) as client:
            watcher.url = str(client.base_url)
            async with asyncio.timeout(SECONDS):
                assert isinstance(await waiting, Here)


@pytest.mark.parametrize(
    ("settings", "options", "why"),
    [
        ({"events_token": "right"}, {"token": "wrong"}, "want a token"),
        ({"events_token": "right"}, {}, "no token"),
        ({}, {"kinds": ["nonsense"]}, "fits no kind"),
    ],
)
async def test_a_refusal_for_good_ends_it(
    settings: dict[str, Any], options: dict[str, Any], why: str
) -> None:
    async with routing(Published(Snapshot()), **settings) as client:
        with pytest.raises(NotAllowed, match=why):
            async with asyncio.timeout(SECONDS):
                await anext(Watcher(str(client.base_url), **options).items())


# -- against a server that says what a test wants


def told(seq: int, epoch: str = "e") -> bytes:
    """Return an event as a router sends it."""
    return messages.placed(epoch, seq, messages.envelope("r", kinds.encode(event(seq))))


@contextlib.asynccontextmanager
async def saying(*turns: list[bytes | dict[str, object]]) -> AsyncIterator[tuple[str, list[str]]]:
    """Run a server whose connections say one turn each, and yield its URL and what was asked."""
    asked: list[str] = []
    left = list(turns)

    async def speak(connection: ServerConnection) -> None:
        assert connection.request is not None
        asked.append(connection.request.path)
        for message in left.pop(0) if left else ():
            text = message if isinstance(message, bytes) else json.dumps(message).encode()
            await connection.send(text.decode())
        if not left:
            await connection.wait_closed()

    handler: Callable[[ServerConnection], Awaitable[None]] = speak
    async with serve(
        handler,
        "127.0.0.1",
        0,
        subprotocols=["tiergarten.events"],  # type: ignore[list-item]  # NewType of str
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}", asked


HEARTBEAT: dict[str, object] = {"type": "heartbeat", "epoch": "e", "seq": 4}


async def items_of(url: str, count: int, **options: Any) -> list[Item]:
    """Return the first items of a subscription."""
    async with aclosing(Watcher(url, **options).items()) as items, asyncio.timeout(SECONDS):
        return [await anext(items) for _ in range(count)]


async def test_holes_of_every_kind_are_shown() -> None:
    lagged: dict[str, object] = {"type": "lagged", "from": 6, "to": 8, "count": 3}
    reset: dict[str, object] = {"type": "reset", "epoch": "f", "seq": 0, "reason": "epoch"}
    turn: list[bytes | dict[str, object]] = [
        HEARTBEAT,
        told(5),
        lagged,
        told(9),
        told(11),
        reset,
        told(1, "f"),
        told(1, "g"),
    ]
    async with saying(turn) as (url, _):
        found = await items_of(url, 10)

    holes = [item for item in found if isinstance(item, Hole)]
    assert holes == [Hole("lagged", 6, 8), Hole("jump", 10, 10), Hole("epoch"), Hole("jump")]


async def test_a_heartbeat_beyond_what_was_seen_is_a_hole_unless_others_were_not_wanted() -> None:
    beyond: dict[str, object] = {"type": "heartbeat", "epoch": "e", "seq": 9}
    async with saying([HEARTBEAT, beyond], [HEARTBEAT, beyond]) as (url, _):
        everything = await items_of(url, 3)
        filtered = await items_of(url, 2, kinds=["query."])

    assert everything[1] == Hole("jump", 5, 9)
    assert [type(item) for item in filtered] == [Here, Here]


async def test_it_asks_for_what_it_wants_and_then_for_what_it_missed() -> None:
    async with saying([told(5)], [told(6)]) as (url, asked):
        await items_of(url, 2, kinds=["query.", "tier."], tier="q2", query="a-1", latest=3)

    assert asked == [
        "/v1/events?kind=query.&kind=tier.&tier=q2&query=a-1&latest=3",
        "/v1/events?kind=query.&kind=tier.&tier=q2&query=a-1&epoch=e&since=5",
    ]


async def test_a_kind_of_a_newer_router_is_passed_over() -> None:
    newer = b'{"epoch":"e","seq":5,"v":1,"router":"r","type":"new.kind"}'
    unplaced = messages.unplaced(messages.envelope("r", kinds.encode(event(7))))
    async with saying([HEARTBEAT, newer, unplaced, told(6)]) as (url, _):
        found = await items_of(url, 3)

    assert isinstance(found[1], Seen)
    assert (found[1].seq, found[1].epoch) == (0, "")
    assert isinstance(found[2], Seen)
    assert found[2].seq == 6
