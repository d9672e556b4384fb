"""What the servers of the tests that speak over plain TCP share: a port, connections, an end."""

import asyncio
import ssl
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

ACCEPT_TURNS = 2  # of the event loop, from accepting a connection to having its transport


async def shut(server: asyncio.Server) -> None:
    """Let a server accept no more; Python 3.11 leaks what was accepted just before a close."""
    for listening in server.sockets:
        asyncio.get_running_loop().remove_reader(listening.fileno())
    for _ in range(ACCEPT_TURNS):
        await asyncio.sleep(0)
    server.close()


class Listening(ABC):
    """A server on a free port of loopback, up inside `async with`; its end ends all connections."""

    _tls: ssl.SSLContext | None = None
    _server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        await shut(self._server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @abstractmethod
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, which is closed then; cancelled at the server's end."""

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self.serve(reader, writer)
        except asyncio.CancelledError:
            pass  # only our own end cancels it; asyncio.start_server would call that an error
        finally:
            self._tasks.discard(task)
            writer.close()
