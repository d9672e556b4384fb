"""Wiring: settings and a source become a running router.

The hot doors are served by the protocol itself, below ASGI and FastAPI's routing, which cost more
than all that the router does with a query; FastAPI serves everything else and documents all.
"""

import asyncio
import gc
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from math import ceil
from typing import Any, Final, Protocol

import structlog
import uvicorn
from prometheus_client import CollectorRegistry

from tiergarten_router import gauges
from tiergarten_router.api import answers, cold, events, explain, openai, ops, protocol, query
from tiergarten_router.api.access import Access
from tiergarten_router.api.client import Door
from tiergarten_router.api.doors import Parts
from tiergarten_router.aside import Aside
from tiergarten_router.cache.answers import Answers as Cache
from tiergarten_router.cache.key import Keys
from tiergarten_router.cache.memory import Memory
from tiergarten_router.cached import Cached
from tiergarten_router.checks import Checks
from tiergarten_router.core.query import numbered
from tiergarten_router.core.snapshot import Snapshot, Standing, current
from tiergarten_router.dispatch import Dispatcher
from tiergarten_router.events import kinds
from tiergarten_router.events.answers import Answers
from tiergarten_router.events.bus import Bus, now
from tiergarten_router.events.log import MemoryLog
from tiergarten_router.events.redis_log import RedisLog
from tiergarten_router.fleet import Fleet
from tiergarten_router.frames import FramedProtocol
from tiergarten_router.metrics import Metrics
from tiergarten_router.reports import Reports
from tiergarten_router.settings import Settings
from tiergarten_router.store import address
from tiergarten_router.store.client import Store
from tiergarten_router.upstream.deadlines import Deadlines
from tiergarten_router.upstream.endpoints import Endpoints

log = structlog.get_logger()
BACKLOG: Final = 4096
STUCK_SECONDS: Final = 10.0  # without a turn of the event loop: it will not come back by itself
SIGNAL_SECONDS: Final = 0.1  # between looks for a second signal
ENDED_SECONDS: Final = 0.5  # for answers that were ended to say so
GC_THRESHOLDS: Final = (100_000, 20, 20)  # a query makes some 300 objects, hardly ever in cycles
SECRET_BYTES: Final = 32
FRAME_BYTES: Final = 64 * 1024  # largest message of a subscriber; it has nothing long to say
LEAVE_SECONDS: Final = 0.5  # for the last events to reach subscribers


class Source(Protocol):
    """Where tiers come from: local processes, or the Kubernetes API."""

    async def run(self, publish: Callable[[Snapshot], None]) -> None:
        """Publish whole snapshots until cancelled."""
        ...


class Router:
    """A router and its parts: the hot doors are in `protocol`, all others in `application`.

    Args:
        settings: What may be set.
        standing: How current the source's knowledge is.
    """

    def __init__(self, settings: Settings, standing: Callable[[], Standing] = current) -> None:
        self.settings = settings
        self.listening = self.stopping = False
        self.metrics = Metrics(CollectorRegistry())
        clock, draw = asyncio.get_running_loop().time, random.Random().random  # noqa: S311 -- spreads load, keeps no secret
        self.fleet = Fleet(settings, clock, draw)
        self._store = _store(settings)
        name = secrets.token_hex(4)
        kept = MemoryLog(name, clock) if self._store is None else RedisLog(name, self._store)
        self.bus = Bus(kept, self.metrics, clock, settings.events_heartbeat_seconds)
        self._reports = Reports(self.fleet, self.metrics, self.bus.tell)
        self._deadlines = Deadlines()
        self._deadlines.on_sweep = self._swept
        self._turned = time.monotonic()
        self._endpoints = Endpoints(self._deadlines, settings.connect_seconds)
        self._checks = Checks(self.fleet, settings, clock, draw)
        dispatcher = Dispatcher(self.fleet, self._endpoints, self.metrics, settings, clock, draw)
        dispatcher.tell = self.bus.tell
        numbers = numbered(name)
        keys = Keys(_secret(settings))
        self._cache = Cache(
            Memory(settings.cache_bytes),
            self._store,
            keys.sealing,
            clock,
            self.metrics.cache_seconds,
        )
        cached = Cached(dispatcher, self.fleet, self._cache, keys, settings, self.metrics.cache)
        self._answers = Answers(self._store, settings.resume_seconds, clock)
        self._parts = Parts(cached, self._deadlines, settings, numbers, self._answers)
        self._events = events.EventParts(self.bus.hub, settings, numbers, Access(settings))
        self._show(standing)
        self.state = ops.State(self.fleet, self.metrics, self._phase, self._alive, standing)
        self.protocol = protocol.wired(
            self._doors(), self._deadlines, settings, self.metrics.refusals.add
        )
        others = cold.doors(self.state, clock, int(time.time()), numbers)
        sockets = {"/v1/events": events.websocket(self._events)}
        self.application = cold.application(others, sockets)

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
        if self._store is not None:
            tasks.append(asyncio.create_task(self._store.run(), name="redis"))
        for task in tasks:
            task.add_done_callback(lambda _: failed())
        self.bus.tell(kinds.Started(now(), version("tiergarten")))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            await self._cache.close()
            self._endpoints.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def publish(self, snapshot: Snapshot) -> None:
        """Take a snapshot over."""
        self.fleet.replace(snapshot)
        self._endpoints.keep({e.url for tier in snapshot.tiers for e in tier.endpoints})
        self._reports.published(snapshot)

    def stop(self) -> None:
        """Say that the router is about to end: to probes, and to clients with each answer."""
        self.stopping = self.protocol.draining = True
        self.bus.tell(kinds.Stopping(now(), version("tiergarten")))

    async def leave(self) -> None:
        """Let those who listen to events go, once they know what is known."""
        await self.bus.close(LEAVE_SECONDS)

    async def pass_on(self, seconds: float) -> None:
        """Let answers end whose clients may come back to another router, for some seconds."""
        await self._answers.leave(seconds)

    def _swept(self, lag: float) -> None:
        self._turned = time.monotonic()
        self.metrics.lags.observe(lag)

    def _phase(self) -> str:
        if self.stopping:
            return "stopping"
        return "ready" if self.fleet.synced and self.listening else "starting"

    def _alive(self) -> bool:
        return time.monotonic() - self._turned < STUCK_SECONDS

    def _show(self, standing: Callable[[], Standing]) -> None:
        gauges.show(self.metrics, self.fleet)
        gauges.show_source(self.metrics, self.fleet, standing)
        gauges.show_cache(self.metrics, self._cache.memory, self._store)
        gauges.show_events(self.metrics, self.bus.hub)

    def _doors(self) -> dict[str, Door]:
        return {
            "/v1/chat/completions": openai.chat(self._parts),
            "/v1/completions": openai.completions(self._parts),
            "/v1/embeddings": openai.embeddings(self._parts),
            "/api/query": query.query(self._parts),
            "/v1/route/explain": explain.explain(self._parts, self.fleet),
            "/v1/events/sse": events.server_sent(self._events),
            answers.PREFIX: answers.door(self._parts),
        }


