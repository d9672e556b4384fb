"""The NetworkPolicy of a tier, where an administrator asked for them.

The kubelet's probes come from the node, which no policy shuts out.
"""

from collections.abc import Iterator

from tiergarten_api import labels
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator import names
from tiergarten_operator.desired.stamp import child
from tiergarten_operator.facts import POLICY, Manifest
from tiergarten_operator.settings import Settings


def build(tier: ModelTier, settings: Settings) -> Iterator[Manifest]:
    """Yield the policy: the router may come in, and the server may go nowhere."""
    if settings.network_policies:
        router = {
            "namespaceSelector": {},
            "podSelector": {"matchLabels": dict(settings.router_labels)},
        }
        door = {"port": labels.PORT_NAME, "protocol": "TCP"}
        yield child(POLICY, tier) | {
            "spec": {
                "podSelector": {"matchLabels": names.selector(tier)},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [router], "ports": [door]}],
                "egress": [],
            }
        }
