"""`/api/query`: a question in, an answer with its way out."""

from typing import Any

import pytest

from routing import tier
from tiergarten_router.core.snapshot import Snapshot
from transcripts import payloads
from upstream import End, Upstream, after_content, always, answer, cut

FACTS = {
    "id", "model_tier", "model", "score", "reasons", "latency_ms", "time_to_first_token_ms",
    "tokens", "cached", "fallbacks", "context",
}  # fmt: skip


async def test_a_question_is_answered_with_all_that_is_known_of_it(router: Any) -> None:
    async with Upstream(always(answer(cached=1))) as up:
        client = await router(Snapshot((tier("q2", up.url),)))

        body = (await client.post("/api/query", json={"query": "What is it?"})).json()

        assert set(body) == FACTS | {"response"}
        assert body["response"] == "Hello from the upstream."
        assert body["model_tier"] == "q2"
        assert body["tokens"] == {"prompt": 3, "cached": 1, "completion": 4, "per_second": 400.0}
        assert body["latency_ms"] >= body["time_to_first_token_ms"] > 0
        assert body["context"] == {"tokens": 0, "sources": []}


async def test_a_stream_has_the_pieces_and_then_the_facts(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)))

        found = await client.post("/api/query", json={"query": "What?", "stream": True})

        *pieces, last = payloads(found.text)
        assert "".join(piece["response"] for piece in pieces) == "Hello from the upstream."
        assert set(last) == FACTS | {"done"}
        assert found.text.endswith("data: [DONE]\n\n")


async def test_a_stream_that_breaks_ends_with_an_error(router: Any) -> None:
    async with Upstream(always(cut(answer(), after_content(1), End.RESET))) as up:
        client = await router(Snapshot((tier("q2", up.url),)))

        found = await client.post("/api/query", json={"query": "What?", "stream": True})

        assert payloads(found.text)[-1]["error"]["code"] == "upstream_disconnected"
        assert "[DONE]" not in found.text


async def test_a_mode_pins_the_tier_and_fields_are_passed_on(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url), tier("q4", up.url))))
        asked = {
            "query": "hi",
            "mode": "q4",
            "max_tokens": 7,
            "temperature": 0,
            "use_context": True,
        }

        body = (await client.post("/api/query", json=asked)).json()

        assert body["model_tier"] == "q4"
        assert up.queries[0].body["max_tokens"] == 7
        assert up.queries[0].body["temperature"] == 0


@pytest.mark.parametrize(
    ("fields", "param", "status"),
    [
        ({"mode": "q9"}, "mode", 404),
        ({"query": ""}, "query", 400),
        ({"query": "word " * 100_000}, "query", 400),
        ({"max_tokens": 0}, "max_tokens", 400),
    ],
    ids=["mode", "empty", "long", "max_tokens"],
)
async def test_a_bad_parameter_is_named_in_this_door_s_own_words(
    router: Any, fields: dict[str, object], param: str, status: int
) -> None:
    client = await router(Snapshot((tier("q2", "http://127.0.0.1:9"),)))

    found = await client.post("/api/query", json={"query": "hi"} | fields)

    assert found.status_code == status
    assert found.json()["error"]["param"] == param
