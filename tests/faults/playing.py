"""One connection of the scripted upstream: requests are read from it, steps are played on it.

`upstream` makes one for each connection that it accepts, and says what to play. An exchange is
cancelled the moment its client leaves, so a behaviour that hangs needs no time-out.
"""

import asyncio
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Protocol

from behaviours import End, Request, Step

NO_LINGER = struct.pack("ii", 1, 0)  # struct linger: on, 0 s; closing sends RST, not FIN

Play = Callable[[Iterable[Step]], Awaitable[End]]


class Owner(Protocol):
    """What a connection tells the server that it belongs to."""

    async def answering(self, request: Request, play: Play) -> End:
        """Answer the request by calling `play`; cancelled when the client leaves."""

    def failed(self, failure: Exception) -> None:
        """Hear what a script raised."""

    def opened(self, connection: "Connection") -> None:
        """Hear of a new connection."""

    def gone(self, connection: "Connection") -> None:
        """Hear that a connection is closed and its task has ended."""


class Connection(asyncio.Protocol):
    """An accepted connection.

    Args:
        owner: Whoever says what is played.
    """

    _transport: asyncio.Transport
    _task: asyncio.Task[None]

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._buffer = b""
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the task that serves the connection until it is closed."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._owner.opened(self)
        self._task = asyncio.get_running_loop().create_task(self._serve())
        self._task.add_done_callback(lambda _: self._owner.gone(self))

    def data_received(self, data: bytes) -> None:
        """Keep what arrived for the task."""
        self._buffer += data
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """End the task, whatever it waits for."""
        self._task.cancel()

    def pause_writing(self) -> None:
        """Hold the player back: the client does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let the player go on."""
        self._writable.set()

    def end(self, how: End) -> None:
        """Close the connection: by RST with nothing flushed, else by FIN after what is written."""
        if how is not End.RESET:
            self._transport.close()
            return
        # A copy of the descriptor, because not every event loop's socket takes options.
        with (
            suppress(OSError),  # the client's own reset came first
            socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno())) as copy,
        ):
            copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self._transport.abort()

    async def _serve(self) -> None:
        how = End.KEEP
        try:
            while how is End.KEEP:
                how = await self._owner.answering(await self._request(), self._play)
        except Exception as failure:  # noqa: BLE001 -- a script's error fails its test, not the loop
            self._owner.failed(failure)
            how = End.RESET
        self.end(how)
        await asyncio.Event().wait()  # until connection_lost: what is written may not be out yet

    async def _play(self, steps: Iterable[Step]) -> End:
        for step in steps:
            if isinstance(step, bytes):
                self._transport.write(step)
                await self._writable.wait()
            elif isinstance(step, asyncio.Event):
                await step.wait()
            elif step is End.HANG:
                await asyncio.Event().wait()
            elif isinstance(step, End):
                return step
            else:
                await asyncio.sleep(step)
        return End.KEEP

    async def _request(self) -> Request:
        await self._holds(lambda: b"\r\n\r\n" in self._buffer)
        top, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", 0))
        await self._holds(lambda: len(self._buffer) >= length)
        raw, self._buffer = self._buffer[:length], self._buffer[length:]
        return Request(method, path, headers, _json(raw), raw)

    async def _holds(self, enough: Callable[[], bool]) -> None:
        while not enough():
            self._arrived.clear()
            await self._arrived.wait()


def _json(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except ValueError:
        return None
