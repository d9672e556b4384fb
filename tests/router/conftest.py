"""A router for tests that ask over HTTP."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import httpx
import pytest
import structlog

from routing import Published, routing
from tiergarten_router.core.snapshot import Snapshot


class StartRouter(Protocol):
    """Starts a router for one test."""

    async def __call__(self, snapshot: Snapshot, **settings: object) -> httpx.AsyncClient:
        """Return a client of a router that has this snapshot."""


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Undo what a test configures: the stream it logged to is closed when it ends."""
    yield
    structlog.reset_defaults()


@pytest.fixture
async def router() -> AsyncIterator[StartRouter]:
    """Start routers of a test's own; they end with it."""
    async with contextlib.AsyncExitStack() as routers:

        async def start(snapshot: Snapshot, **settings: Any) -> httpx.AsyncClient:
            return await routers.enter_async_context(routing(Published(snapshot), **settings))

        yield start
