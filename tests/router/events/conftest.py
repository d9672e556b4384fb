"""Logs of both kinds, and buses over them."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from redises import RealRedis
from subscribing import Side, memory_log, redis_log, side, storing
from tiergarten_router.events.log import Log


class StartSide(Protocol):
    """Starts a router's half."""

    async def __call__(self, name: str = "router-a", heartbeat_seconds: float = 15.0) -> Side:
        """Return it; it ends with the test."""


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RealRedis]:
    """Return a real Redis of the test's own."""
    async with RealRedis(tmp_path) as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Log]:
    """Return a log of each kind."""
    if request.param == "memory":
        yield memory_log()
        return
    async with RealRedis(tmp_path) as running, storing(running) as store:
        yield redis_log(store)


@pytest.fixture
async def one(log: Log) -> AsyncIterator[Side]:
    """Return a router's half over each kind of log."""
    async with side(log) as made:
        yield made


@pytest.fixture
async def replica(redis: RealRedis) -> AsyncIterator[StartSide]:
    """Start halves of routers that share a Redis, each with a connection of its own."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(name: str = "router-a", heartbeat_seconds: float = 15.0) -> Side:
            store = await stack.enter_async_context(storing(redis))
            return await stack.enter_async_context(side(redis_log(store, name), heartbeat_seconds))

        yield start
