"""The operator with many tiers: how long until all is applied, and what it costs then.

    python tests/bench/operator_scale.py [--tiers 2000] [--churn 3600] [--json FILE]

A test Kubernetes of level 1 (etcd and API server) runs on the same cores. Tiers are made first;
then the operator is started, as a process of its own. Writes are counted by the API server itself.
With `--churn`, tiers are edited at random for so many seconds, to see whether memory grows.
"""

import argparse
import contextlib
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "cluster"), str(HERE.parent / "faults")]

import measuring  # noqa: E402 -- the path is set above
from kit import api, crds, images, namespaces  # noqa: E402 -- as above
from kit.cluster import Cluster  # noqa: E402 -- as above
from measuring import ask, cpu_seconds, mib, on_a_cluster, seconds_until  # noqa: E402 -- as above
from operator_figures import Figures, show  # noqa: E402 -- as above
from routing import free_port  # noqa: E402 -- as above

TIERS = "/apis/tiergarten.dev/v1alpha1/namespaces/{}/modeltiers"
CHILDREN = (
    "/api/v1/namespaces/{}/serviceaccounts",
    "/api/v1/namespaces/{}/services",
    "/apis/apps/v1/namespaces/{}/deployments",
)
WRITE = re.compile(r'^apiserver_request_total\{(?=[^}]*verb="(?:APPLY|POST|PUT|PATCH|DELETE)")')
LEASES = 'resource="leases"'  # the API server renews one of its own


def tier(number: int) -> dict[str, Any]:
    """Return a tier that needs no fetch."""
    files = [{"name": "model.gguf"}]
    source = {"volume": {"claimName": "models"}}
    return {
        "apiVersion": "tiergarten.dev/v1alpha1",
        "kind": "ModelTier",
        "metadata": {"name": f"tier-{number}"},
        "spec": {"model": {"name": f"model-{number}", "source": source, "files": files}},
    }


def make_tiers(cluster: Cluster, namespace: str, count: int) -> None:
    """Make a claim, and tiers that read from it."""
    needs = {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"metadata": {"name": "models"}, "spec": needs}
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    cluster.api.post(path, json=claim).raise_for_status()

    def make(number: int) -> None:
        cluster.api.post(TIERS.format(namespace), json=tier(number)).raise_for_status()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(count)))


