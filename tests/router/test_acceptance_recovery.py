"""How a replica comes back: rows R13 and R22 of the acceptance tests, and exactly one probe."""

import ast
import asyncio
import contextlib
import os
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from parts import missing
from routing import CHAT, ask, free_port, tier
from tiergarten_router import app
from tiergarten_router.core.breaker import Phase
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.fleet import Fleet, Lease
from tiergarten_router.settings import Settings
from upstream import BEFORE_BYTE, End, Upstream, after_content, answer, cut, error, insert

BROKEN = error(500, "boom", "server_error")
TARGET = Path(__file__).parents[1] / "bench" / "target.py"
ROUTER = Path(app.__file__).parent
# What may look at the time of day: a date that clients are shown, logs, and what local mode does.
SHOWN = {"app.py", "logs.py"}


class World:
    """A fleet of two replicas under a clock of the test's own."""

    def __init__(self, slots: int = 64) -> None:
        self.now = 1000.0
        self.fleet = Fleet(Settings(), lambda: self.now, lambda: 0.5)
        self.fleet.replace(Snapshot((tier("q2", "http://a", "http://b", slots=slots),)))

    async def lease(self, *tried: str) -> Lease:
        return await self.fleet.lease("q2", tried, float("inf"))

    async def break_(self, name: str) -> None:
        other = {"q2-0": "q2-1", "q2-1": "q2-0"}[name]
        for _ in range(5):
            lease = await self.lease(other)
            self.fleet.failed(lease)
            lease.release()

    async def heal(self, name: str) -> None:
        """Let the probe succeed, as soon as there may be one."""
        other = {"q2-0": "q2-1", "q2-1": "q2-0"}[name]
        self.now += 2
        probe = await self.lease(other)
        assert probe.replica.id == name
        self.fleet.succeeded(probe)
        probe.release()

    async def share(self, name: str, seconds: float, clients: int = 8) -> float:
        """Return a replica's share of what so many clients ask in some time, one after another."""
        seen: Counter[str] = Counter()
        open_: deque[Lease] = deque()
        for _ in range(int(seconds * 100)):
            self.now += 0.01
            if len(open_) == clients:
                ended = open_.popleft()
                self.fleet.succeeded(ended)
                ended.release()
            open_.append(await self.lease())
            seen[open_[-1].replica.id] += 1
        for lease in open_:
            lease.release()
        return seen[name] / seen.total()


@pytest.mark.parametrize("clients", [1, 8, 64])
async def test_r13_a_healed_replica_gets_its_share_slowly(clients: int) -> None:
    world = World()
    await world.break_("q2-0")
    await world.heal("q2-0")

    first = await world.share("q2-0", 1, clients)
    await world.share("q2-0", 14, clients)
    later = await world.share("q2-0", 2, clients)

    assert first <= 0.2
    assert later >= 0.4


async def test_exactly_one_of_sixty_reaches_a_replica_that_may_be_well_again() -> None:
    world = World()
    await world.break_("q2-0")
    world.now += 2

    leases = await asyncio.gather(*(world.lease() for _ in range(60)))

    assert Counter(lease.replica.id for lease in leases)["q2-0"] == 1
    assert leases[0].replica.breaker.phase in {Phase.HALF_OPEN, Phase.CLOSED}


async def test_exactly_one_of_sixty_is_sent_to_it_over_the_wire(router: Any) -> None:
    held = asyncio.Event()
    script = [*[BROKEN] * 5, *[insert(answer(), BEFORE_BYTE, held)] * 60]
    async with Upstream(script) as ill, Upstream() as good:
        client = await router(Snapshot((tier("q2", ill.url, good.url, slots=64),)))
        while len(ill.queries) < 5:
            await client.post(CHAT, json=ask())
        asked: set[asyncio.Task[Any]] = set()
        async with asyncio.timeout(10):
            while len(ill.queries) < 6:  # until its time is over
                asked.add(asyncio.create_task(client.post(CHAT, json=ask())))
                await asyncio.wait(asked, timeout=0.05)

        answers = await asyncio.gather(*(client.post(CHAT, json=ask()) for _ in range(60)))

        assert {found.status_code for found in answers} == {200}
        assert len(ill.queries) == 6
        held.set()
        assert {task.result().status_code for task in (await asyncio.wait(asked))[0]} == {200}


def wall_clocks(source: str) -> set[str]:
    """Return what of the time of day a module asks for."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            asked = (node.value.id, node.attr)
            if asked in {("time", "time"), ("datetime", "now"), ("time", "localtime")}:
                found.add(".".join(asked))
    return found


def test_r22_nothing_on_the_way_of_a_query_knows_the_time_of_day() -> None:
    folders = ("api", "core", "upstream")
    modules = [*ROUTER.glob("*.py"), *(m for f in folders for m in (ROUTER / f).glob("*.py"))]

    knowing = {module.name for module in modules if wall_clocks(module.read_text("utf-8"))}

    assert knowing <= SHOWN


@contextlib.asynccontextmanager
async def own_process(port: int, environ: dict[str, str], *upstreams: int) -> AsyncIterator[str]:
    """Run the bench's router, one tier over these ports, as a process; yield its URL."""
    command = [sys.executable, str(TARGET), str(port), *map(str, upstreams)]
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **environ})
    try:
        url = f"http://127.0.0.1:{port}"
        async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.ConnectError):
                    if (await client.get(f"{url}/readyz")).status_code == 200:
                        break
                await asyncio.sleep(0.05)  # nothing tells when a process listens
        yield url
    finally:
        process.terminate()
        await process.wait()


LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


async def test_r22_two_hours_forward_and_back_change_nothing(tmp_path: Path) -> None:
    if not LIBRARIES:
        missing("faketime")
    now = tmp_path / "now"
    now.write_text("+0")
    fake = {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(now),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "TIERGARTEN_IDLE_SECONDS": "1",
    }
    stalling = asyncio.Event()
    stalls = cut(answer(), after_content(1), End.HANG)
    async with (
        Upstream([BROKEN] * 5) as ill,
        Upstream(lambda _: stalls if stalling.is_set() else answer()) as good,
        own_process(free_port(), fake, ill.port, good.port) as url,
        httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client,
    ):
        while len(ill.queries) < 5:
            await client.post(CHAT, json=ask())
        opened = time.monotonic()
        for moved in ("+2h", "-2h", "+2h"):
            now.write_text(moved)
            found = await client.post(CHAT, json=ask())
            probed = len(ill.queries) > 5
            assert found.status_code == 200
            assert not probed or time.monotonic() - opened > 0.5  # the shortest time of an opening

        stalling.set()
        begin = time.monotonic()
        cut_off = [await client.post(CHAT, json=ask(stream=True)) for _ in range(4)]

        assert time.monotonic() - begin < 12
        ends = [found for found in cut_off if "upstream_disconnected" in found.text]
        assert len(ends) >= 2  # the others went to the replica that is well again
        ahead = parsedate_to_datetime(ends[-1].headers["date"]) - datetime.now(UTC)
        assert timedelta(hours=1.9) < ahead < timedelta(hours=2.1)  # it did believe in the time