async def serve(  # noqa: PLR0913 -- each is a wish of its own
    settings: Settings,
    source: Source,
    *,
    host: str,
    port: int,
    announce: Callable[[], None] | None = None,
    ended: asyncio.Event | None = None,
    standing: Callable[[], Standing] = current,
) -> None:
    """Run a router until SIGTERM or SIGINT, until `ended` is set, or until its source fails.

    Args:
        settings: What may be set.
        source: Where tiers come from.
        host: Address to listen on.
        port: Port to listen on.
        announce: Called when the port is open.
        ended: Set by a caller who wants it to end.
        standing: How current the source's knowledge is.
    """
    router = Router(settings, standing)
    config = uvicorn.Config(
        router.application,
        host=host,
        port=port,
        http=router.protocol,
        ws=FramedProtocol,
        ws_max_size=FRAME_BYTES,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=ceil(settings.drain_seconds),
    )
    server = _Server(config, router, announce)

    def stop() -> None:
        server.should_exit = True

    def fail() -> None:
        server.failed = True
        stop()

    gc.collect()
    gc.freeze()  # what is there now stays: the collector need not look through it for every query
    gc.set_threshold(*GC_THRESHOLDS)
    async with Aside(router.state, settings, host, settings.ops_port), router.running(source, fail):
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
        self.failed = False
        self._router = router
        self._announce = announce

    async def startup(self, sockets: Any = None) -> None:  # noqa: ANN401 -- uvicorn's signature
        await super().startup(sockets)
        self._router.listening = self.started
        if self.started and self._announce is not None:
            self._announce()

    async def shutdown(self, sockets: Any = None) -> None:  # noqa: ANN401 -- uvicorn's signature
        """Say so for a while, take no more, wait for what is on its way, and end the rest."""
        self._router.stop()
        delay = 0.0 if self.failed else self._router.settings.stop_delay_seconds
        loop = asyncio.get_running_loop()
        until = loop.time() + delay
        while loop.time() < until and not self.force_exit:  # noqa: ASYNC110 -- a mere flag of uvicorn's
            await asyncio.sleep(min(SIGNAL_SECONDS, until - loop.time()))
        await self._router.leave()
        until = loop.time() + self._router.settings.drain_seconds
        await super().shutdown(sockets)
        await self._router.pass_on(0.0 if self.force_exit else until - loop.time())
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=ENDED_SECONDS)


def _store(settings: Settings) -> Store | None:
    url = settings.redis_url
    if url is None:
        return None
    found = address.parse(url.get_secret_value())
    return Store(found, call_seconds=settings.redis_seconds)


def _secret(settings: Settings) -> bytes:
    told = settings.cache_secret
    return (told.get_secret_value().encode() if told else b"") or secrets.token_bytes(SECRET_BYTES)
