"""A wire between router and endpoint that is slow, thin or broken: a TCP proxy for tests.

    async with Wire(up.url, latency_seconds=0.2, slice_bytes=1) as wire:
        ...  # ask through wire.url

What it does to bytes it does on the way back, where an answer is. A connection that is under way
keeps what the wire was when it began.
"""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from urllib.parse import urlsplit

from listening import Listening

READ_BYTES = 16 * 1024
NO_LINGER = struct.pack("ii", 1, 0)


@dataclass
class Wire(Listening):
    """A wire to one server, up inside `async with`.

    Attributes:
        target: The server's base URL.
        latency_seconds: How much later each piece comes.
        bytes_per_second: How much goes through; None for all.
        slice_bytes: Most bytes of a piece; None for as it comes.
        limit_bytes: After so many the connection ends; None for never.
        resets: Whether it then ends by a reset, not by a proper end.
        blackhole: Whether nothing comes back at all.
        carried: Connections so far.
    """

    target: str
    latency_seconds: float = 0.0
    bytes_per_second: float | None = None
    slice_bytes: int | None = None
    limit_bytes: int | None = None
    resets: bool = False
    blackhole: bool = False
    carried: int = 0

    @property
    def url(self) -> str:
        """The base URL by which the server is reached through the wire."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry what one connection says to the server, and back what it answers."""
        self.carried += 1
        address = urlsplit(self.target)
        with contextlib.suppress(OSError):
            back, there = await asyncio.open_connection(address.hostname, address.port)
            try:
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(_forth(reader, there))
                    ways.create_task(self._back(back, writer))
            except* OSError:
                pass  # one of the two has gone
            finally:
                there.close()
                with contextlib.suppress(OSError):
                    await there.wait_closed()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left, size, rate = self.limit_bytes, self.slice_bytes or READ_BYTES, self.bytes_per_second
        while piece := await reader.read(size):
            if self.blackhole:
                continue
            await asyncio.sleep(self.latency_seconds + (len(piece) / rate if rate else 0))
            if left is not None:
                piece, left = piece[:left], left - len(piece)
            writer.write(piece)
            await writer.drain()
            if left is not None and left <= 0:
                break
        if self.blackhole:
            await asyncio.Event().wait()  # until the client gives up
        if left is not None and left <= 0 and self.resets:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            writer.transport.abort()
        else:
            writer.write_eof()
        raise ConnectionAbortedError  # ends the way forth too


async def _forth(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(READ_BYTES):
        writer.write(piece)
        await writer.drain()
    raise ConnectionAbortedError  # ends the way back too
