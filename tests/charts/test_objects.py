"""The rendered objects on a real API server: valid, restricted, and the same after an upgrade."""

from collections.abc import Iterator
from typing import Any

import pytest

from charting import CASES, Manifest, Rendered, only, pods
from kit import api
from kit.cluster import Cluster
from kit.fixtures import Clusters
from kit.helm import CHART, Helm
from kit.namespaces import NAMESPACES
from kit.processes import wait_for

PLURALS = {
    "Ingress": "ingresses",
    "NetworkPolicy": "networkpolicies",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
}
CLUSTER_WIDE = (
    *("ClusterRole", "ClusterRoleBinding"),
    *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
)
STRICT = {"dryRun": "All", "fieldValidation": "Strict"}
MONITORS = "servicemonitors.monitoring.coreos.com"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def path_of(kind: str, version: str, namespace: str | None) -> str:
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    place = "" if kind in CLUSTER_WIDE else f"/namespaces/{namespace}"
    return f"{root}{place}/{PLURALS.get(kind, f'{kind.lower()}s')}"


def path(it: Manifest) -> str:
    return path_of(it["kind"], it["apiVersion"], it["metadata"].get("namespace"))


def refusals(cluster: Cluster, objects: list[Manifest]) -> list[str]:
    """Return what the API server has against objects; it keeps none of them."""
    found = []
    for it in objects:
        answer = cluster.api.post(path(it), params=STRICT, json=it)
        warning = answer.headers.get("Warning", "")
        if answer.is_error or warning:
            found.append(f"{it['kind']} {it['metadata']['name']}: {answer.text} {warning}")
    return found


@pytest.fixture(scope="module")
def monitors_known(clusters: Clusters) -> Iterator[None]:
    """ServiceMonitor is known to the cluster, with the fields that the chart uses."""
    cluster = clusters.at(1)
    text: dict[str, Any] = {"type": "string"}
    endpoint = {"type": "object", "properties": dict.fromkeys(("port", "path", "interval"), text)}
    labels = {"type": "object", "additionalProperties": text}
    spec = {
        "selector": {"type": "object", "properties": {"matchLabels": labels}},
        "endpoints": {"type": "array", "items": endpoint},
    }
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "ServiceMonitor", "plural": "servicemonitors"}
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": MONITORS},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
        },
    }
    api.apply(cluster.api, f"{DEFINITIONS}/{MONITORS}", body, force=True).raise_for_status()
    served = "/apis/monitoring.coreos.com/v1/servicemonitors"
    wait_for("ServiceMonitor to be served", lambda: api.answers(cluster.api, served), 30)
    yield
    cluster.api.delete(f"{DEFINITIONS}/{MONITORS}")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("monitors_known")
def test_the_api_server_takes_every_object(
    cluster: Cluster, namespace: str, rendered: Rendered, case: str
) -> None:
    objects = rendered(namespace, CASES[case])

    assert refusals(cluster, objects) == []


def test_roles_go_to_every_namespace_that_is_served(
    cluster: Cluster, namespace: str, other_namespace: str, rendered: Rendered
) -> None:
    objects = rendered(namespace, {"namespaces": [namespace, other_namespace]})

    assert refusals(cluster, objects) == []
    roles = {it["metadata"]["namespace"] for it in objects if it["kind"] == "Role"}
    assert roles == {namespace, other_namespace}
    for ending in ("operator", "router"):
        arguments = only(objects, "Deployment", ending)["spec"]["template"]["spec"]["containers"]
        asked = [it for it in arguments[0]["args"] if it.startswith("--namespace=")]
        assert asked == [f"--namespace={namespace}", f"--namespace={other_namespace}"]


@pytest.mark.parametrize("case", CASES)
def test_all_pods_pass_restricted_pod_security(
    cluster: Cluster, namespace: str, rendered: Rendered, case: str
) -> None:
    restricted = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    api.merge(cluster.api, f"{NAMESPACES}/{namespace}", restricted).raise_for_status()

    for template in pods(rendered(namespace, CASES[case])):
        account = {"metadata": {"name": template["spec"]["serviceAccountName"]}}
        accounts = f"{NAMESPACES}/{namespace}/serviceaccounts"
        cluster.api.post(accounts, json=account).raise_for_status()
        body = {"metadata": {"generateName": "tried-"}, "spec": template["spec"]}
        answer = cluster.api.post(f"{NAMESPACES}/{namespace}/pods", params=STRICT, json=body)
        assert answer.is_success, answer.text


@pytest.mark.parametrize("case", CASES)
def test_pods_write_nowhere_but_to_tmp_and_have_limits(rendered: Rendered, case: str) -> None:
    for template in pods(rendered(values=CASES[case])):
        (container,) = template["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["resources"]["limits"]["memory"]
        assert template["spec"]["volumes"] == [{"name": "tmp", "emptyDir": {}}]


def test_an_upgrade_from_the_same_chart_changes_nothing(
    cluster: Cluster, namespace: str, tiers_known: None, installer: Helm
) -> None:
    assert tiers_known is None
    values = {"networkPolicy": {"enabled": True}, "operator": {"replicas": 2}}
    notes = installer.install("tg", namespace, values)
    objects = Helm().template("tg", namespace, values)

    def versions() -> dict[str, str]:
        found = {}
        for it in objects:
            live = cluster.api.get(f"{path(it)}/{it['metadata']['name']}").raise_for_status()
            found[f"{it['kind']} {it['metadata']['name']}"] = live.json()["metadata"][
                "resourceVersion"
            ]
        return found

    before = versions()
    installer.install("tg", namespace, values)

    assert versions() == before
    assert f"Tiergarten 0.1.0 serves namespace {namespace}." in notes
    assert f"kubectl -n {namespace} apply -f tiers.yaml" in notes
    secret = cluster.api.get(f"{NAMESPACES}/{namespace}/secrets/tg-tiergarten").json()
    assert set(secret["data"]) == {"llama-api-key", "cache-secret"}


def test_an_uninstall_leaves_nothing_but_the_definitions(
    cluster: Cluster, namespace: str, tiers_known: None, installer: Helm
) -> None:
    assert tiers_known is None
    installer.install("tg", namespace)
    objects = Helm().template("tg", namespace)

    installer.uninstall("tg", namespace)

    left = [
        it for it in objects if cluster.api.get(f"{path(it)}/{it['metadata']['name']}").is_success
    ]
    assert left == []
    assert cluster.api.get("/apis/tiergarten.dev/v1alpha1/modeltiers").is_success


@pytest.mark.usefixtures("tiers_known", "monitors_known")
def test_the_notes_say_how_to_go_on(cluster: Cluster, namespace: str, installer: Helm) -> None:
    assert cluster.level == 1

    def notes(values: dict[str, Any]) -> str:
        words = ("install", "tg", str(CHART), "--namespace", namespace, "--dry-run=server")
        return installer.run(*words, "--values", "-", values=values).partition("NOTES:")[2]

    plain, everywhere = notes({}), notes({"allNamespaces": True})
    assert f"-n {namespace} port-forward service/tg-tiergarten-router 8080:80" in plain
    assert "redis.existingSecret" in plain
    assert "serves every namespace" in everywhere
    assert "kubectl -n NAMESPACE apply -f tiers.yaml" in everywhere
    full = notes(CASES["everything"])
    assert "curl https://llm.example/api/query" in full
    assert f"http://tg-tiergarten-router.{namespace}:8000/v1" in full
    assert "redis.existingSecret" not in full
