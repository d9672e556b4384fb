"""What the answer cache costs and saves, in one process and against a real Redis.

    python tests/bench/cache.py [--count 5000]

CPU of the cache itself, from the parsed query to the bytes of the answer: key, look-up, record.
What a client's connection costs on top is in `bench.py`, as a ratio to nginx. Then a workload with
repeats, and what a Redis that freezes costs. Needs a Redis server, as the tests do.
"""

import argparse
import asyncio
import contextlib
import gc
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from prometheus_client import CollectorRegistry

from redises import RealRedis, eventually
from routing import tier
from tiergarten_router import logs, wire
from tiergarten_router.app import GC_THRESHOLDS
from tiergarten_router.cache.answers import Answers
from tiergarten_router.cache.key import Keys
from tiergarten_router.cache.memory import Memory
from tiergarten_router.cached import Cached
from tiergarten_router.core import query as queries
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.dispatch import Dispatcher
from tiergarten_router.fleet import Fleet
from tiergarten_router.metrics import Metrics
from tiergarten_router.settings import Settings
from tiergarten_router.store.address import parse
from tiergarten_router.store.client import Store
from tiergarten_router.upstream.deadlines import Deadlines
from tiergarten_router.upstream.endpoints import Endpoints
from upstream import Upstream, always, answer

TEXT = "Please tell me how a router decides which tier answers a question. " * 6
ANSWER = "word " * 20
WORKLOAD, DISTINCT = 10_000, 1_000
FIRST = 5
MISSED_MOST = 0.02


@dataclass
class Measured:
    """What was measured, a line each."""

    lines: list[str] = field(default_factory=list)

    def add(self, name: str, value: float, unit: str, goal: str = "") -> None:
        """Note a figure."""
        self.lines.append(f"{name:<62}{value:>10.1f} {unit:<5}{goal}")


def body(text: str) -> wire.ChatBody:
    """Return the body of a query that may be cached."""
    return wire.ChatBody(
        model="auto", temperature=0, messages=[wire.Message(role="user", content=text)]
    )


async def ask(cached: Cached, text: str) -> str:
    """Answer a query as a door does, and return what the cache did."""
    with cached.record(queries.chat("id", body(text)), lambda _name: None) as record:
        (await cached.whole(record)).chat()
    return record.cache


@contextlib.asynccontextmanager
async def serving(url: str, store: Store | None, cache_bytes: int) -> AsyncIterator[Cached]:
    """Yield what doors ask, over one endpoint."""
    clock, deadlines = asyncio.get_running_loop().time, Deadlines()
    told = Settings(cache_bytes=cache_bytes)
    metrics, fleet = Metrics(CollectorRegistry()), Fleet(told, clock, random.random)
    fleet.replace(Snapshot((tier("q2", url, digest="d", slots=256),)))
    endpoints = Endpoints(deadlines, told.connect_seconds)
    keys = Keys(b"one for all")
    answers = Answers(Memory(cache_bytes), store, keys.sealing, clock, metrics.cache_seconds)
    dispatcher = Dispatcher(fleet, endpoints, metrics, told, clock, random.random)
    sweep = asyncio.create_task(deadlines.run())
    try:
        yield Cached(dispatcher, fleet, answers, keys, told, metrics.cache)
    finally:
        await answers.close()
        endpoints.close()
        sweep.cancel()
        await asyncio.gather(sweep, return_exceptions=True)


