"""The bus: publishers tell it what happened, the log keeps it, the hub passes it on.

`tell` is the log's own `append`, so a publisher pays for a struct and for putting it down.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import structlog

from tiergarten_router.events.hub import Hub
from tiergarten_router.events.kinds import Event
from tiergarten_router.events.log import Log
from tiergarten_router.metrics import Metrics

FAILED: Final = 1011
PAUSE_SECONDS: Final = 0.5  # after a fault

log = structlog.get_logger()
Tell: TypeAlias = Callable[[Event], None]


def now() -> float:
    """Return the Unix time that events are stamped with; nothing is measured by it."""
    return time.time()


def ignore(_: Event) -> None:
    """Take an event and do nothing: for publishers that nobody listens to."""


class Bus:
    """What publishers and subscribers share.

    Args:
        kept: The log.
        metrics: Where deliveries are counted.
        clock: Monotonic seconds.
        heartbeat_seconds: How often a subscriber hears where the stream stands.

    Attributes:
        tell: Takes an event; never waits.
        hub: Serves subscribers.
        log: The log.
    """

    def __init__(
        self, kept: Log, metrics: Metrics, clock: Callable[[], float], heartbeat_seconds: float
    ) -> None:
        self.log = kept
        self.tell: Tell = kept.append
        self.hub = Hub(kept, metrics, clock, heartbeat_seconds)

    async def run(self) -> None:
        """Pass events on until cancelled; a fault of ours costs subscribers a reconnection."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._kept_up(lambda: self.log.run(self.hub)), name="event log")
            tasks.create_task(self._kept_up(self.hub.run), name="event heartbeats")

    async def _kept_up(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception:  # queries must go on whatever happens to events
                log.exception("events_failed")
                self.hub.close(FAILED, "the router failed")  # who comes back misses nothing
            await asyncio.sleep(PAUSE_SECONDS)

    async def close(self, seconds: float) -> None:
        """Pass on what is there, as far as that is done in a time, and end the subscribers."""
        try:
            async with asyncio.timeout(seconds):
                await self.log.flush()
        except TimeoutError:
            pass
        self.hub.close(1012, "the router is stopping")
