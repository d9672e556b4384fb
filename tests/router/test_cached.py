"""What clients see of the cache: hits, streams given again, and what they may wish."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caching import SAME, raw, results, snapshot, wants
from redises import eventually
from routing import CHAT, Published, ask, routing, series, tier
from tiergarten_router.core.snapshot import Snapshot
from upstream import Upstream, always, answer, page

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALL = {
    "tool_calls": [
        {
            "index": 0,
            "id": "c",
            "type": "function",
            "function": {"name": "weather", "arguments": ""},
        }
    ]
}


async def test_a_repeated_query_is_answered_without_an_endpoint(router):
    async with Upstream() as up:
        client = await router(snapshot(up))

        first = await client.post(CHAT, json=ask(**SAME))
        second = await client.post(CHAT, json=ask(**SAME))

        assert [r.headers["x-tiergarten-cache"] for r in (first, second)] == ["miss", "hit"]
        assert first.content == second.content
        assert len(up.queries) == 1
        assert "age" not in first.headers
        assert int(second.headers["age"]) >= 0
        for name in ("tier", "score", "reasons"):
            header = f"x-tiergarten-{name}"
            assert first.headers[header] == second.headers[header]
        assert second.headers["x-tiergarten-endpoint"] == "cache"
        assert second.headers["x-tiergarten-attempts"] == "0"
        assert await results(client) == {"miss": 1, "hit": 1}


async def test_tokens_are_counted_once_and_entries_are_shown(router):
    async with Upstream() as up:
        client = await router(snapshot(up))
        for _ in range(3):
            await client.post(CHAT, json=ask(**SAME))

        text = (await client.get("/metrics")).text

        assert series(text, "requests_total")['outcome="ok",tier="q2"'] == 3
        assert series(text, "tokens_total")['tier="q2",type="completion"'] == 4
        assert "tiergarten_router_cache_entries 1.0" in text
        assert "tiergarten_router_redis_up" not in text


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0.1},
        {"temperature": 0, "tools": TOOLS},
        {"seed": 1},
        {"seed": 1, "temperature": 0.5},
    ],
)
async def test_what_is_drawn_by_chance_or_calls_tools_is_cached_only_if_asked(router, fields):
    async with Upstream() as up:
        client = await router(snapshot(up))
        query = ask(**fields)

        said = []
        for header in ("", "", "use", "USE", ""):
            headers = wants(header) if header else None
            reply = await client.post(CHAT, json=query, headers=headers)
            said.append(reply.headers["x-tiergarten-cache"])

        assert said == ["bypass", "bypass", "miss", "hit", "bypass"]
        assert len(up.queries) == 4


async def test_a_client_may_pass_the_cache_by_or_have_it_renewed(router):
    async with Upstream([answer("one"), answer("two"), answer("three")]) as up:
        client = await router(snapshot(up))
        seen = []
        for header in ("", "bypass", "", "refresh", ""):
            headers = wants(header) if header else None
            reply = await client.post(CHAT, json=ask(**SAME), headers=headers)
            text = reply.json()["choices"][0]["message"]["content"]
            seen.append((reply.headers["x-tiergarten-cache"], text))

        assert seen == [
            ("miss", "one"),
            ("bypass", "two"),
            ("hit", "one"),
            ("miss", "three"),
            ("hit", "three"),
        ]


@pytest.mark.parametrize("cache", [True, False])
async def test_another_wish_is_refused(router, cache):
    async with Upstream() as up:
        client = await router(snapshot(up), cache=cache)

        for path, body in ((CHAT, ask()), ("/api/query", {"query": "hi"})):
            reply = await client.post(path, json=body, headers=wants("always"))

            assert reply.status_code == 400
            assert reply.json()["error"]["param"] == "X-Tiergarten-Cache"
            assert "use, refresh or bypass" in reply.json()["error"]["message"]
        assert not up.queries


async def test_a_cache_that_is_off_says_so(router):
    async with Upstream() as up:
        client = await router(snapshot(up), cache=False)

        for _ in range(2):
            reply = await client.post(CHAT, json=ask(**SAME), headers=wants("use"))
            assert reply.headers["x-tiergarten-cache"] == "off"

        assert len(up.queries) == 2


async def test_an_answer_is_used_for_its_time_only(router):
    async with Upstream() as up:
        client = await router(snapshot(up), cache_seconds=0.05)
        await client.post(CHAT, json=ask(**SAME))

        async def is_asked_again():
            reply = await client.post(CHAT, json=ask(**SAME))
            return reply.headers["x-tiergarten-cache"] == "miss"

        await eventually(is_asked_again)


pieces = st.lists(
    st.text(min_size=1, max_size=5)
    | st.just(CALL)
    | st.fixed_dictionaries({"reasoning_content": st.text(min_size=1, max_size=5)}),
    min_size=1,
    max_size=6,
)


@settings(max_examples=15, deadline=None)
@given(pieces, st.booleans(), st.booleans())
async def test_a_stream_is_given_again_event_by_event_whoever_asked_first(told, usage, first_whole):
    async with Upstream(always(answer(told))) as up, routing(Published(snapshot(up))) as client:
        options: dict[str, Any] = {"stream_options": {"include_usage": True}} if usage else {}
        streamed = ask(**SAME, stream=True, **options)
        _, original = await raw(client, streamed, **wants("bypass"))
        await client.post(CHAT, json=ask(**SAME) if first_whole else streamed)

        headers, again = await raw(client, streamed)

        assert headers["x-tiergarten-cache"] == "hit"
        assert without_times(again) == without_times(original)
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        whole = await client.post(CHAT, json=ask(**SAME))
        assert whole.headers["x-tiergarten-cache"] == "hit"
        assert len(up.queries) == 2


def without_times(events):
    """Return the events without what differs between two answers: ids and moments."""
    found = []
    for event in events.decode().split("\n\n"):
        body = event.removeprefix("data: ")
        parsed = json.loads(body) if body.startswith("{") else body
        if isinstance(parsed, dict):
            parsed = {
                name: value for name, value in parsed.items() if name not in {"id", "created"}
            }
        found.append(parsed)
    return found


async def test_all_doors_have_a_cache(router):
    async with Upstream() as up:
        client = await router(
            Snapshot((tier("q2", up.url), tier("e", up.url, embeddings=True, model="vectors")))
        )
        asked = [
            ("/v1/completions", {"model": "auto", "prompt": "hi", **SAME}),
            ("/v1/completions", {"model": "auto", "prompt": "hi", "stream": True, **SAME}),
            ("/api/query", {"query": "hi", **SAME}),
            ("/api/query", {"query": "hi", "stream": True, **SAME}),
        ]
        for path, body in asked:
            first, second = [(await client.post(path, json=body)) for _ in range(2)]
            assert second.headers["x-tiergarten-cache"] == "hit"
            assert second.status_code == first.status_code == 200
        assert len(up.queries) == 2

        told = (await client.post("/api/query", json={"query": "hi", **SAME})).json()
        assert told["cached"] is True
        assert told["response"] == "Hello from the upstream."
        assert told["tokens"]["completion"] == 4


async def test_vectors_are_cached(router):
    vectors = {"object": "list", "data": [{"embedding": [0.5]}]}
    async with Upstream([page(vectors)]) as up:
        client = await router(Snapshot((tier("q2", up.url, embeddings=True),)))
        body = {"model": "q2", "input": "hi"}

        replies = [await client.post("/v1/embeddings", json=body) for _ in range(2)]

        assert [r.json() for r in replies] == [vectors] * 2
        assert replies[1].headers["x-tiergarten-cache"] == "hit"


async def test_an_unknown_model_is_unknown_with_a_cache_too(router):
    async with Upstream() as up:
        client = await router(snapshot(up))

        assert (await client.post(CHAT, json=ask(model="none", **SAME))).status_code == 404
