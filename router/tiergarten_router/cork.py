"""uvicorn's protocol with bounds on heads, and one system call for an answer's head and body.

uvicorn writes head and body one after the other, and the event loop hands each to the kernel;
waking the reader twice costs more than much of the router's own work on a short answer. A corked
transport holds a head until the next write, or until the turn of the event loop is over.

uvicorn bounds neither the size of a request's head nor its time; here both are. `app` gives the
protocol to uvicorn.
"""

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD: Final = b"HTTP/1.1 "
ABORT: Final = "tiergarten.abort"  # ASGI extension: closes the connection at once


class CorkedTransport:
    """A transport that sends a head together with what is written in the same turn.

    Args:
        inner: The connection's transport; everything else is its own.
    """

    def __init__(self, inner: asyncio.Transport) -> None:
        self._inner = inner
        self._head = b""
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> None:
        """Send, or hold a head for a moment."""
        if self._head:
            head, self._head = self._head, b""
            self._inner.write(head + data)
        elif data.startswith(HEAD):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._inner.write(data)

    def close(self) -> None:
        """Close once everything is out."""
        self._flush()
        self._inner.close()

    def abort(self) -> None:
        """Close at once."""
        self._head = b""
        self._inner.abort()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever the inner transport has
        return getattr(self._inner, name)

    def _flush(self) -> None:
        if self._head:
            self.write(b"")


class CorkedProtocol(HttpToolsProtocol):
    """uvicorn's protocol over corked transports, with bounds; applications may abort it.

    Attributes:
        head_bytes: Largest head of a request; a browser's has some 2,000 bytes.
        head_seconds: Longest time for a head to arrive, the first one's from the connection on.
    """

    head_bytes = 64 * 1024
    head_seconds = 10.0
    _heading = False
    _size = 0
    _timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Mind the bounds of a head that does not end."""
        went_on = self._heading
        super().data_received(data)
        if self._heading and not self.transport.is_closing():
            self._hurry()
            self._size += len(data) if went_on else 0
            if self._size > self.head_bytes:
                self.send_400_response("The request's head is too large.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the bound."""
        self._headed()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """Forget the bound until the next head."""
        self._headed()
        super().on_headers_complete()

    def on_message_begin(self) -> None:
        """Offer the way out to the application that will get the request."""
        super().on_message_begin()
        self._heading = True
        self.scope["extensions"] = {ABORT: {"abort": self.transport.abort}}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Cork the transport."""
        corked = CorkedTransport(cast("asyncio.Transport", transport))
        super().connection_made(cast("asyncio.Transport", corked))
        self._hurry()

    def _hurry(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.head_seconds, self._late)

    def _headed(self) -> None:
        self._heading, self._size = False, 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self.transport.abort()
