"""One streamed answer: events taken, checked and handed on, from the first content to the end.

Events are taken in where they arrive and waited for only where somebody wants them: one by one for
a client that streams, all together for one that does not. `open_stream` returns at the commit
point, when the first event with content is there: until then nothing has been said, and any failure
may lead to another endpoint. An event that does not parse never leaves this module.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Self, cast

from msgspec import Struct

from tiergarten_router import wire
from tiergarten_router.core.assembly import Assembly
from tiergarten_router.errors import (
    DeadlineExceeded,
    FirstTokenTimeout,
    RouterError,
    StreamBroken,
)
from tiergarten_router.upstream import refusal, sse
from tiergarten_router.upstream.connection import HELD_BYTES, OK, Connection, Sink
from tiergarten_router.upstream.intake import Event, Intake
from tiergarten_router.upstream.pool import Pool

BODY_MAX: Final = 16 * 1024 * 1024  # an embedding of 8 MiB of text is smaller
TAIL_SECONDS: Final = 1.0  # for the end of a body after its last event


class Limits(Struct, frozen=True):
    """Times of one attempt.

    Attributes:
        first_token_at: Event-loop time at which the first content must be there.
        until: Event-loop time at which everything must be over.
        idle_seconds: Longest silence after the first content.
    """

    first_token_at: float
    until: float
    idle_seconds: float


class Stream:
    """The events of one answer, taken where they arrive.

    Args:
        pool: Where the connection goes back to.
        limits: Times.
        assembly: Takes the events in, if the answer is wanted whole; else they are kept for `next`.

    Attributes:
        content_at: Event-loop time of the first content, None before it.
        tap: Takes events in the moment in which they come, while `next` waits; False leaves them.
    """

    def __init__(self, pool: Pool, limits: Limits, assembly: Assembly | None) -> None:
        self.content_at: float | None = None
        self.tap: Callable[[list[Event]], bool] | None = None
        self._pool = pool
        self._limits = limits
        self._assembles = assembly is not None
        self._intake = Intake(assembly)
        self._loop = asyncio.get_running_loop()
        self._size = 0
        self._connection: Connection | None = None

    @property
    def usage(self) -> wire.Usage | None:
        """Tokens, once the endpoint has told them."""
        return self._intake.usage

    @property
    def timings(self) -> wire.Timings | None:
        """llama-server's measurements, once told."""
        return self._intake.timings

    @property
    def whole(self) -> bool:
        """Whether all of it has come, so that `next` waits no more."""
        return self._intake.done and self._connection is not None and self._connection.whole

    async def open(self, request: bytes) -> Self:
        """Ask, and return at the first content, or at the end if the answer is wanted whole.

        Raises:
            RouterError: If the endpoint fails before; the connection is closed then.
        """
        connection = await _begun(self._pool, request, self._limits, self)
        self._connection = connection
        intake, assembles = self._intake, self._assembles
        try:
            while not intake.done and (assembles or self.content_at is None):
                _check_whole(connection)
                await connection.changed()
            _check_content(self.content_at)
        except BaseException:  # also a cancelled query must leave no connection behind
            connection.abort()
            raise
        return self

    async def next(self) -> list[Event]:
        """Return the events that have come since; empty at the end of a whole answer.

        Raises:
            StreamBroken: If the answer will not be whole.
            DeadlineExceeded: If the route's total time is over.
        """
        connection = cast("Connection", self._connection)
        intake = self._intake
        while not intake.ahead:
            if intake.done:
                await self._finish(connection)
                return []
            _check_whole(connection)
            await connection.changed()
        ahead, intake.ahead, self._size = intake.ahead, [], 0
        if connection.paused:
            connection.resume()
            self._allow_silence(connection, self._loop.time())
        return ahead

    def close(self) -> None:
        """Give the connection back, or close it if the answer was left before its end."""
        if self._connection is None:
            return
        if self._intake.done:
            self._pool.give_back(self._connection)
        else:
            self._connection.abort()

    def feed(self, connection: Connection, parts: list[bytes]) -> None:
        """Take parts of the body; called by the connection.

        Raises:
            RouterError: If they are not what belongs into a stream of events, or are an error.
        """
        try:
            self._intake.take(parts)
        finally:  # what was good before is passed on
            self._took(connection, sum(map(len, parts)))

    def _took(self, connection: Connection, size: int) -> None:
        """Pass on, wake whoever waits, allow for the next silence, and mind the bounds."""
        intake, now = self._intake, self._loop.time()
        if intake.has_content:
            if self.content_at is None:
                self.content_at = now
            self._allow_silence(connection, now)
        self._size += size
        if intake.done:
            connection.tell()  # the last events go out together with the end
        elif intake.ahead:
            if self.tap is not None and connection.awaited and self.tap(intake.ahead):
                intake.ahead, self._size = [], 0
            else:
                connection.tell()
        if self._size > HELD_BYTES:
            self._full(connection)

    def _full(self, connection: Connection) -> None:
        """Hold the endpoint back, or give it up: what is held has a bound."""
        if self._assembles:
            if self._size > BODY_MAX:
                raise StreamBroken(f"The endpoint sent an answer of more than {BODY_MAX} bytes.")
        elif not self._intake.ahead:
            return  # an event in the making is the splitter's
        elif self.content_at is not None:
            connection.pause()
            connection.limit(self._limits.until, _over)  # the client is slow, not the endpoint
        elif self._size > sse.EVENT_BYTES_MAX:  # nobody takes events before the first content
            raise StreamBroken(f"The endpoint sent {self._size} bytes without content.")

    def _allow_silence(self, connection: Connection, now: float) -> None:
        at, until = now + self._limits.idle_seconds, self._limits.until
        if at < until:
            connection.limit(at, _stalled)
        else:
            connection.limit(until, _over)

    async def _finish(self, connection: Connection) -> None:
        connection.limit(self._loop.time() + TAIL_SECONDS, _stalled)
        try:
            while not connection.whole:
                await connection.changed()
        except RouterError:
            connection.abort()  # the answer is whole all the same


def open_stream(
    pool: Pool, request: bytes, limits: Limits, assembly: Assembly | None = None
) -> Coroutine[Any, Any, Stream]:
    """Ask for a stream and return it at its first content, or whole if it is assembled.

    Raises:
        RouterError: If the endpoint fails before; the connection is closed then.
    """
    return Stream(pool, limits, assembly).open(request)


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


def _check_whole(connection: Connection) -> None:
    if connection.whole:
        raise StreamBroken("The endpoint ended its answer without saying so.")


def _check_content(at: float | None) -> None:
    if at is None:
        raise StreamBroken("The endpoint ended its answer without content.")


async def _begun(
    pool: Pool, request: bytes, limits: Limits, sink: Sink | None = None
) -> Connection:
    overdue = _late if limits.first_token_at < limits.until else _over
    at = min(limits.first_token_at, limits.until)
    connection = await pool.exchange(request, at, overdue, sink)
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


def _late() -> RouterError:
    return FirstTokenTimeout("The endpoint did not begin to answer in time.")


def _stalled() -> RouterError:
    return StreamBroken("The endpoint fell silent in the middle of its answer.")


def _over() -> RouterError:
    return DeadlineExceeded("The route's total time is over.")
