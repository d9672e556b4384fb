"""Wiring: settings and a source become a running router.

The hot doors are found by a dictionary before FastAPI's own routing, which costs more than all
that the router does with a query; FastAPI serves everything else and the documentation of all.
"""

import asyncio
import gc
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from math import ceil
from typing import Any, Final, Protocol

import structlog
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException

from tiergarten_router import gauges
from tiergarten_router.api import answers, events, openai, openapi, ops, query, replies, tiers
from tiergarten_router.api.access import Access
from tiergarten_router.api.client import ASGIApp, Receive, Scope, Send
from tiergarten_router.api.doors import Parts
from tiergarten_router.checks import Checks
from tiergarten_router.core.query import numbered
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.cork import CorkedProtocol
from tiergarten_router.dispatch import Dispatcher
from tiergarten_router.errors import InvalidRequest, MethodNotAllowed, NotFound, RouterError
from tiergarten_router.events import kinds
from tiergarten_router.events.answers import Answers
from tiergarten_router.events.bus import Bus
from tiergarten_router.events.changes import Changes
from tiergarten_router.events.log import MemoryLog
from tiergarten_router.events.redis_log import RedisLog
from tiergarten_router.fleet import Fleet
from tiergarten_router.frames import FramedProtocol
from tiergarten_router.metrics import Metrics
from tiergarten_router.settings import Settings
from tiergarten_router.store.address import parse
from tiergarten_router.store.client import Store
from tiergarten_router.upstream.deadlines import Deadlines
from tiergarten_router.upstream.endpoints import Endpoints

log = structlog.get_logger()
BACKLOG: Final = 4096
GC_THRESHOLDS: Final = (100_000, 20, 20)  # a query makes some 300 objects, hardly ever in cycles
KEEP_ALIVE_SECONDS: Final = 75  # longer than the 60 s of nginx in front
FRAME_BYTES: Final = 64 * 1024  # largest message of a subscriber; it has nothing long to say
LEAVE_SECONDS: Final = 0.5  # for the last events to reach subscribers


class Source(Protocol):
    """Where tiers come from: local processes, or the Kubernetes API."""

    async def run(self, publish: Callable[[Snapshot], None]) -> None:
        """Publish whole snapshots until cancelled."""
        ...


