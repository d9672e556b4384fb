"""OpenAI's API as clients see it: what is taken, what goes upstream, what comes back."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from behaviours import Piece
from routing import CHAT, ask, tier
from tiergarten_router.core.snapshot import Snapshot
from transcripts import payloads
from upstream import Upstream, always, answer

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
DEEP = "[" * 70 + "]" * 70


def user(content: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": content}]


BAD: dict[str, tuple[dict[str, object], str]] = {
    "no messages": ({"messages": None}, "messages"),
    "empty messages": ({"messages": []}, "messages"),
    "too many messages": ({"messages": user("x") * 1025}, "messages"),
    "messages of another kind": ({"messages": "hi"}, "messages"),
    "unknown role": ({"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role"),
    "n": ({"n": 9}, "n"),
    "negative n": ({"n": -1}, "n"),
    "negative max_tokens": ({"max_tokens": -1}, "max_tokens"),
    "wrong type": ({"max_tokens": "many"}, "max_tokens"),
    "temperature": ({"temperature": -1}, "temperature"),
    "top_p": ({"top_p": 2}, "top_p"),
    "stop": ({"stop": ["x"] * 17}, "stop"),
    "top_logprobs": ({"top_logprobs": 21}, "top_logprobs"),
    "deep tools": ({"tools": json.loads(DEEP)}, "tools"),
    "deep tool calls": (
        {"messages": [{"role": "assistant", "tool_calls": json.loads(DEEP)}]},
        "messages[0].tool_calls",
    ),
    "remote image": (
        {"messages": user([{"type": "image_url", "image_url": {"url": "http://x/y.png"}}])},
        "messages[0].content[0].image_url",
    ),
    "unknown part": ({"messages": user([{"type": "video"}])}, "messages[0].content[0].type"),
}


@pytest.mark.parametrize(("fields", "param"), BAD.values(), ids=BAD)
async def test_a_bad_parameter_is_named_and_nothing_is_asked(
    router: Any, fields: dict[str, object], param: str
) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)))

        found = await client.post(CHAT, json=ask() | fields)

        assert found.status_code == 400
        assert found.json()["error"]["code"] == "invalid_request"
        assert found.json()["error"]["param"] == param
        assert not up.queries


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_request"),
        (b"{", 400, "invalid_request"),
        (b"[1]", 400, "invalid_request"),
        (b'"\xff"', 400, "invalid_request"),
        (b'{"model":"auto","messages":[{"role":"user"}],"x":' + b"[" * 9999, 400, None),
        (b'{"model":"auto","messages":[{"role":"user"}],"tools":["\xff"]}', 400, None),
        (b'{"model":"auto","messages":[{"role":"user"}],"\xff":1}', 400, None),
        (b" " * 2000, 413, "request_too_large"),
    ],
    ids=["empty", "cut", "a list", "not UTF-8", "deep", "tools", "unknown field", "large"],
)
async def test_a_body_that_is_no_query_is_refused(
    router: Any, body: bytes, status: int, code: str | None
) -> None:
    limits = {"body_bytes": 1500} if status == 413 else {}
    client = await router(Snapshot(), **limits)

    found = await client.post(CHAT, content=body)

    assert found.status_code == status
    assert found.json()["error"]["code"] == (code or "invalid_request")


async def test_a_declared_length_that_is_too_large_is_refused_at_once(router: Any) -> None:
    client = await router(Snapshot(), body_bytes=1500)

    found = await client.post(CHAT, content=b" " * 1501)

    assert found.status_code == 413


async def test_a_chunked_body_is_counted_as_it_comes(router: Any) -> None:
    async def parts() -> Any:
        for _ in range(4):
            yield b" " * 500

    client = await router(Snapshot(), body_bytes=1500)

    assert (await client.post(CHAT, content=parts())).status_code == 413


async def test_a_body_that_does_not_come_is_given_up(router: Any) -> None:
    client = await router(Snapshot(), body_seconds=0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")

    head = await asyncio.wait_for(reader.read(4096), 5)

    assert head.startswith(b"HTTP/1.1 408")
    writer.close()


async def test_a_client_that_leaves_inside_its_body_is_no_error(router: Any) -> None:
    client = await router(Snapshot())
    _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    assert (await client.get("/healthz")).status_code == 200


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
fields = st.sampled_from(["messages", "n", "stop", "tools", "max_tokens", "stream", "prompt"])


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.dictionaries(fields, json_values), min_size=20, max_size=40))
async def test_no_json_at_all_makes_a_server_error(
    router: Any, drawn: list[dict[str, object]]
) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)))

        for fields_drawn in drawn:
            alone = await client.post(CHAT, json=fields_drawn | {"model": "auto"})
            mixed = await client.post(CHAT, json=ask() | fields_drawn)

            assert alone.status_code < 500
            assert mixed.status_code < 500


async def test_only_known_fields_and_headers_go_upstream(router: Any) -> None:
    hostile = {"chat_template": "{{x}}", "api_base": "http://evil", "id_slot": 1, "user": "me"}
    headers = {
        "authorization": "Bearer secret",
        "cookie": "a=b",
        "x-forwarded-for": "1.2.3.4",
        "x-conversation-id": "c1",
        "proxy-authorization": "x",
        "x-request-id": "mine-1",
    }
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url, api_key="tier-key"),)))

        found = await client.post(
            CHAT, json=ask(seed=7, tools=[TOOL], stop=None) | hostile, headers=headers
        )

        sent = up.queries[0]
        assert set(sent.headers) == {
            "host", "content-type", "accept", "x-request-id", "content-length", "authorization",
        }  # fmt: skip
        assert sent.headers["authorization"] == "Bearer tier-key"
        assert sent.headers["x-request-id"] == "mine-1"
        assert found.headers["x-request-id"] == "mine-1"
        assert set(sent.body) == {
            "model", "messages", "seed", "tools", "stream", "stream_options",
        }  # fmt: skip
        assert sent.body["model"] == "tiny"
        assert sent.body["tools"] == [TOOL]
        assert sent.body["stream"] is True


@pytest.mark.parametrize("ident", ["a b", "x" * 65, "é"], ids=["blank", "long", "not ASCII"])
async def test_a_request_id_that_is_not_harmless_is_replaced(router: Any, ident: str) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)))

        found = await client.post(
            CHAT, json=ask(), headers={b"x-request-id": ident.encode("latin-1")}
        )

        assert found.headers["x-request-id"] != ident
        assert up.queries[0].headers["x-request-id"] == found.headers["x-request-id"]


async def test_the_usage_event_is_for_those_who_asked(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        options = {"stream_options": {"include_usage": True}}

        without = payloads((await client.post(CHAT, json=ask(stream=True))).text)
        with_usage = payloads((await client.post(CHAT, json=ask(stream=True) | options)).text)

        assert all(event["choices"] for event in without)
        assert not any("usage" in event for event in without)
        assert with_usage[-1]["usage"]["total_tokens"] == 5
        assert with_usage[-1]["choices"] == []


async def test_answers_say_who_gave_them_and_why(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)))

        for stream in (True, False):
            headers = (await client.post(CHAT, json=ask("What is it?", stream=stream))).headers

            assert headers["x-tiergarten-tier"] == "q2"
            assert headers["x-tiergarten-endpoint"] == "q2-0"
            assert headers["x-tiergarten-attempts"] == "1"
            assert headers["x-tiergarten-cache"] == "bypass"
            assert 0 <= int(headers["x-tiergarten-score"]) <= 100
            assert headers["x-tiergarten-reasons"] == "short-question"
            assert "first-token;dur=" in headers["server-timing"]


async def test_tool_calls_reasoning_and_choices_are_put_together(router: Any) -> None:
    call = {"index": 0, "id": "c1", "type": "function"}
    pieces: list[Piece] = [
        {"reasoning_content": "Let me "},
        {"reasoning_content": "think."},
        {"tool_calls": [call | {"function": {"name": "f", "arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
    ]
    async with Upstream(always(answer(pieces, finish="tool_calls"))) as up:
        client = await router(Snapshot((tier("q2", up.url),)))

        choice = (await client.post(CHAT, json=ask(tools=[TOOL]))).json()["choices"][0]

        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"] == {
            "role": "assistant",
            "content": None,
            "reasoning_content": "Let me think.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
            ],
        }


async def test_reasoning_alone_counts_as_content(router: Any) -> None:
    async with Upstream(always(answer([{"reasoning_content": "Hm."}], finish="length"))) as up:
        client = await router(Snapshot((tier("q2", up.url),)))

        found = await client.post(CHAT, json=ask(stream=True))

        assert "Hm." in found.text


async def test_legacy_completions_are_answered_streamed_and_whole(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        body = {"model": "tiny", "prompt": "Once", "max_tokens": 5}

        whole = (await client.post("/v1/completions", json=body)).json()
        stream = await client.post("/v1/completions", json=body | {"stream": True})

        assert whole["object"] == "text_completion"
        assert whole["choices"][0]["text"] == "Hello from the upstream."
        texts = [c["text"] for event in payloads(stream.text) for c in event["choices"]]
        assert "".join(texts) == "Hello from the upstream."


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/completions", {"prompt": []}),
        ("/v1/completions", {"prompt": ["a", 1]}),
        ("/v1/completions", {"prompt": ["a"] * 9}),
        ("/v1/embeddings", {"input": []}),
        ("/v1/embeddings", {"input": ["a", 1]}),
    ],
)
async def test_mixed_or_empty_prompts_are_refused(
    router: Any, path: str, fields: dict[str, object]
) -> None:
    client = await router(Snapshot())

    found = await client.post(path, json={"model": "auto"} | fields)

    assert found.status_code == 400
    assert found.json()["error"]["param"] == next(iter(fields))


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2, 3]], ids=["texts", "tokens"])
async def test_texts_and_token_ids_are_passed_on(router: Any, prompt: list[object]) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)))

        await client.post("/v1/completions", json={"model": "auto", "prompt": prompt})

        assert up.queries[0].body["prompt"] == prompt


async def test_an_image_needs_a_tier_that_sees(router: Any) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = ask() | {"messages": user([{"type": "text", "text": "what?"}, image])}
    async with Upstream() as up:
        blind = await router(Snapshot((tier("q2", up.url),)))
        sees = tier("q3", up.url, capabilities=frozenset({"vision"}))
        seeing = await router(Snapshot((tier("q2", up.url), sees)))

        refused = await blind.post(CHAT, json=body)
        taken = await seeing.post(CHAT, json=body)

        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "unsupported_by_tier"
        assert taken.headers["x-tiergarten-tier"] == "q3"


async def test_unknown_models_are_told_what_exists_and_make_no_series(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        before = (await client.post(CHAT, json=ask(model="bogus"))).json()
        lines = len((await client.get("/metrics")).text.splitlines())

        for number in range(50):
            found = await client.post(CHAT, json=ask(model=f"bogus-{number}"))
            assert found.status_code == 404

        assert before["error"]["code"] == "model_not_found"
        assert "auto, q2, tiny" in before["error"]["message"]
        assert len((await client.get("/metrics")).text.splitlines()) == lines


@pytest.mark.parametrize(
    "path", [CHAT, "/v1/completions", "/v1/embeddings", "/api/query", "/v1/tiers"]
)
async def test_other_methods_are_refused_with_those_that_are_taken(router: Any, path: str) -> None:
    client: httpx.AsyncClient = await router(Snapshot())

    found = await client.delete(path)

    assert found.status_code == 405
    assert found.json()["error"]["code"] == "method_not_allowed"
    assert found.headers["allow"] == ("GET" if path == "/v1/tiers" else "POST")


async def test_what_crashes_inside_is_an_error_in_openai_s_shape(router: Any) -> None:
    client = await router(Snapshot((tier("q2", "http://127.0.0.1:no-port"),)))

    found = await client.post(CHAT, json=ask())

    assert found.status_code == 500
    assert found.json()["error"]["code"] == "internal_error"
    assert "no-port" not in found.text
