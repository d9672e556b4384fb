"""The bus: publishers tell it what happened, the log keeps it, the hub passes it on.

`tell` is the log's own `append`, so a publisher pays for a struct and for putting it down.
"""

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from tiergarten_router.events.hub import Hub
from tiergarten_router.events.kinds import Event
from tiergarten_router.events.log import Log
from tiergarten_router.metrics import Metrics

Tell: TypeAlias = Callable[[Event], None]


def ignore(_: Event) -> None:
    """Take an event and do nothing: for publishers that nobody listens to."""


class Bus:
    """What publishers and subscribers share.

    Args:
        log: The log.
        metrics: Where deliveries are counted.
        clock: Monotonic seconds.
        heartbeat_seconds: How often a subscriber hears where the stream stands.

    Attributes:
        tell: Takes an event; never waits.
        hub: Serves subscribers.
        log: The log.
    """

    def __init__(
        self, log: Log, metrics: Metrics, clock: Callable[[], float], heartbeat_seconds: float
    ) -> None:
        self.log = log
        self.tell: Tell = log.append
        self.hub = Hub(log, metrics, clock, heartbeat_seconds)

    async def run(self) -> None:
        """Pass events on until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.log.run(self.hub), name="event log")
            tasks.create_task(self.hub.run(), name="event heartbeats")

    async def close(self, seconds: float) -> None:
        """Pass on what is there, as far as that is done in a time, and end the subscribers."""
        try:
            async with asyncio.timeout(seconds):
                await self.log.flush()
        except TimeoutError:
            pass
        self.hub.close(1012, "the router is stopping")
