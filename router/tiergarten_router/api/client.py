"""The client of one request: its body, its patience, and whether it is still there.

uvicorn's `send` says nothing when the client has gone, so `receive` is watched while an answer is
made. Whatever ends a request early cancels its task, and leaving the block turns the cancellation
into the error that it stands for, as `asyncio.timeout` does.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from math import inf
from types import TracebackType
from typing import Any, Self, cast

from tiergarten_router import cork
from tiergarten_router.errors import BodyTimeout, BodyTooLarge, ClientGone, RouterError
from tiergarten_router.settings import Settings
from tiergarten_router.upstream.deadlines import Deadline, Deadlines

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Client:
    """Whoever sent a request, inside `async with`.

    Args:
        scope: ASGI's.
        receive: ASGI's.
        send: ASGI's.
        deadlines: The sweep.
        settings: Bounds of the body and of the client's patience.

    Attributes:
        began: Whether the answer's head is out, so that its status can change no more.
        ended: Whether its end is out too.
        scope: ASGI's.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, deadlines: Deadlines, settings: Settings
    ) -> None:
        self.began = False
        self.ended = False
        self.scope = scope
        self._receive = receive
        self._send = send
        self._deadlines = deadlines
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._end: RouterError | None = None
        self._overdue: Callable[[], RouterError] = _slow_body
        self._watcher: asyncio.Task[Message] | None = None
        self._deadline = Deadline(self._expired)

    async def __aenter__(self) -> Self:
        self._deadlines.hold(self._deadline)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._deadlines.release(self._deadline)
        if self._watcher is not None:
            self._watcher.cancel()
        if self._end is not None:
            uncancelled = self._task.uncancel()
            if kind is asyncio.CancelledError and not uncancelled:
                raise self._end from error

    async def body(self, declared: bytes | None) -> bytes:
        """Return the whole body.

        Args:
            declared: The request's `Content-Length`, if it has one.

        Raises:
            BodyTooLarge: If there is, or will be, more of it than allowed.
            BodyTimeout: If it does not come in time.
            ClientGone: If the client leaves in the middle of it.
        """
        most = self._settings.body_bytes
        if declared is not None and declared.isdigit() and int(declared) > most:
            raise _too_large(most)
        self._overdue = _slow_body
        self._deadline.at = self._loop.time() + self._settings.body_seconds
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone("The client left before its request was whole.")
            part = message.get("body", b"")
            size += len(part)
            if size > most:
                raise _too_large(most)
            parts.append(part)
            more = message.get("more_body", False)
        self._deadline.at = inf
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def watch(self) -> None:
        """Cancel the request's task when the client leaves, from now on."""
        self._watcher = self._loop.create_task(_wait(self._receive))
        self._watcher.add_done_callback(self._left)

    async def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        await self.begin(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.write(body, more=False)

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the head of an answer."""
        self.began = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, body: bytes, *, more: bool = True) -> None:
        """Send a part of the body; waits while the client does not read.

        Raises:
            ClientGone: On leaving the block, if the client does not read for too long.
        """
        self._overdue = _stalled
        self._deadline.at = self._loop.time() + self._settings.client_stall_seconds
        self.ended = not more
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        self._deadline.at = inf

    def _expired(self) -> None:
        if self._overdue is _stalled:
            self._abort()  # a mere close would wait until it has read what it does not read
        self._cancel(self._overdue())

    def _abort(self) -> None:
        offered = self.scope.get("extensions", {}).get(cork.ABORT)
        if offered is not None:
            offered["abort"]()

    def _left(self, watcher: asyncio.Task[Message]) -> None:
        if not watcher.cancelled() and not self.ended:
            self._cancel(ClientGone("The client left before its answer was whole."))

    def _cancel(self, why: RouterError) -> None:
        if self._end is None and not self._task.done():
            self._end = why
            self._task.cancel()


async def _wait(receive: Receive) -> Message:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return message


def _too_large(most: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {most} bytes; send less, or raise body_bytes.")


def _slow_body() -> RouterError:
    return BodyTimeout("The body did not arrive in time; send it faster.")


def _stalled() -> RouterError:
    return ClientGone("The client stopped reading its answer.")
