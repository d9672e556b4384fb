"""A connection to a llama-server: one HTTP/1.1 exchange at a time, read with backpressure.

`pool` makes and keeps connections; `stream` takes events from them. What arrives is parsed by
httptools where it arrives. The body of a good answer goes to the exchange's sink at once, without a
turn of the event loop in between; any other body is held until somebody reads it. When more than
`HELD_BYTES` are held, the kernel is left to hold the rest, and so is the endpoint.
"""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final, Protocol, cast

import httptools

from tiergarten_router.errors import AttemptFailed, ConnectFailed, RouterError, StreamBroken
from tiergarten_router.upstream.deadlines import Deadline, Deadlines

HELD_BYTES: Final = 64 * 1024
HEAD_BYTES: Final = 64 * 1024  # an honest head has 300
RETRY_AFTER: Final = b"retry-after"
OK: Final = 200  # a status below it announces another


class StaleConnection(ConnectFailed):
    """A kept connection was closed by the endpoint before it read the request."""


class Sink(Protocol):
    """Whoever takes the body of a good answer as it comes."""

    def feed(self, connection: "Connection", parts: list[bytes]) -> None:
        """Take the next parts; call `connection.tell` when whoever waits is to see them.

        Raises:
            RouterError: If they are not what they should be; it ends the exchange.
        """
        ...


class Connection(asyncio.Protocol):
    """One connection, owned by the exchange that goes on over it.

    Attributes:
        status: The answer's status, 0 until its head is there.
        retry_after: The answer's `Retry-After` in whole seconds, or None.
        reused: Whether an exchange was finished on it before this one.
        closed: Whether it can never be used again.
        reusable: Whether the endpoint has answered whole and keeps the connection.
        whole: Whether nothing more belongs to the answer.
        paused: Whether no more is read from the kernel for now.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self.status = 0
        self.retry_after: int | None = None
        self.reused = False
        self.closed = False
        self.reusable = False
        self._deadlines = deadlines
        self._deadline = Deadline(self._expired)
        deadlines.hold(self._deadline)
        self._transport: asyncio.Transport | None = None
        self._held: list[bytes] = []  # parts of the body, until the sink or a reader gets them
        self.on_body = self._held.append  # the parser's: a method of our own would cost a frame
        self._parser = httptools.HttpResponseParser(self)
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._held_bytes = 0
        self._head_bytes = 0
        self.whole = True
        self._sink: Sink | None = None
        self.paused = False
        self._failure: RouterError | None = None
        self._overdue: Callable[[], RouterError] = _silent
        self._lost: Callable[[Connection], None] | None = None

    # -- what an exchange does

    def limit(self, at: float, overdue: Callable[[], RouterError]) -> None:
        """Give the exchange up at this event-loop time.

        Args:
            at: When.
            overdue: Makes the failure that whoever waits is told then.
        """
        self._deadline.at = at
        self._overdue = overdue

    def write(self, request: bytes, sink: Sink | None = None) -> None:
        """Send a whole request and forget the answer before it.

        Args:
            request: Its bytes.
            sink: Takes the body of a good answer; without one the body is read.

        Raises:
            RouterError: If the endpoint has closed the connection.
        """
        if self._transport is None or self.closed:
            if self._failure is None or self.reused:  # what it did at rest is no query's failure
                raise StaleConnection("The endpoint closed the connection.")
            raise self._failure
        self.status, self.retry_after = 0, None
        self._head_bytes, self.whole, self.reusable = 0, False, False
        self._sink = sink
        self._transport.write(request)

    async def read(self) -> bytes:
        """Wait for a part of the body; empty at its end.

        Raises:
            RouterError: If the body will not be whole.
        """
        while not self._held:
            if self.whole:
                return b""
            await self.changed()
        body = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        self.resume()
        return body

    def changed(self) -> asyncio.Future[None]:
        """Return what is done when there is something to see: await it, look, and ask again.

        `tell` was called, the answer is whole, or the exchange has failed.

        Raises:
            RouterError: If the exchange has failed.
        """
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        return self._waiter

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for a change and has not been told of one."""
        return self._waiter is not None and not self._waiter.done()

    def tell(self) -> None:
        """Wake whoever waits for a change."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def pause(self) -> None:
        """Read no more from the kernel for now."""
        if not self.paused and self._transport is not None:
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.paused and self._transport is not None and not self.closed:
            self._transport.resume_reading()
        self.paused = False

    def rest(self, lost: "Callable[[Connection], None]") -> None:
        """Keep the connection for the next exchange.

        Args:
            lost: Told when the endpoint closes it before that.
        """
        self.reused = True
        self._deadline.at = inf
        self._sink = None
        self._lost = lost
        self.resume()  # an answer that nobody read to its end may have left it paused

    def wake(self) -> None:
        """End the rest: an exchange begins."""
        self._lost = None

    def abort(self) -> None:
        """Close at once, whatever is on its way."""
        if self._transport is not None:
            self._transport.abort()
        self._shut()

    # -- what the event loop and the parser say

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came; what is not HTTP ends the connection."""
        if self.whole:
            self._fail(StreamBroken("The endpoint sent more than its answer."))
            return
        if not self.status:
            self._head_bytes += len(data)
        self._parse(data)
        if not self.status and self._head_bytes > HEAD_BYTES:
            self._fail(StreamBroken(f"The endpoint sent a head of more than {HEAD_BYTES} bytes."))
        if self._sink is None or self.status > OK:
            self._held_bytes += len(data)
            if self._held_bytes > HELD_BYTES:
                self.pause()
            self.tell()

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
            if self._held and self._sink is not None and self.status == OK:
                parts = self._held[:]
                self._held.clear()
                self._sink.feed(self, parts)
        except RouterError as error:
            self._fail(error)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(StreamBroken("The endpoint did not send valid HTTP."), error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits; the end of an exchange that is whole is no failure."""
        if not self.whole and self._failure is None:
            self._failure = self._death(type(exc).__name__ if exc else "closed")
        self._shut()
        if self._lost is not None:
            self._lost(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the one header that matters."""
        if len(name) == len(RETRY_AFTER) and name.lower() == RETRY_AFTER:
            told = value.isdigit() and len(value) <= len(b"86400")
            self.retry_after = int(value) if told else self.retry_after

    def on_headers_complete(self) -> None:
        """Take the status; an interim answer is none."""
        status: int = self._parser.get_status_code()
        self.status = 0 if status < OK else status

    def on_message_complete(self) -> None:
        """Note that the answer is whole."""
        if self.status:
            self.whole = True
            self.reusable = self._parser.should_keep_alive()
            self.tell()

    # -- inside

    def _death(self, name: str) -> AttemptFailed:
        """Return what it means that the endpoint closed the connection before its answer's end."""
        failure: AttemptFailed
        if self.status:
            failure = StreamBroken(f"The endpoint ended its answer early ({name}).")
        elif self.reused and not self._head_bytes:
            return StaleConnection("The endpoint closed a connection that was kept.")
        else:
            failure = ConnectFailed(f"The endpoint closed the connection ({name}).")
        failure.died = True
        return failure

    def _expired(self) -> None:
        self._fail(self._overdue())

    def _fail(self, failure: RouterError, cause: Exception | None = None) -> None:
        if self._failure is None:
            failure.__cause__ = cause
            self._failure = failure
        self._held.clear()
        self.whole = False
        self.abort()

    def _shut(self) -> None:
        self.closed, self.reusable = True, False
        self._deadlines.release(self._deadline)
        self.tell()


def _silent() -> RouterError:
    return StreamBroken("The endpoint fell silent.")
