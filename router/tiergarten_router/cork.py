"""One system call for an answer's head and the body that follows it at once.

uvicorn writes head and body one after the other, and the event loop hands each to the kernel;
waking the reader twice costs more than much of the router's own work on a short answer. A corked
transport holds a head until the next write, or until the turn of the event loop is over. `app`
gives the protocol to uvicorn.
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
    """uvicorn's protocol over corked transports, which applications may abort."""

    def on_message_begin(self) -> None:
        """Offer the way out to the application that will get the request."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"abort": self.transport.abort}}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Cork the transport."""
        corked = CorkedTransport(cast("asyncio.Transport", transport))
        super().connection_made(cast("asyncio.Transport", corked))
