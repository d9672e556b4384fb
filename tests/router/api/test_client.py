"""Clients that send slowly, read slowly or stop: what they get, and what they cost."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest

from routing import CHAT, ask, in_flight, series, tier
from tiergarten_router.api.client import Client, Line, lines
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.wire import encode
from upstream import Request, Step, Upstream, always, answer

FLOOD = ["x" * 30_000] * 400  # more than kernels and buffers on the way hold
LENGTH = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def sockets() -> int:
    """Return how many sockets this process has open, the router's among them."""
    open_files = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))  # noqa: PTH208 -- names are all that is needed
    return sum(os.path.exists(f) and "socket:" in os.readlink(f) for f in open_files)  # noqa: PTH110, PTH115 -- as above


async def until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 -- as below
            await asyncio.sleep(0.01)  # nothing tells when a descriptor is closed


@asynccontextmanager
async def raw(client: httpx.AsyncClient, receive_bytes: int = 4096) -> AsyncIterator[socket.socket]:
    """Connect with a small receive buffer, so that what is not read is soon felt."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(0)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", client.base_url.port))
        yield sock


async def post(sock: socket.socket, body: dict[str, object]) -> None:
    payload = encode(body)
    await asyncio.get_running_loop().sock_sendall(sock, LENGTH % len(payload) + payload)


async def test_a_client_that_stops_reading_is_cut_on_both_sides(router: Any) -> None:
    async with Upstream(always(answer(FLOOD))) as up:
        client = await router(Snapshot((tier("q2", up.url),)), client_stall_seconds=0.3)
        await up.until(lambda: len(up.requests) > 1 and not up.connections)  # the health check
        await client.get("/healthz")
        before = sockets()
        async with raw(client) as sock:
            await post(sock, ask(stream=True))
            await up.closed_by_client(1, timeout=5)
            await until(lambda: sockets() == before + 1)  # the client's own; the router's is closed

        assert await in_flight(client) == 0
        requests = series((await client.get("/metrics")).text, "requests_total")
        assert requests['outcome="client_closed",tier="q2"'] == 1


async def test_a_client_that_pauses_longer_than_endpoints_may_gets_it_all(router: Any) -> None:
    async with Upstream(always(answer(FLOOD))) as up:
        client = await router(Snapshot((tier("q2", up.url),)), idle_seconds=0.3)
        async with raw(client) as sock:
            await post(sock, ask(stream=True))
            loop, got = asyncio.get_running_loop(), bytearray()
            await asyncio.sleep(1)  # the pause is what is tested
            while not got.endswith(b"0\r\n\r\n"):
                part = await asyncio.wait_for(loop.sock_recv(sock, 1 << 20), 5)
                assert part
                got += part

        assert got.count(b"x") >= sum(map(len, FLOOD))
        assert b"data: [DONE]" in got
        assert b'"error"' not in got


async def test_a_client_that_reads_slowly_costs_little_memory(router: Any) -> None:
    sent: list[int] = []

    def counted(request: Request) -> Iterator[Step]:
        for step in answer(FLOOD)(request):
            sent.append(len(step) if isinstance(step, bytes) else 0)
            yield step

    async with Upstream(always(counted)) as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        async with raw(client) as sock:
            await post(sock, ask(stream=True))
            await up.until(lambda: up.open_streams == 1)
            before = -1
            while before != sum(sent):
                before = sum(sent)
                await asyncio.sleep(0.3)  # until everybody on the way holds what it may

            assert before < sum(map(len, FLOOD)) - (2 << 20)


async def test_a_body_that_does_not_come_ends_its_connection(router: Any) -> None:
    client = await router(Snapshot(), body_seconds=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    writer.write(LENGTH % 9 + b"{")

    begin = time.monotonic()
    told = await asyncio.wait_for(reader.read(), 5)  # to the end of the connection

    assert told.startswith(b"HTTP/1.1 408")
    assert b'"request_timeout"' in told
    assert time.monotonic() - begin < 1
    writer.close()


async def test_a_large_body_in_many_parts_is_taken_whole(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url, slot_tokens=1 << 20),)))
        payload = encode(ask("word " * 200_000))

        async def parts() -> AsyncIterator[bytes]:
            for start in range(0, len(payload), 50_000):
                yield payload[start : start + 50_000]

        found = await client.post(CHAT, content=parts())

        assert found.status_code == 200
        assert len(up.queries[0].body["messages"][0]["content"]) == 1_000_000


def test_a_client_shows_its_request_as_asgi_would() -> None:
    headers = [(b"host", b"x"), (b"accept", b"a"), (b"accept", b"b")]
    client = Client(cast("Line", None), b"GET", b"/v1/a?b=c&d", headers, keeps=True, chunks=True)

    assert client.header(b"accept") == b"a"
    assert client.header(b"cookie") is None
    assert client.scope() == {
        "type": "http",
        "method": "GET",
        "path": "/v1/a",
        "query_string": b"b=c&d",
        "headers": headers,
    }


@pytest.mark.parametrize("value", [b"a\nb", b"a\rb", b"a\r\nSet-Cookie: b"])
def test_a_header_that_would_be_two_is_never_sent(value: bytes) -> None:
    assert lines([(b"a", b"b"), (b"c", b"d")]) == b"a: b\r\nc: d\r\n"

    with pytest.raises(ValueError, match="line break"):
        lines([(b"a", value)])


async def test_a_client_that_reads_all_but_the_end_is_let_go(router: Any) -> None:
    async with Upstream(always(answer(FLOOD))) as up:
        client = await router(Snapshot((tier("q2", up.url),)), client_stall_seconds=0.3)
        await up.until(lambda: len(up.requests) > 1 and not up.connections)  # the health check
        await client.get("/healthz")
        before = sockets()
        async with raw(client) as sock:
            await post(sock, ask())  # whole: nobody waits for the client any more
            await up.until(lambda: len(up.queries) == 1)
            kept = 2  # both ends of the connection that the router keeps to its endpoint
            await until(lambda: sockets() == before + 1 + kept * len(up.connections))

        assert await in_flight(client) == 0
