"""One connection that all calls share: commands go out together, replies come back in order.

A call waits 50 ms and is never repeated. Calls that come in the same turn of the event loop cost
one write and mostly one read. A connection that is silent for three calls, or says what nobody
asked for, is given up with all that wait on it: its later replies would reach the wrong callers.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import Final, Protocol

from redis.asyncio import Connection, UnixDomainSocketConnection
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from tiergarten_router.store.failures import Refused, Unavailable

CALL_SECONDS: Final = 0.05  # a Redis nearby answers in 1; who waits longer had better do without
LATE_MAX: Final = 3  # calls in a row without a reply
WAITING_MAX: Final = 1024  # calls; more are turned away at once
OUTBOX_BYTES: Final = 8 * 1024 * 1024  # not yet taken by the kernel; more is turned away at once

Word = str | bytes | int | float
Link = Connection | UnixDomainSocketConnection


class Lane(Protocol):
    """A way to Redis that is open, until it breaks."""

    why: str
    """Why it broke; empty while it is whole."""

    async def execute(self, *words: Word) -> object:
        """Return the reply to a command: bytes, int, None, or a list of them.

        Raises:
            Refused: If it is an error.
            Unavailable: If there is none within 50 ms.
        """
        ...

    async def run(self) -> None:
        """Wait until it breaks."""
        ...

    async def close(self) -> None:
        """Close it; calls that wait fail."""
        ...


class Pipeline:
    """A lane over one connection that is open.

    Args:
        link: The connection; closed with the lane.
    """

    def __init__(self, link: Link) -> None:
        self.why = ""
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[object]] = deque()
        self._outbox: list[bytes] = []
        self._outbox_bytes = 0
        self._late = 0
        self._broken: asyncio.Future[None] = self._loop.create_future()
        self._writer: asyncio.Task[None] | None = None
        self._reader = self._loop.create_task(self._read(), name="redis-reader")

    async def execute(self, *words: Word) -> object:
        """Return the reply to a command, as `Lane` says."""
        if self.why:
            raise Unavailable(self.why)
        if len(self._waiting) >= WAITING_MAX or self._outbox_bytes >= OUTBOX_BYTES:
            raise Unavailable("too many calls wait for Redis")
        reply = self._loop.create_future()
        self._waiting.append(reply)
        for chunk in self._link.pack_command(*words):
            self._outbox.append(chunk)
            self._outbox_bytes += len(chunk)
        if self._writer is None:
            self._writer = self._loop.create_task(self._write(), name="redis-writer")
        timer = self._loop.call_later(CALL_SECONDS, self._expire, reply)
        try:
            return await reply
        finally:
            timer.cancel()

    async def run(self) -> None:
        """Wait until the connection breaks."""
        await asyncio.shield(self._broken)

    async def close(self) -> None:
        """Close the connection; calls that wait fail."""
        self._break("Redis was left")
        tasks = [task for task in (self._reader, self._writer) if task is not None]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:  # also when the one who closes is cancelled meanwhile
            await disconnect(self._link)

    # -- inside

    async def _write(self) -> None:
        try:
            while self._outbox and not self.why:
                chunks, self._outbox = self._outbox, []
                await self._link.send_packed_command(chunks, check_health=False)
                self._outbox_bytes = sum(map(len, self._outbox))
        except (RedisError, OSError) as error:
            self._break(f"Redis was lost: {type(error).__name__}")
        finally:
            self._writer = None

    async def _read(self) -> None:
        try:
            while True:
                self._take(await _reply(self._link))
        except Exception as error:  # noqa: BLE001 -- whatever a parser makes of garbage; the lane ends
            self._break(f"Redis was lost: {type(error).__name__}")

    def _take(self, reply: object) -> None:
        """Give a reply to the call that has waited longest."""
        if not self._waiting:
            raise Unavailable("a reply that nobody asked for")
        self._late = 0
        waiting = self._waiting.popleft()
        if not waiting.done():
            if isinstance(reply, ResponseError):
                waiting.set_exception(Refused(type(reply).__name__))
            else:
                waiting.set_result(reply)
        if isinstance(reply, ReadOnlyError):
            self._break("Redis is no master any more")

    def _expire(self, reply: asyncio.Future[object]) -> None:
        if reply.done():
            return
        reply.set_exception(Unavailable(f"Redis did not reply within {1000 * CALL_SECONDS:g} ms"))
        self._late += 1
        if self._late >= LATE_MAX:
            self._break("Redis is silent")

    def _break(self, why: str) -> None:
        if self.why:
            return
        self.why = why
        self._broken.set_result(None)
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(Unavailable(why))
        self._waiting.clear()


async def ask(link: Link, *words: Word) -> object:
    """Return the reply to a command on a connection of one's own; the caller bounds the wait.

    Raises:
        Refused: If it is an error.
        RedisError: If the connection fails.
    """
    await link.send_command(*words, check_health=False)
    reply = await _reply(link)
    if isinstance(reply, ResponseError):
        raise Refused(type(reply).__name__)
    return reply


async def disconnect(link: Link) -> None:
    """Close a connection without waiting for the other side."""
    closing: Awaitable[None] = link.disconnect(nowait=True)
    await closing


async def _reply(link: Link) -> object:
    """Return the next reply; one that is an error is returned too."""
    try:
        return await link.read_response(disconnect_on_error=False)
    except ResponseError as error:
        return error
