"""What is known of a prompt's length before an endpoint has counted it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router import wire
from tiergarten_router.core import context

TOO_LONG = "request (24010 tokens) exceeds the available context size (4096 tokens), try increasing"


@given(st.integers(0, 1 << 24), st.floats(0.25, 16))
def test_a_prompt_never_has_no_tokens_and_a_longer_one_never_fewer(characters, quotient):
    tokens = context.estimate_tokens(characters, quotient)

    assert tokens >= 1
    assert context.estimate_tokens(characters + 1, quotient) >= tokens


@given(st.floats(0.25, 16), st.integers(0, 1 << 24), st.integers(0, 1 << 24))
def test_the_quotient_stays_a_plausible_one_whatever_an_endpoint_reports(before, chars, tokens):
    assert 0.25 <= context.learn(before, chars, tokens) <= 16


def test_the_quotient_comes_to_that_of_the_prompts_that_are_sent():
    quotient = context.CHARACTERS_PER_TOKEN

    for _ in range(40):
        quotient = context.learn(quotient, characters=1500, prompt_tokens=1000)

    assert quotient == pytest.approx(1.5, abs=0.05)


def test_a_short_prompt_teaches_nothing_because_most_of_it_is_the_template():
    assert context.learn(3.5, characters=8, prompt_tokens=31) == 3.5


@given(st.integers(0, 1 << 20), st.integers(1, 1 << 20))
def test_the_room_for_an_answer_is_at_most_half_of_the_slot(answer, slot):
    assert 0 <= context.room(answer, slot) <= slot // 2


@pytest.mark.parametrize(
    ("answer", "slot", "room"),
    [
        pytest.param(100, 4096, 100, id="what-the-client-asks"),
        pytest.param(16_384, 4096, 2048, id="half-of-the-slot-when-it-asks-for-more"),
        pytest.param(0, 4096, 256, id="an-ordinary-answer-when-it-does-not-say"),
        pytest.param(0, 128, 64, id="half-of-a-tiny-slot"),
    ],
)
def test_the_room_for_an_answer(answer, slot, room):
    assert context.room(answer, slot) == room


def test_an_estimate_refuses_a_prompt_for_good_only_when_it_is_far_too_long():
    assert context.may_fit(8192, 4096)
    assert not context.may_fit(8193, 4096)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(
            wire.UpstreamError(TOO_LONG, "exceed_context_size_error", 400, 24_010, 4096),
            context.Overflow(24_010, 4096),
            id="fields",
        ),
        pytest.param(
            wire.UpstreamError(TOO_LONG, "invalid_request_error", 400),
            context.Overflow(24_010, 4096),
            id="only-the-sentence",
        ),
        pytest.param(
            wire.UpstreamError("too long", "exceed_context_size_error", 400),
            context.Overflow(0, 0),
            id="only-the-type",
        ),
        pytest.param(
            wire.UpstreamError("'messages' is required", "invalid_request_error", 400),
            None,
            id="another-mistake",
        ),
    ],
)
def test_an_overflow_is_told_from_other_errors(error, expected):
    assert context.overflow(error) == expected


@given(st.text(max_size=2000), st.text(max_size=40))
def test_no_error_text_is_too_odd_to_be_read(message, kind):
    found = context.overflow(wire.UpstreamError(message, kind))

    assert found is None or found.prompt_tokens >= 0
