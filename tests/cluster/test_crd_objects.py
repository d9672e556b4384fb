"""How a ModelTier lives on the API server: defaults, changes, status, scale and field owners."""

from typing import Any

import httpx
import pytest

from kit import api, crds
from kit.cluster import Cluster
from objects import TIER, changed, put, tiers
from tiergarten_api.v1alpha1 import ModelTier

pytestmark = pytest.mark.usefixtures("tiers_known")

NOW = "2026-01-01T00:00:00Z"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


@pytest.fixture
def tier(cluster: Cluster, namespace: str) -> str:
    """The path of the least tier, which was just made."""
    body = TIER | {"status": {"replicas": 9}}
    cluster.api.post(tiers(namespace), json=body).raise_for_status()
    return f"{tiers(namespace)}/{TIER['metadata']['name']}"


def condition(kind: str, status: str = "True", reason: str = "Serving") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "",
        "lastTransitionTime": NOW,
    }


def read(cluster: Cluster, path: str) -> dict[str, Any]:
    return dict(cluster.api.get(path).raise_for_status().json())


def merge(cluster: Cluster, path: str, **fields: object) -> httpx.Response:
    return api.merge(cluster.api, path, fields)


def written(name: str = "small", **spec: object) -> dict[str, Any]:
    """Return a tier as somebody applies it, with a few fields of the spec."""
    body = changed(TIER, put("metadata", {"name": name}))
    return body | {"spec": {"model": body["spec"]["model"]} | spec}


@pytest.mark.parametrize("plural", ["modeltiers", "tierroutes"])
def test_definition_is_structural_and_served(cluster: Cluster, plural: str) -> None:
    found = crds.conditions(cluster.api, f"{plural}.tiergarten.dev")

    assert found["Established"] == "True"
    assert found["NamesAccepted"] == "True"
    assert found.get("NonStructuralSchema", "False") == "False"


def test_fills_in_the_defaults_that_the_models_have(cluster: Cluster, tier: str) -> None:
    spec = read(cluster, tier)["spec"]

    assert spec["runtime"]["contextLength"] == 8192
    assert spec["runtime"]["kvCache"] == {"k": "f16", "v": "f16"}
    assert spec["cache"]["mode"] == "PerTier"
    assert spec["rollout"]["strategy"] == "Auto"
    known = ModelTier.model_validate(TIER).spec
    assert known.model_dump(by_alias=True, exclude_none=True, mode="json") == spec


def test_drops_a_status_that_is_created_along(cluster: Cluster, tier: str) -> None:
    assert "replicas" not in read(cluster, tier).get("status", {})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"model": {"name": "other"}}, id="model.name"),
        pytest.param({"cache": {"mode": "Ephemeral"}}, id="cache.mode"),
    ],
)
def test_refuses_to_change_what_is_immutable(
    cluster: Cluster, tier: str, change: dict[str, object]
) -> None:
    answer = merge(cluster, tier, spec=change)

    assert answer.status_code == 422
    assert "immutable" in answer.json()["message"]


def test_refuses_to_change_the_storage_class_once_set(cluster: Cluster, tier: str) -> None:
    assert merge(cluster, tier, spec={"cache": {"storageClassName": "fast"}}).is_success

    answer = merge(cluster, tier, spec={"cache": {"storageClassName": "slow"}})

    assert answer.status_code == 422
    assert "storageClassName is immutable" in answer.json()["message"]


def test_lets_a_cache_grow_but_not_shrink(cluster: Cluster, tier: str) -> None:
    assert merge(cluster, tier, spec={"cache": {"size": "10Gi"}}).is_success

    smaller = merge(cluster, tier, spec={"cache": {"size": "9Gi"}})
    larger = merge(cluster, tier, spec={"cache": {"size": "11Gi"}})

    assert smaller.status_code == 422
    assert "cannot shrink" in smaller.json()["message"]
    assert larger.is_success, larger.text


def test_lets_the_access_mode_change_although_no_claim_can(cluster: Cluster, tier: str) -> None:
    answer = merge(cluster, tier, spec={"cache": {"accessMode": "ReadWriteMany"}})

    assert answer.is_success, answer.text  # the operator compares with the live claim


def test_reads_flash_attention_on_in_yaml_only_in_quotes(cluster: Cluster, namespace: str) -> None:
    bare = """
    apiVersion: tiergarten.dev/v1alpha1
    kind: ModelTier
    metadata: {name: yaml}
    spec:
      model: {name: m, source: {volume: {claimName: models}}}
      runtime: {flashAttention: on}
    """
    headers = {"Content-Type": "application/yaml"}

    refused = cluster.api.post(tiers(namespace), content=bare, headers=headers)
    quoted = bare.replace("flashAttention: on", 'flashAttention: "on"')
    accepted = cluster.api.post(tiers(namespace), content=quoted, headers=headers)

    assert refused.status_code == 422
    assert "must be of type string" in refused.json()["message"]
    assert accepted.is_success, accepted.text


