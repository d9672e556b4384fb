"""The headless Service of a tier: the router balances by itself and wants every pod's address."""

from tiergarten_api import labels
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator import names
from tiergarten_operator.desired.stamp import child
from tiergarten_operator.facts import SERVICE, Manifest


def build(tier: ModelTier) -> Manifest:
    """Return the Service; its labels reach the EndpointSlices that the router watches."""
    port = {
        "name": labels.PORT_NAME,
        "port": labels.PORT,
        "protocol": "TCP",
        "targetPort": labels.PORT_NAME,
    }
    spec = {"clusterIP": "None", "selector": names.selector(tier), "ports": [port]}
    return child(SERVICE, tier) | {"spec": spec}
