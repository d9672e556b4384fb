"""The optional admission policy on a real API server: what it refuses, and what it lets be."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import httpx
import pytest

from kit import api
from kit.cluster import Cluster
from kit.helm import Helm
from kit.processes import wait_for
from operating import HUB_TIER, VOLUME_TIER, Manifest

ALLOWED = {
    "enabled": True,
    "images": ["mirror.example/llm/"],
    "sources": ["volume", "image"],
}
Apply = Callable[[Manifest], httpx.Response]


def changed(tier: Manifest, **spec: Any) -> Manifest:
    return deepcopy(tier) | {"spec": deepcopy(tier["spec"]) | spec}


@pytest.fixture
def apply(cluster: Cluster, namespace: str, tiers_known: None) -> Apply:  # noqa: ARG001 -- the definitions must be there
    """Apply a tier in the test's namespace."""
    path = f"/apis/tiergarten.dev/v1alpha1/namespaces/{namespace}/modeltiers"
    return lambda tier: api.apply(cluster.api, f"{path}/{tier['metadata']['name']}", tier)


@pytest.fixture
def guarded(cluster: Cluster, namespace: str, apply: Apply, installer: Helm) -> Iterator[None]:
    """The chart with the policy in the test's namespace, which the API server has taken up."""
    assert cluster.level == 1
    assert apply(HUB_TIER | {"metadata": {"name": "before"}}).is_success
    installer.install("tg", namespace, {"admissionPolicy": ALLOWED})
    path = f"/apis/tiergarten.dev/v1alpha1/namespaces/{namespace}/modeltiers"
    probe = HUB_TIER | {"metadata": {"name": "probe"}}

    def refused() -> bool:
        return cluster.api.post(path, params={"dryRun": "All"}, json=probe).is_error

    wait_for("the policy to hold", refused, 30)
    yield
    installer.uninstall("tg", namespace)


@pytest.mark.usefixtures("guarded")
def test_refuses_by_name_and_with_the_cure(apply: Apply) -> None:
    refused = {
        "spec.model.source.huggingFace: this source is not allowed": HUB_TIER,
        "spec.runtime.image: this image is not allowed; the chart's value admissionPolicy.images "
        "allows mirror.example/llm/": changed(VOLUME_TIER, runtime={"image": "evil.example/x"}),
        "spec.cache.mode: Node is not allowed": changed(VOLUME_TIER, cache={"mode": "Node"}),
    }

    for words, tier in refused.items():
        answer = apply(tier)
        assert answer.status_code == 422
        assert words in answer.json()["message"]


@pytest.mark.usefixtures("guarded")
def test_lets_in_what_is_allowed(apply: Apply) -> None:
    image = {"image": "mirror.example/llm/llama.cpp:server"}

    assert apply(VOLUME_TIER).is_success
    assert apply(changed(VOLUME_TIER, runtime=image)).is_success


@pytest.mark.usefixtures("guarded")
def test_a_tier_from_before_stays_and_can_be_labelled_and_deleted(
    cluster: Cluster, namespace: str, apply: Apply
) -> None:
    labelled = HUB_TIER | {"metadata": {"name": "before", "labels": {"a": "b"}}}

    assert apply(labelled).is_success
    assert apply(changed(labelled, replicas=3)).status_code == 422
    path = f"/apis/tiergarten.dev/v1alpha1/namespaces/{namespace}/modeltiers/before"
    assert cluster.api.delete(path).is_success


@pytest.mark.usefixtures("guarded")
def test_other_namespaces_are_not_guarded(cluster: Cluster, other_namespace: str) -> None:
    path = f"/apis/tiergarten.dev/v1alpha1/namespaces/{other_namespace}/modeltiers/q4"

    assert api.apply(cluster.api, path, HUB_TIER).is_success
