"""A body as a query: what it is scored by, how long it is, and what goes upstream."""

import json
from typing import Any

import msgspec
import pytest

from tiergarten_router import wire
from tiergarten_router.core import query
from tiergarten_router.errors import InvalidRequest


def chat(*messages: dict[str, object], **fields: Any) -> query.Query:
    body = json.dumps({"model": "auto", "messages": messages, **fields}).encode()
    return query.chat("id-1", msgspec.json.decode(body, type=wire.ChatBody))


def said(role: str, content: object) -> dict[str, object]:
    return {"role": role, "content": content}


def test_what_a_user_said_last_is_scored_and_everything_counts_for_length() -> None:
    asked = chat(
        said("system", "abc"), said("user", "first"), said("assistant", "no"), said("user", "last")
    )

    assert asked.text == "last"
    assert asked.characters == len("abcfirstnolast")


def test_texts_in_parts_are_joined_and_images_need_vision() -> None:
    parts = [
        {"type": "text", "text": "one"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
        {"type": "text", "text": "two"},
    ]

    asked = chat(said("user", parts))

    assert asked.text == "one\ntwo"
    assert asked.characters == 6
    assert asked.needs == {"vision"}


def test_tools_and_tool_calls_count_for_length_and_not_for_the_score() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]

    asked = chat(
        said("user", "hi"),
        {"role": "assistant", "tool_calls": calls, "reasoning_content": "hm"},
        tools=tools,
    )

    assert asked.text == "hi"
    assert asked.characters == 4 + len(json.dumps(tools)) + len(json.dumps(calls))


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, 0),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
    ],
)
def test_the_longest_answer_is_the_newer_field_s(fields: dict[str, int], tokens: int) -> None:
    assert chat(said("user", "x"), **fields).answer_tokens == tokens


def test_a_conversation_without_a_user_has_nothing_to_score() -> None:
    assert chat(said("system", "x")).text == ""


def test_the_payload_streams_with_usage_under_the_tier_s_name_and_may_be_made_again() -> None:
    asked = chat(said("user", "x"), stream=False, temperature=0, tools=None)

    first, second = (json.loads(asked.payload(name)) for name in ("small", "large"))

    assert first | {"model": "large"} == second
    assert first == {
        "model": "small",
        "messages": [said("user", "x")],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
    }
    assert asked.model == "auto"
    assert not asked.streams


def test_an_embedding_s_payload_is_no_stream_and_its_length_the_longest_input_s() -> None:
    body = wire.EmbeddingsBody(model="e", input=["a", "abc"])

    asked = query.embeddings("id-1", body)

    assert json.loads(asked.payload("bge")) == {"model": "bge", "input": ["a", "abc"]}
    assert (asked.characters, asked.embeds) == (3, True)


def test_token_ids_are_counted_one_by_one() -> None:
    made = query.completion("id-1", wire.CompletionBody(model="m", prompt=[1, 2, 3]))

    assert (made.characters, made.text) == (3, "")


def test_only_images_inside_the_request_are_taken() -> None:
    url = {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}

    with pytest.raises(InvalidRequest) as refused:
        chat(said("user", "x"), said("user", [url]))

    assert refused.value.param == "messages[1].content[0].image_url"


def test_ids_tell_replicas_and_requests_apart() -> None:
    numbers = query.numbered("r1")

    assert [next(numbers) for _ in range(2)] == ["r1-1", "r1-2"]
