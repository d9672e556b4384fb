"""What is counted and logged of a query when it is over."""

import asyncio
import contextlib
from typing import Any

import msgspec
import pytest
import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from routing import tier
from tiergarten_router import wire
from tiergarten_router.core.plan import Candidate
from tiergarten_router.core.query import CHAT, Query
from tiergarten_router.core.score import Rated
from tiergarten_router.errors import (
    ClientGone,
    DeadlineExceeded,
    InvalidRequest,
    NoReadyTier,
    Saturated,
    StreamBroken,
)
from tiergarten_router.events.kinds import Event
from tiergarten_router.metrics import Metrics
from tiergarten_router.record import Record

PROMPT = "a secret question"


@pytest.fixture(autouse=True)
def everything_is_logged():
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def record(*, streams: bool = True, detailed: bool = False) -> Record:
    times = iter([10.0, 12.5])
    body = wire.ChatBody(model="auto", messages=[wire.Message("user", PROMPT)])
    query = Query("r1", CHAT, body, PROMPT, len(PROMPT), streams=streams)
    made = Record(query, lambda: next(times), Metrics(CollectorRegistry()), detailed)
    made.tier = "q2"
    return made


def ends(made: Record, error: BaseException | None = None) -> None:
    """Enter and leave a record."""
    with made:
        made.rated = Rated(42, ("long",))
        if error is not None:
            raise error


def test_a_good_end_is_counted_with_its_times_and_tokens_and_not_logged() -> None:
    made = record()
    made.usage = wire.Usage(prompt_tokens=7, completion_tokens=3)

    with capture_logs() as logged:
        ends(made)

    metrics = made.metrics
    assert metrics.requests.get("q2", "ok") == 1
    assert (metrics.tokens.get("q2", "prompt"), metrics.tokens.get("q2", "completion")) == (7, 3)
    assert made.total_seconds == 2.5
    assert b'gen_ai_server_request_duration_seconds_sum{tier="q2"} 2.5' in metrics.render()
    assert b"tiergarten_router_complexity_score_sum 42.0" in metrics.render()
    assert logged == []


def test_a_good_end_is_logged_where_that_is_wanted_without_the_prompt() -> None:
    made = record(detailed=True)

    with capture_logs() as (logged):
        ends(made)

    (line,) = logged
    assert (line["event"], line["log_level"]) == ("query_completed", "debug")
    assert (line["request_id"], line["score"], line["total_ms"]) == ("r1", 42, 2500.0)
    assert PROMPT not in str(line)


@pytest.mark.parametrize(
    ("error", "outcome", "logs"),
    [
        (InvalidRequest("x"), "client_error", False),
        (ClientGone("x"), "client_closed", False),
        (asyncio.CancelledError(), "client_closed", False),
        (NoReadyTier("x"), "shed", True),
        (Saturated("x"), "shed", True),
        (DeadlineExceeded("x"), "upstream_error", True),
        (StreamBroken("x"), "upstream_error", True),
        (ZeroDivisionError("x"), "internal", True),
    ],
)
def test_each_bad_end_has_its_outcome_and_a_line_if_a_client_was_failed(
    error: BaseException, outcome: str, *, logs: bool
) -> None:
    made = record()

    with capture_logs() as logged, pytest.raises(type(error)):
        ends(made, error)

    assert made.metrics.requests.get("q2", outcome) == 1
    assert [line["event"] for line in logged] == ["query_failed"] * logs
    assert made.metrics.durations.family().samples == []


@pytest.mark.parametrize(
    ("streams", "outcome"), [(True, "stream_broken"), (False, "upstream_error")]
)
def test_an_answer_that_breaks_after_its_first_content_is_broken_only_where_it_was_seen(
    outcome: str, *, streams: bool
) -> None:
    made = record(streams=streams)
    made.content(made.started + 1.5)

    with capture_logs() as logged, pytest.raises(StreamBroken):
        ends(made, StreamBroken("x"))

    assert made.metrics.requests.get("q2", outcome) == 1
    assert logged[0]["first_token_ms"] == 1500.0


def test_a_query_that_came_to_no_tier_or_score_has_neither() -> None:
    made = record()
    made.tier = ""

    with pytest.raises(InvalidRequest), made:
        raise InvalidRequest("x")

    assert made.metrics.requests.get("none", "client_error") == 1
    assert {sample.value for sample in made.metrics.scores.family().samples} == {0}


def test_content_without_a_time_is_there_now() -> None:
    made = record()
    made.content(None)

    assert made.first_token_seconds == 10.0


def told_of(made: Record, error: BaseException | None = None) -> list[dict[str, Any]]:
    """Enter and leave a record, and return the events of it."""
    told: list[Event] = []
    made.tell = told.append
    with contextlib.suppress(Exception, asyncio.CancelledError):
        ends(made, error)
    return [msgspec.to_builtins(event) for event in told]


def test_a_query_is_told_from_its_beginning_to_its_end() -> None:
    made = record()
    made.usage = wire.Usage(prompt_tokens=7, completion_tokens=3)
    made.cache = "miss"

    told = told_of(made)

    assert [event["type"] for event in told] == ["query.received", "cache.miss", "query.completed"]
    assert {event["query"] for event in told} == {"r1"}
    end = told[-1]
    assert (end["tier"], end["score"], end["total_ms"], end["prompt_tokens"]) == ("q2", 42, 2500, 7)
    assert end["tokens_per_second"] is None
    assert PROMPT not in str(told)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (Saturated("x"), "query.failed", "saturated"),
        (ZeroDivisionError("x"), "query.failed", "internal_error"),
        (ClientGone("x"), "query.cancelled", None),
        (asyncio.CancelledError(), "query.cancelled", None),
    ],
)
def test_a_bad_end_is_told_with_its_code(error: BaseException, kind: str, code: str | None) -> None:
    end = told_of(record(), error)[-1]

    assert (end["type"], end.get("code")) == (kind, code)


def test_the_steps_of_a_query_are_told() -> None:
    made, told = record(), list[Event]()
    made.tell = told.append
    tiers = [Candidate(tier(f"q{number}"), "cheapest") for number in range(30)]

    made.routed("auto", "Ordered", tuple(tiers))
    made.attempts = 1
    made.tried()
    made.tried("upstream_failed")
    made.content(1.5)

    routed, asked, failed, first = [msgspec.to_builtins(event) for event in told]
    assert (routed["tier"], len(routed["tiers"])) == ("q0", 16)
    assert (asked["result"], failed["result"]) == ("asked", "upstream_failed")
    assert first["first_token_ms"] == 1500


def test_an_answer_that_goes_on_is_told_now_and_then() -> None:
    times = iter([float(second) for second in range(30)])
    told: list[Event] = []
    made = record()
    made.clock, made.tell = lambda: next(times), told.append
    made.progress_at = 5

    for _ in range(20):
        made.relayed(2)

    progress = [msgspec.to_builtins(event) for event in told]
    assert [event["pieces"] for event in progress] == [12, 22, 32]
    assert [event["total_ms"] for event in progress] == [5000, 10_000, 15_000]
