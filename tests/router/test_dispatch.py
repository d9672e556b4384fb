"""The way of a query under every fault: what is retried, what falls back, what a client is told."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from behaviours import Behaviour
from routing import CHAT, ask, in_flight, route, series, tier
from tiergarten_router.core.snapshot import Snapshot
from transcripts import payloads, said
from upstream import (
    AFTER_HEADERS,
    BEFORE_BYTE,
    End,
    Upstream,
    after_content,
    always,
    answer,
    chunk,
    context_overflow,
    cut,
    error,
    huge_header,
    insert,
    loading,
    never,
    not_http,
    saturated,
)

GOOD = "Hello from the upstream."
QUERIES = 12
BEFORE_CONTENT = {
    "reset before a byte": cut(answer(), BEFORE_BYTE, End.RESET),
    "closed before a byte": cut(answer(), BEFORE_BYTE, End.FIN),
    "reset after the headers": cut(answer(), AFTER_HEADERS, End.RESET),
    "closed after the role": cut(answer(), after_content(0), End.FIN),
    "loading": loading(),
    "saturated": saturated(),
    "500": error(500, "boom", "server_error"),
    "not HTTP": not_http(),
    "a head of a megabyte": huge_header(),
    "a bad chunk first": insert(answer(), AFTER_HEADERS, b"zz\r\n"),
    "garbage first": insert(answer(), AFTER_HEADERS, chunk(b"data: {oops\n\n")),
    "an error event first": insert(
        answer(), AFTER_HEADERS, chunk(b'data: {"error":{"message":"x","code":500}}\n\n')
    ),
    "no content": answer([], finish=""),
}
AFTER_CONTENT = {
    "reset": cut(answer(), after_content(1), End.RESET),
    "closed": cut(answer(), after_content(1), End.FIN),
    "garbage": insert(answer(), after_content(1), chunk(b"data: {oops\n\n")),
    "invalid UTF-8": insert(answer(), after_content(1), chunk(b'data: {"x":"\xff"}\n\n')),
    "a line that is no field": insert(answer(), after_content(1), chunk(b"oops\n\n")),
    "a line of two megabytes": insert(
        answer(), after_content(1), chunk(b"data: " + b"x" * (2 << 20))
    ),
    "a bad chunk": insert(answer(), after_content(1), 0.05, b"zz\r\n"),
    "no end": answer(done=False),
    "an error event": insert(
        answer(), after_content(1), chunk(b'data: {"error":{"message":"x","code":500}}\n\n')
    ),
}


async def occupied(client: httpx.AsyncClient, count: int) -> None:
    """Wait until so many queries are open or waiting."""
    async with asyncio.timeout(2):
        while await in_flight(client) != count:
            pass  # asking takes its time


def two(faulty: Upstream, good: Upstream) -> Snapshot:
    """Return one tier over both, so that half of the queries meet the faulty one first."""
    return Snapshot((tier("q2", faulty.url, good.url, slots=64),))


@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("fault", BEFORE_CONTENT.values(), ids=BEFORE_CONTENT)
async def test_a_fault_before_content_costs_no_query(
    router: Any, fault: Behaviour, *, streams: bool
) -> None:
    async with Upstream(always(fault)) as faulty, Upstream() as good:
        client = await router(two(faulty, good))

        answers = [await client.post(CHAT, json=ask(stream=streams)) for _ in range(QUERIES)]

        assert [found.status_code for found in answers] == [200] * QUERIES
        if streams:
            assert all(said(found.text) == GOOD for found in answers)
            assert all(found.text.endswith("data: [DONE]\n\n") for found in answers)
        assert faulty.queries  # it was really asked
        assert await in_flight(client) == 0


@pytest.mark.parametrize("fault", AFTER_CONTENT.values(), ids=AFTER_CONTENT)
async def test_a_stream_that_breaks_ends_with_an_error_event_and_one_try(
    router: Any, fault: Behaviour
) -> None:
    async with Upstream(always(fault)) as faulty, Upstream() as other:
        client = await router(Snapshot((tier("q2", faulty.url), tier("q3", other.url))))

        found = await client.post(CHAT, json=ask(stream=True))

        last = payloads(found.text)[-1]
        assert last["error"]["code"] == "upstream_disconnected"
        assert "[DONE]" not in found.text
        assert "oops" not in found.text
        assert len(faulty.queries) == 1
        assert not other.queries
        assert await in_flight(client) == 0


@pytest.mark.parametrize("fault", AFTER_CONTENT.values(), ids=AFTER_CONTENT)
async def test_a_whole_answer_that_breaks_midway_is_retried(router: Any, fault: Behaviour) -> None:
    async with Upstream(always(fault)) as faulty, Upstream() as good:
        client = await router(Snapshot((tier("q2", faulty.url), tier("q3", good.url))))

        found = await client.post(CHAT, json=ask())

        assert found.json()["choices"][0]["message"]["content"] == GOOD
        assert found.headers["x-tiergarten-tier"] == "q3"
        assert found.headers["x-tiergarten-attempts"] == "2"


async def test_an_endpoint_that_never_answers_is_left_for_the_next(router: Any) -> None:
    async with Upstream(always(never())) as silent, Upstream() as good:
        policy = route("q2", "q3", timeouts={"firstTokenSeconds": 1}, fallback={"on": ["Timeout"]})
        tiers = (tier("q2", silent.url), tier("q3", good.url))
        client = await router(Snapshot(tiers, (policy,)))

        begin = time.monotonic()
        found = await client.post(CHAT, json=ask())

        assert found.headers["x-tiergarten-tier"] == "q3"
        assert 0.9 < time.monotonic() - begin < 2
        await silent.closed_by_client()


async def test_silence_after_content_ends_at_the_idle_limit(router: Any) -> None:
    stalls = cut(answer(), after_content(1), End.HANG)
    async with Upstream(always(stalls)) as up:
        client = await router(Snapshot((tier("q2", up.url),)), idle_seconds=0.5)

        begin = time.monotonic()
        found = await client.post(CHAT, json=ask(stream=True))

        assert payloads(found.text)[-1]["error"]["code"] == "upstream_disconnected"
        assert 0.4 < time.monotonic() - begin < 1


async def test_the_route_s_total_time_ends_an_answer(router: Any) -> None:
    async with Upstream(always(answer(gap=0.2))) as up:
        policy = route("q2", timeouts={"totalSeconds": 1})
        client = await router(Snapshot((tier("q2", up.url),), (policy,)))

        slow = ask("one " * 20, stream=True)
        found = await client.post(CHAT, json=slow | {"model": "auto"})

        assert payloads(found.text)[-1].get("error", {}).get("code") in {"deadline_exceeded", None}
        assert await in_flight(client) == 0


async def test_a_dead_first_tier_falls_back_and_is_named(router: Any) -> None:
    async with Upstream() as up:
        dead = "http://127.0.0.1:9"
        client = await router(Snapshot((tier("q2", dead), tier("q3", up.url))))

        found = await client.post("/api/query", json={"query": "hi"})

        assert found.json()["model_tier"] == "q3"
        assert found.json()["fallbacks"] == ["q2"]
        metrics = (await client.get("/metrics")).text
        assert series(metrics, "fallbacks_total") == {
            'from="q2",reason="ConnectFailure",to="q3"': 1.0
        }


async def test_causes_that_the_route_does_not_name_end_the_query(router: Any) -> None:
    async with Upstream(always(error(500, "boom", "server_error"))) as up, Upstream() as other:
        policy = route("q2", "q3", fallback={"on": ["ConnectFailure"]})
        client = await router(Snapshot((tier("q2", up.url), tier("q3", other.url)), (policy,)))

        found = await client.post(CHAT, json=ask())

        assert found.status_code == 502
        assert found.json()["error"]["code"] == "upstream_failed"
        assert not other.queries


async def test_no_more_attempts_are_made_than_the_route_allows(router: Any) -> None:
    broken = always(error(500, "boom", "server_error"))
    async with Upstream(broken) as a, Upstream(broken) as b, Upstream() as good:
        policy = route("q2", "q3", fallback={"maxAttempts": 2})
        tiers = (tier("q2", a.url, b.url), tier("q3", good.url))
        client = await router(Snapshot(tiers, (policy,)))

        found = await client.post(CHAT, json=ask())

        assert found.status_code == 502
        assert len(a.queries) + len(b.queries) == 2
        assert not good.queries


async def test_the_client_s_mistake_is_shown_and_breaks_nothing(router: Any) -> None:
    refuses = always(error(400, "Field 'x' is bad", "invalid_request_error"))
    async with Upstream(refuses) as up, Upstream() as other:
        client = await router(Snapshot((tier("q2", up.url), tier("q3", other.url))))

        answers = [await client.post(CHAT, json=ask()) for _ in range(30)]

        assert {found.status_code for found in answers} == {400}
        assert answers[0].json()["error"]["message"] == "Field 'x' is bad"
        assert not other.queries
        tiers = (await client.get("/v1/tiers")).json()["tiers"]
        assert tiers[0]["replicas"][0]["breaker"] == "closed"


async def test_a_prompt_that_a_tier_refuses_goes_to_one_that_holds_it(router: Any) -> None:
    async with Upstream(always(context_overflow(5000, 4096))) as small, Upstream() as large:
        tiers = (tier("q2", small.url), tier("q4", large.url, slot_tokens=8192))
        client = await router(Snapshot(tiers))

        found = await client.post(CHAT, json=ask("word " * 2000))

        assert found.headers["x-tiergarten-tier"] == "q4"


async def test_a_prompt_that_no_tier_holds_is_refused_with_the_largest_window(router: Any) -> None:
    async with Upstream(always(context_overflow(24010, 4096))) as up:
        client = await router(Snapshot((tier("q2", up.url), tier("q3", up.url))))

        counted = await client.post(CHAT, json=ask("word " * 2000))
        hopeless = await client.post(CHAT, json=ask("word " * 100_000))

        for found in (counted, hopeless):
            assert found.status_code == 400
            assert found.json()["error"]["code"] == "context_length_exceeded"
            assert "4096" in found.json()["error"]["message"] or "3840" in found.text
        assert "24010 tokens" in counted.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fallback", "status"),
    [
        ({"on": ["ServerError"]}, 400),
        ({"on": ["ContextOverflow"], "maxAttempts": 1}, 400),
        ({"on": ["ContextOverflow"]}, 200),
    ],
    ids=["not named", "no try left", "named"],
)
async def test_a_route_says_whether_a_larger_tier_gets_what_a_smaller_refused(
    router: Any, fallback: dict[str, object], status: int
) -> None:
    async with Upstream(always(context_overflow(5000, 4096))) as small, Upstream() as large:
        tiers = (tier("q2", small.url), tier("q4", large.url, slot_tokens=8192))
        policy = route("q2", "q4", strategy="Ordered", fallback=fallback)
        client = await router(Snapshot(tiers, (policy,)))

        found = await client.post(CHAT, json=ask("word " * 2000))

        assert found.status_code == status
        assert len(large.queries) == (status == 200)
        if status == 400:
            told = found.json()["error"]
            assert told["code"] == "context_length_exceeded"
            assert "5000 tokens" in told["message"]
            assert "8192" in told["message"]


async def test_saturation_everywhere_is_told_with_a_time_to_come_back(router: Any) -> None:
    async with Upstream(always(saturated(7))) as a, Upstream(always(saturated(7))) as b:
        client = await router(Snapshot((tier("q2", a.url, b.url),)))

        found = await client.post(CHAT, json=ask())

        assert found.status_code == 429
        assert found.headers["retry-after"] in {"6", "7"}


async def test_no_endpoint_at_all_is_a_503_with_a_time_to_come_back(router: Any) -> None:
    client = await router(Snapshot((tier("q2"),)))

    found = await client.post(CHAT, json=ask())

    assert found.status_code == 503
    assert found.json()["error"]["code"] == "no_ready_tier"
    assert int(found.headers["retry-after"]) > 0


async def test_queries_wait_for_a_slot_and_all_are_answered(router: Any) -> None:
    async with Upstream(always(answer(gap=0.01))) as up:
        client = await router(Snapshot((tier("q2", up.url, slots=2),)))

        answers = await asyncio.gather(*(client.post(CHAT, json=ask()) for _ in range(20)))

        assert {found.status_code for found in answers} == {200}


async def test_a_full_queue_sheds_at_once(router: Any) -> None:
    held = asyncio.Event()
    async with Upstream(always(insert(answer(), AFTER_HEADERS, held))) as up:
        client = await router(Snapshot((tier("q2", up.url, slots=1),)), queue_per_slot=1)
        first = asyncio.create_task(client.post(CHAT, json=ask()))
        await up.until(lambda: len(up.queries) == 1)
        second = asyncio.create_task(client.post(CHAT, json=ask()))
        await occupied(client, 2)

        begin = time.monotonic()
        third = await client.post(CHAT, json=ask())

        assert third.status_code == 429
        assert third.json()["error"]["code"] == "saturated"
        assert int(third.headers["retry-after"]) >= 1
        assert time.monotonic() - begin < 0.5
        held.set()
        assert {(await first).status_code, (await second).status_code} == {200}


async def test_the_queue_is_shared_fairly_between_keys(router: Any) -> None:
    held = asyncio.Event()
    async with Upstream([insert(answer(), AFTER_HEADERS, held)]) as up:
        client = await router(Snapshot((tier("q2", up.url, slots=1),)))
        keys = ["none", "one", "one", "one", "two"]
        asked = []
        for number, key in enumerate(keys):
            headers = {"authorization": f"Bearer {key}", "x-request-id": f"{key}-{number}"}
            asked.append(asyncio.create_task(client.post(CHAT, json=ask(), headers=headers)))
            await occupied(client, number + 1)
        held.set()
        await asyncio.gather(*asked)

        served = [query.headers["x-request-id"] for query in up.queries]
        assert served == ["none-0", "one-1", "two-4", "one-2", "one-3"]


async def test_a_wait_that_is_too_long_is_told(router: Any) -> None:
    held = asyncio.Event()
    async with Upstream(always(insert(answer(), AFTER_HEADERS, held))) as up:
        client = await router(Snapshot((tier("q2", up.url, slots=1),)), queue_seconds=0.2)
        first = asyncio.create_task(client.post(CHAT, json=ask()))
        await up.until(lambda: len(up.queries) == 1)

        second = await client.post(CHAT, json=ask())

        assert second.status_code == 429
        held.set()
        await first


async def test_embeddings_go_to_tiers_that_make_them_and_are_passed_on(router: Any) -> None:
    async with Upstream() as up:
        chat, vectors = tier("q2", up.url), tier("e1", up.url, model="embed", embeddings=True)
        client = await router(Snapshot((chat, vectors)))

        good = await client.post("/v1/embeddings", json={"model": "embed", "input": ["a", "b"]})
        wrong = await client.post("/v1/embeddings", json={"model": "q2", "input": "a"})

        assert good.json()["data"][0]["embedding"] == [0.25, -0.5, 1.0]
        assert good.headers["x-tiergarten-tier"] == "e1"
        assert wrong.status_code == 400
        assert wrong.json()["error"]["code"] == "unsupported_by_tier"


@pytest.mark.parametrize(
    "fault",
    [
        cut(answer(), BEFORE_BYTE, End.RESET),
        cut(answer(), AFTER_HEADERS, End.RESET),
        error(503, "Loading model", "unavailable_error"),
    ],
    ids=["reset", "cut", "loading"],
)
async def test_embeddings_are_retried_too(router: Any, fault: Behaviour) -> None:
    async with Upstream(always(fault)) as faulty, Upstream() as good:
        client = await router(Snapshot((tier("e1", faulty.url, good.url, embeddings=True),)))

        answers = [
            await client.post("/v1/embeddings", json={"model": "e1", "input": "a"})
            for _ in range(QUERIES)
        ]

        assert {found.status_code for found in answers} == {200}


@pytest.mark.parametrize("phase", ["before a byte", "in the middle", "in the queue"])
async def test_a_client_that_leaves_frees_the_endpoint_within_100_ms(
    router: Any, phase: str
) -> None:
    hang = never() if phase != "in the middle" else cut(answer(), after_content(1), End.HANG)
    async with Upstream(always(hang)) as up:
        client = await router(Snapshot((tier("q2", up.url, slots=1),)))
        async with httpx.AsyncClient(base_url=client.base_url, trust_env=False) as leaving:
            asked = asyncio.create_task(leaving.post(CHAT, json=ask(stream=True)))
            await up.until(lambda: len(up.queries) == 1)
            waiting = asyncio.create_task(leaving.post(CHAT, json=ask(stream=True)))
            await occupied(client, 2)
            if phase == "in the queue":
                waiting.cancel()
                await occupied(client, 1)
            waiting.cancel()
            asked.cancel()
            begin = time.monotonic()
            await up.closed_by_client(1)
            assert time.monotonic() - begin < 0.1
        await occupied(client, 0)


async def test_a_client_that_stops_reading_is_cut_and_costs_little_memory(router: Any) -> None:
    flood = answer(["x" * 60_000] * 400)
    async with Upstream(always(flood)) as up:
        client = await router(Snapshot((tier("q2", up.url),)), client_stall_seconds=0.5)
        async with client.stream("POST", CHAT, json=ask(stream=True)) as found:
            assert found.status_code == 200
            await up.closed_by_client(1, timeout=5)  # nothing is read meanwhile
        assert await in_flight(client) == 0
        requests = series((await client.get("/metrics")).text, "requests_total")
        assert requests['outcome="client_closed",tier="q2"'] == 1


async def test_background_calls_of_chat_uis_go_to_the_smallest_tier(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q4", up.url), tier("q2", up.url))))
        text = "### Task:\nAnalyze and compare the trade-offs between all of these designs"

        found = await client.post(CHAT, json=ask(text))

        assert found.headers["x-tiergarten-tier"] == "q2"
        assert found.headers["x-tiergarten-reasons"] == "background"


async def test_hard_queries_go_to_the_largest_tier_and_easy_ones_to_the_smallest(
    router: Any,
) -> None:
    async with Upstream() as up:
        client = await router(Snapshot(tuple(tier(name, up.url) for name in ("q2", "q3", "q4"))))
        hard = (
            "Analyze and compare the trade-offs between microservices and monolithic architectures"
        )

        taken = {
            text: (await client.post(CHAT, json=ask(text))).headers
            for text in (hard, "What is the capital of France?")
        }

        assert [headers["x-tiergarten-tier"] for headers in taken.values()] == ["q4", "q2"]
        assert taken[hard]["x-tiergarten-reasons"] == "analysis, comparison"


async def test_a_breaker_opens_is_counted_and_the_other_replica_serves(router: Any) -> None:
    broken = always(error(500, "boom", "server_error"))
    async with Upstream(broken) as bad, Upstream() as good:
        client = await router(two(bad, good))

        answers = [await client.post(CHAT, json=ask()) for _ in range(40)]

        assert {found.status_code for found in answers} == {200}
        assert len(bad.queries) == 5  # five failures in a row opened it
        metrics = (await client.get("/metrics")).text
        assert series(metrics, "breaker_transitions_total") == {'tier="q2",to="open"': 1.0}
        assert series(metrics, "breaker_state")['replica="q2-0",tier="q2"'] == 2
