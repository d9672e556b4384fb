"""uvicorn's WebSocket protocol, to which prepared frames can be written directly.

A message for a thousand clients is framed once and handed to each transport as it is; uvicorn would
frame it for each of them. The protocol tells its owner when the client reads again, and closes for
good when a client does not take the close. `app` gives it to uvicorn.
"""

from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

SOCKET: Final = "tiergarten.socket"  # ASGI extension: the protocol itself
TEXT: Final = 0x81  # the head of a whole text frame
PING: Final = b"\x89\x02tg"
SHORT: Final = 126
LONG: Final = 1 << 16


def text_frame(text: bytes) -> bytes:
    """Return the frame of a text, as a server sends it."""
    size = len(text)
    if size < SHORT:
        return bytes((TEXT, size)) + text
    if size < LONG:
        return bytes((TEXT, 126)) + size.to_bytes(2, "big") + text
    return bytes((TEXT, 127)) + size.to_bytes(8, "big") + text


class FramedProtocol(WebSocketsSansIOProtocol):
    """A WebSocket connection that takes prepared frames.

    Attributes:
        on_ready: Called when the client reads again.
        cut_seconds: How long a client has to take a close.
    """

    on_ready: Callable[[], None] | None = None
    cut_seconds = 3.0
    _unanswered = False

    @property
    def ready(self) -> bool:
        """Whether frames go out now, as far as the transport knows."""
        return self.writable.is_set()

    def write(self, data: bytes) -> None:
        """Send prepared frames."""
        if not self.close_sent and not self.transport.is_closing():
            self.transport.write(data)

    async def drained(self) -> None:
        """Wait until the client reads again."""
        await self.writable.wait()

    def ping(self) -> None:
        """Ask whether the client is there."""
        self._unanswered = True
        self.write(PING)

    def answered(self) -> bool:
        """Return whether the last ping was answered."""
        return not self._unanswered

    def end(self, code: int, reason: str) -> None:
        """Close; a client that does not take it is cut off."""
        if self.close_sent or self.transport.is_closing():
            return
        self.close_sent = True
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.cut_seconds, self.transport.abort)

    async def send(self, message: Any) -> None:  # noqa: ANN401 -- uvicorn's union of messages
        """Send the application's message; a refusal completes the handshake too."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True

    def handle_connect(self, event: Request) -> None:
        """Offer the protocol to the application."""
        super().handle_connect(event)
        if not self.handshake_complete:
            extensions = cast("dict[str, object]", self.scope["extensions"])
            extensions[SOCKET] = {"socket": self}

    def handle_pong(self, event: Frame) -> None:  # noqa: ARG002 -- uvicorn's signature
        """Take note of an answer."""
        self._unanswered = False

    def resume_writing(self) -> None:
        """Tell the owner."""
        super().resume_writing()
        if self.on_ready is not None:
            self.on_ready()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the owner."""
        self.on_ready = None
        super().connection_lost(exc)
