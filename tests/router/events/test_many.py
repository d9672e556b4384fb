"""Many subscribers on one router: memory, idle work, a broadcast, and one that does not read."""

import asyncio
import os
import re
import resource
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from redises import eventually
from routing import CHAT, Published, ask, routing, tier
from tiergarten_router.core.snapshot import Snapshot

MANY = int(os.environ.get("SUBSCRIBERS", "1000"))
SECONDS = 60
RUNS = """
import asyncio, sys
sys.path[:0] = ["tests/faults"]
from routing import Published, free_port
from tiergarten_router import app, logs
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.settings import Settings
import uvloop
settings = Settings(log_level="error", drain_seconds=1, stop_delay_seconds=0, ops_port=0)
logs.configure(settings)
port = free_port()
uvloop.run(app.serve(settings, Published(Snapshot()), host="127.0.0.1", port=port,
                     announce=lambda: print(port, flush=True)))
"""
HANDSHAKE = (
    b"GET /v1/events%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PONG = bytes((0x8A, 0x82, 0, 0, 0, 0)) + b"tg"  # masked by zeros


TOLD_AT = re.compile(rb'"(?:config.changed|query.failed)","time":([0-9.]+),')
QUERIES, PER_SECOND = 40, 10  # each is two events


class Raw(asyncio.Protocol):
    """A subscriber that costs next to nothing: it counts what comes and answers pings."""

    def __init__(self, asks: bytes = b"") -> None:
        self.asks = asks
        self.bytes = 0
        self.last = b""
        self.warned = False
        self.joined = asyncio.Event()
        self.waits: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(HANDSHAKE % self.asks)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self.bytes += len(data)
        seen = self.last + data
        self.warned = self.warned or b'"lagged"' in seen or b"too slow" in seen
        self.last = seen[-4096:]
        if b'"heartbeat"' in data:
            self.joined.set()
        if b"\x89\x02tg" in data:
            self.transport.write(PONG)
        self.waits += [now - float(at) for at in TOLD_AT.findall(data)]


async def raw(port: int, asks: bytes = b"") -> Raw:
    """Return a subscriber that has joined."""
    _, made = await asyncio.get_running_loop().create_connection(
        lambda: Raw(asks), "127.0.0.1", port
    )
    async with asyncio.timeout(SECONDS):
        await made.joined.wait()
    return made


@asynccontextmanager
async def child() -> AsyncIterator[tuple[int, int]]:
    """Run a router of its own process, and yield its pid and port."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", RUNS, stdout=PIPE)
    try:
        assert process.stdout is not None
        yield process.pid, int(await process.stdout.readline())
    finally:
        process.terminate()
        async with asyncio.timeout(SECONDS):
            await process.wait()


def memory(pid: int) -> int:
    """Return a process' resident memory, in bytes."""
    status = Path(f"/proc/{pid}/statm").read_text(encoding="ascii")
    return int(status.split()[1]) * resource.getpagesize()


def cpu(pid: int) -> float:
    """Return a process' CPU time, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_a_thousand_idle_subscribers_cost_little_and_hear_at_once() -> None:
    """R24 in its short form; SUBSCRIBERS=9500 is the long one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * MANY + 500)), hard))
    async with (
        child() as (pid, port),
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=SECONDS
        ) as client,
    ):
        for _ in range(20):
            await client.post(CHAT, json=ask())  # imports and pools are paid for
        before = memory(pid)
        sockets = [
            one for begin in range(0, MANY, 50) for one in await some(port, min(50, MANY - begin))
        ]
        each = (memory(pid) - before) / MANY
        busy = cpu(pid)
        await asyncio.sleep(3)  # a rate is measured over a time
        idle = (cpu(pid) - busy) / 3

        told = [one.bytes for one in sockets]
        begin = time.perf_counter()
        await client.post(CHAT, json=ask())
        await eventually(lambda: heard(sockets, told))
        broadcast = time.perf_counter() - begin
        for one in sockets:
            one.transport.abort()

    print(  # noqa: T201 -- figures
        f"{MANY} subscribers: {each / 1024:.1f} KiB each, idle {100 * idle:.1f} % of a core, "
        f"broadcast {1000 * broadcast:.0f} ms"
    )
    assert each <= 40_000
    assert idle <= 0.25
    assert broadcast <= 5


async def test_a_thousand_subscribers_hear_twenty_events_a_second_soon() -> None:
    async with (
        child() as (pid, port),
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=SECONDS
        ) as client,
    ):
        await client.post(CHAT, json=ask())
        sockets = [one for _ in range(20) for one in await some(port, 50, b"?kind=query.")]
        used = cpu(pid)
        for number in range(QUERIES):
            pause = asyncio.create_task(asyncio.sleep(1 / PER_SECOND))  # the pace
            await client.post(CHAT, json=ask(f"query {number}"))
            await pause
        await eventually(lambda: have_heard(sockets, QUERIES))
        used = cpu(pid) - used
        for one in sockets:
            one.transport.abort()

    waits = sorted(wait for one in sockets for wait in one.waits)
    p99 = waits[int(0.99 * len(waits))]
    print(  # noqa: T201 -- figures
        f"{len(sockets)} subscribers, {2 * PER_SECOND} events/s: {1000 * p99:.0f} ms at p99, "
        f"{1e6 * used / (2 * QUERIES * len(sockets)):.1f} us of CPU a delivery"
    )
    assert p99 <= 1.0


async def have_heard(sockets: list[Raw], times: int) -> bool:
    """Return whether everybody got so many events."""
    return all(len(one.waits) >= times for one in sockets)


async def some(port: int, count: int, asks: bytes = b"") -> list[Raw]:
    """Return subscribers that joined together."""
    return await asyncio.gather(*(raw(port, asks) for _ in range(count)))


async def heard(sockets: list[Raw], told: list[int]) -> bool:
    """Return whether everybody got the end of a query."""
    return all(
        b"query.failed" in one.last and one.bytes > before
        for one, before in zip(sockets, told, strict=True)
    )


async def test_promise_5_one_that_stalls_among_many_delays_nobody() -> None:
    """R27 with 100: the stalled one lags, or is closed, and the others hear in time."""
    full = Snapshot(tuple(tier(f"q{number}") for number in range(300)))
    source = Published(Snapshot())
    async with routing(source) as client:
        port = client.base_url.port or 0
        stalled = await raw(port)
        stalled.transport.pause_reading()
        others = await asyncio.gather(*(raw(port, b"?kind=config.") for _ in range(99)))
        assert source.publish is not None
        turns = 0

        async def lagged() -> bool:
            nonlocal turns
            turns += 1
            assert source.publish is not None
            source.publish(full if turns % 2 else Snapshot())
            await asyncio.sleep(0.01)  # others share the loop
            return "ws_lagged_total 0.0" not in (await client.get("/metrics")).text

        await eventually(lagged)
        await eventually(lambda: all_heard(others, turns))
        stalled.transport.resume_reading()
        await eventually(lambda: told(stalled))

    waits = sorted(wait for one in others for wait in one.waits)
    p99 = waits[int(0.99 * len(waits))]
    print(f"{turns} turns; others waited {1000 * p99:.0f} ms at p99")  # noqa: T201 -- a figure
    assert p99 <= 1.0


async def all_heard(others: list[Raw], turns: int) -> bool:
    """Return whether each got every turn's event; several may have come in one read."""
    return all(one.last.count(b"config.changed") for one in others) and turns > 0


async def told(stalled: Raw) -> bool:
    """Return whether the stalled one learnt of it."""
    return stalled.warned
