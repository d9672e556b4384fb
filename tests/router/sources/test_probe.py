"""Servers on this machine are asked whether they are ready and whether they are idle."""

import asyncio

import pytest

from tiergarten_router.sources import probe
from upstream import Behaviour, Upstream, answer, error, loading, page

METRICS = "# TYPE x gauge\nllamacpp:requests_processing {}\nllamacpp:requests_deferred {}\n"


@pytest.mark.parametrize(
    "metrics",
    [
        pytest.param(page(METRICS.format(1, 0)), id="one runs"),
        pytest.param(page(METRICS.format(0, 3)), id="some wait"),
        pytest.param(page("llamacpp:requests_processing 0\n"), id="only half is said"),
        pytest.param(page(""), id="nothing is said"),
        pytest.param(error(401, "Invalid API Key", "x"), id="it says no"),
    ],
)
async def test_a_server_that_does_not_say_so_twice_is_not_idle(metrics: Behaviour):
    async with Upstream(pages={"/metrics": metrics}) as up:
        waiting = asyncio.ensure_future(probe.until_idle(up.port))
        await up.until(lambda: len(up.requests) >= 6)  # two pages each time
        assert not waiting.done()

        up.pages["/metrics"] = page(METRICS.format(0, 0))

        await asyncio.wait_for(waiting, 5)


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

        shown = [it.headers.get("authorization") for it in up.requests if it.path == "/metrics"]
        assert set(shown) == {"Bearer secret"}


async def post(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"stream": true, "messages": []}'
    head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    try:
        return await reader.read()
    finally:
        writer.transport.abort()
