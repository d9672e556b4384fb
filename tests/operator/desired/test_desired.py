"""What must exist: properties of every child, and what decides on it."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from pydantic import SecretStr

import tiers
from tiergarten_api import labels
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator import desired, drift
from tiergarten_operator.facts import Desired, Manifest, Ref, ref
from tiergarten_operator.settings import Settings

SETTINGS = Settings()
ALL = Settings(
    network_policies=True, llama_api_key=SecretStr("k" * 16), hub_endpoint="https://hub.example"
)
SCALING = {"minReplicas": 2, "maxReplicas": 4}


def build(tier: ModelTier, settings: Settings = SETTINGS, *, fetched: bool = True) -> Desired:
    fetch = tiers.FETCHED if fetched else tiers.FETCHING
    return desired.build(tiers.facts(tier), fetch, settings)


def child(found: Desired, kind: str) -> Manifest:
    return next(it for it in found.children if it["kind"] == kind)


def kinds(found: Desired) -> set[str]:
    return {it["kind"] for it in found.children}


def templates(found: Desired) -> Iterator[Manifest]:
    for it in found.children:
        if it["kind"] in ("Deployment", "Job"):
            yield it["spec"]["template"]


@given(tiers.tiers())
def test_a_second_build_is_equal(tier: ModelTier) -> None:
    assert build(tier) == build(tier)


@given(tiers.tiers())
def test_names_fit_and_every_child_is_labelled_and_owned(tier: ModelTier) -> None:
    for fetched in (True, False):
        for it in build(tier, ALL, fetched=fetched).children:
            metadata = it["metadata"]
            assert len(metadata["name"]) <= 63
            assert all(len(value) <= 63 for value in metadata["labels"].values())
            assert metadata["labels"][labels.TIER] == tier.metadata.name
            assert metadata["labels"][labels.MANAGED_BY] == labels.OPERATOR
            (owner,) = metadata["ownerReferences"]
            assert owner["uid"] == tier.metadata.uid


@given(tiers.tiers())
def test_selectors_are_within_the_pods_labels(tier: ModelTier) -> None:
    found = build(tier, ALL)
    pod = child(found, "Deployment")["spec"]["template"]["metadata"]["labels"].items()

    assert child(found, "Deployment")["spec"]["selector"]["matchLabels"].items() <= pod
    assert child(found, "Service")["spec"]["selector"].items() <= pod
    assert child(found, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= pod


@given(tiers.tiers())
def test_a_fetch_pod_is_never_served(tier: ModelTier) -> None:
    selector = child(build(tier), "Service")["spec"]["selector"].items()
    for it in build(tier, fetched=False).children:
        if it["kind"] == "Job":
            assert not selector <= it["spec"]["template"]["metadata"]["labels"].items()


@given(tiers.tiers())
def test_scaling_and_routing_leave_the_pod_template_alone(tier: ModelTier) -> None:
    spec = tier.spec.model_dump(exclude_none=True, by_alias=True, mode="json")
    spec |= {"replicas": 7, "routing": {"rank": 1}}
    scaled = ModelTier.model_validate(
        {"metadata": tier.metadata.model_dump(by_alias=True), "spec": spec}
    )

    before, after = (child(build(it), "Deployment")["spec"]["template"] for it in (tier, scaled))

    assert before == after
    assert "replicas" not in child(build(tier), "Deployment")["spec"]


@given(tiers.tiers())
def test_no_secret_is_an_argument_and_no_pod_has_a_token(tier: ModelTier) -> None:
    for template in templates(build(tier, ALL)):
        assert "k" * 16 not in str(template)
        assert template["spec"]["automountServiceAccountToken"] is False


@given(tiers.tiers())
def test_what_was_built_does_not_differ_from_itself(tier: ModelTier) -> None:
    for it in build(tier, ALL).children:
        assert list(drift.differences(it, it)) == []


def test_there_is_no_deployment_before_the_model_and_no_job_after_it() -> None:
    before, after = build(tiers.tier(), fetched=False), build(tiers.tier())

    assert "Deployment" not in kinds(before)
    assert Ref("Deployment", "q4") in before.kept  # of a model before
    assert "Job" in kinds(before)
    assert "Job" not in kinds(after)


def test_a_job_that_is_there_is_not_built_again() -> None:
    tier = tiers.tier()
    job = child(build(tier, fetched=False), "Job")

    again = desired.build(tiers.facts(tier, live={ref(job): job}), tiers.FETCHING, SETTINGS)

    assert "Job" not in kinds(again)
    assert ref(job) in again.kept


def test_a_new_revision_or_refetch_value_is_another_job() -> None:
    revised = {"huggingFace": {"repo": "org/small", "revision": "v2"}}
    asked = [
        tiers.tier(),
        tiers.tier(source=revised),
        tiers.tier(annotations={labels.REFETCH: "1"}),
        tiers.tier(annotations={labels.REFETCH: "2"}),
    ]

    jobs = [child(build(it, fetched=False), "Job") for it in asked]

    assert len({it["metadata"]["name"] for it in jobs}) == 4
    arguments = jobs[2]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--refetch" in arguments


@pytest.mark.parametrize(
    ("spec", "strategy"),
    [
        ({}, {"type": "Recreate"}),
        ({"replicas": 2}, {"maxSurge": 0, "maxUnavailable": 1}),
        ({"cache": {"accessMode": "ReadWriteMany"}}, {"maxSurge": 1, "maxUnavailable": 0}),
        ({"cache": {"mode": "Ephemeral"}}, {"maxSurge": 1, "maxUnavailable": 0}),
        ({"rollout": {"strategy": "RollingUpdate"}}, {"maxSurge": 1, "maxUnavailable": 0}),
        (
            {"rollout": {"strategy": "Recreate"}, "cache": {"mode": "Ephemeral"}},
            {"type": "Recreate"},
        ),
        ({"cache": {"mode": "Shared", "claimName": "models"}}, {"type": "Recreate"}),
        (
            {
                "cache": {"mode": "Ephemeral"},
                "replicas": 3,
                "resources": {"limits": {"vendor.example/gpu": 1}},
            },
            {"maxSurge": 0, "maxUnavailable": 1},
        ),
    ],
)
def test_a_roll_out_never_waits_for_room_that_cannot_come(
    spec: dict[str, Any], strategy: dict[str, Any]
) -> None:
    found = child(build(tiers.tier(**spec)), "Deployment")["spec"]["strategy"]

    assert found.get("rollingUpdate", found) == strategy


def test_a_claim_grows_with_its_model_and_never_shrinks() -> None:
    tier = tiers.tier()
    first = child(build(tier, fetched=False), "PersistentVolumeClaim")
    assert first["spec"]["resources"]["requests"]["storage"] == SETTINGS.claim_size

    live = first | {"spec": first["spec"] | {"storageClassName": "fast"}}
    known = tiers.facts(tier, live={ref(first): live})
    again = child(desired.build(known, tiers.FETCHED, SETTINGS), "PersistentVolumeClaim")
    assert again["spec"] == first["spec"]

    larger = tiers.tier(cache={"size": "40Gi"})
    known = tiers.facts(larger, live={ref(first): live})
    grown = child(desired.build(known, tiers.FETCHED, SETTINGS), "PersistentVolumeClaim")
    assert grown["spec"]["resources"]["requests"]["storage"] == "40Gi"


def test_a_claim_of_an_unknown_notation_is_left_as_it_is() -> None:
    tier = tiers.tier(cache={"storageClassName": "fast"})
    first = child(build(tier), "PersistentVolumeClaim")
    odd = {"resources": {"requests": {"storage": "3e10"}}, "storageClassName": "fast"}

    known = tiers.facts(tier, live={ref(first): first | {"spec": odd}})
    again = child(desired.build(known, tiers.FETCHED, SETTINGS), "PersistentVolumeClaim")

    assert again["spec"]["resources"] == odd["resources"]
    assert again["spec"]["storageClassName"] == "fast"


def test_a_retained_claim_has_no_owner_and_is_never_pruned() -> None:
    found = build(tiers.tier(cache={"deletionPolicy": "Retain"}))

    assert "ownerReferences" not in child(found, "PersistentVolumeClaim")["metadata"]
    assert Ref("PersistentVolumeClaim", "q4-model") in found.kept


def test_memory_comes_from_the_header_unless_the_tier_says_it() -> None:
    def resources(**spec: Any) -> dict[str, Any]:
        found = child(build(tiers.tier(**spec)), "Deployment")
        container = found["spec"]["template"]["spec"]["containers"][0]
        return dict(container["resources"])

    assert set(resources()) == {"requests"}
    read = resources(runtime={"loadMode": "none"})
    assert set(read["limits"]) == {"memory"}
    given = {"limits": {"memory": "2Gi"}}
    assert resources(resources=given) == given
    gpu = resources(resources={"limits": {"vendor.example/gpu": 1}})
    assert int(gpu["requests"]["memory"][:-2]) < int(resources()["requests"]["memory"][:-2])


def test_a_nodes_folder_is_used_only_where_it_is_allowed() -> None:
    settings = Settings(node_cache_path="/var/cache/models", server_command=("llama",))
    tier = tiers.tier(
        cache={"mode": "Node"},
        runtime={
            "imagePullSecrets": [{"name": "registry"}],
            "extraEnv": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "web"}}},
                {"name": "B"},
            ],
        },
        scheduling={"runtimeClassName": "vendor", "nodeSelector": {"disk": "fast"}},
        model={
            "name": "m",
            "source": tiers.HUB,
            "files": [
                {"name": "m.gguf"},
                {"name": "p.gguf", "role": "Projector"},
                {"name": "d.gguf", "role": "Draft"},
                {"name": "a.gguf", "role": "Adapter"},
            ],
        },
    )
    pod = child(desired.build(tiers.facts(tier), tiers.FETCHING, settings), "Deployment")["spec"][
        "template"
    ]["spec"]

    assert pod["volumes"][1]["hostPath"]["path"] == "/var/cache/models"
    assert pod["containers"][0]["command"] == ["llama"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["nodeSelector"] == {"disk": "fast"}
    arguments = pod["containers"][0]["args"]
    assert {"/model/p.gguf", "/model/d.gguf", "/model/a.gguf"} <= set(arguments)


def test_replicas_are_the_tiers_the_autoscalers_or_none() -> None:
    assert desired.replicas(tiers.tier(replicas=3)) == 3
    assert desired.replicas(tiers.tier(suspend=True)) == 0
    assert desired.replicas(tiers.tier(autoscaling=SCALING)) is None


def test_a_new_operator_with_new_images_for_fetches_restarts_no_pod() -> None:
    tier = tiers.tier()
    live = child(build(tier), "Deployment")
    newer = Settings(fetch_image="tiergarten-fetch:next")

    def template(of: ModelTier) -> Manifest:
        known = tiers.facts(of, live={ref(live): live})
        found = child(desired.build(known, tiers.FETCHED, newer), "Deployment")
        return dict(found["spec"]["template"])

    assert template(tier) == live["spec"]["template"]
    changed = template(tiers.tier(runtime={"parallel": 2}))
    assert changed["spec"]["initContainers"][0]["image"] == "tiergarten-fetch:next"
