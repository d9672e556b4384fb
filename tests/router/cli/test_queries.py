"""What a client of the demo's router sees of replies, streams and errors."""

import asyncio
import json

import httpx
import pytest

from tiergarten_router.cli import queries
from tiergarten_router.cli.queries import Heard
from tiergarten_router.cli.tour import Seen, Step

STEP = Step("a step", "text", "q3", "why", context="before", temperature=0)
HEADERS = {
    "x-tiergarten-tier": "q3",
    "x-tiergarten-endpoint": "q3-0",
    "x-tiergarten-score": "40",
    "x-tiergarten-reasons": "code",
    "x-tiergarten-cache": "off",
}
BODY = {
    "response": "hi",
    "model_tier": "q3",
    "score": 40,
    "reasons": ["code", "length"],
    "time_to_first_token_ms": 3.0,
    "latency_ms": 9.0,
    "tokens": {"per_second": 100.0},
    "fallbacks": ["q2"],
}
ERROR = {"error": {"message": "no such model", "code": "model_not_found"}}


def client(status: int, content: str, sent: list[object]) -> httpx.AsyncClient:
    """Return a client of a server that always gives this reply and keeps what it was sent."""

    def reply(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(status, headers=HEADERS, text=content)

    return httpx.AsyncClient(base_url="http://router", transport=httpx.MockTransport(reply))


def test_a_reply_is_seen_with_all_that_was_decided() -> None:
    assert queries.replied(200, HEADERS, BODY) == Seen(
        200,
        "hi",
        tier="q3",
        endpoint="q3-0",
        score="40",
        reasons="code, length",
        first_ms=3.0,
        total_ms=9.0,
        speed=100.0,
        fallbacks=("q2",),
        cache="off",
    )


def test_an_error_is_seen_with_its_message_and_code() -> None:
    assert queries.replied(404, {}, ERROR) == Seen(404, "no such model", "model_not_found")


async def test_a_question_is_sent_with_its_temperature() -> None:
    sent: list[object] = []
    async with client(200, json.dumps(BODY), sent) as http:
        seen = await queries.asked(http, STEP)

    assert sent == [{"query": "text", "mode": "auto", "temperature": 0}]
    assert seen.answer == "hi"


async def test_a_burst_words_each_of_its_questions_differently() -> None:
    sent: list[object] = []
    async with client(200, json.dumps(BODY), sent) as http:
        seen = await queries.burst(http, Step("burst", "text", "q2", "why"))

    texts = {str(body) for body in sent}
    assert len(seen) == len(texts) == queries.MOST_AT_ONCE


async def test_a_streamed_chat_is_put_together_and_has_no_speed_when_it_comes_at_once() -> None:
    sent: list[dict[str, list[object]]] = []
    lines = (
        'data: {"choices": [{"delta": {"role": "assistant", "content": null}}]}',
        'data: {"choices": [{"delta": {"content": "hel"}}]}',
        'data: {"choices": [{"delta": {"content": "lo"}}]}',
        'data: {"choices": [], "usage": {"completion_tokens": 2}}',
        "data: [DONE]",
    )
    async with client(200, "\n\n".join(lines), sent) as http:  # type: ignore[arg-type]  # bodies
        seen = await queries.chatted(http, STEP)

    assert [seen.status, seen.answer, seen.tier, seen.endpoint] == [200, "hello", "q3", "q3-0"]
    assert [seen.score, seen.reasons, seen.cache] == ["40", "code", "off"]
    assert seen.first_ms is not None
    assert seen.first_ms <= seen.total_ms
    assert seen.speed is None
    assert sent[0]["messages"] == [
        {"role": "system", "content": "before"},
        {"role": "user", "content": "text"},
    ]


async def test_a_chat_that_is_refused_is_seen_as_an_error() -> None:
    async with client(404, json.dumps(ERROR), []) as http:
        seen = await queries.chatted(http, Step("a chat", "text", "q3", "why"))

    assert seen == Seen(404, "no such model", "model_not_found")


async def test_the_speed_of_a_stream_is_that_after_its_first_token() -> None:
    heard = Heard()
    heard.hear('data: {"choices": [{"delta": {"content": "hi"}}]}')
    await asyncio.sleep(4 * queries.LEAST_SECONDS)  # time is what is measured
    heard.hear('data: {"choices": [], "usage": {"completion_tokens": 2}}')

    seen = heard.seen(200, {})

    assert seen.first_ms is not None
    assert seen.speed == pytest.approx(2000 / (seen.total_ms - seen.first_ms))


def test_a_stream_without_content_has_no_first_token_and_no_speed() -> None:
    heard = Heard()
    heard.hear("data: [DONE]")

    seen = heard.seen(200, {})

    assert (seen.answer, seen.first_ms, seen.speed) == ("", None, None)


def test_a_stream_that_began_before_it_was_decided_has_its_headers_as_comments() -> None:
    heard = Heard()
    heard.hear(": keep-alive")
    for name, value in HEADERS.items():
        heard.hear(f": {name}: {value}")

    seen = heard.seen(200, {})

    assert (seen.tier, seen.endpoint, seen.score, seen.reasons) == ("q3", "q3-0", "40", "code")


@pytest.mark.parametrize("ask", [queries.asked, queries.chatted], ids=["query", "chat"])
async def test_a_connection_that_is_lost_is_seen_as_status_0(ask) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as http:
        seen = await ask(http, STEP)

    assert seen.status == 0
    assert "RemoteProtocolError" in seen.answer or "ReadError" in seen.answer


def test_what_came_too_late_for_a_header_is_heard_in_the_stream() -> None:
    heard = Heard()
    heard.hear(": keep-alive")
    heard.hear(": x-tiergarten-tier: q3")
    heard.hear('data: {"choices": [{"delta": {"content": "hi"}}]}')

    seen = heard.seen(200, {"x-tiergarten-score": "40"})

    assert (seen.tier, seen.score, seen.answer) == ("q3", "40", "hi")
