"""What the API server accepts and refuses of a route, and that the models say the same."""

from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from kit.cluster import Cluster
from objects import ROUTE, Change, changed, drop, put, routes
from tiergarten_api.v1alpha1 import TierRoute

pytestmark = pytest.mark.usefixtures("tiers_known")

REFUSED: dict[str, tuple[str, tuple[Change, ...]]] = {
    "thresholds that leave a gap": (
        "difficulty 100",
        (put("spec/tiers/1/maxDifficulty", 90),),
    ),
    "a tier without a threshold": (
        "needs maxDifficulty on every tier",
        (drop("spec/tiers/0/maxDifficulty"),),
    ),
    "a tier named twice": ("Duplicate value", (put("spec/tiers/1/name", "small"),)),
    "no tiers": ("should have at least 1 items", (put("spec/tiers", []),)),
    "a threshold over 100": (
        "less than or equal to 100",
        (put("spec/tiers/0/maxDifficulty", 101),),
    ),
    "an unknown cause of fallback": (
        "Unsupported value",
        (put("spec/fallback", {"on": ["Sunspots"]}),),
    ),
    "fallback: {on: …}, which YAML reads as true": (
        'unknown field "spec.fallback.true"',
        (put("spec/fallback", {"true": ["Timeout"]}),),
    ),
}
ACCEPTED: dict[str, tuple[Change, ...]] = {
    "thresholds that reach 100": (),
    "a tier that is never reached, which the operator says": (
        put("spec/tiers/0/maxDifficulty", 100),
        put("spec/tiers/1/maxDifficulty", 30),
    ),
    "one tier without a threshold, in order": (
        put("spec/strategy", "Ordered"),
        put("spec/tiers", [{"name": "small"}]),
    ),
    "causes of fallback": (put("spec/fallback", {"on": ["Timeout", "Saturated"]}),),
}


def ask(cluster: Cluster, namespace: str, body: dict[str, Any]) -> httpx.Response:
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    return cluster.api.post(routes(namespace), params=query, json=body)


@pytest.mark.parametrize(("words", "changes"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses_and_says_why(
    cluster: Cluster, namespace: str, words: str, changes: tuple[Change, ...]
) -> None:
    body = changed(ROUTE, *changes)

    answer = ask(cluster, namespace, body)

    assert answer.status_code in (400, 422), answer.text
    assert words in answer.json()["message"]
    with pytest.raises(ValidationError):
        TierRoute.model_validate(body)


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepts(cluster: Cluster, namespace: str, changes: tuple[Change, ...]) -> None:
    body = changed(ROUTE, *changes)

    answer = ask(cluster, namespace, body)

    assert answer.status_code == 201, answer.text
    TierRoute.model_validate(body)


def test_fills_in_the_defaults_that_the_models_have(cluster: Cluster, namespace: str) -> None:
    spec = ask(cluster, namespace, ROUTE).raise_for_status().json()["spec"]

    known = TierRoute.model_validate(ROUTE).spec
    assert known.model_dump(by_alias=True, exclude_none=True, mode="json") == spec


def test_reads_on_in_yaml_only_in_quotes(cluster: Cluster, namespace: str) -> None:
    bare = """
    apiVersion: tiergarten.dev/v1alpha1
    kind: TierRoute
    metadata: {name: yaml}
    spec: {model: m, tiers: [{name: small}], fallback: {on: [Timeout]}}
    """
    headers = {"Content-Type": "application/yaml"}
    query = {"fieldValidation": "Strict"}

    refused = cluster.api.post(routes(namespace), params=query, content=bare, headers=headers)
    quoted = bare.replace("{on:", '{"on":')
    accepted = cluster.api.post(routes(namespace), params=query, content=quoted, headers=headers)

    assert refused.status_code == 400
    assert 'unknown field "spec.fallback.true"' in refused.json()["message"]
    assert accepted.is_success, accepted.text
