"""uvicorn's protocol, guarded, and with the hot doors served below ASGI.

A request for a hot door never becomes an ASGI scope with queues and tasks around it: head and body
are handed to the door as a `Client`, and the answer goes straight to the transport. Everything else
takes uvicorn's own way to FastAPI. Both pass the guard, and both have their time: for a head, for a
body, for what a client does not read, and between requests. All of it is kept by the one sweep.

Relies on uvicorn's `HttpToolsProtocol` as of 0.54: `cycle`, `pipeline`, `flow`, `headers`, `url`,
`scope`, `parser` and the methods overridden here; tests/router/api/test_protocol.py holds it.
"""

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum, auto
from math import inf
from typing import Any, ClassVar, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tiergarten_router.api import guard, replies
from tiergarten_router.api.client import Client, Door, lines
from tiergarten_router.api.guard import Guard
from tiergarten_router.errors import InvalidRequest, RequestTimeout, RouterError
from tiergarten_router.settings import Settings
from tiergarten_router.upstream.deadlines import Deadline, Deadlines

KEEP_ALIVE_SECONDS: Final = 75.0  # longer than the 60 s of nginx in front
PIPELINED_MAX: Final = 4  # requests that wait for their turn; hardly any client sends even one
LINGER_SECONDS: Final = 2.0  # for a refused client to read why
ABORT: Final = "tiergarten.abort"  # ASGI extension: closes the connection at once
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Phase(Enum):
    """What a connection waits for."""

    IDLE = auto()  # the next request
    HEAD = auto()  # the rest of a head, or the first one
    BODY = auto()  # the rest of a body
    ANSWER = auto()  # the answer
    LINGER = auto()  # the client to read that it is refused


READING: Final = (Phase.ANSWER, Phase.IDLE)  # the client only has to read


