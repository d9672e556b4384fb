"""The cluster's etcd, by its JSON door: what no API server does for a test."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx

from kit import api

REGISTRY = "/registry/"
AFTER_REGISTRY = "/registry0"  # the least key that does not start so


class Etcd:
    """An etcd.

    Args:
        url: Where it listens.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def answers(self) -> bool:
        """Say whether it serves."""
        with self._client() as etcd:
            return api.answers(etcd, "/health")

    def compact(self) -> None:
        """Forget all old versions, so that an API server refuses a watch from one with 410.

        An API server that runs has a memory of its own; restart it to make it forget, too.
        """
        with self._client() as etcd:
            revision = _post(etcd, "maintenance/status", {})["header"]["revision"]
            _post(etcd, "kv/compaction", {"revision": revision, "physical": True})

    def remove_namespace(self, name: str) -> None:
        """Delete a namespace with all in it, whatever finalizers say; watchers see it happen."""
        with self._client() as etcd:
            for key in _keys(etcd):
                if f"/{name}/" in key or key == f"{REGISTRY}namespaces/{name}":
                    _post(etcd, "kv/deleterange", {"key": _encoded(key)})

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=f"{self._url}", trust_env=False)


def _keys(etcd: httpx.Client) -> Iterator[str]:
    every = {"key": _encoded(REGISTRY), "range_end": _encoded(AFTER_REGISTRY), "keys_only": True}
    for entry in _post(etcd, "kv/range", every).get("kvs", []):
        yield base64.b64decode(entry["key"]).decode()


def _post(etcd: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return dict(etcd.post(f"/v3/{path}", json=body).raise_for_status().json())


def _encoded(key: str) -> str:
    return base64.b64encode(key.encode()).decode()
