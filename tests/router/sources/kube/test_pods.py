"""A router in front of real llama.cpp pods that come and go, outside the cluster and in a pod."""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import workloads
from following import Place
from kit.cluster import Cluster
from kit.namespaces import NAMESPACES
from kit.processes import wait_for
from programs import serving, wait_until_ready
from routing import CHAT, ask
from slices import LABELS, tier

pytestmark = [pytest.mark.level(3), pytest.mark.timeout(300)]

Image = Callable[[str], str]
SECONDS = 90
SELECTOR = {"tiergarten.dev/tier": "q4", "app.kubernetes.io/component": "server"}
OWN = LABELS | SELECTOR


def deployment(image: str) -> dict[str, Any]:
    """Return two llama-servers as the operator makes them: labels, port, probe, time to drain."""
    command = ["tiergarten-llama-server", "-m", "/data/small.gguf", "--host", "0.0.0.0"]  # noqa: S104 -- in the pod
    spec = workloads.pod_spec(image, [*command, "--port", "8080", "--threads", "1"], "models")
    health = {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1}
    spec["containers"][0] |= {
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": health,
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
    }
    spec["terminationGracePeriodSeconds"] = 20
    template = {"metadata": {"labels": OWN}, "spec": spec}
    selector = {"matchLabels": SELECTOR}
    return {
        "metadata": {"name": "q4", "labels": OWN},
        "spec": {"replicas": 2, "selector": selector, "template": template},
    }


def service() -> dict[str, Any]:
    ports = [{"name": "http", "port": 8080, "targetPort": "http"}]
    spec = {"clusterIP": "None", "selector": SELECTOR, "ports": ports}
    return {"metadata": {"name": "q4", "labels": OWN}, "spec": spec}


@pytest.fixture
def place(
    cluster: Cluster,
    namespace: str,
    node_image: Image,
    scripted_model: Callable[[str], Path],
    tiers_known: None,  # noqa: ARG001 -- the definitions must be there
) -> Place:
    """A namespace with tier q4, its two pods, and an account with the chart's rights."""
    cluster.claim(namespace, "models", {"small.gguf": scripted_model("small")})
    found = Place(cluster.api, namespace)
    found.account()
    found.put(tier("q4"))
    workloads.post(cluster, f"{NAMESPACES}/{namespace}/services", service())
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    workloads.post(cluster, path, deployment(node_image("llama")))
    wait_for("two ready pods", lambda: len(ready_pods(cluster, namespace)) == 2, SECONDS)
    return found


def ready_pods(cluster: Cluster, namespace: str) -> set[str]:
    query = {"labelSelector": "tiergarten.dev/tier=q4"}
    found = cluster.api.get(f"{NAMESPACES}/{namespace}/pods", params=query).json()["items"]
    return {
        pod["metadata"]["name"]
        for pod in found
        if "deletionTimestamp" not in pod["metadata"]
        and any(
            (it["type"], it["status"]) == ("Ready", "True")
            for it in pod["status"].get("conditions", ())
        )
    }


class Load:
    """Queries without a pause, and who answered them."""

    def __init__(self, client: httpx.Client) -> None:
        self.answered: Counter[str] = Counter()
        self.failures: list[str] = []
        self._client, self._stop = client, threading.Event()

    def ask(self) -> None:
        while not self._stop.is_set():
            found = self._client.post(CHAT, json=ask("What is a pod?", model="q4", max_tokens=8))
            if found.is_success:
                self.answered[found.headers["x-tiergarten-endpoint"]] += 1
            else:
                self.failures.append(found.text)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()


def test_queries_are_answered_while_a_pod_is_deleted_and_replaced(
    cluster: Cluster, place: Place, tmp_path: Path
) -> None:
    kubeconfig = cluster.kubeconfig_of(place.namespace, "router")
    arguments = ("--namespace", place.namespace, "--kubeconfig", str(kubeconfig))
    with serving(tmp_path, *arguments) as client:
        wait_until_ready(client, tmp_path / "log")
        load, before = Load(client), ready_pods(cluster, place.namespace)
        with load.running():
            wait_for("both pods to answer", lambda: set(load.answered) == before, SECONDS)
            gone = min(before)
            cluster.api.delete(f"{NAMESPACES}/{place.namespace}/pods/{gone}").raise_for_status()

            def forgotten() -> bool:
                (found,) = client.get("/v1/tiers").json()["tiers"]
                return gone not in {replica["id"] for replica in found["replicas"]}

            wait_for("the pod to be forgotten", forgotten, SECONDS)
            last = load.answered[gone]
            wait_for("a new pod to answer", lambda: len(load.answered) == 3, SECONDS)

        assert load.failures == []
        assert load.answered[gone] == last
        assert set(load.answered) - {gone} == ready_pods(cluster, place.namespace)


@pytest.mark.level(3, alone=True)
def test_an_api_server_that_dies_costs_no_query(
    cluster: Cluster, place: Place, tmp_path: Path
) -> None:
    kubeconfig = cluster.kubeconfig_of(place.namespace, "router")
    arguments = ("--namespace", place.namespace, "--kubeconfig", str(kubeconfig))
    with serving(tmp_path, *arguments) as client:
        wait_until_ready(client, tmp_path / "log")

        def reachable() -> bool:
            answer = client.get("/readyz")
            assert answer.is_success, answer.text
            return bool(answer.json()["source"]["reachable"])

        load, pods = Load(client), ready_pods(cluster, place.namespace)
        with load.running():
            wait_for("both pods to answer", lambda: set(load.answered) == pods, SECONDS)
            cluster.kill("kube-apiserver")
            wait_for("the router to say so", lambda: not reachable(), SECONDS)
            before = load.answered.total()
            wait_for("100 answers", lambda: load.answered.total() > before + 100, SECONDS)
            cluster.start("kube-apiserver")
            wait_for("the router to be up to date", reachable, SECONDS)

        assert load.failures == []
        assert set(load.answered) == pods


def test_a_router_in_a_pod_logs_in_with_its_own_account(
    cluster: Cluster, place: Place, node_image: Image
) -> None:
    command = ["tiergarten", "serve", "--host", "0.0.0.0", "--namespace", place.namespace]  # noqa: S104 -- in the pod
    spec = workloads.pod_spec(node_image("router"), command)
    spec["serviceAccountName"] = "router"
    readiness = {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}
    spec["containers"][0]["readinessProbe"] = readiness

    address = workloads.deploy(cluster, place.namespace, "router", spec)

    with httpx.Client(base_url=f"http://{address}:8080", timeout=30, trust_env=False) as client:
        found = client.post(CHAT, json=ask("What is a pod?", model="q4"))
        assert found.is_success, found.text
        assert found.headers["x-tiergarten-endpoint"] in ready_pods(cluster, place.namespace)
        assert client.get("/readyz").json()["source"]["reachable"]
