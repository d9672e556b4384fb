"""Outages as a whole: rows R1, R11 and R15 of the acceptance tests, and what no retry may do.

`tests/faults/README.md` says which row is tested where.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from routing import CHAT, ask, route, series, tier
from tiergarten_router.core.snapshot import Snapshot
from upstream import (
    AFTER_HEADERS,
    BEFORE_BYTE,
    End,
    Upstream,
    after_content,
    always,
    answer,
    chunk,
    cut,
    error,
    insert,
    loading,
    saturated,
)

BROKEN = error(500, "boom", "server_error")
STORM = 200


@dataclass(frozen=True)
class Told:
    """An answer's head, as a client that costs little reads it."""

    status: int
    headers: dict[str, str]
    seconds: float


async def together(client: httpx.AsyncClient, count: int) -> list[Told]:
    """Ask so many queries at the same moment, over connections that are open already."""
    host, port = client.base_url.host, client.base_url.port
    body = json.dumps(ask()).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    lines = [await asyncio.open_connection(host, port) for _ in range(count)]

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Told:
        begin = time.monotonic()
        writer.write(head + body)
        top = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *fields = top.strip().split("\r\n")
        pairs = (field.partition(": ") for field in fields)
        headers = {name.lower(): value for name, _, value in pairs}
        return Told(int(first.split()[1]), headers, time.monotonic() - begin)

    try:
        async with asyncio.timeout(30):
            return list(await asyncio.gather(*(one(*line) for line in lines)))
    finally:
        for _, writer in lines:
            writer.close()
        await asyncio.gather(*(w.wait_closed() for _, w in lines), return_exceptions=True)


def show(line: str) -> None:
    """Print a figure, for `pytest -rP`."""
    sys.stdout.write(line + "\n")


