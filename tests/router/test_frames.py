"""Prepared frames over uvicorn's protocol, and connections that do not take their close."""

import asyncio
import contextlib
import socket

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from redises import eventually
from routing import free_port
from tiergarten_router.frames import SOCKET, FramedProtocol, text_frame

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Quick(FramedProtocol):
    """A protocol that waits no longer than a test should."""

    cut_seconds = 0.1


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_a_frame_is_the_one_that_the_library_makes(size: int) -> None:
    text = b"x" * size

    assert text_frame(text) == Frame(Opcode.TEXT, text).serialize(mask=False)


@pytest.fixture
async def served():
    """Serve WebSockets that do nothing, and yield the port and the protocols."""
    protocols: list[FramedProtocol] = []

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        protocol = scope["extensions"][SOCKET]["socket"]
        protocols.append(protocol)
        if scope["path"] == "/deaf":
            await eventually(lambda: lost(protocol))
        while (await receive())["type"] != "websocket.disconnect":
            pass

    port = free_port()
    config = uvicorn.Config(
        application, host="127.0.0.1", port=port, ws=Quick, log_level="critical",
        ws_ping_interval=None, ws_per_message_deflate=False, lifespan="off",
    )  # fmt: skip
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await eventually(started)
    yield port, protocols
    server.should_exit = True
    await running


async def test_prepared_frames_arrive_and_pings_are_answered(served) -> None:
    port, protocols = served
    async with connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
        await eventually(lambda: there(protocols))
        (protocol,) = protocols

        assert protocol.ready
        protocol.write(text_frame(b"one") + text_frame(b"two"))
        assert [await client.recv(), await client.recv()] == ["one", "two"]
        protocol.ping()
        assert not protocol.answered()
        await eventually(lambda: answers(protocol))
        await protocol.drained()


async def test_a_client_that_does_not_read_is_known_and_cut_off(served) -> None:
    port, protocols = served
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(HANDSHAKE)
        await eventually(lambda: there(protocols))
        (protocol,) = protocols
        reads = []
        protocol.on_ready = lambda: reads.append(1)
        while protocol.ready:
            protocol.write(text_frame(b"x" * 60_000))
        client.settimeout(0)
        await eventually(lambda: reading(client, reads))
        while protocol.ready:
            protocol.write(text_frame(b"x" * 60_000))

        protocol.end(4008, "too slow")
        protocol.end(4008, "too slow")
        protocol.write(b"nothing follows a close")

        await eventually(lambda: lost(protocol))
        assert protocol.on_ready is None


async def test_a_close_is_answered(served) -> None:
    port, protocols = served
    async with connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
        await eventually(lambda: there(protocols))
        protocols[0].end(4010, "no pong")
        await client.wait_closed()

        assert (client.close_code, client.close_reason) == (4010, "no pong")


async def test_a_close_is_taken_note_of_though_a_message_was_not(served) -> None:
    port, protocols = served
    async with connect(f"ws://127.0.0.1:{port}/deaf", proxy=None) as client:
        await eventually(lambda: there(protocols))
        await client.send("nobody listens")
        await eventually(lambda: paused(protocols[0]))

        protocols[0].end(4010, "no pong")
        await client.wait_closed()

        assert client.close_code == 4010


async def paused(protocol: FramedProtocol) -> bool:
    return protocol.read_paused


async def reading(client: socket.socket, reads: list[int]) -> bool:
    """Take what there is, and return whether the protocol has seen it."""
    with contextlib.suppress(BlockingIOError):
        while client.recv(1 << 20):
            pass
    return bool(reads)


async def there(protocols) -> bool:
    return bool(protocols)


async def answers(protocol: FramedProtocol) -> bool:
    return protocol.answered()


async def lost(protocol: FramedProtocol) -> bool:
    return protocol.disconnected
