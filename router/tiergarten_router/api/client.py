"""The client of one request to a hot door: what it sent, and the answer on its way back.

The protocol makes one for each request and starts its door when the body is whole. Bytes go to the
transport in the caller's turn of the event loop; head and first part of an answer go as one. When
the client leaves, the door's task is cancelled.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, Final, Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
CHUNKED: Final = b"transfer-encoding: chunked\r\n"
CLOSE: Final = b"connection: close\r\n"


class Line(Protocol):
    """The connection that a request came over, as its client needs it."""

    transport: asyncio.Transport
    flow: FlowControl

    def common(self) -> bytes:
        """Return the headers that all answers have."""
        ...

    def on_response_complete(self) -> None:
        """Hear that the answer is out."""
        ...


class Client:
    """Whoever sent a request.

    Args:
        line: The connection.
        method: The request's method.
        url: Its target, path and query.
        headers: Its headers, names in lower case.
        keeps: Whether the connection may serve another request.
        chunks: Whether the client understands chunks, as HTTP/1.1 does.

    Attributes:
        began: Whether an answer has begun, so that its status can change no more.
        gone: Whether the client has left.
        whole: Whether the request's body is.
        keep_alive: Whether the connection stays open afterwards; uvicorn clears it at a stop.
        response_complete: Whether the end of the answer is out; uvicorn reads it.
        task: What answers.
    """

    __slots__ = (
        "_chunked", "_chunks", "_head", "_line", "_parts", "began", "gone", "headers", "keep_alive",
        "method", "response_complete", "size", "task", "url", "whole",
    )  # fmt: skip

    def __init__(
        self,
        line: Line,
        method: bytes,
        url: bytes,
        headers: Headers,
        *,
        keeps: bool,
        chunks: bool,
    ) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.keep_alive = keeps
        self.began = self.gone = self.whole = self.response_complete = False
        self.size = 0
        self.task: asyncio.Task[None] | None = None
        self._line = line
        self._parts: list[bytes] = []
        self._chunks = chunks
        self._chunked = False
        self._head = b""

    # -- the request

    def header(self, name: bytes) -> bytes | None:
        """Return the first header of this name, which is in lower case; None if there is none."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def scope(self) -> Scope:
        """Return the request as ASGI describes it, for what serves both kinds of doors."""
        path, _, query = self.url.partition(b"?")
        return {
            "type": "http",
            "method": self.method.decode(),
            "path": path.decode("latin-1"),
            "query_string": query,
            "headers": self.headers,
        }

    def take(self, part: bytes) -> int:
        """Take a part of the body and return how many bytes there are."""
        self._parts.append(part)
        self.size += len(part)
        return self.size

    def body(self) -> bytes:
        """Return the whole body and forget it."""
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    # -- the answer

    @property
    def paused(self) -> bool:
        """Whether the client reads more slowly than it is written to."""
        return self._line.flow.write_paused

    def reply(self, status: int, headers: bytes, body: bytes) -> None:
        """Send a whole answer.

        Args:
            status: Its status.
            headers: Its headers, as `lines` makes them.
            body: Its body.
        """
        self._begin(status, b"%bcontent-length: %d\r\n" % (headers, len(body)))
        self._send(b"" if self.method == b"HEAD" else body)
        self._end()

    def begin(self, status: int, headers: bytes) -> None:
        """Begin an answer in parts; its head goes out with the first of them."""
        self._chunked = self._chunks
        self.keep_alive &= self._chunks
        self._begin(status, headers + CHUNKED if self._chunks else headers)

    def push(self, body: bytes) -> None:
        """Send a part, whether or not the client reads."""
        self._send(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body)

    def flush(self) -> None:
        """Send the head now: the first part may be long in coming."""
        self._send(b"")

    async def write(self, body: bytes, *, more: bool = True) -> None:
        """Send a part, or the last one, and wait while the client does not read."""
        if not more:
            self.finish(body)
            return
        self.push(body)
        if self._line.flow.write_paused:
            await self._line.flow.drain()

    def finish(self, body: bytes = b"") -> None:
        """Send the last part."""
        if self._chunked:
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        self._send(body)
        self._end()

    def leave(self) -> None:
        """Note that the client has left, and give its request up."""
        if self.gone:
            return
        self.gone = True
        if self.task is not None and not self.response_complete:
            self.task.cancel()

    def _begin(self, status: int, headers: bytes) -> None:
        self.began = True
        close = b"" if self.keep_alive else CLOSE
        self._head = b"%b%b%b%b\r\n" % (STATUS_LINE[status], self._line.common(), headers, close)

    def _send(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        if data and not self.gone:
            self._line.transport.write(data)

    def _end(self) -> None:
        self.response_complete = True
        if not self.gone:
            if not self.keep_alive:
                self._line.transport.close()
            self._line.on_response_complete()


Door = Callable[[Client], Coroutine[Any, Any, None]]


def lines(headers: Headers) -> bytes:
    """Return headers as they are sent.

    Raises:
        ValueError: If one of them holds a line break; it would be two.
    """
    sent = b"".join([b"%b: %b\r\n" % header for header in headers])
    if sent.count(b"\n") != len(headers) or sent.count(b"\r") != len(headers):
        raise ValueError("A header holds a line break.")
    return sent
