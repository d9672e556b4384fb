"""What changed between two looks at the fleet, as events."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from tiergarten_router.core.snapshot import Endpoint, Snapshot, Tier
from tiergarten_router.events import kinds
from tiergarten_router.events.bus import Tell
from tiergarten_router.events.kinds import Event

MODELS_SHOWN: Final = 20
PROGRESS_SHARE: Final = 0.01  # of a model; less is not worth an event


class Changes:
    """Tells what changes, from what it saw last.

    Args:
        tell: Where events go.
        now: Unix time.
    """

    def __init__(self, tell: Tell, now: Callable[[], float]) -> None:
        self._tell = tell
        self._now = now
        self._tiers: Mapping[str, Tier] = {}
        self._snapshot: Snapshot | None = None
        self._states: dict[str, type[Event]] = {}
        self._fetched: dict[str, int] = {}

    def published(self, snapshot: Snapshot, models: Iterable[str]) -> None:
        """Tell how a snapshot differs from the one before.

        Args:
            snapshot: The new one.
            models: The names that may be asked for now.
        """
        before, now = self._tiers, self._now()
        self._tiers = {tier.name: tier for tier in snapshot.tiers}
        for name in before.keys() - self._tiers.keys():
            self._states.pop(name, None)
            self._fetched.pop(name, None)
            self._tell(kinds.TierRemoved(now, name))
        for name, tier in self._tiers.items():
            self._tier(before.get(name), tier, now)
        if self._snapshot is None or self._defined(self._snapshot) != self._defined(snapshot):
            self._tell(kinds.ConfigChanged(now, tuple(models)[:MODELS_SHOWN]))
        self._snapshot = snapshot

    def readiness(self, tier: str, ready: int, replicas: int) -> None:
        """Tell if a tier can do more or less than before.

        Args:
            tier: Its name.
            ready: Its endpoints that may be asked.
            replicas: All of its endpoints.
        """
        state: type[kinds.TierReady | kinds.TierDegraded | kinds.TierUnavailable]
        if not ready:
            state = kinds.TierUnavailable
        else:
            state = kinds.TierReady if ready == replicas else kinds.TierDegraded
        if self._states.get(tier) is not state:
            self._states[tier] = state
            self._tell(state(self._now(), tier, ready, replicas))

    def health(self, tier: str, endpoint: str, *, healthy: bool) -> None:
        """Tell that an endpoint's checks began to fail, or to succeed."""
        self._tell(kinds.EndpointHealth(self._now(), tier, endpoint, healthy))

    def breaker(self, tier: str, endpoint: str, to: str) -> None:
        """Tell that a breaker changed."""
        self._tell(kinds.BREAKERS[to](self._now(), tier, endpoint))

    def _tier(self, before: Tier | None, tier: Tier, now: float) -> None:
        if before is None:
            self._tell(kinds.TierAdded(now, tier.name, tier.model))
        elif before.status.reason != tier.status.reason or _spec(before) != _spec(tier):
            self._tell(kinds.TierChanged(now, tier.name, tier.status.reason))
        self._fetch(tier, now)
        was = {endpoint.id: endpoint for endpoint in before.endpoints} if before else {}
        for endpoint in tier.endpoints:
            self._endpoint(tier.name, was.pop(endpoint.id, None), endpoint, now)
        for gone in was:
            self._tell(kinds.EndpointRemoved(now, tier.name, gone))

    def _endpoint(self, tier: str, before: Endpoint | None, endpoint: Endpoint, now: float) -> None:
        state = endpoint.state.value
        if before is None:
            self._tell(kinds.EndpointAdded(now, tier, endpoint.id, state))
        elif (before.state, before.restarts) != (endpoint.state, endpoint.restarts):
            self._tell(kinds.EndpointState(now, tier, endpoint.id, state, endpoint.restarts))

    def _fetch(self, tier: Tier, now: float) -> None:
        fetched, total = tier.status.fetched_bytes, tier.status.total_bytes
        last = self._fetched.get(tier.name)
        if fetched is None or fetched == last:
            return
        step = PROGRESS_SHARE * total if total else 0
        if last is None or fetched == total or not last <= fetched < last + step:
            self._fetched[tier.name] = fetched
            self._tell(kinds.FetchProgress(now, tier.name, fetched, total))

    @staticmethod
    def _defined(snapshot: Snapshot) -> tuple[object, ...]:
        return snapshot.routes, tuple(map(_spec, snapshot.tiers))


def _spec(tier: Tier) -> tuple[object, ...]:
    """Return what users define of a tier."""
    return (
        tier.name,
        tier.model,
        tier.rank,
        tier.slots,
        tier.slot_tokens,
        tier.cost,
        tier.capabilities,
        tier.embeddings,
        tier.latency_objective_seconds,
    )
