"""The least objects that the API server accepts, and how a test changes them."""

import copy
from collections.abc import Callable
from typing import Any

Change = Callable[[dict[str, Any]], None]

GROUP = "/apis/tiergarten.dev/v1alpha1/namespaces"
SHA256 = "a" * 64
DIGEST = f"registry.example/model@sha256:{SHA256}"

TIER: dict[str, Any] = {
    "apiVersion": "tiergarten.dev/v1alpha1",
    "kind": "ModelTier",
    "metadata": {"name": "small"},
    "spec": {
        "model": {
            "name": "qwen2.5-1.5b",
            "source": {"huggingFace": {"repo": "org/repo"}},
            "files": [{"name": "m-q4_k_m.gguf", "sha256": SHA256}],
        }
    },
}
ROUTE: dict[str, Any] = {
    "apiVersion": "tiergarten.dev/v1alpha1",
    "kind": "TierRoute",
    "metadata": {"name": "auto"},
    "spec": {
        "model": "auto",
        "strategy": "Threshold",
        "tiers": [
            {"name": "small", "maxDifficulty": 40},
            {"name": "large", "maxDifficulty": 100},
        ],
    },
}


def tiers(namespace: str) -> str:
    """Return the path of a namespace's tiers."""
    return f"{GROUP}/{namespace}/modeltiers"


def routes(namespace: str) -> str:
    """Return the path of a namespace's routes."""
    return f"{GROUP}/{namespace}/tierroutes"


def changed(least: dict[str, Any], *changes: Change) -> dict[str, Any]:
    """Return a copy of an object with changes."""
    body = copy.deepcopy(least)
    for change in changes:
        change(body)
    return body


def put(path: str, value: object) -> Change:
    """Return the change that sets what is at a path, such as "spec/model/files/0/name"."""

    def change(body: dict[str, Any]) -> None:
        *way, last = path.split("/")
        at: Any = body
        for key in way:
            at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
        at[last] = value

    return change


def drop(path: str) -> Change:
    """Return the change that takes away what is at a path."""

    def change(body: dict[str, Any]) -> None:
        *way, last = path.split("/")
        at: Any = body
        for key in way:
            at = at[int(key)] if isinstance(at, list) else at[key]
        del at[last]

    return change
