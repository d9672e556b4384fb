"""The orchestrator: gather, accept, build, apply, prune, say what was seen. Called by the queue.

It never asks what happened: whatever woke it, it looks at everything and changes what is not as it
must be. A pass over a tier that is right writes nothing.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from pydantic import ValidationError

from tiergarten_api import labels
from tiergarten_api.v1alpha1 import ModelTier, TierRoute
from tiergarten_operator import acceptance, desired, events, names, observed, ownership, status
from tiergarten_operator.children import Children
from tiergarten_operator.cluster import Cluster
from tiergarten_operator.errors import ApiError, NotThere, OperatorError, Rejected
from tiergarten_operator.facts import (
    CLAIM,
    DEPLOYMENT,
    ROUTE,
    SECRET,
    TIER,
    Facts,
    Finding,
    Key,
    Manifest,
    Ref,
)
from tiergarten_operator.metrics import Metrics
from tiergarten_operator.ownership import Whose
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
    _parsed: dict[Key, tuple[str, ModelTier]] = field(default_factory=dict)

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
        tier = self._parse(key)
        if tier is None:
            return None  # its children go by their owner references
        if tier.metadata.deletion_timestamp is not None:
            await self._finalize(tier)
            return None
        facts = await self._gather(tier)
        refusal = acceptance.refusal(facts, self.settings)
        wanted = desired.replicas(tier)
        paused = tier.metadata.annotations.get(labels.PAUSED) == "true"
        pass_ = Children(self.cluster, facts, wanted)
        if refusal is None and not paused:
            await self._finalizer(tier)
            found = observed.fetch(facts)
            await pass_.bring_to(desired.build(facts, found, self.settings))
            refusal = next(iter(pass_.findings), None)
            facts = self._seen_now(facts)
        await self._tell(key, facts, refusal, paused=paused)
        return self._again(refusal, waits=pass_.waits)

    def _parse(self, key: Key) -> ModelTier | None:
        raw = self.cluster.store.get(TIER, key.namespace, key.name)
        if raw is None:
            self._parsed.pop(key, None)
            self.metrics.forget(key)
            return None
        version = raw["metadata"].get("resourceVersion", "")
        known = self._parsed.get(key)
        if known is not None and known[0] == version:
            return known[1]
        try:
            tier = ModelTier.model_validate(raw)
        except ValidationError as error:  # a definition newer than this operator let it through
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            log.warning("tier_unreadable", tier=key.name, field=where, reason=first["msg"])
            return None
        self._parsed[key] = (version, tier)
        return tier

    async def _gather(self, tier: ModelTier) -> Facts:
        """Return all that is known of a tier; Secrets and others' claims are asked for."""
        namespace = tier.metadata.namespace or ""
        secrets, claims = acceptance.secrets(tier), acceptance.claims(tier)
        keys = await asyncio.gather(*(self.cluster.secret_keys(namespace, it) for it in secrets))
        found = await asyncio.gather(*(self.cluster.get(CLAIM, namespace, it) for it in claims))
        live = self._children(tier)
        if self.settings.llama_api_key is not None:
            name = names.secret(tier)
            own = await self.cluster.get(SECRET, namespace, name)
            live |= {} if own is None else {Ref(SECRET.name, name): own}
        return Facts(
            tier=tier,
            live=live,
            pods=tuple(self.cluster.store.pods(Key(namespace, tier.metadata.name))),
            secrets=dict(zip(secrets, keys, strict=True)),
            claims=dict(zip(claims, found, strict=True)),
            older=tuple(self._older(tier)),
        )

    def _children(self, tier: ModelTier) -> dict[Ref, Manifest]:
        """Return a tier's own children.

        What a tier of the same name had before it says nothing of this one: its Job may be done,
        with a claim that is about to go.
        """
        key = Key(tier.metadata.namespace or "", tier.metadata.name)
        found = self.cluster.store.children(key)
        return {child: it for child, it in found if ownership.of(it, tier) is Whose.OURS}

    def _older(self, tier: ModelTier) -> Iterator[ModelTier]:
        namespace = tier.metadata.namespace or ""
        for raw in self.cluster.store.all(TIER, namespace):
            same = raw.get("spec", {}).get("model", {}).get("name") == tier.spec.model.name
            if same and _age(raw["metadata"]) < _age_of(tier):
                other = self._parse(Key(namespace, raw["metadata"]["name"]))
                if other is not None:
                    yield other

    def _seen_now(self, facts: Facts) -> Facts:
        return replace(facts, live=self._children(facts.tier))

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
            if _age(it["metadata"]) < _age(raw["metadata"])
        ]
        tiers = {it["metadata"]["name"] for it in self.cluster.store.all(TIER, key.namespace)}
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

    async def _finalizer(self, tier: ModelTier) -> None:
        """Put our finalizer on a tier whose claim outlives it, and off any other."""
        wanted = tier.spec.cache.deletion_policy == "Retain" and names.mounted_claim(
            tier
        ) == names.claim(tier)
        if wanted != (names.FINALIZER in tier.metadata.finalizers):
            await self._set_finalizers(tier, [names.FINALIZER] if wanted else [])

    async def _finalize(self, tier: ModelTier) -> None:
        """Let the claim of a deleted tier go its own way, and the tier too."""
        if names.FINALIZER not in tier.metadata.finalizers:
            return
        namespace, name = tier.metadata.namespace or "", names.claim(tier)
        free = {"metadata": {"labels": dict.fromkeys(names.child_labels(tier))}}
        try:
            await self.cluster.merge(CLAIM, namespace, name, free)
        except NotThere:
            pass
        except Rejected as error:
            log.warning("claim_not_freed", claim=name, reason=error.message)
        await self._set_finalizers(tier, [])

    async def _set_finalizers(self, tier: ModelTier, wanted: list[str]) -> None:
        others = [it for it in tier.metadata.finalizers if it != names.FINALIZER]
        change = {
            "metadata": {
                "finalizers": [*others, *wanted],
                "resourceVersion": tier.metadata.resource_version,
            }
        }
        try:
            await self.cluster.merge(
                TIER, tier.metadata.namespace or "", tier.metadata.name, change
            )
        except NotThere:
            return
        except ApiError as error:
            if isinstance(error, Rejected):
                log.warning("finalizer_refused", reason=error.message)
                return
            raise

    def _again(self, refusal: Finding | None, *, waits: bool) -> float:
        if waits:
            return SOON_SECONDS
        if refusal is None:
            return self._jittered(self.settings.resync_seconds)
        if refusal.reason in acceptance.MISSING:
            return self._jittered(self.settings.missing_seconds)
        return self._jittered(min(RETRY_SECONDS, self.settings.resync_seconds))

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 + JITTER * (self.chance() - 0.5))

    def _time(self) -> str:
        return self.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _age(metadata: Manifest) -> tuple[str, str]:
    return str(metadata.get("creationTimestamp", "")), metadata["name"]


def _age_of(tier: ModelTier) -> tuple[str, str]:
    return tier.metadata.creation_timestamp or "", tier.metadata.name
