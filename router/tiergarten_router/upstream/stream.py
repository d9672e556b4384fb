"""One streamed answer: events read, checked and handed on, from the first content to the end.

`open_stream` returns at the commit point, when the first event with content is there: until then
nothing has been said, and any failure may lead to another endpoint. An event that does not parse
never leaves this module.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import msgspec

from tiergarten_router import wire
from tiergarten_router.errors import (
    AttemptFailed,
    DeadlineExceeded,
    FirstTokenTimeout,
    RouterError,
    StreamBroken,
)
from tiergarten_router.upstream import refusal, sse
from tiergarten_router.upstream.connection import Connection
from tiergarten_router.upstream.pool import Pool

DONE: Final = b"[DONE]"
OK: Final = 200
BODY_MAX: Final = 16 * 1024 * 1024  # an embedding of 8 MiB of text is smaller
TAIL_SECONDS: Final = 1.0  # for the end of a body after its last event


@dataclass(frozen=True, slots=True)
class Limits:
    """Times of one attempt.

    Attributes:
        first_token_at: Event-loop time at which the first content must be there.
        until: Event-loop time at which everything must be over.
        idle_seconds: Longest silence after the first content.
    """

    first_token_at: float
    until: float
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream: its bytes, and what they say; None for `[DONE]` and comments."""

    raw: bytes
    chunk: wire.Chunk | None


class Stream:
    """The events of one answer that has begun.

    Attributes:
        usage: Tokens, once the endpoint has told them.
        timings: llama-server's measurements, once told.
    """

    def __init__(self, pool: Pool, connection: Connection, limits: Limits) -> None:
        self.usage: wire.Usage | None = None
        self.timings: wire.Timings | None = None
        self._pool = pool
        self._connection = connection
        self._limits = limits
        self._splitter = sse.Splitter()
        self._loop = asyncio.get_running_loop()
        self._ahead: list[Event] = []
        self._done = False

    async def commit(self) -> None:
        """Wait for the first content; what came before it is kept for `next`.

        Raises:
            AttemptFailed: If there will be none.
        """
        ahead: list[Event] = []
        while not self._done:
            ahead += await self._pull()
            if any(has_content(event) for event in ahead):
                self._ahead = ahead
                return
        raise StreamBroken("The endpoint ended its answer without content.")

    async def next(self) -> list[Event]:
        """Return the events that have come since; empty at the end of a whole answer.

        Raises:
            StreamBroken: If the answer will not be whole.
            DeadlineExceeded: If the route's total time is over.
        """
        if self._ahead:
            ahead, self._ahead = self._ahead, []
            return ahead
        if self._done:
            await self._finish()
            return []
        at, limits = self._loop.time() + self._limits.idle_seconds, self._limits
        if at < limits.until:
            self._connection.limit(at, _stalled)
        else:
            self._connection.limit(limits.until, _over)
        return await self._pull()

    def close(self) -> None:
        """Give the connection back, or close it if the answer was left before its end."""
        if self._done:
            self._pool.give_back(self._connection)
        else:
            self._connection.abort()

    async def _pull(self) -> list[Event]:
        while True:
            data = await self._connection.read()
            if not data:
                raise StreamBroken("The endpoint ended its answer without saying so.")
            try:
                events = [self._event(raw) for raw in self._splitter.feed(data)]
            except sse.SSEError as error:
                raise StreamBroken(f"The endpoint sent no valid events: {error}") from error
            if events:
                return events

    def _event(self, raw: bytes) -> Event:
        payload = sse.data(raw)
        if self._done:
            raise StreamBroken("The endpoint sent an event after the end of its answer.")
        if payload is None:
            return Event(raw, None)
        if payload == DONE:
            self._done = True
            return Event(raw, None)
        try:
            chunk = wire.decode_chunk(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StreamBroken("The endpoint sent an event that is not valid.") from error
        if chunk.error is not None:
            raise _failed(chunk.error)
        self.usage = chunk.usage or self.usage
        self.timings = chunk.timings or self.timings
        return Event(raw, chunk)

    async def _finish(self) -> None:
        self._connection.limit(self._loop.time() + TAIL_SECONDS, _stalled)
        try:
            if await self._connection.read():
                self._connection.abort()
        except RouterError:
            self._connection.abort()  # the answer is whole all the same


async def open_stream(pool: Pool, request: bytes, limits: Limits) -> Stream:
    """Ask for a stream and return it at its first content.

    Raises:
        AttemptFailed: If the endpoint fails before; the connection is closed then.
    """
    connection = await _begun(pool, request, limits)
    try:
        stream = Stream(pool, connection, limits)
        await stream.commit()
    except BaseException:  # also a cancelled query must leave no connection behind
        connection.abort()
        raise
    return stream


async def whole_body(pool: Pool, request: bytes, limits: Limits) -> bytes:
    """Ask for an answer that is no stream and return its body.

    Raises:
        AttemptFailed: If the endpoint fails.
    """
    connection = await _begun(pool, request, limits)
    try:
        body = await _body(connection)
    except BaseException:  # as above
        connection.abort()
        raise
    pool.give_back(connection)
    return body


def has_content(event: Event) -> bool:
    """Return whether an event carries generated output, or says why there is no more."""
    if event.chunk is None:
        return False
    return any(map(_says, event.chunk.choices))


def _says(choice: wire.Choice) -> bool:
    delta = choice.delta
    if choice.finish_reason or choice.text:
        return True
    return delta is not None and bool(delta.content or delta.reasoning_content or delta.tool_calls)


async def _begun(pool: Pool, request: bytes, limits: Limits) -> Connection:
    overdue = _late if limits.first_token_at < limits.until else _over
    at = min(limits.first_token_at, limits.until)
    connection = await pool.exchange(request, at, overdue)
    if connection.status == OK:
        return connection
    status, retry_after = connection.status, connection.retry_after
    try:
        body = await _body(connection)
    except RouterError:
        body = b""  # the status says enough
    finally:
        pool.give_back(connection)
    raise refusal.failure(status, body, retry_after)


async def _body(connection: Connection) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await connection.read():
        parts.append(part)
        size += len(part)
        if size > BODY_MAX:
            raise StreamBroken(f"The endpoint sent a body of more than {BODY_MAX} bytes.")
    return b"".join(parts)


def _failed(error: wire.UpstreamError) -> AttemptFailed:
    code = error.code if isinstance(error.code, int) else 500
    failed = refusal.of_error(error, code, None)
    return failed if type(failed) is not AttemptFailed else StreamBroken(failed.message)


def _late() -> RouterError:
    return FirstTokenTimeout("The endpoint did not begin to answer in time.")


def _stalled() -> RouterError:
    return StreamBroken("The endpoint fell silent in the middle of its answer.")


def _over() -> RouterError:
    return DeadlineExceeded("The route's total time is over.")
