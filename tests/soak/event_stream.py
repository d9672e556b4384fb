"""Events under faults, as Jepsen does it: publish, follow, break things, then check every promise.

Three publishers write, two router processes serve, ten clients follow. A nemesis kills routers,
freezes Redis, flushes it, cuts connections and keeps a client from reading. Afterwards:

1. Within an epoch every client's sequences rise, and one sequence is one event for everybody.
2. Every gap in what a client saw has a notice of the router in it.
3. Every event that Redis acknowledged to its publisher was seen by every client that had no notice
   over its place, and after the last fault everybody reaches the end.

    python tests/soak/event_stream.py --seconds 60 --seed 7
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("faults", "cluster")]

from redises import RealRedis, eventually
from subscribing import redis_log, storing
from tiergarten_router.events import kinds, messages
from tiergarten_router.events.client import Hole, Seen, Watcher
from tiergarten_router.events.kinds import Attempt
from tiergarten_router.events.log import LogDown

PUBLISHERS, ROUTERS, CLIENTS = 3, 2, 10
START_SECONDS = 120  # a loaded machine takes its time to import
ROUTER = """
import asyncio, sys
sys.path[:0] = ["tests/faults"]
from routing import Published
from tiergarten_router import app, logs
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.settings import Settings
port = int(sys.argv[1])
settings = Settings(redis_url=sys.argv[2], log_level="error", drain_seconds=1,
                    stop_delay_seconds=0, ops_port=0)
logs.configure(settings)
asyncio.run(app.serve(settings, Published(Snapshot()), host="127.0.0.1", port=port,
                      announce=lambda: print("up", flush=True)))
