"""Tells what changes in the fleet: to metrics, and as events to whoever listens."""

from collections.abc import Callable

from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.events import bus
from tiergarten_router.events.bus import Tell
from tiergarten_router.events.changes import Changes
from tiergarten_router.fleet import Fleet
from tiergarten_router.metrics import Metrics


class Reports:
    """Listens to a fleet from its making on.

    Args:
        fleet: It.
        metrics: Where breakers are counted.
        tell: Where events go.
        now: Unix time.
    """

    def __init__(
        self, fleet: Fleet, metrics: Metrics, tell: Tell, now: Callable[[], float] = bus.now
    ) -> None:
        self._fleet = fleet
        self._metrics = metrics
        self._changes = Changes(tell, now)
        fleet.on_breaker = self._breaker
        fleet.on_health = self._health

    def published(self, snapshot: Snapshot) -> None:
        """Tell how a snapshot that the fleet has taken over differs from the one before."""
        self._changes.published(snapshot, self._fleet.routes.names)
        self._readiness()

    def _breaker(self, tier: str, endpoint: str, to: str) -> None:
        self._metrics.breakers.add(tier, to)
        self._changes.breaker(tier, endpoint, to)

    def _health(self, tier: str, endpoint: str, healthy: bool) -> None:  # noqa: FBT001 -- a callback's signature
        self._changes.health(tier, endpoint, healthy=healthy)
        self._readiness()

    def _readiness(self) -> None:
        for group in self._fleet.groups():
            self._changes.readiness(group.tier.name, len(group.serving), len(group.replicas))
