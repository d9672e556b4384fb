"""One streamed answer: events taken, checked and handed on, from the first content to the end.

Events are taken in where they arrive and waited for only where somebody wants them: one by one for
a client that streams, all together for one that does not. `open_stream` returns at the commit
point, when the first event with content is there: until then nothing has been said, and any failure
may lead to another endpoint. An event that does not parse never leaves this module.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, cast

import msgspec

from tiergarten_router import wire
from tiergarten_router.core.assembly import Assembly
from tiergarten_router.errors import (
    AttemptFailed,
    DeadlineExceeded,
    FirstTokenTimeout,
    RouterError,
    StreamBroken,
)
from tiergarten_router.upstream import refusal, sse
from tiergarten_router.upstream.connection import HELD_BYTES, OK, Connection, Sink
from tiergarten_router.upstream.pool import Pool

DONE: Final = b"[DONE]"
NOTHING: Final = b"data: null\n\n"  # llama-server begins an answer to several prompts with it
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


class Event(msgspec.Struct, frozen=True):
    """One event of a stream: its bytes, and what they say; None for `[DONE]` and comments."""

    raw: bytes
    chunk: wire.Chunk | None


class Stream:
    """The events of one answer, taken where they arrive.

    Args:
        pool: Where the connection goes back to.
        limits: Times.
        assembly: Takes the events in, if the answer is wanted whole; else they are kept for `next`.

    Attributes:
        usage: Tokens, once the endpoint has told them.
        timings: llama-server's measurements, once told.
        content_at: Event-loop time of the first content, None before it.
    """

    def __init__(self, pool: Pool, limits: Limits, assembly: Assembly | None) -> None:
        self.usage: wire.Usage | None = None
        self.timings: wire.Timings | None = None
        self.content_at: float | None = None
        self._pool = pool
        self._limits = limits
        self._assembly = assembly
        self._splitter = sse.Splitter()
        self._loop = asyncio.get_running_loop()
        self._ahead: list[Event] = []
        self._size = 0
        self._done = False
        self._connection: Connection | None = None

    async def open(self, request: bytes) -> None:
        """Ask, and return at the first content, or at the end if the answer is wanted whole.

        Raises:
            RouterError: If the endpoint fails before; the connection is closed then.
        """
        connection = await _begun(self._pool, request, self._limits, self)
        self._connection = connection
        try:
            while not self._done and (self.content_at is None or self._assembly is not None):
                await self._more(connection)
            _check_content(self.content_at)
        except BaseException:  # also a cancelled query must leave no connection behind
            connection.abort()
            raise

    async def next(self) -> list[Event]:
        """Return the events that have come since; empty at the end of a whole answer.

        Raises:
            StreamBroken: If the answer will not be whole.
            DeadlineExceeded: If the route's total time is over.
        """
        connection = cast("Connection", self._connection)
        while not self._ahead:
            if self._done:
                await self._finish(connection)
                return []
            await self._more(connection)
        ahead, self._ahead, self._size = self._ahead, [], 0
        if connection.paused:
            connection.resume()
            self._allow_silence(connection)
        return ahead

    def close(self) -> None:
        """Give the connection back, or close it if the answer was left before its end."""
        if self._connection is None:
            return
        if self._done:
            self._pool.give_back(self._connection)
        else:
            self._connection.abort()

    def feed(self, connection: Connection, body: bytes) -> None:
        """Take a part of the body; called by the connection.

        Raises:
            StreamBroken: If it is not what belongs into a stream of events.
        """
        if self._done:
            raise StreamBroken("The endpoint sent an event after the end of its answer.")
        try:
            raws = [raw for raw in self._splitter.feed(body) if raw != NOTHING]
            if self._assembly is not None:
                self._assemble(raws, self._assembly)
                return
            for raw in raws:
                self._take(raw)
        except sse.SSEError as error:
            raise StreamBroken(f"The endpoint sent no valid events: {error}") from error
        finally:
            self._took(connection, len(body))

    def _took(self, connection: Connection, size: int) -> None:
        """Wake whoever waits, allow for the next silence, and mind the bounds."""
        if self._ahead or self._done:
            connection.tell()
        if self.content_at is not None:
            self._allow_silence(connection)
        self._size += size
        if self._assembly is not None and self._size > BODY_MAX:
            raise StreamBroken(f"The endpoint sent an answer of more than {BODY_MAX} bytes.")
        if self._ahead and self._size > HELD_BYTES:  # an event in the making is the splitter's
            self._full(connection)

    def _full(self, connection: Connection) -> None:
        if self.content_at is not None:
            connection.pause()
            connection.limit(self._limits.until, _over)  # the client is slow, not the endpoint
        elif self._size > sse.EVENT_BYTES_MAX:  # nobody takes events before the first content
            raise StreamBroken(f"The endpoint sent {self._size} bytes without content.")

    def _allow_silence(self, connection: Connection) -> None:
        at = self._loop.time() + self._limits.idle_seconds
        over = at >= self._limits.until
        connection.limit(min(at, self._limits.until), _over if over else _stalled)

    def _take(self, raw: bytes) -> None:
        payload = sse.data(raw)
        if self._done:
            raise StreamBroken("The endpoint sent an event after the end of its answer.")
        if payload is None or payload == DONE:
            self._done = payload is not None
            self._ahead.append(Event(raw, None))
            return
        try:
            chunk = wire.decode_chunk(_text(payload))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StreamBroken("The endpoint sent an event that is not valid.") from error
        if chunk.error is not None:
            raise _failed(chunk.error)
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.timings is not None:
            self.timings = chunk.timings
        if self.content_at is None and has_content(chunk):
            self.content_at = self._loop.time()
        self._ahead.append(Event(raw, chunk))

    def _assemble(self, raws: list[bytes], assembly: Assembly) -> None:
        """Take many events of an answer that is assembled, decoded in one go."""
        payloads = sse.payloads(raws)
        ends = bool(payloads) and payloads[-1] == DONE
        if ends:
            payloads.pop()
        try:
            chunks = wire.decode_chunks(_text(b"[%b]" % b",".join(payloads)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StreamBroken("The endpoint sent an event that is not valid.") from error
        assembly.events += raws
        for chunk in chunks:
            if chunk.error is not None:
                raise _failed(chunk.error)
            assembly.add(chunk)
        if self.content_at is None and any(map(has_content, chunks)):
            self.content_at = self._loop.time()
        self.usage, self.timings = assembly.usage, assembly.timings
        self._done = ends

    async def _more(self, connection: Connection) -> None:
        if connection.whole:
            raise StreamBroken("The endpoint ended its answer without saying so.")
        await connection.changed()

    async def _finish(self, connection: Connection) -> None:
        connection.limit(self._loop.time() + TAIL_SECONDS, _stalled)
        try:
            while not connection.whole:
                await connection.changed()
        except RouterError:
            connection.abort()  # the answer is whole all the same


async def open_stream(
    pool: Pool, request: bytes, limits: Limits, assembly: Assembly | None = None
) -> Stream:
    """Ask for a stream and return it at its first content, or whole if it is assembled.

    Raises:
        RouterError: If the endpoint fails before; the connection is closed then.
    """
    stream = Stream(pool, limits, assembly)
    await stream.open(request)
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


def has_content(chunk: wire.Chunk) -> bool:
    """Return whether an event carries generated output, or says why there is no more."""
    return any(map(_says, chunk.choices))


def _says(choice: wire.Choice) -> bool:
    delta = choice.delta
    if choice.finish_reason or choice.text:
        return True
    return delta is not None and bool(delta.content or delta.reasoning_content or delta.tool_calls)


def _text(payload: bytes) -> bytes:
    """Return what is UTF-8 throughout; the decoder looks into known fields only."""
    if not payload.isascii():
        payload.decode()
    return payload


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
