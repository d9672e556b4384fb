"""What breaks in the middle, and who leaves: rows R5, R7, R8 and R16 of the acceptance tests."""

import asyncio
import contextlib
import time
from typing import Any

import httpx
import openai
import pytest

from behaviours import Behaviour
from routing import CHAT, ask, in_flight, series, tier
from tiergarten_router.core.snapshot import Snapshot
from transcripts import payloads
from upstream import (
    AFTER_HEADERS,
    End,
    Upstream,
    after_content,
    always,
    answer,
    chunk,
    cut,
    insert,
    never,
)

TIMES = 20


@pytest.mark.parametrize("end", [End.RESET, End.FIN])
@pytest.mark.parametrize("pieces", [1, 2, 3])
async def test_r5_a_death_after_content_ends_with_an_error_event_and_counts_once(
    router: Any, pieces: int, end: End
) -> None:
    dies = always(cut(answer(), after_content(pieces), end))
    async with Upstream(dies) as faulty, Upstream() as other:
        client = await router(Snapshot((tier("q2", faulty.url), tier("q3", other.url))))

        begin = time.monotonic()
        found = await client.post(CHAT, json=ask(stream=True))

        assert time.monotonic() - begin < 1
        *content, last = payloads(found.text)
        assert last["error"]["code"] == "upstream_disconnected"
        assert last["error"]["type"] == "upstream_error"
        assert last["error"]["param"] is None
        assert len(content) == pieces + 1  # and the role
        assert "[DONE]" not in found.text
        assert (len(faulty.queries), len(other.queries)) == (1, 0)
        replica = (await client.get("/v1/tiers")).json()["tiers"][0]["replicas"][0]
        assert replica["failed"] == 1


async def test_r5_openai_s_own_client_raises_what_it_has_for_it(router: Any) -> None:
    async with Upstream(always(cut(answer(), after_content(1), End.RESET))) as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        async with openai.AsyncOpenAI(
            base_url=f"{client.base_url}/v1", api_key="none", max_retries=0
        ) as sdk:
            stream = await sdk.chat.completions.create(
                model="auto", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            role, first = await anext(stream), await anext(stream)
            with pytest.raises(openai.APIError) as raised:
                await anext(stream)

        assert role.choices[0].delta.role == "assistant"
        assert first.choices[0].delta.content == "Hello"
        assert raised.value.code == "upstream_disconnected"


async def test_r7_silence_after_the_first_event_ends_half_a_second_around_the_limit(
    router: Any,
) -> None:
    async with Upstream(always(cut(answer(), after_content(1), End.HANG))) as up:
        client = await router(Snapshot((tier("q2", up.url),)), idle_seconds=1)

        begin = time.monotonic()
        found = await client.post(CHAT, json=ask(stream=True))

        assert 0.5 < time.monotonic() - begin < 2.5  # +- 0.5 s on a machine that is idle
        assert payloads(found.text)[-1]["error"]["code"] == "upstream_disconnected"
        await up.closed_by_client()


@pytest.mark.parametrize(
    "bad",
    [
        chunk(b"data: {oops\n\n"),
        chunk(b"oops\n\n"),
        b"oops\r\n",
        chunk(b"data: " + b"oops" * (1 << 18) + b"\n\n"),
    ],
    ids=["garbage", "no field", "a bad chunk", "a line of a megabyte"],
)
async def test_r8_no_bad_byte_is_passed_on_and_the_replica_is_blamed(
    router: Any, bad: bytes
) -> None:
    faulty = insert(answer(), after_content(1), 0.02, bad)
    async with Upstream(always(faulty)) as up:
        client = await router(Snapshot((tier("q2", up.url),)))

        found = await client.post(CHAT, json=ask(stream=True))

        assert "oops" not in found.text
        *_, content, last = payloads(found.text)
        assert content["choices"][0]["delta"]["content"] == "Hello"
        assert last["error"]["code"] == "upstream_disconnected"
        requests = series((await client.get("/metrics")).text, "requests_total")
        assert requests == {'outcome="stream_broken",tier="q2"': 1.0}
        replica = (await client.get("/v1/tiers")).json()["tiers"][0]["replicas"][0]
        assert replica["failed"] == 1


@pytest.mark.parametrize(
    "hangs",
    [never(), cut(answer(), AFTER_HEADERS, End.HANG), cut(answer(), after_content(1), End.HANG)],
    ids=["before the first byte", "before content", "in the middle"],
)
@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "whole"])
async def test_r16_upstream_hears_at_once_of_twenty_clients_that_leave(
    router: Any, hangs: Behaviour, *, streams: bool
) -> None:
    async with Upstream(always(hangs)) as up:
        client = await router(Snapshot((tier("q2", up.url, slots=TIMES),)))
        async with httpx.AsyncClient(base_url=client.base_url, trust_env=False) as leaving:
            asked = [
                asyncio.create_task(leaving.post(CHAT, json=ask(stream=streams)))
                for _ in range(TIMES)
            ]
            await up.until(lambda: len(up.queries) == TIMES)
            for task in asked:
                task.cancel()
            begin = time.monotonic()
            await up.closed_by_client(TIMES)
            assert time.monotonic() - begin < 1  # the figure is 0.1 s for one, and these are 20

        assert await drained(client)
        requests = series((await client.get("/metrics")).text, "requests_total")
        assert requests == {'outcome="client_closed",tier="q2"': TIMES}


async def test_r16_those_who_leave_the_queue_leave_no_place_in_it(router: Any) -> None:
    async with Upstream(always(never())) as up:
        client = await router(Snapshot((tier("q2", up.url, slots=1),)))
        async with httpx.AsyncClient(base_url=client.base_url, trust_env=False) as leaving:
            asked = [asyncio.create_task(leaving.post(CHAT, json=ask())) for _ in range(TIMES + 1)]
            async with asyncio.timeout(5):
                while await in_flight(client) < TIMES + 1:
                    pass  # asking takes its time
            for task in asked:
                task.cancel()
            with contextlib.suppress(TimeoutError):
                await up.closed_by_client(TIMES + 1, timeout=0.2)

        assert await drained(client)
        assert len(up.queries) == up.left <= 2  # hardly one of the others was granted meanwhile


async def drained(client: httpx.AsyncClient) -> bool:
    async with asyncio.timeout(5):
        while await in_flight(client):
            pass  # asking takes its time
    return True
