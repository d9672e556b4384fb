"""`/v1/events` (WebSocket), `/v1/events/sse` and `/v1/events/schema`: what happens, as it happens.

Both doors serve the same subscribers; they differ in the shape of a message and in what a sink is.
Close codes are listed in `docs/events.md`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog
from fastapi import APIRouter, Response

from tiergarten_router.api import access, replies
from tiergarten_router.api.access import Access, Asked
from tiergarten_router.api.client import (
    ASGIApp,
    Client,
    Door,
    Message,
    Receive,
    Scope,
    Send,
    lines,
)
from tiergarten_router.api.doors import door
from tiergarten_router.errors import (
    NotFound,
    RouterError,
    Saturated,
    UpgradeRequired,
)
from tiergarten_router.events import messages
from tiergarten_router.events.hub import Hub
from tiergarten_router.events.log import Position
from tiergarten_router.events.subscribers import Subscriber
from tiergarten_router.frames import SOCKET, FramedProtocol, text_frame
from tiergarten_router.settings import Settings
from tiergarten_router.upstream import sse

TOKEN_SECONDS: Final = 5.0  # for the first message with a token
UNSUPPORTED: Final = 1003  # a binary message
FAILED: Final = 1011
BAD_MESSAGE: Final = 4400
BAD_TOKEN: Final = 4401

log = structlog.get_logger()


class Greeting(msgspec.Struct, forbid_unknown_fields=True):
    """The first message of a subscriber that has its token there."""

    token: str


@dataclass(frozen=True, slots=True)
class EventParts:
    """What the doors of events are made of.

    Attributes:
        hub: Serves subscribers.
        settings: Bounds.
        numbers: Request ids.
        access: Who may subscribe.
    """

    hub: Hub
    settings: Settings
    numbers: Iterator[str]
    access: Access

    def asked(self, scope: Scope) -> Asked:
        """Return what is asked for by somebody who may ask.

        Raises:
            RouterError: If it makes no sense, or there are too many subscribers.
        """
        self.access.check_origin(scope)
        found = access.asked(scope)
        if len(self.hub) >= self.settings.events_connections:
            raise Saturated("There are too many subscribers; ask again.", retry_after_seconds=5)
        return found


def schema() -> APIRouter:
    """Return the routes that are plain documents."""
    api = APIRouter(tags=["events"])

    @api.get("/v1/events/schema", summary="JSON Schema of all events", response_class=Response)
    async def document() -> Response:
        return Response(messages.schema(), media_type="application/schema+json")

    @api.get("/v1/events", summary="Events over a WebSocket", status_code=101)
    async def plain() -> None:
        raise UpgradeRequired(
            "This is a WebSocket; over plain HTTP there is /v1/events/sse.", param=None
        )

    return api


# -- WebSocket


def websocket(parts: EventParts) -> ASGIApp:
    """Return the door of `/v1/events`."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            asks = parts.asked(scope)
            known = parts.access.presented(scope)
        except RouterError as error:
            await _refuse(scope, send, error, parts.numbers)
            return
        await receive()  # the connect
        chosen = access.PROTOCOL if access.PROTOCOL in scope["subprotocols"] else None
        await send({"type": "websocket.accept", "subprotocol": chosen})
        socket: FramedProtocol = scope["extensions"][SOCKET]["socket"]
        if not known and not await _greeted(parts.access, receive, socket):
            return
        subscriber = parts.hub.subscriber(asks.wanted, _frame, socket)
        socket.on_ready = subscriber.drain
        async with _served(parts.hub, subscriber, asks):
            message = await receive()
        if message["type"] == "websocket.receive":
            _refuse_message(message, socket)
            await receive()  # the disconnect

    return application


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse WebSockets to other paths."""
    del receive
    await _refuse(scope, send, NotFound("There is no WebSocket at this path; see /docs."), None)


def _frame(body: bytes, _: Position | None) -> bytes:
    return text_frame(body)


async def _refuse(
    scope: Scope, send: Send, error: RouterError, numbers: Iterator[str] | None
) -> None:
    ident = replies.request_id(scope, numbers or iter(("-",)))
    await send(
        {
            "type": "websocket.http.response.start",
            "status": error.status,
            "headers": replies.error_headers(error, ident),
        }
    )
    await send({"type": "websocket.http.response.body", "body": replies.error_body(error)})


async def _greeted(allowed: Access, receive: Receive, socket: FramedProtocol) -> bool:
    """Return whether the first message has the right token."""
    try:
        async with asyncio.timeout(TOKEN_SECONDS):
            message = await receive()
        token = msgspec.json.decode(message.get("text") or "", type=Greeting).token
    except (TimeoutError, msgspec.MsgspecError):
        token = None
    if token is not None and allowed.admits(token):
        return True
    socket.end(BAD_TOKEN, "no token, or a wrong one")
    return False


def _refuse_message(message: Message, socket: FramedProtocol) -> None:
    if message.get("bytes") is not None:
        socket.end(UNSUPPORTED, "binary messages are not understood")
    else:
        socket.end(BAD_MESSAGE, "nothing is expected from a subscriber")


@contextlib.asynccontextmanager
async def _served(hub: Hub, subscriber: Subscriber, asks: Asked) -> AsyncIterator[None]:
    """Serve a subscriber while the block runs."""
    serving = asyncio.create_task(_serve(hub, subscriber, asks))
    try:
        yield
    finally:
        serving.cancel()
        hub.leave(subscriber)


async def _serve(hub: Hub, subscriber: Subscriber, asks: Asked) -> None:
    try:
        await hub.serve(subscriber, asks.start)
    except Exception:  # a fault of ours: the subscriber is told, and may come back
        log.exception("events_failed")
        subscriber.end(FAILED, "the router failed")


# -- SSE


def server_sent(parts: EventParts) -> Door:
    """Return the door of `/v1/events/sse`."""

    async def serve(client: Client, _: bytes, ident: str) -> None:
        scope = client.scope()
        asks = _sse_asked(parts, scope)
        client.begin(200, _sse_headers(scope, ident))
        client.flush()
        sink = _StreamSink()
        subscriber = parts.hub.subscriber(asks.wanted, _line, sink)
        async with _served(parts.hub, subscriber, asks):
            await sink.pump(client, subscriber.drain)

    return door(parts, serve, "GET")


def _sse_asked(parts: EventParts, scope: Scope) -> Asked:
    asks = parts.asked(scope)
    if not parts.access.presented(scope):
        raise access.wrong_token()
    return access.resumed(asks, replies.header(scope, b"last-event-id"))


def _sse_headers(scope: Scope, ident: str) -> bytes:
    headers = [(b"x-request-id", ident.encode())]
    origin = replies.header(scope, b"origin")
    if origin is not None:  # one that is allowed: a browser wants to hear it
        headers += [(b"access-control-allow-origin", origin), (b"vary", b"origin")]
    return replies.SSE + lines(headers)


def _line(body: bytes, position: Position | None) -> bytes:
    if position is None:
        return sse.frame(body)
    return b"id: %s:%d\n%s" % (position.epoch.encode(), position.seq, sse.frame(body))


class _StreamSink:
    """Collects messages until the client has taken the last ones; `pump` sends them."""

    def __init__(self) -> None:
        self.ready = True
        self._parts: list[bytes] = []
        self._new = asyncio.Event()
        self._free = asyncio.Event()
        self._ended = False

    def write(self, data: bytes) -> None:
        self._parts.append(data)
        self._new.set()

    async def drained(self) -> None:
        self._free.clear()
        await self._free.wait()

    def ping(self) -> None:
        """Do nothing: HTTP has no ping, and a client that does not read is cut off."""

    def answered(self) -> bool:
        return True

    def end(self, code: int, reason: str) -> None:
        self._ended = True
        self.write(_line(messages.encode(messages.Closed(code, reason)), None))

    async def pump(self, client: Client, on_ready: Callable[[], None]) -> None:
        """Send what comes until the end."""
        last = False
        while not last:
            await self._new.wait()
            self._new.clear()
            data, last = b"".join(self._parts), self._ended
            self._parts.clear()
            self.ready = False
            await client.write(data, more=not last)
            self.ready = True
            on_ready()
            self._free.set()
