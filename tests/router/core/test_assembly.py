"""Whole answers out of events."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router import wire
from tiergarten_router.core.assembly import Assembly


def assembled(*events: dict[str, object]) -> Assembly:
    made = Assembly()
    for event in events:
        made.add(wire.decode_chunk(json.dumps(event).encode()))
    return made


def delta(index: int = 0, **fields: object) -> dict[str, object]:
    return {"choices": [{"index": index, "delta": fields}]}


@given(st.lists(st.tuples(st.integers(0, 3), st.text())))
def test_each_choice_is_the_joined_pieces_of_its_index(pieces: list[tuple[int, str]]) -> None:
    made = assembled(*(delta(index, content=text) for index, text in pieces))

    choices = json.loads(made.chat())["choices"]

    for choice in choices:
        mine = "".join(text for index, text in pieces if index == choice["index"])
        assert choice["message"]["content"] == mine
    assert [choice["index"] for choice in choices] == sorted({index for index, _ in pieces})
    assert made.text == "".join(text for index, text in pieces if index == 0)


def test_probabilities_are_joined_and_other_kinds_of_them_left_out() -> None:
    def event(token: str) -> dict[str, object]:
        logprobs = {"content": [{"token": token}], "refusal": None}
        return {"choices": [{"index": 0, "delta": {"content": token}, "logprobs": logprobs}]}

    choice = json.loads(assembled(event("a"), event("b")).chat())["choices"][0]

    assert choice["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


def test_legacy_completions_have_text_usage_and_timings() -> None:
    last: dict[str, object] = {
        "choices": [{"index": 0, "text": "b", "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        "timings": {"predicted_per_second": 9.5},
        "id": "x",
    }
    body = json.loads(assembled({"choices": [{"index": 0, "text": "a"}]}, last).completion())

    assert body["choices"][0]["text"] == "ab"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["total_tokens"] == 3
    assert body["timings"]["predicted_per_second"] == 9.5


def test_nothing_at_all_is_an_answer_without_choices() -> None:
    assert json.loads(Assembly().chat())["choices"] == []
    assert Assembly().text == ""


def test_tool_calls_of_two_indices_stay_apart() -> None:
    def call(index: int, arguments: str, **fields: object) -> dict[str, object]:
        part = {"index": index, "function": {"arguments": arguments}, **fields}
        return delta(tool_calls=[part])

    made = assembled(
        call(0, "a", id="c0"), call(1, "x", id="c1"), call(0, "b"), delta(tool_calls=[{}])
    )

    calls = json.loads(made.chat())["choices"][0]["message"]["tool_calls"]
    assert [(c["id"], c["function"]["arguments"]) for c in calls] == [("c0", "ab"), ("c1", "x")]
