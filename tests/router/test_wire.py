"""JSON as structs: what is bounded, and what stays as it came."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router import wire

values = st.recursive(
    st.none() | st.integers() | st.text(alphabet='[]{}"\\ab', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(values, st.integers(0, 6))
def test_depth_is_counted_as_a_parser_would_whatever_strings_hold(
    value: object, limit: int
) -> None:
    assert wire.is_too_deep(json.dumps(value).encode(), limit) is (depth(value) > limit)


@pytest.mark.parametrize("null", ["stop", "n", "max_tokens", "stream_options", "seed"])
def test_null_is_the_same_as_nothing_and_is_not_sent_on(null: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], null: None}

    decoded = msgspec.json.decode(json.dumps(body).encode(), type=wire.ChatBody)

    assert null not in json.loads(wire.encode(decoded))