@contextlib.contextmanager
def operator(cluster: Cluster, namespace: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the operator; yield its process and the URL of its endpoints."""
    port = free_port()
    frugal = dict(it.split("=") for it in images.FRUGAL)  # as in its image
    env = os.environ | frugal | {"TIERGARTEN_HTTP_PORT": str(port), "TIERGARTEN_LOG_LEVEL": "error"}
    command = [sys.executable, "-m", "tiergarten_operator", "--namespace", namespace]
    process = subprocess.Popen([*command, "--kubeconfig", str(cluster.kubeconfig)], env=env)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def writes(cluster: Cluster) -> int:
    """Return how many writes the API server has counted."""
    lines = cluster.api.get("/metrics", timeout=60).raise_for_status().text.splitlines()
    counted = [it for it in lines if WRITE.match(it) and LEASES not in it]
    return int(sum(float(it.rpartition(" ")[2]) for it in counted))


def count(cluster: Cluster, path: str) -> int:
    """Return how many objects there are, without reading them all."""
    answer = cluster.api.get(path, params={"limit": "1"}, timeout=60).raise_for_status()
    listed = answer.json()
    return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount", 0))


def accepted(url: str) -> int:
    """Return how many tiers the operator has accepted, by its own metrics."""
    answer = ask(f"{url}/metrics")
    lines = answer.text.splitlines() if answer else []
    ones = (it for it in lines if 'type="Accepted"' in it and it.endswith(" 1.0"))
    return sum('status="True"' in it for it in ones)


def ready(url: str) -> bool:
    """Return whether the operator has seen what is there."""
    answer = ask(f"{url}/readyz")
    return answer is not None and answer.is_success


def edit(cluster: Cluster, namespace: str, number: int) -> float:
    """Change a tier, and return how long its Deployment took to follow."""
    path = f"{TIERS.format(namespace)}/tier-{number}"
    deployment = f"{CHILDREN[2].format(namespace)}/tier-{number}"
    began = time.monotonic()
    api.merge(cluster.api, path, {"spec": {"replicas": 3}}).raise_for_status()
    while cluster.api.get(deployment).json()["spec"]["replicas"] != 3:
        time.sleep(0.01)
    return time.monotonic() - began


def churn(cluster: Cluster, namespace: str, tiers: int, seconds: float) -> int:
    """Edit tiers at random for so many seconds, and return how many edits that were."""

    def edited() -> None:
        path = f"{TIERS.format(namespace)}/tier-{random.randrange(tiers)}"  # noqa: S311 -- no secret
        body = {"spec": {"replicas": random.randint(1, 9)}}  # noqa: S311 -- as above
        api.merge(cluster.api, path, body).raise_for_status()

    return measuring.churn(seconds, edited)


def behind(cluster: Cluster, namespace: str) -> int:
    """Return how many tiers' Deployments do not have the tier's replicas."""
    paths = TIERS.format(namespace), CHILDREN[2].format(namespace)
    tiers, deployments = (
        {
            it["metadata"]["name"]: it["spec"].get("replicas", 1)
            for it in cluster.api.get(path, timeout=60).raise_for_status().json()["items"]
        }
        for path in paths
    )
    return sum(deployments[name] != replicas for name, replicas in tiers.items())


def measure(cluster: Cluster, tiers: int, churn_seconds: float) -> Figures:
    """Run the whole measurement on a cluster."""
    crds.install(cluster.api)
    namespace = namespaces.make(cluster)
    make_tiers(cluster, namespace, tiers)
    before = writes(cluster)

    def all_there() -> bool:
        return all(count(cluster, it.format(namespace)) >= tiers for it in CHILDREN)

    server = cluster.register.all()["kube-apiserver"].pid
    began, server_began = time.monotonic(), cpu_seconds(server)
    with operator(cluster, namespace) as (process, url):
        seconds_until("all children", all_there)
        children_seconds = time.monotonic() - began
        seconds_until("all tiers to be accepted", lambda: accepted(url) >= tiers)
        status_seconds = time.monotonic() - began
        used = cpu_seconds(process.pid), cpu_seconds(server) - server_began
        settle(cluster)
    made = writes(cluster) - before

    before, began = writes(cluster), time.monotonic()
    with operator(cluster, namespace) as (process, url):
        seconds_until("readiness", lambda: ready(url))
        restart_seconds = time.monotonic() - began
        seconds_until("all tiers to be looked at", lambda: accepted(url) >= tiers)
        settle(cluster)
        again = writes(cluster) - before
        edits = [edit(cluster, namespace, number) for number in range(min(tiers, 9))]
        before_churn = mib(process)
        made_edits = churn(cluster, namespace, tiers, churn_seconds)
        settle(cluster)
        return Figures(
            tiers=tiers,
            children_seconds=children_seconds,
            status_seconds=status_seconds,
            writes_per_tier=made / tiers,
            restart_seconds=restart_seconds,
            second_pass_writes=again,
            edit_seconds=statistics.median(edits),
            mib=before_churn,
            edits=made_edits,
            behind=behind(cluster, namespace),
            mib_after=mib(process),
            operator_cpu_seconds=used[0],
            server_cpu_seconds=used[1],
        )


def settle(cluster: Cluster) -> None:
    """Wait until nothing is written any more."""
    last = -1
    while (now := writes(cluster)) != last:
        last = now
        time.sleep(2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiers", type=int, default=2000)
    parser.add_argument("--churn", type=float, default=0, help="seconds of edits at random")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    found = on_a_cluster(
        "bench-operator",
        lambda cluster: measure(cluster, options.tiers, options.churn),
        options.json,
    )
    show(found)


if __name__ == "__main__":
    main()