@contextlib.asynccontextmanager
async def storing(redis: RealRedis) -> AsyncIterator[Store]:
    """Yield a store that is up."""
    store = Store(parse(redis.url))
    task = asyncio.create_task(store.run())

    async def is_up() -> bool:
        return store.up

    await eventually(is_up)
    try:
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def cpu_of_hits(cached: Cached, count: int, at_once: int = 1) -> float:
    """Return the CPU of a hit in microseconds; each of those at once asks another question."""
    turns, missed = count // at_once, 0

    async def some(text: str) -> None:
        nonlocal missed
        for _ in range(turns):
            missed += await ask(cached, text) != "hit"

    texts = [f"{number} {TEXT}" for number in range(at_once)]

    async def all_hit() -> bool:
        return {await ask(cached, text) for text in texts} == {"hit"}

    await eventually(all_hit)
    began = time.process_time()
    await asyncio.gather(*map(some, texts))
    spent = time.process_time() - began
    if missed > MISSED_MOST * count:  # by 50 ms in which others had the processor
        raise SystemExit(f"{missed} of {count} repeats did not hit; the machine is too busy")
    return 1e6 * spent / (turns * at_once)


async def bare(count: int) -> float:
    """Return the CPU of parsing and encoding alone, in microseconds."""
    answered = {"choices": [{"message": {"content": ANSWER}}]}
    began = time.process_time()
    for _ in range(count):
        queries.chat("id", body(TEXT))
        wire.encode(answered)
    return 1e6 * (time.process_time() - began) / count


async def repeats(cached: Cached) -> tuple[int, int]:
    """Return hits and repeats of a workload in which few questions are asked often."""
    chance = random.Random(10)  # noqa: S311 -- the same workload each time
    weights = [1 / rank for rank in range(1, DISTINCT + 1)]
    asked = chance.choices(range(DISTINCT), weights, k=WORKLOAD)
    said = [await ask(cached, f"question {number}") for number in asked]
    return said.count("hit"), WORKLOAD - len(set(asked))


async def freeze(cached: Cached, redis: RealRedis, store: Store, found: Measured) -> None:
    """Measure what a frozen Redis costs queries that all miss."""

    async def waits(name: str, count: int) -> list[float]:
        times = []
        for number in range(count):
            began = time.perf_counter()
            await ask(cached, f"{name} {number}")
            times.append(1000 * (time.perf_counter() - began))
        return times

    well = sorted(await waits("well", 500))
    usual = statistics.median(well)
    redis.freeze()
    first, following = await waits("first", FIRST), sorted(await waits("then", 500))
    found.add(
        "Redis frozen: slowest of the first 5 queries, more", max(first) - usual, "ms", "<= 60"
    )
    late = following[int(0.99 * len(following))] - well[int(0.99 * len(well))]
    found.add("Redis frozen: 99th percentile of the next 500, more", late, "ms", "<= 2")
    redis.thaw()
    began = time.perf_counter()

    async def is_up() -> bool:
        return store.up

    await eventually(is_up)
    found.add("Redis back: until it is used", 1000 * (time.perf_counter() - began), "ms", "<= 5000")


async def measure(count: int) -> Measured:
    """Measure everything, with the collector set as the router sets it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    found = Measured()
    with tempfile.TemporaryDirectory() as name:
        async with (
            Upstream(always(answer(ANSWER))) as up,
            RealRedis(Path(name)) as redis,
            storing(redis) as store,
        ):
            found.add("parse and encode alone", await bare(count), "us")
            async with serving(up.url, None, 1 << 26) as cached:
                cpu = await cpu_of_hits(cached, count)
                found.add("hit in memory, parse included", cpu, "us", "<= 30 more than bare")
                hits, repeated = await repeats(cached)
                found.add(f"Zipf, {WORKLOAD:,} of {DISTINCT:,}: hits", hits, "", f"= {repeated}")
            async with serving(up.url, store, 0) as cached:  # nothing stays in memory
                for at_once in (1, 32):
                    cpu = await cpu_of_hits(cached, count, at_once)
                    found.add(f"hit in Redis, {at_once} at once", cpu, "us", "<= 100")
            async with serving(up.url, store, 1 << 26) as cached:
                await freeze(cached, redis, store, found)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=5000, help="hits of each kind")
    logs.configure(Settings(log_level="error"))
    print("\n".join(asyncio.run(measure(parser.parse_args().count)).lines))  # noqa: T201 -- a program


if __name__ == "__main__":
    main()
