"""Answers `GET /progress` while a fetch runs, for the operator; nothing else, and no secrets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

ASKED_BYTES = 8192
ASKED_SECONDS = 5.0
PATH = b"GET /progress "


@asynccontextmanager
async def told(
    text: Callable[[], bytes], port: int | None, host: str | None = None
) -> AsyncIterator[int | None]:
    """Answer while the block runs, and yield the port.

    Args:
        text: Returns the answer's body, JSON.
        port: Where to listen; 0 is any that is free, None not at all.
        host: At which address; None: at all, for a pod has only its own.

    Raises:
        OSError: The port is taken.
    """
    if port is None:
        yield None
        return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(
            OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(ASKED_SECONDS):
                asked = await reader.readuntil(b"\r\n\r\n")
                writer.write(_answer(text()) if asked.startswith(PATH) else _answer(b"", "404 No"))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, port, limit=ASKED_BYTES)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


def _answer(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
