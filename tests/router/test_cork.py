"""Heads and bodies go out together, never wait for each other, and heads come in within bounds."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from tiergarten_router.cork import CorkedProtocol, CorkedTransport

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


class Recorder:
    """A transport that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def close(self) -> None:
        self.told.append("close")

    def abort(self) -> None:
        self.told.append("abort")

    def is_closing(self) -> bool:
        return False


def corked() -> tuple[CorkedTransport, list[Any]]:
    inner = Recorder()
    return CorkedTransport(cast("asyncio.Transport", inner)), inner.told


async def test_head_and_body_are_one_write() -> None:
    transport, told = corked()

    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    transport.write(b"body")
    transport.write(b"more")

    assert told == [b"HTTP/1.1 200 OK\r\n\r\nbody", b"more"]
    await asyncio.sleep(0)
    assert len(told) == 2


async def test_a_head_alone_goes_out_at_the_end_of_the_turn() -> None:
    transport, told = corked()

    transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert told == []

    await asyncio.sleep(0)
    assert told == [b"HTTP/1.1 204 No Content\r\n\r\n"]


async def test_closing_sends_the_head_and_aborting_drops_it() -> None:
    closing, closed = corked()
    aborting, aborted = corked()
    for transport in (closing, aborting):
        transport.write(b"HTTP/1.1 200 OK\r\n\r\n")

    closing.close()
    aborting.abort()
    await asyncio.sleep(0)

    assert closed == [b"HTTP/1.1 200 OK\r\n\r\n", "close"]
    assert aborted == ["abort"]
    assert closing.is_closing() is False


class Strict(CorkedProtocol):
    """The protocol with bounds that a test can wait for."""

    head_bytes = 1000
    head_seconds = 0.2


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server behind the strict protocol that takes half a second to answer."""

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await asyncio.sleep(2 * Strict.head_seconds)  # the bound on heads must not count it
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"well"})

    config, state = Config(application, log_config=None, timeout_keep_alive=1), ServerState()
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: Strict(config, state, {}), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


async def answered(port: int, *parts: bytes, pause: float = 0.0) -> tuple[bytes, float]:
    """Return what comes back until the connection ends, and how long that took."""
    begin = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await asyncio.sleep(pause)
    try:
        told = await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        told = b""
    writer.close()
    return told, time.monotonic() - begin


@pytest.mark.parametrize("parts", [(), (GET,), (b"\r\n",)], ids=["nothing", "half", "blank"])
async def test_a_head_that_does_not_come_ends_the_connection(
    port: int, parts: tuple[bytes, ...]
) -> None:
    told, seconds = await answered(port, *parts)

    assert told == b""
    assert seconds < 1


async def test_a_head_that_comes_in_drops_ends_the_connection(port: int) -> None:
    told, seconds = await answered(port, *[GET[i : i + 1] for i in range(8)], pause=0.1)

    assert told == b""
    assert seconds < 1


async def test_a_head_that_does_not_end_is_refused(port: int) -> None:
    told, _ = await answered(port, GET, *[b"X: " + b"x" * 300 + b"\r\n"] * 5, pause=0.01)

    assert told.startswith(b"HTTP/1.1 400")


async def test_an_answer_and_the_next_head_have_their_own_time(port: int) -> None:
    twice = (GET + b"\r\n", GET, b"Connection: close\r\n\r\n")

    told, _ = await answered(port, twice[0], pause=0.5)
    both, _ = await answered(port, *twice, pause=0.01)

    assert told.count(b"well") == 1  # and then the second head never came
    assert both.count(b"well") == 2
