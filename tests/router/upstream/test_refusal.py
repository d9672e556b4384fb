"""What an endpoint's status and error say, and whose fault it is."""

import json

import pytest

from tiergarten_router.errors import (
    AttemptFailed,
    ContextOverflow,
    Misconfigured,
    NotReadyYet,
    Refused,
)
from tiergarten_router.upstream import refusal


def body(message: str, kind: str = "x", **fields: int) -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, **fields}}).encode()


@pytest.mark.parametrize(
    ("status", "payload", "kind"),
    [
        (400, body("Field 'n' is bad"), Refused),
        (422, body("no"), Refused),
        (413, b"", Refused),
        (429, b"not JSON", NotReadyYet),
        (503, body("Loading model"), NotReadyYet),
        (500, body("image input is not supported - hint: provide the mmproj"), Refused),
        (500, body("boom"), AttemptFailed),
        (500, b"\xff", AttemptFailed),
        (501, body("This server does not support embeddings"), Refused),
        (401, body("Invalid API Key"), Misconfigured),
        (404, body("File Not Found"), Misconfigured),
        (302, b"", AttemptFailed),
        (400, body("too long", "exceed_context_size_error"), ContextOverflow),
    ],
)
def test_each_answer_is_one_kind_of_failure(
    status: int, payload: bytes, kind: type[AttemptFailed]
) -> None:
    assert type(refusal.failure(status, payload, None)) is kind


def test_an_overflow_carries_the_endpoint_s_own_count() -> None:
    payload = body("too long", "exceed_context_size_error", n_prompt_tokens=24010, n_ctx=4096)

    failed = refusal.failure(400, payload, None)

    assert isinstance(failed, ContextOverflow)
    assert (failed.prompt_tokens, failed.slot_tokens) == (24010, 4096)


def test_addresses_and_long_texts_do_not_reach_the_client() -> None:
    told = refusal.failure(400, body("see http://10.1.2.3:8080/x or 10.1.2.3 " + "x" * 999), None)

    assert "10.1.2.3" not in told.message
    assert len(told.message) <= refusal.MESSAGE_MAX


@pytest.mark.parametrize(("given", "told"), [(7, 7), (None, 1)])
def test_a_time_to_come_back_is_passed_on(given: int | None, told: int) -> None:
    assert refusal.failure(429, b"", given).retry_after_seconds == told


@pytest.mark.parametrize("status", range(400, 500))
def test_no_4xx_counts_against_the_endpoint(status: int) -> None:
    assert not refusal.failure(status, body("x"), None).breaks