"""
ROOT = Path(__file__).parents[2]
Place = tuple[str, int]


@dataclass
class Client:
    """A client and all that it saw, in order."""

    name: int
    watcher: Watcher
    saw: list[Seen | Hole] = field(default_factory=list)
    reads: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self) -> None:
        """Follow for ever; while it must not read, it does not."""
        self.reads.set()
        async with aclosing(self.watcher.items()) as items:
            async for item in items:
                if isinstance(item, Seen | Hole):
                    self.saw.append(item)
                await self.reads.wait()

    def cut(self) -> None:
        """Lose the connection."""
        if self.watcher.connection is not None:
            self.watcher.connection.transport.abort()


@dataclass
class Report:
    """What happened, and what was wrong."""

    seed: int
    acknowledged: dict[Place, str] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    notices: Counter[str] = field(default_factory=Counter)
    seen: int = 0
    epochs: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = f"{len(self.acknowledged)} acknowledged, {self.seen} seen, {self.epochs} epochs"
        return (
            f"seed {self.seed}: {told}; faults {dict(self.faults)}; notices {dict(self.notices)}; "
            f"{len(self.problems)} problems"
        )


# -- the checker


def check(clients: list[Client], report: Report) -> None:
    """Find what breaks a promise."""
    content: dict[Place, str] = {}
    for client in clients:
        report.notices += Counter(item.reason for item in client.saw if isinstance(item, Hole))
        report.problems += [f"client {client.name}: {problem}" for problem in _disorder(client.saw)]
        places = set()
        for seen in _placed(client.saw):
            place = (seen.epoch, seen.seq)
            places.add(place)
            if content.setdefault(place, _name(seen)) != _name(seen):
                report.problems.append(f"client {client.name}: {place} is two events")
        report.seen += len(places)
        _acknowledged(client, places, report)
    report.epochs = len({epoch for epoch, _ in content})
    for place, name in report.acknowledged.items():
        if content.get(place, name) != name:
            report.problems.append(f"{place} was acknowledged as {name}, seen as {content[place]}")


def _disorder(saw: list[Seen | Hole]) -> list[str]:
    """Return gaps without a notice, and sequences that come again."""
    found: list[str] = []
    tops: dict[str, int] = {}
    before: Place | None = None  # None after a notice: anything may follow
    for item in saw:
        if isinstance(item, Hole):
            before = None
            if item.reason == "jump":
                found.append(f"an untold gap, {item}")
        elif item.epoch:
            place = (item.epoch, item.seq)
            if item.seq <= tops.get(item.epoch, 0):
                found.append(f"{place} came again or late")
            elif before is not None and place != (before[0], before[1] + 1):
                found.append(f"an untold gap before {place}")
            tops[item.epoch] = item.seq
            before = place
    return found


def _placed(saw: list[Seen | Hole]) -> list[Seen]:
    return [item for item in saw if isinstance(item, Seen) and item.epoch]


def _acknowledged(client: Client, places: set[Place], report: Report) -> None:
    """Find acknowledged events that were not seen where no notice stands over their place."""
    for epoch, first, last in _stretches(client.saw):
        for seq in range(first, last + 1):
            place = (epoch, seq)
            if place in report.acknowledged and place not in places:
                report.problems.append(f"client {client.name}: {place} was never seen")


def _stretches(saw: list[Seen | Hole]) -> list[tuple[str, int, int]]:
    """Return the stretches between notices: epoch, first and last sequence."""
    found: list[tuple[str, int, int]] = []
    whole = False
    for item in saw:
        if isinstance(item, Hole):
            whole = False
        elif item.epoch:
            if whole and found[-1][0] == item.epoch:
                found[-1] = (item.epoch, found[-1][1], item.seq)
            else:
                found.append((item.epoch, item.seq, item.seq))
            whole = True
    return found


def _name(seen: Seen) -> str:
    return f"{seen.router}/{getattr(seen.event, 'query', seen.event)}"


# -- the run


class Run:
    """One run.

    Args:
        redis: The Redis.
        seconds: How long faults are made.
        seed: Of all that is drawn.
    """

    def __init__(self, redis: RealRedis, seconds: float, seed: int) -> None:
        self.report = Report(seed)
        self._redis = redis
        self._seconds = seconds
        self._draw = random.Random(seed)  # noqa: S311 -- a seed keeps no secret
        self._ports = [quiet_port() for _ in range(ROUTERS)]
        self._routers: list[Process] = []
        urls = [f"http://127.0.0.1:{port}" for port in self._ports]
        self._clients = [
            Client(number, Watcher(urls[number % ROUTERS])) for number in range(CLIENTS)
        ]
        self._urls = urls

    async def run(self) -> Report:
        """Publish, follow, break things, settle, and check."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._stop)
            for port in self._ports:
                self._routers.append(await self._spawn(port))
                await self._is_up(self._routers[-1])
            following = [
                await stack.enter_async_context(_task(client.follow())) for client in self._clients
            ]
            publishing = [
                await stack.enter_async_context(_task(self._publish(number)))
                for number in range(PUBLISHERS)
            ]
            await self._break()
            await self._settle()
            for task in (*following, *publishing):
                if task.done():
                    task.result()  # what it raised is raised
        check(self._clients, self.report)
        return self.report

    async def _publish(self, number: int) -> None:
        draw = random.Random(f"{self.report.seed}-{number}")  # noqa: S311 -- as above
        async with storing(self._redis) as store:
            log = redis_log(store, f"publisher-{number}")
            for count in range(10**9):
                name = f"{number}-{count}"
                event = Attempt(1.0, name, "q2", "q2-0", count, "asked")
                body = messages.envelope(f"publisher-{number}", kinds.encode(event))
                try:
                    held = (await log.turn([body])).held
                    place = (held.epoch, held.last)
                    self.report.acknowledged[place] = f"publisher-{number}/{name}"
                except LogDown:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(draw.random() * 0.02)

    async def _break(self) -> None:
        faults: list[Callable[[], Awaitable[None]]] = [
            self._kill, self._freeze, self._flush, self._cut, self._cut, self._stall,
        ]  # fmt: skip
        loop = asyncio.get_running_loop()
        until = loop.time() + self._seconds
        await asyncio.sleep(1)  # everybody has joined
        while loop.time() < until:
            fault = self._draw.choice(faults)
            self.report.faults[fault.__name__.strip("_")] += 1
            await fault()
            await asyncio.sleep(self._draw.random() * min(2.0, self._seconds / 10))

    async def _kill(self) -> None:
        index = self._draw.randrange(ROUTERS)
        self._routers[index].kill()
        await self._routers[index].wait()
        self._routers[index] = await self._spawn(self._ports[index])
        await self._is_up(self._routers[index])

    async def _freeze(self) -> None:
        self._redis.freeze()
        await asyncio.sleep(min(3.0, self._seconds / 10))
        self._redis.thaw()

    async def _flush(self) -> None:
        await self._redis.ask("FLUSHALL")

    async def _cut(self) -> None:
        client = self._draw.choice(self._clients)
        client.watcher.url = self._draw.choice(self._urls)
        client.cut()

    async def _stall(self) -> None:
        client = self._draw.choice(self._clients)
        client.reads.clear()
        await asyncio.sleep(min(3.0, self._seconds / 10))
        client.reads.set()

    async def _settle(self) -> None:
        """Wait until everybody has seen something that was acknowledged after the last fault."""
        await asyncio.sleep(0.5)  # what was under way when the last fault ended is over
        known = set(self.report.acknowledged)

        def behind() -> list[int]:
            return [client.name for client in self._clients if not self._new(client, known)]

        async def settled() -> bool:
            return not behind()

        try:
            await eventually(settled)
        except TimeoutError:
            self.report.problems.append(f"clients {behind()} never came to the end")

    def _new(self, client: Client, known: set[Place]) -> bool:
        last = client.saw[-200:]
        places = {(item.epoch, item.seq) for item in last if isinstance(item, Seen)}
        return bool(places & (self.report.acknowledged.keys() - known))

    async def _spawn(self, port: int) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", ROUTER, str(port), self._redis.url, stdout=PIPE, cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip

    @staticmethod
    async def _is_up(router: Process) -> None:
        assert router.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            assert await router.stdout.readline() == b"up\n"

    async def _stop(self) -> None:
        for process in self._routers:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()


def quiet_port() -> int:
    """Return a free port that no outgoing connection is given, so that it stays free."""
    while True:
        port = random.randrange(20_000, 30_000)  # noqa: S311 -- as above
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


@asynccontextmanager
async def _task(work: Awaitable[None]) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.ensure_future(work)
    assert isinstance(task, asyncio.Task)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def run(folder: Path, seconds: float, seed: int) -> Report:
    """Run once against a Redis of its own, and return the report."""
    async with RealRedis(folder) as redis:
        return await Run(redis, seconds, seed).run()


def main() -> int:
    """Run as often as wanted; the exit code is 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long faults are made")
    parser.add_argument("--runs", type=int, default=1, help="how many runs")
    parser.add_argument("--seed", type=int, help="of the first run; the next ones count up")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)  # noqa: S311 -- as above
    broken = False
    for number in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            report = asyncio.run(run(Path(folder), options.seconds, seed + number))
        print(report, *report.problems[:20], sep="\n  ", flush=True)  # noqa: T201 -- the result
        broken = broken or bool(report.problems)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
