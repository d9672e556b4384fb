"""Namespaces for tests: each test works in its own, and takes it away afterwards.

Without a controller manager nothing fills a new namespace and nothing empties an old one, so at
level 1 both are done here.
"""

from kit.cluster import Cluster
from kit.processes import wait_for

NAMESPACES = "/api/v1/namespaces"
PREFIX = "test-"


def make(cluster: Cluster) -> str:
    """Make a namespace in which pods may be made, and return its name."""
    body = {"metadata": {"generateName": PREFIX}}
    made = cluster.api.post(NAMESPACES, json=body).raise_for_status().json()
    name = str(made["metadata"]["name"])
    accounts = f"{NAMESPACES}/{name}/serviceaccounts"
    if cluster.level == 1:
        cluster.api.post(accounts, json={"metadata": {"name": "default"}}).raise_for_status()
    else:
        there = f"{accounts}/default"
        wait_for(f"the service account of {name}", lambda: cluster.api.get(there).is_success, 30)
    return name


def remove(cluster: Cluster, name: str) -> None:
    """Take a namespace away: at once at level 1, else as soon as its pods have ended."""
    if cluster.level == 1:
        cluster.etcd.remove_namespace(name)
        return
    path = f"{NAMESPACES}/{name}"
    cluster.api.request("DELETE", path, json={"propagationPolicy": "Background"})
    cluster.api.request("DELETE", f"{path}/pods", json={"gracePeriodSeconds": 1})
