"""What the load of the cluster's tests takes for a whole answer, a cut one and a failure."""

import json

import pytest

import loads

CONTENT = 'data: {"choices":[{"delta":{"content":"A pod"}}]}'
LOST = 'data: {"error":{"message":"gone","code":"upstream_disconnected"}}'
DONE = "data: [DONE]"


@pytest.mark.parametrize(
    ("lines", "whole", "cut"),
    [
        ([CONTENT, DONE], True, False),
        ([CONTENT], False, False),
        ([CONTENT, LOST], False, True),
        ([CONTENT, LOST, DONE], False, False),
        ([LOST], False, False),
        ([CONTENT, 'data: {"error":{"code":"timeout"}}'], False, False),
        ([": keep-alive"], False, False),
        ([], False, False),
    ],
)
def test_a_stream_is_whole_cut_or_failed(lines: list[str], *, whole: bool, cut: bool) -> None:
    assert loads.whole(lines, stream=True) is whole
    assert loads.cut(lines) is cut


@pytest.mark.parametrize(
    ("content", "reason", "whole"), [("A", "length", True), ("", "length", False), ("A", "", False)]
)
def test_an_answer_is_whole_when_it_has_all_its_tokens(
    content: str, reason: str, *, whole: bool
) -> None:
    choice = {"message": {"content": content}, "finish_reason": reason}

    assert loads.whole([json.dumps({"choices": [choice]})], stream=False) is whole
