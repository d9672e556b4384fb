"""What a tier is refused for, with the field, the value and the cure."""

from typing import Any

import pytest

import tiers
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator import acceptance
from tiergarten_operator.facts import Manifest, Ref
from tiergarten_operator.settings import Settings

KEY = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "web", "key": "b"}}}
SHARED = {"mode": "Shared", "claimName": "pool"}
CLAIM: dict[Ref, Manifest] = {
    Ref("PersistentVolumeClaim", "q4-model"): {
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "slow"}
    }
}


def refused(tier: ModelTier, settings: Settings | None = None, **known: Any) -> tuple[str, str]:
    found = acceptance.refusal(tiers.facts(tier, **known), settings or Settings())
    return (found.reason, found.message) if found else ("Valid", "")


@pytest.mark.parametrize("source", tiers.SOURCES)
def test_a_good_tier_is_accepted(source: str) -> None:
    assert refused(tiers.tier(source=tiers.SOURCES[source]), live=CLAIM) == ("Valid", "")


@pytest.mark.parametrize(
    ("spec", "known", "reason", "words"),
    [
        ({}, {"secrets": {}}, "SecretMissing", "Secret hub: is not there; create it"),
        ({}, {"secrets": {"hub": frozenset()}}, "SecretMissing", "Secret hub: has no key token"),
        (
            {"runtime": {"imagePullSecrets": [{"name": "registry"}]}},
            {},
            "SecretMissing",
            "Secret registry: is not there",
        ),
        ({"runtime": {"extraEnv": [KEY]}}, {}, "SecretMissing", "Secret web: has no key b"),
        ({"cache": SHARED}, {"claims": {}}, "ClaimMissing", "claim pool: is not there"),
        ({"cache": {"mode": "Node"}}, {}, "NotAllowed", "TIERGARTEN_NODE_CACHE_PATH"),
        (
            {"runtime": {"extraArgs": ["--lora", "/x"]}},
            {},
            "NotAllowed",
            "spec.runtime.extraArgs[0]: --lora is not allowed",
        ),
        ({}, {"older": (tiers.tier("q2"),)}, "NameTaken", "spec.routing.rank: is 100"),
        (
            {"cache": {"accessMode": "ReadWriteMany"}},
            {"live": CLAIM},
            "ChildRejected",
            "set cache.accessMode to ReadWriteOnce",
        ),
        (
            {"cache": {"storageClassName": "fast"}},
            {"live": CLAIM},
            "ChildRejected",
            "has storageClassName slow, not fast",
        ),
    ],
)
def test_is_refused_with_the_cure(
    spec: dict[str, Any], known: dict[str, Any], reason: str, words: str
) -> None:
    found, message = refused(tiers.tier(**spec), **known)

    assert found == reason
    assert words in message


def test_a_nodes_folder_may_be_used_where_an_administrator_says_so() -> None:
    tier = tiers.tier(cache={"mode": "Node"})

    assert refused(tier, Settings(node_cache_path="/cache")) == ("Valid", "")
