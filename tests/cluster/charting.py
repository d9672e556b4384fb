"""What the tests of the chart share: ways to fill in its values, and finding objects in it."""

from collections.abc import Callable
from typing import Any

Manifest = dict[str, Any]
Rendered = Callable[..., list[Manifest]]

# One of each way to fill in the values; every object of the chart is in one of them.
CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "operator": {"replicas": 2, "settings": {"log_level": "debug", "network_policies": True}},
        "router": {
            "replicas": 3,
            "maxUnavailable": "50%",
            "opsPort": 0,
            "settings": {"body_bytes": 8388608, "queue_seconds": 1.5, "cache": False},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "routers", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "priorityClassName": "system-cluster-critical",
            "podAnnotations": {"example.com/note": "1"},
        },
        "images": {
            "registry": "mirror.example/llm",
            "pullSecrets": [{"name": "mirror"}],
            "router": {"tag": "2", "digest": f"sha256:{'a' * 64}"},
            "llama": {"repository": "llama.cpp", "tag": "server", "command": ["/app/llama-server"]},
            "tierPullPolicy": "Always",
        },
        "redis": {"existingSecret": "redis"},
        "service": {"type": "LoadBalancer", "port": 8000, "annotations": {"example.com/a": "b"}},
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "hosts": ["llm.example"],
            "tls": [{"secretName": "llm-tls", "hosts": ["llm.example"]}],
        },
        "admissionPolicy": {"enabled": True, "images": ["mirror.example/"], "sources": ["volume"]},
        "networkPolicy": {"enabled": True},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "every namespace": {"allNamespaces": True, "keys": {"llamaApiKey": False}},
    "a long name": {"fullnameOverride": f"a{'-long' * 12}"},
    "one router, own keys": {
        "router": {"replicas": 1, "stopDelaySeconds": 0},
        "keys": {"existingSecret": "own"},
    },
}


def only(objects: list[Manifest], kind: str, ending: str = "") -> Manifest:
    """Return the one object of a kind whose name ends so."""
    (found,) = (
        it for it in objects if it["kind"] == kind and it["metadata"]["name"].endswith(ending)
    )
    return found


def pods(objects: list[Manifest]) -> list[Manifest]:
    """Return the pod templates of all Deployments."""
    return [it["spec"]["template"] for it in objects if it["kind"] == "Deployment"]
