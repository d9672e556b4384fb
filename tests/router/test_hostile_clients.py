"""Clients that send slowly and bodies that are bombs: what they get, and what they cost others."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from rawhttp import GOOD, HOST, POST, statuses, told
from routing import CHAT, ask, tier
from tiergarten_router.core.snapshot import Snapshot
from upstream import Upstream, always, answer

SLOW: dict[str, tuple[tuple[bytes, ...], int | None]] = {
    "nothing": ((), None),
    "half a head": ((POST,), 408),
    "a blank line": ((b"\r\n",), None),
    "a head in drops": (tuple(GOOD[i : i + 1] for i in range(40)), 408),
    "half a body": ((GOOD[:-1],), 408),
    "half a body for a cold door": ((GOOD[:-1].replace(b"/v1/chat", b"/v1/nowhere"),), 408),
    "half a second head": ((GOOD, POST), 408),
}


@pytest.mark.parametrize(("parts", "status"), SLOW.values(), ids=SLOW)
async def test_who_sends_too_slowly_is_told_and_cut_off(
    router: Any, parts: tuple[bytes, ...], status: int | None
) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)), head_seconds=0.4, body_seconds=0.4)
        begin = time.monotonic()

        raw = await told(client, *parts, pause=0.03)

        assert statuses(raw)[-1:] in ([] if status is None else [status], [404])
        assert time.monotonic() - begin < 5


async def test_an_answer_may_take_longer_than_a_head(router: Any) -> None:
    async with Upstream(always(answer("a b", gap=0.3))) as up:
        client = await router(Snapshot((tier("q2", up.url),)), head_seconds=0.2, body_seconds=0.2)

        raw = await told(client, GOOD.replace(HOST, HOST + b"Connection: close\r\n"))

        assert statuses(raw) == [200]


async def test_a_hundred_slow_heads_hold_nobody_up_and_are_gone_in_time(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)), head_seconds=1)
        begin = time.monotonic()
        slow = [asyncio.create_task(told(client, POST)) for _ in range(500)]
        await asyncio.sleep(0.3)

        took = time.monotonic()
        for _ in range(10):
            assert (await client.post(CHAT, json=ask())).status_code == 200
        took = time.monotonic() - took

        ends = await asyncio.gather(*slow)
        assert time.monotonic() - begin < 10
        assert {tuple(statuses(end)) for end in ends} == {(408,)}
        assert took < 5


BOMBS: dict[str, bytes] = {
    "depth 1,000": b'{"model":"auto","messages":' + b"[" * 1000 + b"]" * 1000 + b"}",
    "depth 100,000": b"[" * 100_000,
    "depth in a field that is dropped": b'{"x":' + b'{"a":' * 50_000,
    "n": json.dumps(ask(n=10**9)).encode(),
    "max_tokens": json.dumps(ask(max_tokens=10**18)).encode(),
    "a number without end": b'{"model":"auto","messages":[],"seed":' + b"9" * 100_000 + b"}",
    "messages": json.dumps(ask() | {"messages": [{"role": "user", "content": ""}] * 9999}).encode(),
    "keys": b'{"model":"auto",' + b",".join(b'"k%d":1' % i for i in range(50_000)) + b"}",
    "too long": b" " * ((1 << 20) + 1),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
async def test_a_bomb_is_refused_quickly_and_nothing_is_asked(router: Any, bomb: bytes) -> None:
    async with Upstream() as up:
        client: httpx.AsyncClient = await router(
            Snapshot((tier("q2", up.url),)), body_bytes=1 << 20
        )
        begin = time.monotonic()

        found = await client.post(CHAT, content=bomb)

        assert 400 <= found.status_code < 500
        assert time.monotonic() - begin < 2  # milliseconds, if the machine is ours alone
        assert not up.queries
