"""What a test can do with a cluster of levels 1 and 2, and to it."""

import json
import time

import httpx
import pytest

from kit import api, namespaces
from kit.cluster import Cluster
from kit.namespaces import NAMESPACES
from kit.processes import wait_for

WITNESS = {"metadata": {"name": "witness"}}
BRIEFLY_SECONDS = 0.5


def config_maps(namespace: str) -> str:
    return f"{NAMESPACES}/{namespace}/configmaps"


def answers_briefly(cluster: Cluster) -> bool:
    try:
        return cluster.api.get("/readyz", timeout=BRIEFLY_SECONDS).is_success
    except httpx.HTTPError:
        return False


def test_each_test_has_an_empty_namespace(cluster: Cluster, namespace: str) -> None:
    assert namespace.startswith(namespaces.PREFIX)
    assert cluster.api.get(config_maps(namespace)).json()["items"] == []


def test_a_namespace_goes_with_all_in_it(cluster: Cluster) -> None:
    name = namespaces.make(cluster)
    held = {"metadata": {"name": "held", "finalizers": ["tiergarten.dev/nobody"]}}
    cluster.api.post(config_maps(name), json=held).raise_for_status()

    namespaces.remove(cluster, name)

    def gone() -> bool:
        return cluster.api.get(f"{NAMESPACES}/{name}").status_code == 404

    wait_for("the namespace to be gone", gone, 5)
    assert cluster.api.get(f"{config_maps(name)}/held").status_code == 404


@pytest.mark.level(1, alone=True)
def test_a_frozen_api_server_takes_connections_and_does_not_answer(cluster: Cluster) -> None:
    with cluster.frozen("kube-apiserver"):
        with pytest.raises(httpx.ReadTimeout):
            cluster.api.get("/readyz", timeout=BRIEFLY_SECONDS)
        assert cluster.runs("kube-apiserver")

    assert cluster.api.get("/readyz").is_success


@pytest.mark.level(1, alone=True)
def test_a_restarted_api_server_knows_what_it_knew(cluster: Cluster, namespace: str) -> None:
    cluster.api.post(config_maps(namespace), json=WITNESS).raise_for_status()

    cluster.restart("kube-apiserver")

    assert cluster.api.get(f"{config_maps(namespace)}/witness").is_success


@pytest.mark.level(1, alone=True)
def test_what_a_test_broke_is_healed(cluster: Cluster) -> None:
    cluster.freeze("etcd")
    cluster.kill("kube-apiserver")
    assert not answers_briefly(cluster)

    cluster.heal()

    assert cluster.api.get("/readyz").is_success


@pytest.mark.level(1, alone=True)
def test_forgets_old_versions_so_that_a_watch_must_list_again(
    cluster: Cluster, namespace: str
) -> None:
    path = config_maps(namespace)
    old = cluster.api.get(path).json()["metadata"]["resourceVersion"]
    cluster.api.post(path, json=WITNESS).raise_for_status()

    cluster.etcd.compact()
    cluster.restart("kube-apiserver")

    query = {"watch": "1", "resourceVersion": old, "timeoutSeconds": "5"}
    with cluster.api.stream("GET", path, params=query) as watch:
        event = json.loads(next(watch.iter_lines()))
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_a_service_account_may_do_what_its_role_says_and_is_logged(
    cluster: Cluster, namespace: str
) -> None:
    with api.client(cluster.kubeconfig_of(namespace, "default")) as account:
        answer = account.get(config_maps(namespace))

    assert answer.status_code == 403
    user = f"system:serviceaccount:{namespace}:default"
    asked = [event for event in cluster.audit() if event["user"]["username"] == user]
    assert [(e["verb"], e["objectRef"]["resource"]) for e in asked] == [("list", "configmaps")]


def test_runs_programs_with_the_kubeconfig_set(cluster: Cluster) -> None:
    said = cluster.exec(["sh", "-c", "echo $KUBECONFIG; cat"], given="input")

    assert said == f"{cluster.kubeconfig}\ninput"


@pytest.mark.level(2)
def test_the_controller_manager_makes_what_a_deployment_says(
    cluster: Cluster, namespace: str
) -> None:
    labels = {"app": "nothing"}
    container = {"name": "nothing", "image": "docker.io/local/pause:1"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    body = {"metadata": {"name": "nothing"}, "spec": spec}
    cluster.api.post(path, json=body).raise_for_status()

    def pods() -> int:
        return len(cluster.api.get(f"{NAMESPACES}/{namespace}/pods").json()["items"])

    wait_for("two pods", lambda: pods() == 2, 10)


@pytest.mark.level(2, alone=True)
def test_nothing_is_reconciled_while_the_controller_manager_is_stopped(
    cluster: Cluster, namespace: str
) -> None:
    cluster.stop("kube-controller-manager")

    began = time.monotonic()
    cluster.start("kube-controller-manager")

    assert cluster.runs("kube-controller-manager")
    assert time.monotonic() - began < 10
    assert namespace
