"""The ServiceAccount of a tier's pods: one that may nothing, so that a pod's breach stays there."""

from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator.desired.stamp import child
from tiergarten_operator.facts import ACCOUNT, Manifest


def build(tier: ModelTier) -> Manifest:
    """Return the ServiceAccount, whose token no pod gets."""
    return child(ACCOUNT, tier) | {"automountServiceAccountToken": False}
