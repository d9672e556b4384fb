"""The operator's metrics. Labels are tiers and our own words, so series are bounded by tiers."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from tiergarten_api.v1alpha1 import Condition
from tiergarten_operator.facts import Key

PREFIX: Final = "tiergarten_operator_"
STATUSES: Final = ("True", "False", "Unknown")

Series = tuple[dict[str, str], float]  # more labels than the tier's, and the value


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a tier; statuses by the types of its conditions."""

    ready: int
    wanted: int | None
    statuses: Mapping[str, str]


class _Tiers(Collector):
    """The series of tiers, made when they are asked for: kept, they took 11 KiB for each tier."""

    def __init__(self) -> None:
        self.known: dict[Key, _Known] = {}

    def collect(self) -> Iterator[Metric]:
        """Return what is known of all tiers."""
        yield self._family("tier_ready_replicas", "Replicas that answer.", _ready)
        yield self._family("tier_desired_replicas", "Replicas that must be.", _desired)
        yield self._family("tier_condition", "1 for a condition's status.", _conditions)

    def _family(self, name: str, text: str, series: Callable[[_Known], Iterator[Series]]) -> Metric:
        def samples() -> Iterator[Sample]:
            for key, known in self.known.items():
                where = {"namespace": key.namespace, "tier": key.name}
                for more, value in series(known):
                    yield Sample(PREFIX + name, where | more, value)

        family = Metric(PREFIX + name, text, "gauge")
        family.samples = samples()  # type: ignore[assignment]  # a list would be tens of MiB at once
        return family


def _ready(known: _Known) -> Iterator[Series]:
    yield {}, known.ready


def _desired(known: _Known) -> Iterator[Series]:
    if known.wanted is not None:
        yield {}, known.wanted


def _conditions(known: _Known) -> Iterator[Series]:
    for kind, told in known.statuses.items():
        for status in STATUSES:
            yield {"type": kind, "status": status}, status == told


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
        self._tiers = _Tiers()
        registry.register(self._tiers)
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
        """Set what is known of a tier; None leaves the wanted replicas as they were."""
        before = self._tiers.known.get(key)
        if wanted is None and before is not None:
            wanted = before.wanted
        statuses = {sys.intern(it.type): sys.intern(it.status) for it in conditions}
        self._tiers.known[key] = _Known(ready, wanted, statuses)

    def forget(self, key: Key) -> None:
        """Drop the series of a tier that is gone."""
        self._tiers.known.pop(key, None)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)
