"""Blocking work off the event loop: a slow disk delays neither heartbeats nor the router."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def run(work: Callable[[], T], stop: Callable[[], None] = lambda: None) -> T:
    """Return what `work` returns, run in a thread.

    A cancelled caller waits until the work has ended: a thread cannot be stopped, and must not go
    on writing to a file that its owner has closed.

    Args:
        work: Blocks.
        stop: Called when the caller is cancelled; asks long work to end early.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait({task})
        task.exception()  # looked at, or asyncio complains of one that nobody saw
        raise
