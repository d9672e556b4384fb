"""The PodDisruptionBudget of a tier that has more than one replica."""

from collections.abc import Iterator

from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator import names
from tiergarten_operator.desired.deployment import most_replicas
from tiergarten_operator.desired.stamp import child
from tiergarten_operator.facts import BUDGET, Manifest


def build(tier: ModelTier) -> Iterator[Manifest]:
    """Yield the budget. With one replica there is none, so that its node can be drained."""
    if most_replicas(tier) > 1:
        yield child(BUDGET, tier) | {
            "spec": {
                "maxUnavailable": tier.spec.disruption.max_unavailable,
                "selector": {"matchLabels": names.selector(tier)},
                # A pod that never gets ready must not block a drain for ever.
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            }
        }