class Edge(HttpToolsProtocol):
    """One connection of a client; `wired` makes the class that uvicorn is given.

    Attributes:
        doors: The hot doors by path.
        trees: Those that have all paths with a beginning.
        deadlines: The sweep.
        settings: Bounds.
        draining: Whether connections end with their next answer.
    """

    doors: ClassVar[Mapping[bytes, Door]] = {}
    trees: ClassVar[tuple[tuple[bytes, Door], ...]] = ()
    deadlines: ClassVar[Deadlines]
    settings: ClassVar[Settings]
    draining: ClassVar[bool] = False
    keep_alive_seconds: ClassVar[float] = KEEP_ALIVE_SECONDS

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 -- uvicorn's own
        super().__init__(*arguments, **options)
        self._guard = Guard(self.settings.body_bytes, self.ws_protocol_class is not None)
        self._deadline = Deadline(self._expired)
        self._phase = Phase.HEAD
        self._heading = False  # a head has begun and not ended
        self._incoming = False  # a body has begun and not ended
        self._size = 0  # bytes since the head began, or rather the packet that it began in
        self._chunk = 0  # bytes of that packet, if nothing else ended in it
        self._door: Door | None = None  # of the request that comes in
        self._active: Any = None  # the request that is answered
        self._refusal: RouterError | None = None
        self._defaults: list[tuple[bytes, bytes]] = []
        self._common = b""

    # -- what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a head."""
        super().connection_made(cast("asyncio.Transport", transport))
        self.deadlines.hold(self._deadline)
        self._deadline.at = self.loop.time() + self.settings.head_seconds

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what is asked over the connection."""
        self.deadlines.release(self._deadline)
        for cycle in (self._active, self.cycle):
            _leave(cycle)
        self.cycle = cast("Any", None)  # all is told
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, within bounds."""
        if self._phase is Phase.LINGER:
            return
        self._size += len(data)
        self._chunk = 0 if self._heading or self._incoming else len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.handle_websocket_upgrade()
            return
        except httptools.HttpParserError:
            self.refuse(self._refusal or InvalidRequest("The request is not valid HTTP."))
            return
        if self._heading or self._incoming:
            error = self._guard.arrived(self._size, heading=self._heading)
            if error is not None:
                self.refuse(error)
                return
        self._wait()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over."""
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            self.transport.abort()  # it is still needed for an answer
            return
        self.deadlines.release(self._deadline)
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """Be patient with a client that does not read, up to a limit."""
        super().pause_writing()
        if self._phase in READING:
            self._deadline.at = self.loop.time() + self._seconds(self._phase)

    def resume_writing(self) -> None:
        """Forget the limit."""
        super().resume_writing()
        if self._phase in READING and not self.transport.is_closing():
            self._deadline.at = self.loop.time() + self._seconds(self._phase)

    # -- what the parser says

    def on_message_begin(self) -> None:
        """Begin a head; what only ASGI needs is made once it is needed."""
        self.url = b""
        self.headers = []
        self._door = None
        self._heading = True
        self._size, self._chunk = self._chunk, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what comes behind a body is none."""
        if self._heading:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Guard the head, and take the request to its door."""
        self._heading = False
        fields = dict(self.headers)
        old, leaves = self.parser.get_http_version() == "1.0", self.parser.should_upgrade()
        self._stop(self._guard.head(self.headers, fields, optional_host=old, leaves=leaves))
        if self._size > guard.HEAD_BYTES:  # its body may be among what came
            self._stop(self._guard.arrived(guard.size(self.url, self.headers), heading=True))
        self._incoming = True
        continues = b"expect" in fields and fields[b"expect"].lower() == b"100-continue"
        path = _path(self.url)
        door = self.doors.get(path) or self._tree(path)
        if door is None or leaves:
            self._cold(continues=continues)
        else:
            self._hot(door, old=old, continues=continues)

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, as far as it may be."""
        if self._door is None:
            super().on_body(body)
        else:
            self._stop(self._guard.body(cast("Any", self.cycle).take(body)))

    def on_message_complete(self) -> None:
        """Start a hot door once the body is whole."""
        self._incoming = False
        if self._door is None:
            super().on_message_complete()
            return
        client: Any = self.cycle
        client.whole = True
        if not self.pipeline:
            self._start(client, self._door)

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for it."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():  # once the client has read it all
            self._deadline.at = self.loop.time() + self.settings.client_stall_seconds
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        self._wait()

    # -- what a client needs of its line

    def common(self) -> bytes:
        """Return the headers that all answers have; they change once a second."""
        if self._defaults is not self.server_state.default_headers:
            self._defaults = self.server_state.default_headers
            self._common = lines(self._defaults)
        return self._common

    @staticmethod
    def refused(code: str) -> None:
        """Hear the code of a request that is refused before it has a door."""

    def refuse(self, error: RouterError) -> None:
        """Answer with an error and close the connection, once the client could read it.

        If another answer is to come before, it ends here.
        """
        if self.transport.is_closing():
            return
        self.refused(error.code)
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._says_something(cycle):
                self.transport.abort()
                return
            _leave(cycle)
        self.transport.write(replies.refusal(error))
        self.transport.write_eof()
        self._phase = Phase.LINGER
        self._deadline.at = self.loop.time() + LINGER_SECONDS

    # -- inside

    def _stop(self, error: RouterError | None) -> None:
        """End the parser if there is an error: what it raises for this ends the connection."""
        if error is not None:
            self._refusal = error
            raise error

    def _tree(self, path: bytes) -> Door | None:
        for beginning, door in self.trees:
            if path.startswith(beginning):
                return door
        return None

    def _hot(self, door: Door, *, old: bool, continues: bool) -> None:
        keeps = not old and self.parser.should_keep_alive() and not self.draining
        before: Any = self.cycle
        method = self.parser.get_method()
        client = Client(
            cast("Any", self), method, self.url, self.headers, keeps=keeps, chunks=not old
        )
        self._door, self.cycle = door, cast("Any", client)
        if before is not None and not before.response_complete:
            self.pipeline.appendleft((self.cycle, cast("Any", door)))
            if len(self.pipeline) >= PIPELINED_MAX:
                self.flow.pause_reading()  # from now on it is not seen when the client leaves
        elif continues:
            self.transport.write(CONTINUE)

    def _cold(self, *, continues: bool) -> None:
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url, self.headers = url, headers
        self.expect_100_continue = continues
        self.scope["headers"] = headers
        self.scope["extensions"] = {ABORT: {"abort": self.transport.abort}}
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before and self.draining:
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401 -- uvicorn's own types
        """Start what waited for its turn: called by uvicorn and for pipelined requests."""
        self._active = cycle
        if not isinstance(cycle, Client):
            super()._start_asgi_task(cycle, app)
        elif cycle.whole:
            self._start(cycle, app)

    def _start(self, client: Client, door: Door) -> None:
        self._active = client
        task = client.task = self.loop.create_task(door(client))
        tasks = self.server_state.tasks
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def _wait(self) -> None:
        """Set the limit of what is waited for now, if that has changed."""
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            phase = Phase.BODY if self._incoming and not self.pipeline else Phase.ANSWER
        elif self._heading or cycle is None:
            phase = Phase.HEAD
        else:
            phase = Phase.BODY if self._incoming else Phase.IDLE
        if phase is self._phase:
            return
        self._phase = phase
        self._deadline.at = self.loop.time() + self._seconds(phase)

    def _seconds(self, phase: Phase) -> float:
        if self.flow.write_paused and phase in READING:  # it has not read its last answer yet
            return self.settings.client_stall_seconds
        if phase is Phase.ANSWER:
            return inf
        if phase is Phase.BODY:
            return self.settings.body_seconds
        return self.settings.head_seconds if phase is Phase.HEAD else self.keep_alive_seconds

    def _says_something(self, cycle: Any) -> bool:  # noqa: ANN401 -- a client, or uvicorn's cycle
        """Return whether an answer has begun, or is still to come before one to what comes in."""
        began = cycle.began if isinstance(cycle, Client) else cycle.response_started
        return began or not self._incoming or bool(self.pipeline)

    def _expired(self) -> None:
        if self._phase is Phase.BODY:
            self.refuse(RequestTimeout("The body did not arrive in time; send it faster."))
        elif self._phase is Phase.HEAD and self._heading:
            self.refuse(RequestTimeout("The head did not arrive in time; send it faster."))
        else:
            self.transport.abort()  # a mere close would wait for what is not read


def wired(
    doors: Mapping[str, Door],
    deadlines: Deadlines,
    settings: Settings,
    refused: Callable[[str], None] = lambda _code: None,
) -> type[Edge]:
    """Return the protocol's class for a router.

    Args:
        doors: The hot doors by path; one that ends with a slash has all that begin with it.
        deadlines: The sweep.
        settings: Bounds.
        refused: Told the code of each request that is refused before it has a door.
    """
    given = {"deadlines": deadlines, "settings": settings, "refused": staticmethod(refused)}
    paths = {path.encode(): door for path, door in doors.items()}
    trees = tuple((path, door) for path, door in paths.items() if path.endswith(b"/"))
    return type("WiredEdge", (Edge,), given | {"doors": paths, "trees": trees})


def _path(url: bytes) -> bytes:
    """Return the path of a target, which a proxy may have sent with scheme and host."""
    if not url.startswith(b"/"):
        url = httptools.parse_url(url).path or b"/"
    return url.partition(b"?")[0]


def _leave(cycle: Any) -> None:  # noqa: ANN401 -- a client, uvicorn's cycle, or None
    """Tell a request that its client is gone."""
    if isinstance(cycle, Client):
        cycle.leave()
    elif cycle is not None and not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()
