"""Namespaces for tests: each test works in its own, and takes it away afterwards.

Without a controller manager nothing fills a new namespace and nothing empties an old one, so at
level 1 both are done here.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx

from kit.api import MERGE
from kit.processes import wait_for

NAMESPACES = "/api/v1/namespaces"
PREFIX = "test-"
AT_ONCE = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}


def make(api: httpx.Client, level: int) -> str:
    """Make a namespace in which pods may be made, and return its name."""
    body = {"metadata": {"generateName": PREFIX}}
    name = str(api.post(NAMESPACES, json=body).raise_for_status().json()["metadata"]["name"])
    accounts = f"{NAMESPACES}/{name}/serviceaccounts"
    if level == 1:
        api.post(accounts, json={"metadata": {"name": "default"}}).raise_for_status()
    else:
        there = f"{accounts}/default"
        wait_for(f"the service account of {name}", lambda: api.get(there).is_success, 30)
    return name


def remove(api: httpx.Client, name: str, level: int) -> None:
    """Begin to delete a namespace, its pods at once; at level 1 empty it, too."""
    pods = f"{NAMESPACES}/{name}/pods"
    api.request("DELETE", f"{NAMESPACES}/{name}", json={"propagationPolicy": "Background"})
    if level == 1:
        _empty(api, name)
        finalize = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        api.put(f"{NAMESPACES}/{name}/finalize", json=finalize | {"spec": {"finalizers": []}})
    else:
        api.request("DELETE", pods, json={"gracePeriodSeconds": 1})


def _empty(api: httpx.Client, namespace: str) -> None:
    for path in _listable(api, namespace):
        for item in api.get(path).json().get("items", []):
            one = f"{path}/{item['metadata']['name']}"
            if item["metadata"].get("finalizers"):  # of a controller that is not here
                freed = json.dumps({"metadata": {"finalizers": None}})
                api.patch(one, content=freed, headers=MERGE)
            api.request("DELETE", one, json=AT_ONCE)


def _listable(api: httpx.Client, namespace: str) -> Iterator[str]:
    """Yield the path of each kind of object that a namespace can hold."""
    yield from _paths("/api/v1", _get(api, "/api/v1"), namespace)
    for group in _get(api, "/apis")["groups"]:
        version = f"/apis/{group['preferredVersion']['groupVersion']}"
        yield from _paths(version, _get(api, version), namespace)


def _paths(version: str, discovered: dict[str, Any], namespace: str) -> Iterator[str]:
    for resource in discovered.get("resources", []):
        if resource["namespaced"] and {"list", "delete"} <= set(resource["verbs"]):
            yield f"{version}/namespaces/{namespace}/{resource['name']}"


def _get(api: httpx.Client, path: str) -> dict[str, Any]:
    answer = api.get(path)
    return dict(answer.json()) if answer.is_success else {}
