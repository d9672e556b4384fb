"""A router under test: its source, a port of its own, and the short words that tests ask with."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from tiergarten_api.v1alpha1 import TierRoute
from tiergarten_router import app
from tiergarten_router.core.snapshot import Endpoint, Snapshot, Tier
from tiergarten_router.settings import Settings

CHAT = "/v1/chat/completions"
# A test that leaves a query open on purpose need not wait for it; no proxy is between us.
QUICK: dict[str, Any] = {
    "drain_seconds": 1,
    "stop_delay_seconds": 0,
    "ops_port": 0,
    "log_level": "error",
}


@dataclass
class Published:
    """A source that publishes what it is given, and then whatever the test tells it to."""

    snapshot: Snapshot | None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None
    publish: Callable[[Snapshot], None] | None = None

    async def run(self, publish: Callable[[Snapshot], None]) -> None:
        """Publish until the test ends it."""
        self.publish = publish
        if self.snapshot is not None:
            publish(self.snapshot)
        await self.ended.wait()
        if self.failure is not None:
            raise self.failure


@contextlib.asynccontextmanager
async def routing(source: Published, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Run a router on a real port and yield a client of it; it must end within its grace."""
    port, up = free_port(), asyncio.Event()
    told = Settings(**(QUICK | settings))
    server = asyncio.create_task(
        app.serve(told, source, host="127.0.0.1", port=port, announce=up.set)
    )
    waiting = asyncio.create_task(up.wait())
    await asyncio.wait({server, waiting}, return_when=asyncio.FIRST_COMPLETED)
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False
        ) as client:
            yield client
    finally:
        waiting.cancel()
        source.ended.set()
        await server


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def tier(name: str, *urls: str, **fields: Any) -> Tier:
    """Return a tier of endpoints `NAME-0`, `NAME-1`, … ranked as the digits of its name say."""
    rank = int("".join(filter(str.isdigit, name)) or 0)
    endpoints = tuple(Endpoint(f"{name}-{index}", url) for index, url in enumerate(urls))
    return replace(Tier(name, "tiny", rank, 4, 4096, endpoints=endpoints), **fields)


def route(*tiers: str, model: str = "auto", **spec: object) -> TierRoute:
    """Return a TierRoute over tiers in this order."""
    listed = [{"name": name} for name in tiers]
    return TierRoute.model_validate(
        {"metadata": {"name": model}, "spec": {"model": model, "tiers": listed, **spec}}
    )


def ask(text: str = "hi", model: str = "auto", **fields: object) -> dict[str, object]:
    """Return the body of a chat query."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


async def in_flight(client: httpx.AsyncClient) -> int:
    """Return how many queries the router holds open or waiting, by its own account."""
    tiers: Iterable[dict[str, Any]] = (await client.get("/v1/tiers")).json()["tiers"]
    return sum(t["waiting"] + sum(r["in_flight"] for r in t["replicas"]) for t in tiers)


def series(text: str, name: str) -> dict[str, float]:
    """Return the samples of one of the router's metrics by its labels, as they are written."""
    prefix = f"tiergarten_router_{name}{{"
    lines = [line for line in text.splitlines() if line.startswith(prefix)]
    found = (line.removeprefix(prefix).rpartition("} ") for line in lines)
    return {labels: float(value) for labels, _, value in found}
