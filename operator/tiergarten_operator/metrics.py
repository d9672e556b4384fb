"""The operator's metrics. Labels are tiers and our own words, so series are bounded by tiers."""

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tiergarten_api.v1alpha1 import Condition
from tiergarten_operator.facts import Key

PREFIX: Final = "tiergarten_operator_"
TIER_LABELS: Final = ("namespace", "tier")
STATUSES: Final = ("True", "False", "Unknown")


class Metrics:
    """All metrics of one operator.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

        def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=registry)

        def gauge(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
            return Gauge(PREFIX + name, text, labels, registry=registry)

        self.reconciles = counter("reconcile_total", "Reconciles by result.", ["result"])
        self.reconcile_seconds = Histogram(
            f"{PREFIX}reconcile_seconds", "Time of a reconcile.", registry=registry
        )
        self.writes = counter("writes_total", "Writes to the API server by verb.", ["verb"])
        self.ready = gauge("tier_ready_replicas", "Replicas that answer.", TIER_LABELS)
        self.desired = gauge("tier_desired_replicas", "Replicas that must be.", TIER_LABELS)
        self.conditions = gauge(
            "tier_condition", "1 for a condition's status.", [*TIER_LABELS, "type", "status"]
        )
        self.rejections = counter(
            "admission_rejections_total", "Tiers that stopped being accepted.", ["reason"]
        )
        self.watch_restarts = counter(
            "watch_restarts_total", "Restarts of all watches by reason.", ["reason"]
        )
        self.last_event = gauge("last_event_timestamp_seconds", "Time of the last event.")
        self.api_up = gauge("api_up", "Whether the API server answered the last request.")
        self.queue_depth = gauge("queue_depth", "Keys that wait for a worker.")
        self.audit_differences = gauge(
            "audit_differences", "Keys that the last audit found to differ.", ["kind"]
        )
        self.is_leader = gauge("is_leader", "Whether this operator is the one that works.")

    def tier(
        self, key: Key, ready: int, wanted: int | None, conditions: Sequence[Condition]
    ) -> None:
        """Set what is known of a tier."""
        self.ready.labels(key.namespace, key.name).set(ready)
        if wanted is not None:
            self.desired.labels(key.namespace, key.name).set(wanted)
        for condition in conditions:
            for status in STATUSES:
                series = self.conditions.labels(key.namespace, key.name, condition.type, status)
                series.set(status == condition.status)

    def forget(self, key: Key) -> None:
        """Drop the series of a tier that is gone."""
        where = {"namespace": key.namespace, "tier": key.name}
        for family in (self.ready, self.desired, self.conditions):
            family.remove_by_labels(where)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)
