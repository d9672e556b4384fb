"""Events taken by comparison say what decoding them would say, or are not taken."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router import wire
from tiergarten_router.upstream import pattern
from tiergarten_router.upstream.pattern import Pattern

KINDS = ("content", "reasoning_content", "text")


def event(text: str, kind: str = "content", **more: object) -> bytes:
    said: dict[str, object] = {"text": text} if kind == "text" else {"delta": {kind: text}}
    choice = {"index": 2, "finish_reason": None, **said}
    body = {"id": "x", "created": 7, "model": "m", "choices": [choice], **more}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def decoded(raw: bytes) -> wire.Chunk:
    return wire.decode_chunk(raw[6:-2])


def learnt(raw: bytes) -> Pattern | None:
    return pattern.learn(raw, decoded(raw))


def known(kind: str = "content") -> Pattern:
    found = learnt(event("first", kind))
    assert found is not None
    return found


@given(st.sampled_from(KINDS), st.lists(st.text(), min_size=1, max_size=5))
def test_events_of_other_texts_say_the_same_as_when_they_are_decoded(
    kind: str, texts: list[str]
) -> None:
    raws = [event(text, kind) for text in texts]

    pieces = known(kind).pieces(raws, 0)
    text = known(kind).text(pieces)

    assert len(pieces) == len(raws)
    assert text == "".join(texts)
    assert known(kind).chunk(text) == decoded(event(text, kind))


def is_event(raw: bytes) -> bool:
    try:
        decoded(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


hostile = st.lists(
    st.sampled_from(["a", '"', "\\", '","', "\\u", "00", "\n", "\x00", "é", "}", ","]), max_size=6
).map("".join)


@given(st.lists(hostile, min_size=1, max_size=4))
def test_nothing_is_taken_as_text_that_is_no_event(contents: list[str]) -> None:
    head, _, tail = event("@").partition(b"@")
    raws = [head + content.encode() + tail for content in contents]

    pieces = known().pieces(raws, 0)

    if known().text(pieces) is not None:
        assert all(map(is_event, raws))


@pytest.mark.parametrize(
    "bytes_of", [b"\xff", b"\xc3", b"\\ud800"[:-1], b"\x1f"], ids=["ff", "half", "escape", "1f"]
)
def test_a_text_that_is_not_valid_is_none(bytes_of: bytes) -> None:
    assert known().text([bytes_of]) is None
    assert known().text([b"good", bytes_of]) is None


def test_only_what_fits_is_taken_and_only_in_a_row() -> None:
    other = event("x", id="y")

    assert known().pieces([event("a"), event("b"), other, event("c")], 0) == [b"a", b"b"]
    assert known().pieces([event("a"), event("b"), other, event("c")], 1) == [b"b"]
    assert known().pieces([other, event("a")], 0) == []


def test_an_event_in_which_head_and_tail_overlap_is_none() -> None:
    first = b'data: {"choices":[{"delta":{"content":"a"}}],"id":"content":"a"}\n\n'
    made = Pattern(decoded(event("a")), b'data: {"a":"', b'"}\n\n', None)
    assert made.pieces([b'data: {"a":"x"}\n\n', b'data: {"a":"}\n\n'], 0) == [b"x"]
    assert b"overlap" not in first


UNLIKE: dict[str, Any] = {
    "usage": event("a", usage={"total_tokens": 1}),
    "timings": event("a", timings={"cache_n": 1}),
    "no text": event(""),
    "an escape": event("a\n"),
    "twice": event('"content":"a'.replace('"', "'"), again={"content": "b"}),
    "two lines": b'data: {"choices":[{"delta":{"content":"a"}}],\ndata: "id":"x"}\n\n',
}


@pytest.mark.parametrize("raw", UNLIKE.values(), ids=UNLIKE)
def test_an_event_with_more_than_plain_text_teaches_nothing(raw: bytes) -> None:
    payload = b"".join(line.removeprefix(b"data: ") for line in raw.split(b"\n"))

    assert pattern.learn(raw, wire.decode_chunk(payload)) is None


@pytest.mark.parametrize(
    "choice",
    [
        {"delta": {"role": "assistant", "content": "a"}},
        {"delta": {"content": "a", "reasoning_content": "b"}},
        {"delta": {"content": "a", "tool_calls": [{"index": 0}]}},
        {"delta": {"content": "a"}, "text": "b"},
        {"delta": {"content": "a"}, "finish_reason": "stop"},
        {"delta": {"content": "a"}, "logprobs": {"content": []}},
    ],
    ids=["role", "both", "tools", "text too", "finish", "logprobs"],
)
def test_a_choice_with_more_than_text_teaches_nothing(choice: dict[str, object]) -> None:
    raw = b"data: " + json.dumps({"choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"

    assert learnt(raw) is None


def test_two_choices_in_one_event_teach_nothing() -> None:
    choice = {"delta": {"content": "a"}}
    body = json.dumps({"choices": [choice, choice]}, separators=(",", ":")).encode()

    assert learnt(b"data: " + body + b"\n\n") is None
