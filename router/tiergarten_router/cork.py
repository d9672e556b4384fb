"""One system call for what is written in one turn of the event loop.

uvicorn writes an answer's head and body one after the other, and the event loop hands each to the
kernel at once; waking the reader twice costs more than the router's own work on a short answer. A
corked transport collects the writes of a turn. `app` gives the protocol to uvicorn.
"""

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

AT_ONCE_BYTES: Final = 64 * 1024  # more is handed on without waiting for the turn's end


class CorkedTransport:
    """A transport whose writes go out at the end of the turn; everything else is the inner one's.

    Args:
        inner: The connection's transport.
    """

    def __init__(self, inner: asyncio.Transport) -> None:
        self._inner = inner
        self._parts: list[bytes] = []
        self._size = 0
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> None:
        """Send soon."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size >= AT_ONCE_BYTES:
            self._flush()

    def close(self) -> None:
        """Close once everything is out."""
        self._flush()
        self._inner.close()

    def abort(self) -> None:
        """Close at once."""
        self._parts = []
        self._inner.abort()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever the inner transport has
        return getattr(self._inner, name)

    def _flush(self) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        if parts and not self._inner.is_closing():
            self._inner.write(parts[0] if len(parts) == 1 else b"".join(parts))


class CorkedProtocol(HttpToolsProtocol):
    """uvicorn's protocol over corked transports."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Cork the transport."""
        corked = CorkedTransport(cast("asyncio.Transport", transport))
        super().connection_made(cast("asyncio.Transport", corked))
