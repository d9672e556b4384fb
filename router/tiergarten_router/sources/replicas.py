"""All replicas of all tiers, and the tasks that they live in."""

import asyncio
from collections.abc import Callable
from typing import Final

from tiergarten_router.core.snapshot import Endpoint
from tiergarten_router.sources import ports
from tiergarten_router.sources.replica import TERM_SECONDS, Bounds, Replica
from tiergarten_router.sources.rollout import Running
from tiergarten_router.sources.template import Template

STOP_SECONDS: Final = TERM_SECONDS + 2.0


class Replicas:
    """Starts replicas, ends them, and knows which there are.

    Args:
        changed: Called when one of them changed, came or went; must not wait.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._there: dict[tuple[str, int], Replica] = {}
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}

    def running(self) -> tuple[Running, ...]:
        """Return every replica that has not ended."""
        return tuple(
            Running(tier, index, replica.template, replica.endpoint.state)
            for (tier, index), replica in self._there.items()
        )

    def endpoints(self, tier: str) -> tuple[Endpoint, ...]:
        """Return a tier's replicas, in order of their index."""
        return tuple(self._there[key].endpoint for key in sorted(self._there) if key[0] == tier)

    def pids(self) -> frozenset[int]:
        """Return the process ids of the servers."""
        return frozenset(replica.pid for replica in self._there.values() if replica.pid)

    def start(self, tier: str, index: int, template: Template, bounds: Bounds) -> None:
        """Start a replica."""
        key = (tier, index)
        replica = Replica(tier, index, template, bounds, self._free_port, self._changed)
        self._there[key] = replica
        task = asyncio.create_task(replica.run(), name=replica.endpoint.id)
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._forget(key))

    def retire(self, tier: str, index: int) -> None:
        """Drain a replica and end it."""
        self._there[tier, index].retire()

    def bound(self, tier: str, bounds: Bounds) -> None:
        """Set how long a tier's replicas may take."""
        for (its_tier, _), replica in self._there.items():
            if its_tier == tier:
                replica.bounds = bounds

    def sample(self) -> None:
        """Look at the memory of all."""
        for replica in self._there.values():
            replica.sample()

    async def stop(self) -> None:
        """End all at once, without waiting for answers; what does not end in time is killed."""
        for replica in self._there.values():
            replica.retire(drain=False)
        tasks = list(self._tasks.values())
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=STOP_SECONDS)
        finally:
            for replica in self._there.values():
                replica.kill()  # a task that is cancelled needs a loop that goes on
            for task in tasks:
                task.cancel()

    def _free_port(self) -> int:
        return ports.free({replica.port for replica in self._there.values()})

    def _forget(self, key: tuple[str, int]) -> None:
        del self._there[key]
        task = self._tasks.pop(key)
        if not task.cancelled():
            task.result()  # an error is a bug, which the event loop's handler shows
        self._changed()
