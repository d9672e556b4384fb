"""Servers on this machine are asked whether they are ready and whether they are idle."""

import asyncio

import pytest

from tiergarten_router.sources import probe
from upstream import Behaviour, End, Upstream, answer, error, loading, page

METRICS = "# TYPE x gauge\nllamacpp:requests_processing {}\nllamacpp:requests_deferred {}\n"


@pytest.mark.parametrize(
    ("metrics", "idle"),
    [
        pytest.param(METRICS.format(0, 0), True, id="nothing to do"),
        pytest.param(METRICS.format(1, 0), False, id="one runs"),
        pytest.param(METRICS.format(0, 3), False, id="some wait"),
        pytest.param("llamacpp:requests_processing 0\n", False, id="only half is said"),
        pytest.param("", False, id="nothing is said"),
    ],
)
def test_idle_is_what_both_numbers_say(metrics, idle):
    assert probe.is_idle(metrics) is idle


async def test_waits_until_the_model_is_loaded():
    async with Upstream(pages={"/health": loading()}) as up:
        waiting = asyncio.ensure_future(probe.until_ready(up.port))
        await up.until(lambda: len(up.requests) >= 2)
        assert not waiting.done()

        del up.pages["/health"]

        await asyncio.wait_for(waiting, 5)


async def test_waits_until_somebody_listens():
    up = Upstream()
    await up.listen()
    await up.kill()
    waiting = asyncio.ensure_future(probe.until_ready(up.port))
    assert await probe.get(up.port, "/health") == (0, "")

    async with up:
        await asyncio.wait_for(waiting, 5)


async def test_waits_until_a_stream_has_ended_and_asks_twice():
    async with Upstream([answer("a b c", gap=0.1)]) as up:
        query = asyncio.ensure_future(post(up.port))
        await up.until(lambda: up.open_streams == 1)

        await asyncio.wait_for(probe.until_idle(up.port), 5)

        assert up.open_streams == 0
        assert sum(request.path == "/metrics" for request in up.requests) >= 3
        await query


async def test_shows_the_key_where_one_is_wanted():
    async with Upstream() as up:
        await asyncio.wait_for(probe.until_idle(up.port, "secret"), 5)

        assert up.requests[0].headers["authorization"] == "Bearer secret"


async def test_a_server_that_says_no_is_not_idle():
    async with Upstream(pages={"/metrics": error(401, "Invalid API Key", "x")}) as up:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.6):
                await probe.until_idle(up.port)


async def test_an_answer_that_is_not_http_is_none():
    garbage: dict[str, Behaviour] = {
        "/health": lambda _: [b"hello", End.FIN],
        "/metrics": lambda _: [b"hello\r\n\r\n", End.FIN],
    }
    async with Upstream(pages=garbage) as up:
        assert await probe.get(up.port, "/health") == (0, "")
        assert await probe.get(up.port, "/metrics") == (0, "")


async def test_the_body_is_what_follows_the_head():
    async with Upstream(pages={"/health": page({"status": "ok"})}) as up:
        status, body = await probe.get(up.port, "/health")

    assert (status, body.replace(" ", "")) == (200, '{"status":"ok"}')


async def post(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"stream": true, "messages": []}'
    head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    try:
        return await reader.read()
    finally:
        writer.transport.abort()