async def replicas(client: httpx.AsyncClient, tier: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/v1/tiers")).json()["tiers"][tier]["replicas"]
    return found


async def test_r1_both_upstreams_are_killed_in_turn_and_no_query_fails(router: Any) -> None:
    steady = always(answer("one two three", gap=0.015))
    async with Upstream(steady) as a, Upstream(steady) as b:
        client = await router(Snapshot((tier("q2", a.url, b.url, slots=64),)))
        took: list[float] = []
        failed: list[httpx.Response] = []
        left = iter(range(300))
        steps = {40: a.kill, 120: a.listen, 180: b.kill, 240: b.listen}

        async def ask_on() -> None:
            for number in left:
                if number in steps:
                    await steps[number]()
                begin = time.monotonic()
                found = await client.post(CHAT, json=ask())
                took.append(time.monotonic() - begin)
                failed.extend([found] * (found.status_code != 200))

        await asyncio.gather(*(ask_on() for _ in range(8)))

        took.sort()
        show(f"R1: p99 {took[-3]:.3f} s, longest {took[-1]:.3f} s of 300")
        assert [found.text for found in failed] == []
        assert took[-3] < 2  # the figure is 0.2 s, on a machine that does nothing else


@pytest.mark.parametrize("status", [429, 503])
async def test_r11_a_full_replica_is_left_alone_for_as_long_as_it_says(
    router: Any, status: int
) -> None:
    full = always(error(status, "busy", "unavailable_error", "Retry-After: 7"))
    async with Upstream(full) as a, Upstream() as good:
        client = await router(Snapshot((tier("q2", a.url, good.url),)))

        answers = [await client.post(CHAT, json=ask()) for _ in range(12)]

        assert {found.status_code for found in answers} == {200}
        assert len(a.queries) == 1
        assert [replica["breaker"] for replica in await replicas(client)] == ["closed"] * 2


@pytest.mark.parametrize("status", [429, 503])
async def test_r11_when_all_are_full_the_client_hears_what_they_say(
    router: Any, status: int
) -> None:
    full = always(error(status, "busy", "unavailable_error", "Retry-After: 7"))
    async with Upstream(full) as a, Upstream(full) as b:
        client = await router(Snapshot((tier("q2", a.url, b.url),)))

        answers = [await client.post(CHAT, json=ask()) for _ in range(3)]

        assert {found.status_code for found in answers} == {status}
        assert {found.json()["error"]["code"] for found in answers} == {"saturated"}
        assert {found.headers["retry-after"] for found in answers} <= {"6", "7"}
        assert len(a.queries) == len(b.queries) == 1


@pytest.mark.parametrize("fault", [loading(), saturated(2)], ids=["loading", "full"])
async def test_r15_a_storm_of_saturation_is_not_multiplied(router: Any, fault: Any) -> None:
    async with Upstream(always(fault)) as a, Upstream(always(fault)) as b:
        client = await router(Snapshot((tier("q2", a.url, b.url, slots=64),)))

        answers = await together(client, STORM)

        upstream = len(a.queries) + len(b.queries)
        longest = max(told.seconds for told in answers)
        show(f"R15: {upstream} upstream queries for {STORM}, longest answer {longest:.3f} s")
        assert len({told.status for told in answers}) == 1
        assert all(int(told.headers["retry-after"]) >= 1 for told in answers)
        assert upstream <= 1.2 * STORM + 3
        assert longest < 3  # the figure is 0.3 s, on a machine that does nothing else


async def test_r15_a_storm_of_failures_is_bounded_by_the_budget(router: Any) -> None:
    async with Upstream(always(BROKEN)) as a, Upstream(always(BROKEN)) as b:
        client = await router(Snapshot((tier("q2", a.url, b.url, slots=64),)))

        answers = await together(client, STORM)

        assert {told.status for told in answers} == {502}
        assert STORM < len(a.queries) + len(b.queries) <= 1.2 * STORM + 3
        text = (await client.get("/metrics")).text
        name = "tiergarten_router_retry_budget_exhausted_total "
        exhausted = next(line for line in text.splitlines() if line.startswith(name))
        assert float(exhausted.split()[1]) >= 0.7 * STORM
        retried = series(text, "retries_total")['reason="ServerError",tier="q2"']
        assert retried <= 0.2 * STORM + 3


async def test_retries_at_a_replica_that_answers_well_are_never_too_many(router: Any) -> None:
    async with Upstream(always(BROKEN)) as bad, Upstream() as good:
        tiers = (tier("q2", bad.url, slots=64), tier("q3", good.url, slots=64))
        client = await router(Snapshot(tiers))
        await client.post(CHAT, json=ask(model="q3"))  # it has answered once

        answers = await together(client, 60)

        assert {told.status for told in answers} == {200}


@pytest.mark.parametrize(
    "fault", [BROKEN, cut(answer(), BEFORE_BYTE, End.RESET)], ids=["500", "reset"]
)
async def test_the_only_replica_is_asked_a_second_time_and_no_more(router: Any, fault: Any) -> None:
    async with Upstream([fault]) as once, Upstream(always(fault)) as ever:
        client = await router(Snapshot((tier("q2", once.url), tier("q3", ever.url))))

        mended = await client.post(CHAT, json=ask(model="q2"))
        failed = await client.post(CHAT, json=ask(model="q3"))

        assert (mended.status_code, mended.headers["x-tiergarten-attempts"]) == (200, "2")
        assert failed.status_code == 502
        assert len(ever.queries) == 2


async def test_no_replica_is_asked_twice_while_another_has_not_been(router: Any) -> None:
    async with Upstream(always(BROKEN)) as a, Upstream(always(BROKEN)) as b, Upstream() as good:
        tiers = (tier("q2", a.url, b.url), tier("q3", good.url))
        client = await router(Snapshot(tiers))

        found = await client.post(CHAT, json=ask())

        assert found.headers["x-tiergarten-tier"] == "q3"
        assert len(a.queries) == len(b.queries) == 1


async def test_a_query_that_kills_its_replicas_is_given_up_after_two(router: Any) -> None:
    kill = always(cut(answer(), BEFORE_BYTE, End.RESET))
    async with Upstream(kill) as a, Upstream(kill) as b, Upstream(kill) as c, Upstream() as other:
        policy = route("q2", "q3", fallback={"maxAttempts": 8})
        tiers = (tier("q2", a.url, b.url, c.url), tier("q3", other.url))
        client = await router(Snapshot(tiers, (policy,)))

        found = await client.post(CHAT, json=ask())

        assert found.status_code == 502
        assert sum(len(up.queries) for up in (a, b, c, other)) == 2


async def test_a_replica_that_refuses_the_router_s_key_is_passed_over_and_breaks_nothing(
    router: Any,
) -> None:
    refuses = always(error(401, "Invalid API Key", "authentication_error"))
    async with Upstream(refuses) as a, Upstream() as good:
        client = await router(Snapshot((tier("q2", a.url, good.url), tier("q3", a.url))))

        answers = [await client.post(CHAT, json=ask(model="q2")) for _ in range(12)]
        alone = [await client.post(CHAT, json=ask(model="q3")) for _ in range(12)]

        assert {found.status_code for found in answers} == {200}
        assert len(a.queries) <= 1 + len(alone)
        assert {found.status_code for found in alone} == {502}
        assert "API key" in alone[0].json()["error"]["message"]
        for number in (0, 1):
            assert {r["breaker"] for r in await replicas(client, number)} == {"closed"}


@pytest.mark.parametrize(
    ("code", "failed"), [(503, 1), (500, 1), (400, 0)], ids=["503", "500", "the client's"]
)
async def test_an_error_inside_an_answer_counts_unless_the_client_is_to_blame(
    router: Any, code: int, failed: int
) -> None:
    event = chunk(b'data: {"error":{"message":"x","code":%d}}\n\n' % code)
    async with Upstream(always(insert(answer(), after_content(1), event))) as up:
        client = await router(Snapshot((tier("q2", up.url),)))

        found = await client.post(CHAT, json=ask(stream=True))

        assert '"error"' in found.text
        assert [replica["failed"] for replica in await replicas(client)] == [failed]


async def test_an_error_event_before_content_says_that_the_replica_is_full(router: Any) -> None:
    event = chunk(b'data: {"error":{"message":"no slot","code":503}}\n\n')
    async with Upstream(always(insert(answer(), AFTER_HEADERS, event))) as up, Upstream() as good:
        client = await router(Snapshot((tier("q2", up.url, good.url),)))

        answers = [await client.post(CHAT, json=ask(stream=True)) for _ in range(6)]

        assert {found.status_code for found in answers} == {200}
        assert {replica["failed"] for replica in await replicas(client)} == {0}
