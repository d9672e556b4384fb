"""The chart on a real node, with a tier of two replicas, and how tests look at them."""

import contextlib
from collections.abc import Callable
from typing import Any

import httpx

import chart_demo
import nodes
from kit import api
from kit.cluster import Cluster
from loads import Load
from nodes import NodeWorld
from operating import Manifest
from tiergarten_operator.facts import POD, TIER

SECONDS = 120
NAME = "small"  # of the tier
ALONE: dict[str, Any] = {"timeout": 30, "trust_env": False}
ROUTERS = {"labelSelector": "app.kubernetes.io/component=router"}


class Site(NodeWorld):
    """A namespace with the chart in it, and a tier of two replicas."""

    seconds = SECONDS

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        super().__init__(cluster, namespace)
        self.demo = chart_demo.Demo(cluster, namespace, print, SECONDS)

    def names(self) -> set[str]:
        """Return the names of the tier's pods that are not on their way out."""
        found = [it["metadata"] for it in self.pods(NAME)]
        return {it["name"] for it in found if "deletionTimestamp" not in it}

    def routers(self) -> list[Manifest]:
        """Return the router's pods."""
        answer = self.server.get(self.path(POD), params=ROUTERS).raise_for_status()
        return list(answer.json()["items"])

    def wait(self, what: str, check: Callable[[], object]) -> None:
        """Wait for something that may be asked of pods that are on their way."""

        def holds() -> bool:
            with contextlib.suppress(httpx.TransportError, ValueError):
                return bool(check())
            return False

        super().wait(what, holds)

    def settle(self, replicas: int) -> None:
        """Wait until so many pods serve, none is on its way out, and every router knows them."""

        def settled() -> bool:
            pods = self.pods(NAME)
            known = {frozenset(healthy(it)) for it in self.routers()}
            return (
                len(pods) == replicas
                and all(map(nodes.is_ready, pods))
                and self.reasons(NAME)["Progressing"] == "Settled"
                and known == {frozenset(it["metadata"]["name"] for it in pods)}
            )

        self.wait(f"{replicas} replicas that every router knows", settled)

    def scale(self, replicas: int) -> None:
        """Scale the tier as `kubectl scale` does."""
        path = f"{self.path(TIER, NAME)}/scale"
        api.merge(self.server, path, {"spec": {"replicas": replicas}}).raise_for_status()
        self.settle(replicas)

    def kill(self, pod: Manifest) -> None:
        """End a pod's process at once, as the kernel does when memory runs out."""
        (container,) = pod["status"]["containerStatuses"]
        self.cluster.containerd.kill(container["containerID"].rpartition("/")[2])

    def load(self, **options: Any) -> Load:
        """Return a load on the router's Service."""
        self.settle(2)
        return Load(self.demo.url, NAME, **options)


def at(router: Manifest, port: int = 8080) -> str:
    """Return the URL of a router's pod."""
    return f"http://{router['status']['podIP']}:{port}"


def healthy(router: Manifest) -> set[str]:
    """Return the replicas of the tier that a router counts as healthy."""
    (tier,) = asked(router, 8080, "/v1/tiers")["tiers"]
    return {it["id"] for it in tier["replicas"] if it["healthy"]}


def reachable(router: Manifest) -> bool:
    """Return whether a router has the API server; it must be ready in any case."""
    return bool(asked(router, 9090, "/readyz")["source"]["reachable"])


def asked(router: Manifest, port: int, path: str) -> Manifest:
    """Ask a router's pod for what it says of itself."""
    answer = httpx.get(f"{at(router, port)}{path}", **ALONE)
    assert answer.is_success, answer.text
    return dict(answer.json())
