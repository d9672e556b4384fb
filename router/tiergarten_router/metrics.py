"""The router's metrics: plain numbers on the way of a query, rendered when Prometheus asks.

Label values come from configured sets (tiers, endpoints, our own words), never from clients, so
that no client can make series.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

PREFIX: Final = "tiergarten_router_"
# OpenTelemetry's buckets for a server's request duration, and longer ones for slow machines.
DURATIONS: Final = (*(0.01 * 2**n for n in range(14)), 120.0, 300.0)
CACHES: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1)
FIRST_TOKENS: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(15.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0),
)
LAGS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
SCORES: Final = tuple(float(score) for score in range(10, 101, 10))

Labels = tuple[str, ...]
Sample = tuple[Labels, float]


class Counts:
    """A counter by labels.

    Args:
        name: Its name without prefix and `_total`.
        text: What it counts.
        labels: Names of its labels.
    """

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name, self.text, self.labels = name, text, labels
        self._counts: Counter[Labels] = Counter() if labels else Counter({(): 0})

    def add(self, *labels: str, amount: float = 1) -> None:
        """Count once, or `amount` times."""
        self._counts[labels] += amount  # type: ignore[assignment]  # a Counter takes floats

    def get(self, *labels: str) -> float:
        """Return the count."""
        return self._counts[labels]

    def family(self) -> Metric:
        """Return the samples for Prometheus."""
        family = CounterMetricFamily(PREFIX + self.name, self.text, labels=self.labels)
        for labels, count in list(self._counts.items()):  # from another thread too
            family.add_metric(labels, count)
        return family


class Histogram:
    """Observations in buckets, by labels.

    Args:
        name: Its whole name.
        text: What it observes, with the unit.
        buckets: Upper bounds, ascending.
        labels: Names of its labels.
    """

    def __init__(
        self, name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = ()
    ) -> None:
        self.name, self.text, self.labels = name, text, labels
        self._buckets = buckets
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        if not labels:  # its one series is there from the start
            self._counts[()], self._sums[()] = [0] * (len(buckets) + 1), 0.0

    def observe(self, value: float, *labels: str) -> None:
        """Put a value into its bucket."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self._buckets) + 1)
            self._sums[labels] = 0.0
        counts[bisect_left(self._buckets, value)] += 1
        self._sums[labels] += value

    def family(self) -> Metric:
        """Return the samples for Prometheus."""
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        bounds = [*map(str, self._buckets), "+Inf"]
        for labels, counts in list(self._counts.items()):
            family.add_metric(
                labels, list(zip(bounds, accumulate(counts), strict=True)), self._sums[labels]
            )
        return family


class Gauges:
    """A gauge whose samples are asked for when they are needed.

    Args:
        name: Its name without prefix.
        text: What it shows.
        labels: Names of its labels.
        samples: Returns labels and value of each sample.
    """

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        samples: Callable[[], Iterable[Sample]],
    ) -> None:
        self.name, self.text, self.labels, self._samples = name, text, labels, samples

    def family(self) -> Metric:
        """Return the samples for Prometheus."""
        family = GaugeMetricFamily(PREFIX + self.name, self.text, labels=self.labels)
        for labels, value in self._samples():
            family.add_metric(labels, value)
        return family


class Metrics(Collector):
    """All metrics of a router.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counts("requests", "Queries by how they ended.", ("tier", "outcome"))
        self.attempts = Counts("upstream_attempts", "Tries at endpoints.", ("tier", "result"))
        self.fallbacks = Counts("fallbacks", "Queries that went on.", ("from", "to", "reason"))
        self.decisions = Counts("route_decisions", "First tier chosen.", ("tier", "strategy"))
        self.tokens = Counts("tokens", "Tokens of answers.", ("tier", "type"))
        self.cache = Counts("cache_requests", "Look-ups in the answer cache.", ("result",))
        self.breakers = Counts("breaker_transitions", "Breakers that changed.", ("tier", "to"))
        self.retries = Counts("retries", "Tries at another endpoint of a tier.", ("tier", "reason"))
        self.budget_exhausted = Counts(
            "retry_budget_exhausted", "Queries that failed because too many were being retried."
        )
        self.prefixes = Counts(
            "prefix_queries",
            "Long or continued prompts by whether the endpoint held most of them (hit, miss).",
            ("tier", "result"),
        )
        self.refusals = Counts(
            "refused_requests", "Requests that were refused before they had a door.", ("code",)
        )
        self.ws_events = Counts("ws_events", "Events that subscribers were sent.")
        self.ws_lagged = Counts("ws_lagged", "Times that a subscriber read too slowly.")
        self.ws_resumes = Counts("ws_resumes", "Subscribers that came back.", ("result",))
        self.scores = Histogram(PREFIX + "complexity_score", "Scores of queries, 0 to 100.", SCORES)
        self.durations = Histogram(
            "gen_ai_server_request_duration_seconds",
            "Time to the end of an answer, in seconds.",
            DURATIONS,
            ("tier",),
        )
        self.first_tokens = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time to the first content of an answer, in seconds.",
            FIRST_TOKENS,
            ("tier",),
        )
        self.queue_waits = Histogram(
            PREFIX + "queue_wait_seconds", "Wait for a slot, in seconds.", FIRST_TOKENS, ("tier",)
        )
        self.lags = Histogram(
            PREFIX + "event_loop_lag_seconds",
            "How late the event loop came to what was due, in seconds; ten times a second.",
            LAGS,
        )
        self.cache_seconds = Histogram(
            PREFIX + "cache_seconds",
            "Time that Redis took for the cache, in seconds.",
            CACHES,
            ("op",),
        )
        self._gauges: list[Gauges] = []
        self._registry = registry
        registry.register(self)
        ProcessCollector(registry=registry)

    def show(
        self, name: str, text: str, labels: Sequence[str], samples: Callable[[], Iterable[Sample]]
    ) -> None:
        """Add a gauge that is asked for when Prometheus asks."""
        self._gauges.append(Gauges(name, text, labels, samples))

    def collect(self) -> Iterator[Metric]:
        """Yield everything, for prometheus_client."""
        own: Mapping[str, object] = vars(self)
        for metric in own.values():
            if isinstance(metric, Counts | Histogram):
                yield metric.family()
        for gauge in self._gauges:
            yield gauge.family()

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
