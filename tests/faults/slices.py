"""EndpointSlices and ModelTiers as the controllers and users of a cluster write them, for tests."""

import copy
import json
from collections.abc import Sequence
from typing import Any

from tiergarten_router.sources.kube import join, objects

Manifest = dict[str, Any]
READY = {"ready": True, "serving": True, "terminating": False}
LOADING = {"ready": False, "serving": False, "terminating": False}
DRAINING = {"ready": False, "serving": True, "terminating": True}
ENDED = {"ready": False, "serving": False, "terminating": True}
LABELS = {
    "app.kubernetes.io/managed-by": "tiergarten-operator",
    "app.kubernetes.io/name": "tiergarten",
    "app.kubernetes.io/component": "server",
}
PORT = {"name": "http", "port": 8080, "protocol": "TCP"}
TIER: Manifest = {
    "apiVersion": "tiergarten.dev/v1alpha1",
    "kind": "ModelTier",
    "metadata": {"name": "q4"},
    "spec": {
        "model": {
            "name": "small",
            "source": {"volume": {"claimName": "models"}},
            "files": [{"name": "small.gguf"}],
        },
        "runtime": {"parallel": 2, "contextLength": 4096},
    },
}
ROUTE: Manifest = {
    "apiVersion": "tiergarten.dev/v1alpha1",
    "kind": "TierRoute",
    "metadata": {"name": "auto"},
    "spec": {"model": "auto", "strategy": "Ordered", "tiers": [{"name": "q4"}]},
}


def pod(address: str, name: str, conditions: Manifest | None = None) -> Manifest:
    """Return an entry of a slice; without conditions it says nothing of them."""
    target = {"kind": "Pod", "name": name, "uid": f"uid-of-{name}"}
    found: Manifest = {"addresses": [address], "targetRef": target}
    return found | ({} if conditions is None else {"conditions": conditions})


def piece(
    name: str,
    *pods: Manifest,
    tier: str = "q4",
    family: str = "IPv4",
    ports: Sequence[Manifest] = (PORT,),
) -> Manifest:
    """Return a slice of a tier's Service."""
    labels = LABELS | {"kubernetes.io/service-name": tier, "tiergarten.dev/tier": tier}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": labels},
        "addressType": family,
        "endpoints": list(pods),
        "ports": list(ports),
    }


def read(manifest: Manifest, namespace: str = "models") -> join.Rows:
    """Return what the router reads of a slice."""
    body = copy.deepcopy(manifest)
    body["metadata"]["namespace"] = namespace
    return join.rows(objects.endpoint_slice(json.dumps(body).encode()))


def tier(name: str = "q4", **spec: Any) -> Manifest:
    """Return a tier with changes of its spec."""
    body = copy.deepcopy(TIER)
    body["metadata"]["name"] = name
    body["spec"] |= spec
    body["spec"]["model"] |= {} if "model" in spec else {"name": f"model-{name}"}
    return body
