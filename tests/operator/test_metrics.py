"""Series of tiers come and go with them."""

from prometheus_client import CollectorRegistry

from tiergarten_api.v1alpha1 import Condition
from tiergarten_operator.facts import Key
from tiergarten_operator.metrics import Metrics

READY = Condition(
    type="Ready",
    status="True",
    reason="Serving",
    message="",
    last_transition_time="2026-01-01T00:00:00Z",
)


def test_a_tiers_series_go_with_it_and_no_others() -> None:
    metrics = Metrics(CollectorRegistry())
    for name in ("q4", "q8"):
        metrics.tier(Key("models", name), 1, 2, [READY])
    metrics.tier(Key("models", "scaled"), 1, None, [])

    metrics.forget(Key("models", "q4"))

    text = metrics.text().decode()
    assert 'tier="q4"' not in text
    assert 'tier_condition{namespace="models",status="True",tier="q8",type="Ready"} 1.0' in text
    assert 'tier_condition{namespace="models",status="False",tier="q8",type="Ready"} 0.0' in text
    assert 'tier_desired_replicas{namespace="models",tier="scaled"}' not in text
