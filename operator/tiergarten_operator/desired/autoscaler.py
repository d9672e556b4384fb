"""The HorizontalPodAutoscaler of a tier; it works on while the operator is away."""

from collections.abc import Iterator
from typing import Any, Final

from tiergarten_api.v1alpha1 import AutoscalingSpec, ModelTier
from tiergarten_operator.desired.stamp import child
from tiergarten_operator.facts import AUTOSCALER, DEPLOYMENT, Manifest

BUSY_SLOTS: Final = "llamacpp:requests_processing"


def build(tier: ModelTier) -> Iterator[Manifest]:
    """Yield the autoscaler, if the tier follows its load."""
    scaling = tier.spec.autoscaling
    if scaling is None:
        return
    yield child(AUTOSCALER, tier) | {
        "spec": {
            "scaleTargetRef": {
                "apiVersion": DEPLOYMENT.api_version,
                "kind": DEPLOYMENT.name,
                "name": tier.metadata.name,
            },
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": [_metric(tier, scaling)],
            "behavior": {
                "scaleDown": {
                    "stabilizationWindowSeconds": scaling.scale_down_stabilization_seconds
                }
            },
        }
    }


def _metric(tier: ModelTier, scaling: AutoscalingSpec) -> dict[str, Any]:
    if scaling.metric == "CPU":
        target = {"type": "Utilization", "averageUtilization": scaling.target}
        return {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    slots = tier.spec.runtime.parallel * scaling.target * 10  # thousandths of the percentage
    target = {"type": "AverageValue", "averageValue": f"{slots}m"}
    return {"type": "Pods", "pods": {"metric": {"name": BUSY_SLOTS}, "target": target}}
