"""Stores under test, and what they are waited for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from tiergarten_router.store.address import parse
from tiergarten_router.store.client import Store

Keeps = Callable[[str], contextlib.AbstractAsyncContextManager[Store]]
SECONDS = 20


@contextlib.asynccontextmanager
async def keeping(url: str) -> AsyncIterator[Store]:
    """Run a store of a URL while the block runs."""
    store = Store(parse(url), lambda: 0.0)
    task = asyncio.create_task(store.run())
    try:
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def until(store: Store, *, up: bool) -> None:
    """Wait until a store has, or has lost, its Redis."""
    changed = asyncio.Event()

    def tell(_up: bool) -> None:  # noqa: FBT001 -- as the store tells it
        changed.set()

    store.listeners.append(tell)
    async with asyncio.timeout(SECONDS):
        while store.up is not up:
            await changed.wait()
            changed.clear()
    store.listeners.remove(tell)


@pytest.fixture
def keeps() -> Keeps:
    return keeping


@pytest.fixture(name="until")
def until_() -> Callable[..., object]:
    return until