def test_writes_status_by_its_own_door_only(cluster: Cluster, tier: str) -> None:
    before = read(cluster, tier)["metadata"]["generation"]

    by_status = merge(cluster, f"{tier}/status", spec={"replicas": 50}, status={"readyReplicas": 1})
    by_main = merge(cluster, tier, status={"readyReplicas": 7})

    assert by_status.json()["spec"]["replicas"] == 1
    assert by_status.json()["metadata"]["generation"] == before
    assert by_main.json()["status"]["readyReplicas"] == 1


def test_checks_the_status_of_a_condition(cluster: Cluster, tier: str) -> None:
    answer = merge(cluster, f"{tier}/status", status={"conditions": [condition("Ready", "Maybe")]})

    assert answer.status_code == 422


def test_scales_and_bumps_the_generation(cluster: Cluster, tier: str) -> None:
    before = read(cluster, tier)["metadata"]["generation"]
    merge(cluster, f"{tier}/status", status={"selector": "tiergarten.dev/tier=small"})

    scale = read(cluster, f"{tier}/scale")
    merge(cluster, f"{tier}/scale", spec={"replicas": 3}).raise_for_status()

    assert scale["spec"]["replicas"] == 1
    assert scale["status"]["selector"] == "tiergarten.dev/tier=small"
    after = read(cluster, tier)
    assert after["spec"]["replicas"] == 3
    assert after["metadata"]["generation"] > before


def test_shows_what_matters_in_columns(cluster: Cluster, namespace: str, tier: str) -> None:
    status = {"readyReplicas": 1, "conditions": [condition("Ready")]}
    merge(cluster, f"{tier}/status", status=status).raise_for_status()

    table = cluster.api.get(tiers(namespace), headers=TABLE).json()

    names = [column["name"] for column in table["columnDefinitions"]]
    row = dict(zip(names, table["rows"][0]["cells"], strict=True))
    shown = (row["Model"], row["Desired"], row["Ready"], row["Status"])
    assert shown == ("qwen2.5-1.5b", 1, 1, "Serving")


def test_selects_tiers_by_model(cluster: Cluster, namespace: str, tier: str) -> None:
    query = {"fieldSelector": "spec.model.name=qwen2.5-1.5b"}

    found = cluster.api.get(tiers(namespace), params=query).json()["items"]
    others = cluster.api.get(tiers(namespace), params={"fieldSelector": "spec.model.name=x"}).json()

    assert [item["metadata"]["name"] for item in found] == [tier.rpartition("/")[2]]
    assert others["items"] == []


def test_guards_the_replicas_that_somebody_scaled(cluster: Cluster, tier: str) -> None:
    api.merge(cluster.api, f"{tier}/scale", {"spec": {"replicas": 3}}, manager="scaler")

    mild = api.apply(cluster.api, tier, written(replicas=2), manager="gitops")
    forced = api.apply(cluster.api, tier, written(replicas=2), manager="gitops", force=True)
    left_out = api.apply(cluster.api, tier, written(), manager="gitops")

    assert mild.status_code == 409
    assert ".spec.replicas" in mild.json()["message"]
    assert forced.json()["spec"]["replicas"] == 2
    assert left_out.json()["spec"]["replicas"] == 1  # the last owner gave the field up


def test_writes_nothing_when_the_same_is_applied_again(cluster: Cluster, tier: str) -> None:
    first = api.apply(cluster.api, tier, written(), manager="gitops").json()

    second = api.apply(cluster.api, tier, written(), manager="gitops").json()

    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_joins_the_conditions_of_two_managers(cluster: Cluster, tier: str) -> None:
    merge(cluster, f"{tier}/status", status={"conditions": [condition("Ready")]})
    fetching = condition("ModelAvailable", "False", "Fetching")
    name = {"metadata": {"name": "small"}}
    body = {"apiVersion": TIER["apiVersion"], "kind": "ModelTier"} | name

    answer = api.apply(
        cluster.api,
        f"{tier}/status",
        body | {"status": {"conditions": [fetching]}},
        manager="fetch",
        force=True,
    )

    kinds = {c["type"] for c in answer.json()["status"]["conditions"]}
    assert kinds == {"Ready", "ModelAvailable"}


def test_says_that_a_version_is_too_old_to_watch_from(cluster: Cluster, namespace: str) -> None:
    query = {"watch": "1", "resourceVersion": "1", "timeoutSeconds": "2"}

    with cluster.api.stream("GET", tiers(namespace), params=query) as answer:
        first = next(answer.iter_lines())

    assert "too old resource version" in first
    assert '"code":410' in first


def test_deletes_a_tier_without_anybodys_help(cluster: Cluster, tier: str) -> None:
    answer = cluster.api.delete(tier, params={"propagationPolicy": "Background"})

    assert answer.is_success
    assert cluster.api.get(tier).status_code == 404
