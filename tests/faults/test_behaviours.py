"""The steps and the shapes of behaviours, without a server."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from behaviours import (
    Behaviour,
    End,
    Request,
    Step,
    answer,
    context_overflow,
    cut,
    dribble,
    error,
    huge_header,
    insert,
    loading,
    page,
    saturated,
)
from transcripts import payloads, said

CHAT = "/v1/chat/completions"


def played(behaviour: Behaviour, path: str = CHAT, **fields: object) -> list[Step]:
    body = {"messages": [{"role": "user", "content": "one two three"}]} | fields
    return list(behaviour(Request("POST", path, {}, body, b"")))


def written(steps: list[Step]) -> list[bytes]:
    return [step for step in steps if isinstance(step, bytes)]


def streamed(behaviour: Behaviour, path: str = CHAT, **fields: object) -> str:
    """Return what the chunks of a stream hold."""
    rest, whole = b"".join(written(played(behaviour, path, stream=True, **fields))[1:]), b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        whole, rest = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return whole.decode()


def body(behaviour: Behaviour, path: str = CHAT, **fields: object) -> Any:
    return json.loads(written(played(behaviour, path, **fields))[1])


@given(st.text(alphabet="aß€😀 ", min_size=1), st.lists(st.integers(1, 9), min_size=1))
def test_cutting_the_payload_at_any_byte_loses_nothing(text: str, sizes: list[int]) -> None:
    whole = streamed(answer([text]))

    pieces = streamed(answer([text], sizes=sizes))

    assert pieces == whole
    assert said(pieces) == text


@given(st.integers(0, 12))
def test_a_cut_lets_that_many_steps_of_bytes_through_and_then_ends(at: int) -> None:
    good = written(played(answer("a b c"), stream=True))

    steps = played(cut(answer("a b c"), at, End.RESET), stream=True)

    assert written(steps) == good[:at]
    assert steps[-1] is End.RESET


@given(st.integers(0, 8))
def test_an_insert_adds_its_steps_and_nothing_else(at: int) -> None:
    good = played(answer("a b c"), stream=True)

    steps = played(insert(answer("a b c"), at, 0.5), stream=True)

    assert steps == [*good[:at], 0.5, *good[at:]]


@given(st.integers(1, 400))
def test_a_dribble_only_slows_the_bytes_down(size: int) -> None:
    good = written(played(answer("a b"), stream=True))

    steps = played(dribble(answer("a b"), 0.25, size), stream=True)

    assert b"".join(written(steps)) == b"".join(good)
    assert steps.count(0.25) == sum(-(-len(step) // size) for step in good)
    assert steps[-1] is End.FIN


def test_a_gap_stands_before_each_event() -> None:
    steps = played(answer("a b", gap=0.5), stream=True)

    assert steps.count(0.5) == len(["role", "a", "b", "finish", "[DONE]"])


def test_a_stream_has_the_events_of_the_real_server() -> None:
    text = streamed(answer("Hello there"), stream_options={"include_usage": True})

    first, *content, finish, usage = payloads(text)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert [c["choices"][0]["delta"]["content"] for c in content] == ["Hello", " there"]
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert "timings" not in finish
    assert usage["choices"] == []
    assert usage["usage"]["prompt_tokens"] == 3
    assert usage["usage"]["completion_tokens"] == 2
    assert text.endswith("data: [DONE]\n\n")


def test_a_stream_without_usage_has_its_timings_in_the_finish_chunk() -> None:
    last = payloads(streamed(answer("a b", finish="length", cached=2)))[-1]

    assert last["choices"][0]["finish_reason"] == "length"
    assert last["timings"]["cache_n"] == 2
    assert last["timings"]["prompt_n"] == 1


def test_progress_is_told_when_asked_for() -> None:
    chunks = payloads(streamed(answer("a"), return_progress=True))

    told = [c["prompt_progress"]["processed"] for c in chunks if "prompt_progress" in c]
    assert told == [1, 3]


def test_a_piece_may_be_a_whole_delta() -> None:
    call = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{"}}]}

    chunks = payloads(streamed(answer([call, "b"], finish="tool_calls")))

    assert chunks[1]["choices"][0]["delta"] == call
    assert chunks[2]["choices"][0]["delta"] == {"content": "b"}


def test_done_can_be_left_out() -> None:
    assert "[DONE]" not in streamed(answer("a", done=False))


def test_other_query_paths_have_their_own_shapes() -> None:
    completion = body(answer("a b"), "/v1/completions", prompt="x")
    last = payloads(streamed(answer("a b"), "/v1/completions"))[-1]
    embedding = body(answer("a"), "/v1/embeddings", input="x")

    assert completion["choices"][0]["text"] == "a b"
    assert last["usage"]["completion_tokens"] == 2
    assert embedding["data"][0]["embedding"]


def test_a_request_that_is_no_object_counts_no_tokens() -> None:
    assert Request("POST", CHAT, {}, ["a"], b"").prompt_tokens == 0


@pytest.mark.parametrize(
    ("behaviour", "status", "kind"),
    [
        pytest.param(loading(), 503, "unavailable_error", id="loading"),
        pytest.param(error(500, "boom", "server_error"), 500, "server_error", id="500"),
        pytest.param(saturated(), 429, "rate_limit_error", id="saturated"),
        pytest.param(context_overflow(), 400, "exceed_context_size_error", id="context"),
    ],
)
def test_errors_have_the_shape_of_the_real_server(
    behaviour: Behaviour, status: int, kind: str
) -> None:
    head, _ = written(played(behaviour))

    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert body(behaviour)["error"]["code"] == status
    assert body(behaviour)["error"]["type"] == kind


def test_errors_carry_what_a_client_can_act_on() -> None:
    assert b"\r\nRetry-After: 7\r\n" in written(played(saturated(retry_after=7)))[0]
    overflow = body(context_overflow(9000, 4096))["error"]
    assert (overflow["n_prompt_tokens"], overflow["n_ctx"]) == (9000, 4096)


def test_a_header_has_the_size_asked_for() -> None:
    assert b"x" * 5000 + b"\r\n" in written(played(huge_header(5000)))[0]


def test_a_page_is_text_or_json() -> None:
    text, tree = written(played(page("a 1\n"))), written(played(page({"a": 1})))

    assert b"Content-Type: text/plain" in text[0]
    assert text[1] == b"a 1\n"
    assert b"Content-Type: application/json" in tree[0]
    assert tree[1] == b'{"a": 1}'
