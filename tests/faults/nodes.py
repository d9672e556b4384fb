"""Tiers on a real node: an operator whose pods run there, and how tests look at them."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

import workloads
from kit import api, namespaces
from kit.cluster import Cluster
from kit.namespaces import NAMESPACES
from kit.processes import Stuck
from operating import Manifest, World
from tiergarten_operator.facts import CHILDREN, POD, TIER
from tiergarten_operator.settings import Settings

PORT = 8080
SECONDS = 50  # within the minute of a test; the node shares two cores with whatever runs
MODEL = "small.gguf"
# One thread, for two that share a core spin for each other: eight tokens a second, not a thousand.
SMALL: Manifest = {"contextLength": 1024, "promptCacheMiB": 0, "threads": 1}
CONDITIONS = ("Accepted", "ModelAvailable", "Available", "Progressing", "Ready")


def settings(image: Callable[[str], str], **changes: Any) -> Settings:
    """Return the settings of an operator whose pods run the images of the test."""
    known: dict[str, Any] = {
        "http_port": 0,
        "missing_seconds": 0.2,
        "server_image": image("llama"),
        "server_command": ("tiergarten-llama-server",),
        "fetch_image": image("fetch"),
        "image_pull_policy": "Never",
        "claim_size": "1Gi",
    }
    return Settings(**(known | changes))


def tier(name: str, source: Manifest, **spec: Any) -> Manifest:
    """Return a tier whose server is small.

    Args:
        name: Its name, and its model's.
        source: Where its model comes from; `files` beside it are the model's.
        spec: Fields of its spec.
    """
    model: Manifest = {"name": name, "source": dict(source)}
    if "files" in source:
        model |= {"files": model["source"].pop("files")}
    body = {"apiVersion": "tiergarten.dev/v1alpha1", "kind": "ModelTier"}
    return body | {"metadata": {"name": name}, "spec": {"model": model, "runtime": SMALL} | spec}


def volume(claim: str, *files: str, sub_path: str = "") -> Manifest:
    """Return a source: files of a claim."""
    source: Manifest = {
        "volume": {"claimName": claim} | ({"subPath": sub_path} if sub_path else {})
    }
    return source | ({"files": [{"name": name} for name in files]} if files else {})


class NodeWorld(World):
    """A namespace on a real node, in which only pods that ask for nothing special may run."""

    seconds = SECONDS

    def __init__(self, cluster: Cluster, namespace: str, *, restricted: bool = True) -> None:
        super().__init__(cluster.api, namespace)
        self.cluster = cluster
        if restricted:
            path = f"{NAMESPACES}/{namespace}"
            api.merge(cluster.api, path, workloads.RESTRICTED).raise_for_status()

    def remove(self) -> None:
        """Delete all tiers, and then the namespace."""
        for it in self.all(TIER):
            self.delete(TIER, it["metadata"]["name"])
        namespaces.remove(self.cluster, self.namespace)

    def put(self, manifest: Manifest) -> Manifest:
        """Make a tier, without changing what was given."""
        return self.make(copy.deepcopy(manifest))

    def wait(self, what: str, check: Callable[[], object]) -> None:
        """Wait, and if it was in vain say how all tiers and pods are."""
        try:
            super().wait(what, check)
        except Stuck as error:
            raise Stuck(f"{error}\n{self.summary()}") from None

    def summary(self) -> str:
        """Return the state of all tiers and pods, for people."""
        lines = []
        for it in self.all(TIER):
            name = it["metadata"]["name"]
            for condition in self.conditions(name).values():
                words = (name, condition["type"], condition["reason"], condition["message"])
                lines.append(" ".join(words))
        for it in self.all(POD):
            for container in it["status"].get("containerStatuses", ()):
                states = {name: container.get(name) for name in ("state", "lastState")}
                lines.append(f"{it['metadata']['name']} {it['status']['phase']} {states}")
        return "\n".join(lines)

    def pods(self, tier: str, component: str = "server") -> list[Manifest]:
        """Return a tier's pods, oldest first."""
        wanted = f"tiergarten.dev/tier={tier},app.kubernetes.io/component={component}"
        answer = self.server.get(self.path(POD), params={"labelSelector": wanted})
        found = list(answer.raise_for_status().json()["items"])
        return sorted(found, key=lambda it: str(it["metadata"]["creationTimestamp"]))

    def address(self, tier: str) -> str:
        """Return the URL of a tier's one pod that is ready."""
        ready = [it for it in self.pods(tier) if is_ready(it)]
        assert len(ready) == 1, [it["metadata"]["name"] for it in ready]
        return url(ready[0])

    def events(self, tier: str) -> list[Manifest]:
        """Return the events about a tier, as `kubectl describe` shows them."""
        path = f"{NAMESPACES}/{self.namespace}/events"
        query = {"fieldSelector": f"involvedObject.kind=ModelTier,involvedObject.name={tier}"}
        return list(self.server.get(path, params=query).raise_for_status().json()["items"])

    def told(self, tier: str) -> set[tuple[str, str]]:
        """Return type and reason of the events about a tier."""
        return {(it["type"], it["reason"]) for it in self.events(tier)}

    def everything(self) -> str:
        """Return all that the namespace holds but its Secrets, and its pods' logs, as text."""
        kinds = (TIER, *CHILDREN, POD)
        found = [self.server.get(self.path(kind)).text for kind in kinds]
        found.append(self.server.get(f"{NAMESPACES}/{self.namespace}/events").text)
        found += [self.log(it["metadata"]["name"]) for it in self.all(POD)]
        return "\n".join(found)

    def evict(self, pod: str) -> int:
        """Ask a pod to go as a node's drain does, and return the answer's status."""
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        return self.server.post(f"{self.path(POD, pod)}/eviction", json=body).status_code

    def log(self, pod: str, **query: str) -> str:
        """Return what a pod has written."""
        return self.server.get(f"{self.path(POD, pod)}/log", params=query).text


def is_ready(pod: Manifest) -> bool:
    """Return whether a pod answers and will go on to."""
    conditions = pod.get("status", {}).get("conditions", ())
    return "deletionTimestamp" not in pod["metadata"] and any(
        it["type"] == "Ready" and it["status"] == "True" for it in conditions
    )


def url(pod: Manifest) -> str:
    """Return where a pod's server is."""
    return f"http://{pod['status']['podIP']}:{PORT}"


def ask(address: str, question: str, key: str = "", **fields: Any) -> httpx.Response:
    """Ask a server a question."""
    body = {"messages": [{"role": "user", "content": question}], "max_tokens": 40} | fields
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    path = f"{address}/v1/chat/completions"
    return httpx.post(path, json=body, headers=headers, timeout=30, trust_env=False)


def content(answer: httpx.Response) -> str:
    """Return what a server said."""
    answer.raise_for_status()
    return str(answer.json()["choices"][0]["message"]["content"])


def sized(file: Path) -> int:
    """Return a file's bytes."""
    return file.stat().st_size
