"""The connections to one endpoint: made when needed, kept where the endpoint keeps them.

llama-server announces keep-alive and yet closes after each streamed answer. So whether an endpoint
keeps its word is learnt: one that closed a connection right after an answer is not trusted for a
minute. A kept connection that turns out to be closed costs one fresh try, which is not counted.
"""

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from tiergarten_router.errors import ConnectFailed, RouterError
from tiergarten_router.upstream.connection import Connection, Sink, StaleConnection
from tiergarten_router.upstream.deadlines import Deadlines

DISTRUST_SECONDS: Final = 60.0
KEPT_MAX: Final = 256  # connections at rest; one for each slot that an endpoint may have
PROMPT_SECONDS: Final = 1.0  # a close within it belongs to the answer before


class Pool:
    """The connections to one endpoint.

    Args:
        url: Base URL of the endpoint.
        deadlines: The sweep that all limits belong to.
        connect_seconds: Longest time to connect.
        clock: Monotonic seconds, for trust and distrust; None for the event loop's.
    """

    def __init__(
        self,
        url: str,
        deadlines: Deadlines,
        connect_seconds: float,
        clock: Callable[[], float] | None = None,
    ) -> None:
        address = urlsplit(url)
        self.host = address.hostname or ""
        self.port = address.port or 80
        self.authority = address.netloc
        self._deadlines = deadlines
        self._connect_seconds = connect_seconds
        self._kept: list[tuple[Connection, float]] = []
        self._distrusted_until = 0.0
        self._loop = asyncio.get_running_loop()
        self._clock = clock or self._loop.time
        self._closed = False

    async def exchange(
        self,
        request: bytes,
        at: float,
        overdue: Callable[[], RouterError],
        sink: Sink | None = None,
    ) -> Connection:
        """Send a request and return its connection once the answer is there.

        With a sink that is when the sink tells, else when the head has come.

        Args:
            request: The whole request, head and body.
            at: Event-loop time at which it is given up.
            overdue: Makes the failure of that moment.
            sink: Takes the body of a good answer.

        Raises:
            RouterError: If there is no answer; the connection is closed then.
        """
        kept = bool(self._kept)
        connection = self._woken() if kept else await self._connect()
        while True:
            try:
                connection.limit(at, overdue)
                connection.write(request, sink)
                while not connection.status:
                    await connection.changed()
            except BaseException as error:  # also a cancelled query must leave none behind
                connection.abort()
                if not kept or not isinstance(error, StaleConnection):
                    raise
            else:
                return connection
            kept = False  # not counted, and once only: a query that kills its endpoint looks alike
            connection = await self._connect()

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose answer is whole, if its endpoint does; close any other."""
        now = self._clock()
        if connection.closed:
            self._distrusted_until = now + DISTRUST_SECONDS
        elif connection.reusable and self._keeps(now):
            connection.rest(self._lost)
            self._kept.append((connection, now))
        else:
            connection.abort()

    def close(self) -> None:
        """Close the connections at rest, and those that are given back later."""
        self._closed = True
        kept, self._kept = self._kept, []
        for connection, _ in kept:
            connection.wake()
            connection.abort()

    def _woken(self) -> Connection:
        connection, _ = self._kept.pop()
        connection.wake()
        return connection

    async def _connect(self) -> Connection:
        connection = Connection(self._deadlines)
        try:
            await self._reach(connection)
        except BaseException:
            connection.abort()  # uvloop does not always tell it that it is lost
            raise
        return connection

    async def _reach(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(self._connect_seconds):
                await self._loop.create_connection(lambda: connection, self.host, self.port)
        except TimeoutError as error:
            raise ConnectFailed("The endpoint did not accept a connection in time.") from error
        except OSError as error:
            name = type(error).__name__
            raise ConnectFailed(f"The endpoint accepts no connection ({name}).") from error

    def _keeps(self, now: float) -> bool:
        trusted = now >= self._distrusted_until
        return trusted and not self._closed and len(self._kept) < KEPT_MAX

    def _lost(self, lost: Connection) -> None:
        now = self._clock()
        for connection, since in self._kept:
            if connection is lost and now - since < PROMPT_SECONDS:
                self._distrusted_until = now + DISTRUST_SECONDS
        self._kept = [kept for kept in self._kept if kept[0] is not lost]
