"""The router in front of real llama.cpp, asked by OpenAI's own client."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionToolParam
from pydantic import BaseModel

from llama_process import LlamaProcess
from routing import CHAT, Published, ask, in_flight, routing, tier
from tiergarten_router.core.snapshot import Snapshot

TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]
BROKEN_CALL = [{"type": "function", "function": {"name": "f", "arguments": "{oops"}}]
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"


class Verdict(BaseModel):
    """What a structured answer looks like."""

    ok: bool
    n: int


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture
async def real(scripted_server: Callable[..., LlamaProcess]) -> AsyncIterator[httpx.AsyncClient]:
    """A router over three real tiers and one that makes embeddings."""
    parallel = ("--parallel", "2")
    small = await asyncio.to_thread(scripted_server, "small", *parallel)
    medium = await asyncio.to_thread(scripted_server, "medium", *parallel)
    large = await asyncio.to_thread(scripted_server, "large", *parallel)
    vectors = await asyncio.to_thread(scripted_server, "small", "--embeddings", "--pooling", "mean")
    tiers = (
        tier("q2", small.url, slots=2, slot_tokens=4096),
        tier("q3", medium.url, slots=2, slot_tokens=4096),
        tier("q4", large.url, slots=2, slot_tokens=4096),
        tier("e5", vectors.url, model="vectors", embeddings=True),
    )
    async with routing(Published(Snapshot(tiers))) as client:
        yield client


@pytest.fixture
async def sdk(real: httpx.AsyncClient) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{real.base_url}/v1", api_key="none", max_retries=0
    ) as client:
        yield client


async def test_chat_is_answered_whole_and_streamed(sdk: openai.AsyncOpenAI) -> None:
    whole = await sdk.chat.completions.create(model="q2", messages=user("tell me about the cache"))
    stream = await sdk.chat.completions.create(
        model="q2", messages=user("tell me about the cache"), stream=True, temperature=0
    )
    events = [event async for event in stream]

    assert "The small model says that a cache" in (whole.choices[0].message.content or "")
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage
    assert whole.usage.total_tokens > 10
    assert "cache" in "".join(e.choices[0].delta.content or "" for e in events)
    assert not any(e.usage for e in events)


async def test_usage_comes_for_those_who_ask(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(
        model="q2", messages=user("router?"), stream=True, stream_options={"include_usage": True}
    )
    events = [event async for event in stream]

    assert events[-1].usage
    assert events[-1].choices == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_tool_is_called(sdk: openai.AsyncOpenAI, *, stream: bool) -> None:
    if not stream:
        done = await sdk.chat.completions.create(
            model="q2", messages=user("Is it warm?"), tools=TOOLS, tool_choice="required"
        )
        calls: list[Any] = list(done.choices[0].message.tool_calls or [])
        assert calls[0].function.arguments == '{"city": "Paris"}'
    else:
        events = await sdk.chat.completions.create(
            model="q2", messages=user("Is it warm?"), tools=TOOLS, stream=True
        )
        parts = [e.choices[0].delta.tool_calls async for e in events if e.choices]
        calls = [part for part in parts if part]
        assert calls[0][0].function.name == "get_weather"


async def test_a_tool_s_result_is_read(sdk: openai.AsyncOpenAI) -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'},
    }
    messages = [
        *user("Is it warm?"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]

    done = await sdk.chat.completions.create(model="q2", messages=messages, tools=TOOLS)

    assert done.choices[0].message.content or done.choices[0].message.tool_calls


async def test_an_answer_follows_a_json_schema(sdk: openai.AsyncOpenAI) -> None:
    done = await sdk.chat.completions.parse(
        model="q2", messages=user("hi"), response_format=Verdict, max_tokens=200, temperature=0
    )

    assert isinstance(done.choices[0].message.parsed, Verdict)


async def test_completions_choices_logprobs_and_stop_are_passed_on(
    sdk: openai.AsyncOpenAI,
) -> None:
    text = await sdk.completions.create(model="q2", prompt="The small model", max_tokens=8, seed=1)
    two = await sdk.chat.completions.create(
        model="q2", messages=user("gpu?"), n=2, logprobs=True, top_logprobs=2, max_tokens=6
    )
    stopped = await sdk.chat.completions.create(
        model="q2", messages=user("tell me about the cache"), stop=["cache"]
    )

    assert text.choices[0].text
    assert [choice.index for choice in two.choices] == [0, 1]
    assert two.choices[0].logprobs
    assert len(two.choices[0].logprobs.content or []) > 1
    assert "cache" not in (stopped.choices[0].message.content or "")


async def test_embeddings_and_models_are_there(sdk: openai.AsyncOpenAI) -> None:
    vectors = await sdk.embeddings.create(model="vectors", input=["a", "b"])
    models = [model.id async for model in sdk.models.list()]
    one = await sdk.models.retrieve("q2")

    assert len(vectors.data) == 2
    assert len(vectors.data[0].embedding) > 8
    assert {"auto", "tiny", "q2", "vectors"} <= set(models)
    assert one.id == "q2"


async def test_errors_are_the_sdk_s_own(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await sdk.chat.completions.create(model="none", messages=user("hi"))
    with pytest.raises(openai.BadRequestError) as long:
        await sdk.chat.completions.create(model="auto", messages=user("a b c " * 20_000))

    assert unknown.value.code == "model_not_found"
    assert long.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function"}]},
        {"tools": "none"},
        {"tools": [{"type": "function", "function": {"name": 5}}]},
        {"messages": [*user("hi"), {"role": "assistant", "tool_calls": [{"type": "function"}]}]},
        {"messages": [*user("hi"), {"role": "assistant", "tool_calls": BROKEN_CALL}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "x"}}}},
        {"response_format": {"type": "poem"}},
        {"tool_choice": "never", "tools": TOOLS},
    ],
    ids=["tool", "tools", "name", "calls", "arguments", "schema", "format", "choice"],
)
async def test_what_llama_server_cannot_read_is_the_client_s_mistake(
    real: httpx.AsyncClient, fields: dict[str, object]
) -> None:
    for _ in range(6):
        found = await real.post(CHAT, json=ask(model="q2") | fields)
        assert found.status_code == 400, found.text
        assert found.json()["error"]["code"] == "invalid_request"

    tiers = (await real.get("/v1/tiers/q2")).json()
    assert tiers["replicas"][0]["breaker"] == "closed"


async def test_an_input_that_is_too_long_for_embeddings_is_the_client_s_mistake(
    real: httpx.AsyncClient,
) -> None:
    found = await real.post("/v1/embeddings", json={"model": "vectors", "input": "word " * 700})

    assert found.status_code == 400
    assert "too large to process" in found.json()["error"]["message"]
    assert (await real.get("/v1/tiers/e5")).json()["replicas"][0]["failed"] == 0


async def test_several_prompts_are_continued_at_once(sdk: openai.AsyncOpenAI) -> None:
    prompts = ["The small model", "A cache"]

    whole = await sdk.completions.create(model="q2", prompt=prompts, max_tokens=4)
    stream = await sdk.completions.create(model="q2", prompt=prompts, max_tokens=4, stream=True)
    events = [event async for event in stream]

    assert [choice.index for choice in whole.choices] == [0, 1]
    assert all(choice.text for choice in whole.choices)
    assert {choice.index for event in events for choice in event.choices} == {0, 1}


async def test_an_image_for_a_server_without_a_projector_is_the_client_s_mistake(
    scripted_server: Callable[..., LlamaProcess],
) -> None:
    server = await asyncio.to_thread(scripted_server, "small", "--parallel", "2")
    sees = tier("q2", server.url, capabilities=frozenset({"vision"}))
    image = [{"type": "image_url", "image_url": {"url": PIXEL}}]
    async with routing(Published(Snapshot((sees,)))) as client:
        body = {"model": "auto", "messages": [{"role": "user", "content": image}]}
        found = await client.post(CHAT, json=body)

    assert found.status_code == 400
    assert found.json()["error"]["code"] == "invalid_request"


async def test_a_hundred_queries_at_once_over_three_tiers_are_all_answered(
    real: httpx.AsyncClient,
) -> None:
    texts = (
        "What is the capital of France?",
        "Write a Python function that reverses a linked list",
        "Analyze and compare the trade-offs between microservices and monolithic architectures",
    )
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=real.base_url, limits=limits, timeout=50) as many:
        answers = await asyncio.gather(
            *(many.post("/api/query", json={"query": texts[n % 3]}) for n in range(100))
        )

    assert {found.status_code for found in answers} == {200}
    assert {found.json()["model_tier"] for found in answers} == {"q2", "q3", "q4"}
    assert await in_flight(real) == 0


async def test_a_cancelled_stream_reaches_llama_server_within_100_ms(
    real: httpx.AsyncClient, scripted_server: Callable[..., LlamaProcess]
) -> None:
    server = await asyncio.to_thread(scripted_server, "small", "--parallel", "2")
    endless = ask(model="q2", stream=True, max_tokens=3000, ignore_eos=True)
    async with real.stream("POST", CHAT, json=endless) as answer:
        async for line in answer.aiter_lines():
            if '"content":"' in line:
                break
    async with asyncio.timeout(0.1):
        while await in_flight(real):
            pass  # the router has closed its side
    async with asyncio.timeout(2):
        while sum(await asyncio.to_thread(server.load)):
            pass  # llama-server has noticed between two tokens
