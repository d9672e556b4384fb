"""A ModelTier as the router needs it."""

from typing import Any

import pytest

from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_router.core import snapshot
from tiergarten_router.core.snapshot import Endpoint, ReplicaState, TierStatus


def resource(runtime: dict[str, Any], routing: dict[str, Any]) -> ModelTier:
    source = {"http": {"url": "https://models.example/gguf"}}
    model = {"name": "tiny", "source": source, "files": [{"name": "a.gguf"}]}
    spec = {"model": model, "runtime": runtime, "routing": routing}
    return ModelTier.model_validate({"metadata": {"name": "q2"}, "spec": spec})


def test_a_tier_takes_over_what_its_user_wrote() -> None:
    wrote = resource(
        {"contextLength": 10_000, "parallel": 3, "embeddings": True},
        {
            "rank": 7,
            "costPerMillionTokens": "0.25",
            "capabilities": ["vision"],
            "latencyObjectiveSeconds": 30,
        },
    )
    endpoint = Endpoint("q2-0", "http://127.0.0.1:8080")

    tier = snapshot.tier_of(wrote, [endpoint], TierStatus("Loading"), "a key")

    assert (tier.name, tier.model, tier.rank, tier.cost) == ("q2", "tiny", 7, 0.25)
    assert (tier.slots, tier.slot_tokens) == (3, 3333)
    assert tier.capabilities == frozenset({"vision"})
    assert tier.embeddings
    assert tier.latency_objective_seconds == 30
    assert tier.endpoints == (endpoint,)
    assert (tier.status.reason, tier.api_key) == ("Loading", "a key")
    assert "a key" not in repr(tier)


def test_what_was_left_out_is_unknown_and_serving() -> None:
    tier = snapshot.tier_of(resource({}, {"rank": 1}))

    assert (tier.cost, tier.latency_objective_seconds, tier.endpoints) == (None, None, ())
    assert (tier.capabilities, tier.api_key) == (frozenset(), "")
    assert tier.status == TierStatus("Serving")
    assert Endpoint("q2-0", "").state is ReplicaState.READY


def test_a_tier_of_another_namespace_has_a_prefix_before_its_names() -> None:
    tier = snapshot.tier_of(resource({}, {}), prefix="team/")

    assert (tier.name, tier.model, tier.prefix) == ("team/q2", "team/tiny", "team/")


def test_only_names_away_from_home_have_a_prefix() -> None:
    assert snapshot.prefix("team", "home") == "team/"
    assert snapshot.prefix("home", "home") == ""
    assert snapshot.prefix(None, "home") == ""
    assert snapshot.prefix("anywhere", None) == ""


def test_a_source_that_makes_what_it_tells_of_is_current() -> None:
    assert snapshot.current() == snapshot.Standing(reachable=True, age_seconds=0.0)


def changed(**parts: dict[str, Any]) -> str:
    """Return the digest of a tier with some fields of its parts changed."""
    fields = resource({}, {"rank": 1}).model_dump(by_alias=True, exclude_none=True)
    for path, values in parts.items():
        target = fields
        for name in path.split("__"):
            target = target.setdefault(name, {})
        target.update(values)
    return snapshot.tier_of(ModelTier.model_validate(fields)).digest


@pytest.mark.parametrize(
    "parts",
    [
        {"spec__model": {"name": "other"}},
        {"spec__model": {"files": [{"name": "a.gguf", "sha256": "a" * 64}]}},
        {"spec__model__source__http": {"url": "https://models.example/other"}},
        {"spec__runtime": {"contextLength": 16_384}},
        {"status": {"revision": "r1"}},
        {"status": {"model": {"files": [{"name": "a.gguf", "sha256": "a" * 64}]}}},
        {"status": {"model": {"resolvedRevision": "c0ffee"}}},
        {"status": {"replicas": 2, "updatedReplicas": 1}},
        {"metadata": {"generation": 2}, "status": {"observedGeneration": 1}},
    ],
    ids=str,
)
def test_what_may_change_an_answer_changes_the_digest(parts: dict[str, Any]) -> None:
    before: dict[str, dict[str, Any]] = {"status": {}} if "status" in parts else {}

    assert changed(**parts) != changed(**before)


@pytest.mark.parametrize(
    "parts",
    [
        {"spec__routing": {"rank": 9}},
        {"spec": {"replicas": 3}},
        {"status": {"readyReplicas": 1, "replicas": 2, "updatedReplicas": 2}},
    ],
    ids=str,
)
def test_what_changes_no_answer_changes_no_digest(parts: dict[str, Any]) -> None:
    before: dict[str, dict[str, Any]] = {"status": {}} if "status" in parts else {}

    assert changed(**parts) == changed(**before)


def test_what_the_replicas_run_is_in_the_digest_in_no_order() -> None:
    tier = resource({}, {"rank": 1})
    digests = [
        snapshot.tier_of(tier, revisions=revisions).digest
        for revisions in ((), ("a",), ("b", "a"), ("a", "b"), ("a", "b", "b"))
    ]

    assert len(set(digests)) == 3
    assert len(digests[0]) == 64
