"""The health checks: each endpoint every 10 s, and more and more seldom while it fails."""

import asyncio
from collections.abc import Callable
from heapq import nsmallest
from math import inf
from typing import Final

import structlog

from tiergarten_router.core.snapshot import ReplicaState
from tiergarten_router.fleet import Fleet, Group, Replica
from tiergarten_router.settings import Settings
from tiergarten_router.upstream import probe

log = structlog.get_logger()
TICK_SECONDS: Final = 0.25  # how often it is looked who is due
LONGEST_SECONDS: Final = 60.0
JITTER: Final = 0.2  # part of the interval by which replicas of the router drift apart
AT_ONCE: Final = 64  # checks on their way
MOST_A_TICK: Final = 25  # begun; of more than 1,000 endpoints each is checked more seldom

Key = tuple[str, str, str]  # tier, endpoint and address: what moved is checked anew


class Checks:
    """Checks the endpoints that a source calls ready.

    Args:
        fleet: Whose endpoints are checked, and who is told.
        settings: The interval and the time-out.
        clock: The fleet's clock.
        draw: A random number from 0 to 1.
    """

    def __init__(
        self,
        fleet: Fleet,
        settings: Settings,
        clock: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._settings = settings
        self._clock = clock
        self._draw = draw
        self._due: dict[Key, float] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Check until cancelled."""
        async with asyncio.TaskGroup() as checks:
            while True:
                for group, replica in self._take_due():
                    checks.create_task(self._check(group, replica))
                await asyncio.sleep(TICK_SECONDS)

    def _take_due(self) -> list[tuple[Group, Replica]]:
        """Return who is due; nobody is again until the check is over."""
        now = self._clock()
        known = [(group, r) for group in self._fleet.groups() for r in group.replicas.values()]
        keys = [_key(group, replica) for group, replica in known]
        self._due = {key: self._due.get(key, now) for key in keys}
        due = [
            (group, replica)
            for group, replica in known
            if replica.endpoint.state is ReplicaState.READY
            and self._due[_key(group, replica)] <= now
        ]
        if len(due) > MOST_A_TICK:  # those who have waited longest; breakers look after the rest
            due = nsmallest(MOST_A_TICK, due, lambda pair: self._due[_key(*pair)])
        self._due.update((_key(group, replica), inf) for group, replica in due)
        return due

    async def _check(self, group: Group, replica: Replica) -> None:
        key, seconds = _key(group, replica), self._settings.health_timeout_seconds
        async with self._room:
            served = replica.serves
            health = await probe.check(replica.endpoint.url, seconds, group.tier.api_key)
        self._fleet.checked(group.tier.name, replica, health)
        if replica.serves is not served:
            log.warning(
                "endpoint_health_changed",
                tier=group.tier.name,
                endpoint=replica.id,
                healthy=replica.serves,
                reason=health.message,
            )
        if key in self._due:
            self._due[key] = self._clock() + self.interval(replica.failed_checks)

    def interval(self, failures: int) -> float:
        """Return the seconds until the next check, after so many failures in a row."""
        seconds = self._settings.health_seconds * 2.0 ** min(max(0, failures - 1), 8)
        return min(LONGEST_SECONDS, seconds) * (1 + JITTER * (self._draw() - 0.5))


def _key(group: Group, replica: Replica) -> Key:
    return group.tier.name, replica.id, replica.endpoint.url