class Router:
    """A router and its parts; `application` is its ASGI application.

    Args:
        settings: What may be set.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stopping = False
        self.metrics = Metrics(CollectorRegistry())
        clock, draw = asyncio.get_running_loop().time, random.Random().random  # noqa: S311 -- spreads load, keeps no secret
        self.fleet = Fleet(settings, clock, draw)
        name = secrets.token_hex(4)
        url = settings.redis_url
        self.store = Store(parse(url.get_secret_value())) if url is not None else None
        kept = MemoryLog(name, clock) if self.store is None else RedisLog(name, self.store)
        self.bus = Bus(kept, self.metrics, clock, settings.events_heartbeat_seconds)
        self._changes = Changes(self.bus.tell, time.time)
        self.fleet.on_breaker = self._breaker
        self.fleet.on_health = self._health
        self._deadlines = Deadlines()
        self._endpoints = Endpoints(self._deadlines, settings.connect_seconds)
        self._checks = Checks(self.fleet, settings, clock, draw)
        dispatcher = Dispatcher(self.fleet, self._endpoints, self.metrics, settings, clock, draw)
        dispatcher.tell = self.bus.tell
        numbers = numbered(name)
        self._answers = Answers(self.store, settings.resume_seconds, clock)
        self._parts = Parts(dispatcher, self._deadlines, settings, numbers, self._answers)
        self._events = events.EventParts(
            self.bus.hub, self._deadlines, settings, numbers, Access(settings)
        )
        gauges.show(self.metrics, self.fleet)
        gauges.show_events(self.metrics, self.bus.hub)
        sockets = {"/v1/events": events.websocket(self._events)}
        cold = answers.door(self._answers, self._deadlines, settings, self._cold_doors(clock))
        self.application = _edge(self._doors(), cold, sockets)

    @asynccontextmanager
    async def running(self, source: Source, failed: Callable[[], None]) -> AsyncIterator[None]:
        """Run the source, the checks and the sweep.

        Args:
            source: Where tiers come from; what it raises is raised at the end.
            failed: Told when one of them ends by itself, so that the server can end too.
        """
        tasks = [
            asyncio.create_task(source.run(self.publish), name="source"),
            asyncio.create_task(self._checks.run(), name="checks"),
            asyncio.create_task(self._deadlines.run(), name="deadlines"),
            asyncio.create_task(self.bus.run(), name="events"),
            asyncio.create_task(self._answers.run(), name="answers"),
        ]
        if self.store is not None:
            tasks.append(asyncio.create_task(self.store.run(), name="redis"))
        for task in tasks:
            task.add_done_callback(lambda _: failed())
        self.bus.tell(kinds.Started(time.time(), version("tiergarten")))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            self._endpoints.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def publish(self, snapshot: Snapshot) -> None:
        """Take a snapshot over."""
        self.fleet.replace(snapshot)
        self._endpoints.keep({e.url for tier in snapshot.tiers for e in tier.endpoints})
        self._changes.published(snapshot, self.fleet.routes.names)
        self._tell_readiness()

    async def leave(self) -> None:
        """Say that the router ends, and let its subscribers go."""
        self.stopping = True
        self.bus.tell(kinds.Stopping(time.time(), version("tiergarten")))
        await self.bus.close(LEAVE_SECONDS)

    def _breaker(self, tier: str, endpoint: str, to: str) -> None:
        self.metrics.breakers.add(tier, to)
        self._changes.breaker(tier, endpoint, to)

    def _health(self, tier: str, endpoint: str, healthy: bool) -> None:  # noqa: FBT001 -- a callback's signature
        self._changes.health(tier, endpoint, healthy=healthy)
        self._tell_readiness()

    def _tell_readiness(self) -> None:
        for group in self.fleet.groups():
            ready = sum(replica.serves for replica in group.replicas.values())
            self._changes.readiness(group.tier.name, ready, len(group.replicas))

    def _doors(self) -> dict[str, ASGIApp]:
        return {
            "/v1/chat/completions": openai.chat(self._parts),
            "/v1/completions": openai.completions(self._parts),
            "/v1/embeddings": openai.embeddings(self._parts),
            "/api/query": query.query(self._parts),
            "/v1/events/sse": events.server_sent(self._events),
        }

    def _cold_doors(self, clock: Callable[[], float]) -> FastAPI:
        app = FastAPI(
            title="Tiergarten",
            version=version("tiergarten"),
            description="Every query is answered by the cheapest tier that is good enough.",
        )
        app.include_router(tiers.router(self.fleet, clock, int(time.time())))
        app.include_router(events.schema())
        app.include_router(ops.router(self.fleet, self.metrics, lambda: self.stopping))
        _render_errors(app, self._parts.numbers)
        document = app.openapi

        def extended() -> dict[str, Any]:
            if app.openapi_schema is None:
                app.openapi_schema = openapi.extend(document())
            return app.openapi_schema

        app.openapi = extended  # type: ignore[method-assign]  # as FastAPI's own guide does
        return app


async def serve(
    settings: Settings,
    source: Source,
    *,
    host: str,
    port: int,
    announce: Callable[[], None] | None = None,
    ended: asyncio.Event | None = None,
) -> None:
    """Run a router until SIGTERM or SIGINT, until `ended` is set, or until its source fails.

    Args:
        settings: What may be set.
        source: Where tiers come from.
        host: Address to listen on.
        port: Port to listen on.
        announce: Called when the port is open.
        ended: Set by a caller who wants it to end.
    """
    router = Router(settings)
    config = uvicorn.Config(
        router.application,
        host=host,
        port=port,
        http=CorkedProtocol,
        ws=FramedProtocol,
        ws_max_size=FRAME_BYTES,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=ceil(settings.drain_seconds),
    )
    server = _Server(config, router, announce)

    def stop() -> None:
        server.should_exit = True

    gc.collect()
    gc.freeze()  # what is there now stays: the collector need not look through it for every query
    gc.set_threshold(*GC_THRESHOLDS)
    async with router.running(source, stop):
        watcher = asyncio.create_task((ended or asyncio.Event()).wait())
        watcher.add_done_callback(lambda _: stop())
        await server.serve()
        watcher.cancel()


class _Server(uvicorn.Server):
    """uvicorn, told when it is up and when it begins to end."""

    def __init__(
        self, config: uvicorn.Config, router: Router, announce: Callable[[], None] | None
    ) -> None:
        super().__init__(config)
        self._router = router
        self._announce = announce

    async def startup(self, sockets: Any = None) -> None:  # noqa: ANN401 -- uvicorn's signature
        await super().startup(sockets)
        if self.started and self._announce is not None:
            self._announce()

    async def shutdown(self, sockets: Any = None) -> None:  # noqa: ANN401 -- uvicorn's signature
        await self._router.leave()
        await super().shutdown(sockets)


def _edge(doors: dict[str, ASGIApp], others: ASGIApp, sockets: dict[str, ASGIApp]) -> ASGIApp:
    async def edge(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            door = doors.get(scope["path"], others)
        else:
            door = sockets.get(scope["path"], events.nowhere)
        await door(scope, receive, send)

    return edge


def _render_errors(app: FastAPI, numbers: Iterator[str]) -> None:
    """Give every error of the cold doors OpenAI's shape."""

    def rendered(error: RouterError, request: Request) -> Response:
        headers = replies.error_headers(error, replies.request_id(request.scope, numbers))
        texts = {name.decode(): value.decode("latin-1") for name, value in headers}
        return Response(replies.error_body(error), replies.status_of(error), texts)

    @app.exception_handler(RouterError)
    async def known(request: Request, error: RouterError) -> Response:
        return rendered(error, request)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        param = ".".join(map(str, first["loc"][1:]))
        return rendered(InvalidRequest(f"{param}: {first['msg']}.", param=param), request)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        if error.status_code == MethodNotAllowed.status:
            allowed = (error.headers or {}).get("Allow", "GET")
            return rendered(MethodNotAllowed(allowed), request)
        return rendered(NotFound("There is nothing at this path; see /docs."), request)
