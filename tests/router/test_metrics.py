"""Plain numbers that Prometheus can read."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tiergarten_router.metrics import Counts, Histogram, Metrics


@given(st.lists(st.floats(0, 400)))
def test_a_histogram_counts_every_value_once_and_in_its_bucket(values: list[float]) -> None:
    histogram = Histogram("h", "text", (1.0, 10.0, 100.0), ("tier",))
    for value in values:
        histogram.observe(value, "q2")

    samples = {
        sample.labels.get("le"): sample.value
        for sample in histogram.family().samples
        if sample.name == "h_bucket"
    }

    for bound in ("1.0", "10.0", "100.0"):
        if values:
            assert samples[bound] == sum(value <= float(bound) for value in values)
    assert samples.get("+Inf", 0) == len(values)


def test_a_counter_counts_by_labels() -> None:
    counts = Counts("c", "text", ("a",))
    counts.add("x")
    counts.add("x", amount=2)

    assert (counts.get("x"), counts.get("y")) == (3, 0)


def test_gauges_are_asked_for_when_prometheus_asks() -> None:
    metrics, shown = Metrics(CollectorRegistry()), [(("q2",), 1.0)]
    metrics.show("g", "text", ("tier",), lambda: shown)
    shown.append((("q3",), 2.0))

    families = {f.name: f for f in text_string_to_metric_families(metrics.render().decode())}

    assert [s.value for s in families["tiergarten_router_g"].samples] == [1.0, 2.0]
