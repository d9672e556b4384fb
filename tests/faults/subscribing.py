"""Subscribers for tests: a bus with its log, in memory or in a real Redis, and those who listen."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from redises import RealRedis, eventually
from tiergarten_router.events import kinds
from tiergarten_router.events.bus import Bus
from tiergarten_router.events.hub import Start
from tiergarten_router.events.log import Log, MemoryLog, Position
from tiergarten_router.events.redis_log import RedisLog
from tiergarten_router.events.subscribers import Filter, Subscriber
from tiergarten_router.metrics import Metrics
from tiergarten_router.store.address import parse
from tiergarten_router.store.client import Store

SECONDS = 20.0
EVERYTHING = Filter()
LIVE = Start()


def lines(body: bytes, _: Position | None) -> bytes:
    """Return a message as a line."""
    return body + b"\n"


def event(number: int = 0, tier: str = "q2") -> kinds.Attempt:
    """Return an event that is told apart by a number."""
    return kinds.Attempt(1.0, f"ask-{number}", tier, f"{tier}-0", number, "asked")


class Taker:
    """A sink that keeps what it gets while it reads, and says so when there is more."""

    def __init__(self) -> None:
        self.ready = True
        self.pongs = True
        self.pings = 0
        self.closed: tuple[int, str] | None = None
        self.messages: list[dict[str, Any]] = []
        self.on_ready: Callable[[], None] = lambda: None
        self._changed = asyncio.Event()

    def write(self, data: bytes) -> None:
        """Keep messages."""
        self.messages += map(json.loads, data.splitlines())
        self._changed.set()

    async def drained(self) -> None:
        """Wait until it reads."""
        await self.until(lambda: self.ready)

    def ping(self) -> None:
        """Count."""
        self.pings += 1
        self._changed.set()

    def answered(self) -> bool:
        """Return what the test says."""
        return self.pongs

    def end(self, code: int, reason: str) -> None:
        """Keep the code."""
        self.closed = (code, reason)
        self._changed.set()

    def reads(self, *, on: bool) -> None:
        """Begin or cease to read."""
        self.ready = on
        if on:
            self.on_ready()
        self._changed.set()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for a state of this sink."""
        async with asyncio.timeout(SECONDS):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    # -- what came

    @property
    def seqs(self) -> list[int]:
        """Sequences of the events that came."""
        return [m["seq"] for m in self.messages if "router" in m and "seq" in m]

    @property
    def numbers(self) -> list[int]:
        """Numbers of the events that came, those without a place too."""
        return [m["number"] for m in self.messages if m["type"] == "query.attempt"]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of a type."""
        return [m for m in self.messages if m["type"] == kind]

    async def until_seq(self, seq: int) -> None:
        """Wait until an event has come."""
        await self.until(lambda: seq in self.seqs[-500:])


class Side:
    """One router's half: its bus, and the subscribers it serves."""

    def __init__(self, bus: Bus, metrics: Metrics) -> None:
        self.bus = bus
        self.metrics = metrics
        self.tell = bus.tell
        self._serving: list[asyncio.Task[None]] = []
        self._last = 0

    def tells(self, count: int = 1, tier: str = "q2") -> None:
        """Tell events with the next numbers."""
        for _ in range(count):
            self._last += 1
            self.tell(event(self._last, tier))

    async def subscribe(
        self, start: Start = LIVE, wanted: Filter = EVERYTHING, *, joins: bool = True
    ) -> Taker:
        """Return a subscriber that is served, once it has heard where the stream stands."""
        taker = Taker()
        self.subscriber(taker, start, wanted)
        if joins:
            await taker.until(lambda: taker.of("heartbeat"))
        return taker

    def subscriber(
        self, taker: Taker, start: Start = LIVE, wanted: Filter = EVERYTHING
    ) -> Subscriber:
        """Begin to serve a sink."""
        made = self.bus.hub.subscriber(wanted, lines, taker)
        taker.on_ready = made.drain
        self._serving.append(asyncio.create_task(self.bus.hub.serve(made, start)))
        return made

    async def appended(self, count: int) -> Position:
        """Tell events and return the place after them, once the log has them all."""
        last = (await self.bus.log.span()).last
        for begin in range(0, count, 2000):  # what Redis has not taken yet is bounded
            told = min(2000, count - begin)
            self.tells(told)
            last += told
            await eventually(partial(self._has, last))
        held = await self.bus.log.span()
        return Position(held.epoch, held.last)

    async def _has(self, last: int) -> bool:
        return (await self.bus.log.span()).last >= last

    async def close(self) -> None:
        """End those who serve; what they raised is raised."""
        for task in self._serving:
            task.cancel()
        for end in await asyncio.gather(*self._serving, return_exceptions=True):
            if isinstance(end, Exception):
                raise end


@contextlib.asynccontextmanager
async def side(log: Log, heartbeat_seconds: float = 15.0) -> AsyncIterator[Side]:
    """Run a bus over a log."""
    metrics = Metrics(CollectorRegistry())
    clock = asyncio.get_running_loop().time
    bus = Bus(log, metrics, clock, heartbeat_seconds)
    running = asyncio.create_task(bus.run())
    made = Side(bus, metrics)
    try:
        yield made
    finally:
        await made.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert running.cancelled()


def store_of(redis: RealRedis) -> Store:
    """Return a store of a Redis that has not tried to connect yet."""
    return Store(parse(redis.url), lambda: 0.0)


@contextlib.asynccontextmanager
async def storing(redis: RealRedis, made: Store | None = None) -> AsyncIterator[Store]:
    """Run a store of a Redis, a new one or one that is made, and yield it once it is up."""
    store = made or store_of(redis)
    task = asyncio.create_task(store.run())
    try:
        await eventually(lambda: _up(store))
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _up(store: Store) -> bool:
    return store.up


def memory_log() -> MemoryLog:
    """Return a log in memory."""
    return MemoryLog("router-a", asyncio.get_running_loop().time)


def redis_log(store: Store, name: str = "router-a") -> RedisLog:
    """Return a log in a Redis."""
    return RedisLog(name, store)
