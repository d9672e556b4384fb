"""The protocol on its own: what it hands over to ASGI, to WebSockets, and to hot doors."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState
from websockets.asyncio.client import connect

from rawhttp import HOST, statuses
from tiergarten_router.api import protocol
from tiergarten_router.api.client import Client
from tiergarten_router.settings import Settings
from tiergarten_router.upstream.deadlines import Deadlines

SETTINGS = Settings(head_seconds=0.3, body_seconds=0.3, client_stall_seconds=0.3)
GET = b"GET /cold HTTP/1.1\r\n" + HOST + b"\r\n"
HOT = b"POST /hot HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nab"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Application:
    """An ASGI application that echoes over WebSockets, and answers others when it is let."""

    def __init__(self) -> None:
        self.begun, self.free, self.left = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.aborts = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._echo(receive, send)
            return
        await receive()
        self.begun.set()
        if self.aborts:
            scope["extensions"][protocol.ABORT]["abort"]()
        waiting = asyncio.create_task(self.free.wait())
        leaving = asyncio.create_task(receive())
        done, _ = await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        leaving.cancel()
        if leaving in done:
            self.left.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"cold"})

    async def _echo(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})


async def hot(client: Client) -> None:
    client.begin(200, b"x-a: b\r\n")
    await client.write(client.body())
    await client.write(b"!", more=False)


@contextlib.asynccontextmanager
async def serving(application: Application) -> AsyncIterator[int]:
    """Serve on a port, and yield it."""
    deadlines = Deadlines()
    edge = protocol.wired({"/hot": hot}, deadlines, SETTINGS)
    config = Config(application, ws="websockets-sansio", log_config=None, proxy_headers=False)
    config.load()
    sweep = asyncio.create_task(deadlines.run())
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: edge(config, state, {}), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
        sweep.cancel()
    for connection in list(state.connections):
        connection.transport.abort()


async def test_a_websocket_is_handed_over_and_no_limit_of_ours_stays() -> None:
    async with serving(Application()) as port, connect(f"ws://127.0.0.1:{port}/hot") as socket:
        await asyncio.sleep(0.6)  # longer than a head, a body or a client may take

        await socket.send("hello")

        assert await socket.recv() == "hello"


async def test_a_connection_in_use_is_not_handed_over() -> None:
    application = Application()
    async with serving(application) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await application.begun.wait()

        writer.write(UPGRADE)

        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        await asyncio.wait_for(application.left.wait(), 5)
        writer.close()


@pytest.mark.parametrize("behind", [b"", HOT, GET], ids=["alone", "hot behind", "cold behind"])
async def test_a_cold_door_hears_that_its_client_has_left(behind: bytes) -> None:
    application = Application()
    async with serving(application) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await application.begun.wait()
        writer.write(behind)
        await writer.drain()

        writer.transport.abort()

        if behind != GET:  # then uvicorn reads no more, and sees it when it writes
            await asyncio.wait_for(application.left.wait(), 5)
        application.free.set()


async def test_a_cold_door_may_abort_its_connection() -> None:
    application = Application()
    application.aborts = True
    async with serving(application) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)

        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_request_behind_another_may_end_before_or_after_its_turn() -> None:
    application = Application()
    async with serving(application) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + HOT + HOT[:-1])
        await application.begun.wait()
        application.free.set()
        got = b""
        while got.count(b"!\r\n0\r\n\r\n") < 1:
            got += await asyncio.wait_for(reader.read(4096), 5)

        writer.write(HOT[-1:])
        while got.count(b"!\r\n0\r\n\r\n") < 2:
            got += await asyncio.wait_for(reader.read(4096), 5)

        assert statuses(got) == [200, 200, 200]
        assert got.count(b"x-a: b\r\n") == 2
        writer.close()


async def test_a_body_that_stays_away_behind_another_request_is_given_up() -> None:
    application = Application()
    async with serving(application) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + HOT[:-1])
        await application.begun.wait()
        application.free.set()

        got = await asyncio.wait_for(reader.read(), 5)

        assert statuses(got) == [200, 408]
        writer.close()
