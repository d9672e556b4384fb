"""A llama-server look-alike that misbehaves on command: the one fake of the test suite.

Tests of the router import it (`import upstream`). It speaks HTTP/1.1 on a free loopback port, in
the test's own event loop, and closes the connection after a streamed answer although it announces
keep-alive, as the real one does. What it can do is in `behaviours`, and importable from here.

    async with Upstream([loading(), cut(answer("a b c"), after_content(1), End.RESET)]) as up:
        ...  # two faulty answers, then good ones
        assert up.requests[0].body["stream"] is True

Not in it: TLS, chunked or pipelined requests.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from behaviours import (
    AFTER_HEADERS,
    BEFORE_BYTE,
    SLOT_TOKENS,
    Behaviour,
    End,
    Request,
    Step,
    after_content,
    always,
    answer,
    chunk,
    context_overflow,
    cut,
    dribble,
    error,
    head,
    huge_header,
    insert,
    loading,
    never,
    not_http,
    page,
    saturated,
)
from listening import shut
from playing import Connection, Play

__all__ = [
    "AFTER_HEADERS",
    "BEFORE_BYTE",
    "Behaviour",
    "End",
    "Request",
    "Step",
    "Upstream",
    "after_content",
    "always",
    "answer",
    "chunk",
    "context_overflow",
    "cut",
    "dribble",
    "error",
    "head",
    "huge_header",
    "insert",
    "loading",
    "never",
    "not_http",
    "page",
    "saturated",
]

Script = Sequence[Behaviour] | Callable[[Request], Behaviour]
QUERY_PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings"})
ROOMY = 256  # slots of an upstream that is not meant to queue


class Upstream:
    """A scripted server on loopback, up inside `async with`.

    Args:
        script: How queries are answered: behaviours in order, and good answers when they are used
            up; or a function of the request. Probes (`/health` and the like) do not use it.
        slots: Queries played at once; the rest wait, as in the real server, without headers.
        pages: Behaviours by path, for other answers than `default_pages`; may be changed any time.
        host: Address to listen on.

    Attributes:
        requests: All that was received, probes included, in order.
        open_streams: Queries taken and not ended yet, those that wait for a slot included.
        left: Queries whose client left before their end.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        slots: int = ROOMY,
        pages: Mapping[str, Behaviour] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.host = host
        self.requests: list[Request] = []
        self.open_streams = 0
        self.left = 0
        self.port = 0
        self.pages: dict[str, Behaviour] = dict(pages or {})
        self.connections: set[Connection] = set()
        self.slots = slots
        self._free = asyncio.Semaphore(slots)
        self._script = script
        self._queries = 0
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()
        self._killing = False
        self._failures: list[Exception] = []

    @property
    def url(self) -> str:
        """The base URL, without a path."""
        return f"http://{self.host}:{self.port}"

    @property
    def queries(self) -> list[Request]:
        """The requests that the script answered."""
        return [request for request in self.requests if request.path in QUERY_PATHS]

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.kill()
        if self._failures and kind is None:
            raise self._failures[0]

    async def listen(self) -> None:
        """Accept connections, after `kill` on the same port as before."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self), self.host, self.port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """Refuse connections and reset those that are open, like SIGKILL."""
        if self._server is None:
            return
        self._killing = True
        await shut(self._server)
        for connection in tuple(self.connections):
            connection.end(End.RESET)
        await self.until(lambda: not self.connections)
        await self._server.wait_closed()
        self._server = None
        self._killing = False

    async def until(self, holds: Callable[[], bool], timeout: float = 5.0) -> None:  # noqa: ASYNC109 -- the bound is part of what a test asserts
        """Wait until `holds()`, looked at whenever a request, query or connection comes or goes.

        Raises:
            TimeoutError: If it does not hold within `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def closed_by_client(self, count: int = 1, timeout: float = 1.0) -> None:  # noqa: ASYNC109 -- as above
        """Wait until `count` queries in all have been left by their clients before the end.

        Raises:
            TimeoutError: If fewer have been after `timeout` seconds.
        """
        await self.until(lambda: self.left >= count, timeout)

    def opened(self, connection: Connection) -> None:
        """Keep an accepted connection; one that was accepted in the moment of a kill is reset."""
        self.connections.add(connection)
        if self._server is None or self._killing:
            connection.end(End.RESET)

    def gone(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self.connections.discard(connection)
        self._changed.set()

    def failed(self, failure: Exception) -> None:
        """Keep what a script raised: leaving `async with` raises it."""
        self._failures.append(failure)

    async def answering(self, request: Request, play: Play) -> End:
        """Choose what answers the request, and play it once there is a slot."""
        self.requests.append(request)
        self._changed.set()
        if request.path not in QUERY_PATHS:
            behaviour = self.pages.get(request.path) or self._default_page(request)
            return await play(behaviour(request))
        self.open_streams += 1
        try:
            behaviour = self._scripted(request)
            async with self._free:
                return await play(behaviour(request))
        except asyncio.CancelledError:
            self.left += not self._killing
            raise
        finally:
            self.open_streams -= 1
            self._changed.set()

    def _scripted(self, request: Request) -> Behaviour:
        number, self._queries = self._queries, self._queries + 1
        if callable(self._script):
            return self._script(request)
        return self._script[number] if number < len(self._script) else answer()

    def _default_page(self, request: Request) -> Behaviour:
        busy = min(self.open_streams, self.slots)
        gauges = {"processing": busy, "deferred": self.open_streams - busy}
        metrics = "".join(
            f"# TYPE llamacpp:requests_{name} gauge\nllamacpp:requests_{name} {value}\n"
            for name, value in gauges.items()
        )
        pages: dict[str, object] = {
            "/health": {"status": "ok"},
            "/metrics": metrics,
            "/props": {
                "default_generation_settings": {"params": {}, "n_ctx": SLOT_TOKENS},
                "total_slots": self.slots,
                "model_alias": "small-tier",
                "build_info": "b11434-unknown",
                "is_sleeping": False,
            },
            "/v1/models": {"object": "list", "data": [{"id": "small-tier", "object": "model"}]},
            "/tokenize": {"tokens": list(range(request.prompt_tokens))},
            "/v1/chat/completions/input_tokens": {
                "input_tokens": request.prompt_tokens,
                "object": "response.input_tokens",
            },
        }
        if request.path not in pages:
            return error(404, "File Not Found", "not_found_error")
        return page(pages[request.path])
