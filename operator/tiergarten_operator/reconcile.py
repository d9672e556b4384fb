"""The orchestrator: gather, accept, build, apply, prune, say what was seen. Called by the queue.

It never asks what happened: whatever woke it, it looks at everything and changes what is not as it
must be. A pass over a tier that is right writes nothing.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import structlog

from tiergarten_api import labels
from tiergarten_api.v1alpha1 import TierRoute
from tiergarten_operator import acceptance, desired, events, names, observed, status
from tiergarten_operator.children import Children
from tiergarten_operator.cluster import Asking, Cluster
from tiergarten_operator.errors import NotThere, OperatorError
from tiergarten_operator.facts import (
    DEPLOYMENT,
    ROUTE,
    TIER,
    Facts,
    Finding,
    Key,
    Manifest,
    Ref,
)
from tiergarten_operator.finalizing import Finalizing
from tiergarten_operator.gathering import Gathering, age
from tiergarten_operator.metrics import Metrics
from tiergarten_operator.settings import Settings

log = structlog.get_logger()

SOON_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 60.0  # for what the API server refused: a quota, a policy, a right
JITTER: Final = 0.2


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Reconciler:
    """Brings tiers and routes to what they must be.

    Attributes:
        cluster: The cluster.
        settings: The operator's.
        metrics: Where results are counted.
        now: The time of day.
        chance: A random number between 0 and 1.
    """

    cluster: Cluster
    settings: Settings
    metrics: Metrics
    now: Callable[[], datetime] = _now
    chance: Callable[[], float] = random.random

    @cached_property
    def _gathering(self) -> Gathering:
        seconds = self.settings.progress_seconds
        asking = Asking(names.PROGRESS_PORT, seconds, time.monotonic)
        return Gathering(self.cluster, self.settings, asking)

    @cached_property
    def _finalizing(self) -> Finalizing:
        return Finalizing(self.cluster, self.settings, self._gathering.tier, self.now)

    async def __call__(self, key: Key) -> float | None:
        """Reconcile a key, and return after how many seconds to look again, or None.

        Raises:
            OperatorError: It did not get to its end; the queue comes back to it.
        """
        began = time.monotonic()
        result = "error"
        try:
            again = await (self._route(key) if key.kind == ROUTE.name else self._tier(key))
            result = "ok"
        finally:
            self.metrics.reconciles.labels(result).inc()
            self.metrics.reconcile_seconds.observe(time.monotonic() - began)
        return again

    async def _tier(self, key: Key) -> float | None:
        tier = self._gathering.tier(key)
        if tier is None:
            self.metrics.forget(key)
            return None  # its children go by their owner references
        if tier.metadata.deletion_timestamp is not None:
            return await self._finalizing.finish(tier)
        facts = await self._gathering.facts(tier)
        refusal = acceptance.refusal(facts, self.settings)
        wanted = desired.replicas(tier)
        paused = tier.metadata.annotations.get(labels.PAUSED) == "true"
        pass_ = Children(self.cluster, facts, wanted)
        if refusal is None and not paused:
            await self._finalizing.mark(tier)
            found = observed.fetch(facts)
            await pass_.bring_to(desired.build(facts, found, self.settings))
            refusal = next(iter(pass_.findings), None)
            facts = self._gathering.seen_now(facts)
        await self._tell(key, facts, refusal, paused=paused)
        return self._again(facts, refusal, waits=pass_.waits)

    async def _tell(self, key: Key, facts: Facts, refusal: Finding | None, *, paused: bool) -> None:
        """Write the status if it changed, and report what flipped."""
        tier, wanted = facts.tier, desired.replicas(facts.tier)
        found = observed.fetch(facts)
        seen = status.Seen(
            tier=tier,
            refusal=refusal,
            fetch=found,
            serving=observed.serving(facts),
            wanted=wanted,
            paused=paused,
            memory_request=desired.memory_request(tier, found.outcome),
        )
        after = status.of_tier(seen, self._time())
        conditions = after.conditions or ()
        deployment = facts.live.get(Ref(DEPLOYMENT.name, key.name))
        count = deployment["spec"].get("replicas") if deployment and wanted is None else wanted
        self.metrics.tier(key, seen.serving.ready, count, conditions)
        before = tier.status.conditions if tier.status and tier.status.conditions else ()
        body = after.model_dump(mode="json", exclude_none=True)
        if body == self._status_of(TIER, key):
            return
        await self._write_status(TIER, key, tier.metadata.uid, body)
        for event in events.of_tier(tier, status.flipped(conditions, before), self._time()):
            await self._report(event)
            if event["reason"] == (refusal and refusal.reason):
                self.metrics.rejections.labels(event["reason"]).inc()

    async def _route(self, key: Key) -> float | None:
        raw = self.cluster.store.get(ROUTE, key.namespace, key.name)
        if raw is None or "deletionTimestamp" in raw["metadata"]:
            return None
        route = TierRoute.model_validate(raw)
        older = [
            TierRoute.model_validate(it)
            for it in self.cluster.store.all(ROUTE, key.namespace)
            if age(it["metadata"]) < age(raw["metadata"])
        ]
        tiers = set(self.cluster.store.names(TIER, key.namespace))
        after = status.of_route(route, older, tiers, self._time())
        body = after.model_dump(mode="json", exclude_none=True)
        if body != self._status_of(ROUTE, key):
            await self._write_status(ROUTE, key, route.metadata.uid, body)
        return self._jittered(self.settings.resync_seconds)

    def _status_of(self, kind: Any, key: Key) -> Manifest:  # noqa: ANN401 -- TIER or ROUTE
        raw = self.cluster.store.get(kind, key.namespace, key.name) or {}
        found: Manifest = raw.get("status") or {}
        return found

    async def _write_status(self, kind: Any, key: Key, uid: str | None, body: Manifest) -> None:  # noqa: ANN401 -- as above
        # With the uid, so that what was seen of a tier never lands on its successor.
        metadata = {"name": key.name, "namespace": key.namespace, "uid": uid}
        manifest = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}
        try:
            await self.cluster.apply(manifest | {"status": body}, subresource="status")
        except NotThere:
            return  # deleted meanwhile

    async def _report(self, event: Manifest) -> None:
        try:
            await self.cluster.report(event)
        except OperatorError as error:  # an event is a courtesy; the condition says the same
            log.warning("event_lost", reason=str(error))

    def _again(self, facts: Facts, refusal: Finding | None, *, waits: bool) -> float:
        if waits:
            return SOON_SECONDS
        if refusal is None and observed.asks(facts) is not None:
            return self.settings.progress_seconds
        if refusal is None:
            return self._jittered(self.settings.resync_seconds)
        if refusal.reason in acceptance.MISSING:
            return self._jittered(self.settings.missing_seconds)
        return self._jittered(min(RETRY_SECONDS, self.settings.resync_seconds))

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 + JITTER * (self.chance() - 0.5))

    def _time(self) -> str:
        return self.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
