"""Edits while a reconcile runs, operators that are killed, and things that are missing."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from operating import CLAIM, HUB_TIER, World
from tiergarten_fetch.outcomes import Fetched, Outcome
from tiergarten_operator.facts import CLAIM as CLAIMS
from tiergarten_operator.facts import DEPLOYMENT, JOB, ROUTE, SECRET, SERVICE, TIER

Run = Callable[..., Any]
FETCHED = Outcome(
    "Verified", size=7, file_count=1, files=(Fetched("small.gguf", "Model", 7, "a" * 64),)
)
WRITES = 12  # more than a tier takes


def test_the_last_of_many_edits_wins_and_no_status_is_ahead(world: World, operator: Run) -> None:
    world.models()
    world.tier("q4")
    with operator():
        for parallel in range(2, 12):
            world.change(TIER, "q4", {"spec": {"runtime": {"parallel": parallel}}})
            tier = world.there(TIER, "q4")
            seen = tier.get("status", {}).get("observedGeneration", 0)
            assert seen <= tier["metadata"]["generation"]
        world.wait("the last edit", lambda: slots(world) == "11")
        world.wait("the status", lambda: observed(world) == generation(world))


@pytest.mark.parametrize("writes", range(1, WRITES))
def test_an_operator_killed_after_any_write_converges_without_a_second_job(
    world: World, operator: Run, writes: int
) -> None:
    world.tier("q4", HUB_TIER, replicas=2)
    with operator(kill_after=writes) as running:
        world.wait("a kill, or all of it", lambda: running.killed.is_set() or settled(world))

    with operator():
        world.wait("all of it", lambda: settled(world))

    expected = {"ServiceAccount/q4", "PersistentVolumeClaim/q4-model", "Service/q4"}
    (job,) = world.all(JOB)
    expected |= {f"Job/{job['metadata']['name']}", "PodDisruptionBudget/q4"}
    assert set(world.children("q4")) == expected


@pytest.mark.parametrize("writes", range(1, 8))
def test_an_operator_killed_while_it_makes_a_deployment_loses_no_replica(
    world: World, operator: Run, writes: int
) -> None:
    world.models()
    world.tier("q4", replicas=3)
    with operator(kill_after=writes) as running:
        world.wait("a kill, or all of it", lambda: running.killed.is_set() or served(world))

    with operator():
        world.wait("all of it", lambda: served(world))
        world.change(TIER, "q4", {"spec": {"runtime": {"parallel": 2}}})
        world.wait("an edit", lambda: slots(world) == "2")

    assert world.there(DEPLOYMENT, "q4")["spec"]["replicas"] == 3


def test_a_missing_secret_is_said_and_heals_when_it_appears(world: World, operator: Run) -> None:
    source = {"huggingFace": {"repo": "org/small", "tokenSecretRef": {"name": "hub"}}}
    model = HUB_TIER["spec"]["model"] | {"source": source}
    world.tier("q4", HUB_TIER, model=model)
    with operator():
        world.wait_for_reason("q4", "Accepted", "SecretMissing")
        assert world.conditions("q4")["Ready"]["reason"] == "SecretMissing"
        assert world.children("q4") == {}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub"}}
        world.make(secret | {"data": {"other": base64.b64encode(b"x").decode()}})
        message = "Secret hub: has no key token; add it"
        world.wait("the key", lambda: world.conditions("q4")["Accepted"]["message"] == message)
        world.change(SECRET, "hub", {"stringData": {"token": "t"}})
        world.wait_for_reason("q4", "Accepted", "Valid")
        world.wait("the Job", lambda: world.all(JOB))


def test_a_missing_claim_is_said_and_heals_when_it_appears(world: World, operator: Run) -> None:
    world.tier("q4")
    with operator():
        world.wait_for_reason("q4", "Accepted", "ClaimMissing")
        world.make(CLAIM)
        world.wait_for_reason("q4", "Accepted", "Valid")
        world.wait_for_child("Deployment/q4")


def test_of_two_tiers_with_one_name_and_rank_the_older_one_is_accepted(
    world: World, operator: Run
) -> None:
    world.models()
    world.tier("first")
    with operator():
        world.wait_for_reason("first", "Accepted", "Valid")
        world.tier("second")
        world.wait_for_reason("second", "Accepted", "NameTaken")
        world.change(TIER, "second", {"spec": {"routing": {"rank": 5}}})
        world.wait_for_reason("second", "Accepted", "Valid")
        assert world.reasons("first")["Accepted"] == "Valid"


def test_a_pause_stops_writes_and_its_end_applies_the_backlog(world: World, operator: Run) -> None:
    world.models()
    world.tier("q4")
    with operator():
        world.wait_for_child("Deployment/q4")
        world.change(TIER, "q4", {"metadata": {"annotations": {"tiergarten.dev/paused": "true"}}})
        world.wait_for_reason("q4", "Progressing", "Paused")
        world.change(TIER, "q4", {"spec": {"runtime": {"parallel": 2}}})
        world.wait("the status", lambda: observed(world) == generation(world))
        assert slots(world) == "4"
        world.change(TIER, "q4", {"metadata": {"annotations": {"tiergarten.dev/paused": None}}})
        world.wait("the backlog", lambda: slots(world) == "2")


def test_what_the_server_refuses_is_said_in_its_words(world: World, operator: Run) -> None:
    world.models()
    world.tier("q4", scheduling={"tolerations": [{"operator": "Perhaps"}]})
    with operator():
        world.wait_for_reason("q4", "Accepted", "ChildRejected")
        assert "Perhaps" in world.conditions("q4")["Accepted"]["message"]
        world.change(TIER, "q4", {"spec": {"scheduling": None}})
        world.wait_for_reason("q4", "Accepted", "Valid")


def test_a_claim_that_is_to_outlive_its_tier_does(world: World, operator: Run) -> None:
    world.tier("q4", HUB_TIER, cache={"deletionPolicy": "Retain"})
    with operator():
        claim = world.wait_for_child("PersistentVolumeClaim/q4-model")
        assert "ownerReferences" not in claim["metadata"]
        world.wait("the finalizer", lambda: "finalizers" in world.there(TIER, "q4")["metadata"])
        world.delete(TIER, "q4")
        world.wait("the tier to go", lambda: world.get(TIER, "q4") is None)

    assert "labels" not in world.there(CLAIMS, "q4-model")["metadata"]


def test_a_route_says_which_of_its_tiers_are_not_there(world: World, operator: Run) -> None:
    world.models()
    route = {
        "apiVersion": "tiergarten.dev/v1alpha1",
        "kind": "TierRoute",
        "metadata": {"name": "auto"},
        "spec": {"model": "auto", "tiers": [{"name": "q4"}]},
    }
    world.make(route)
    with operator():
        world.wait("the gap", lambda: resolved(world) == "TierNotFound")
        world.tier("q4")
        world.wait("the tier", lambda: resolved(world) == "Resolved")


def settled(world: World) -> bool:
    budget = "PodDisruptionBudget/q4" in world.children("q4")
    return budget and observed(world) == generation(world) and fetching(world)


def fetching(world: World) -> bool:
    return world.reasons("q4")["ModelAvailable"] == "Fetching"


def served(world: World) -> bool:
    return world.get(SERVICE, "q4") is not None and observed(world) == generation(world)


def slots(world: World) -> str:
    template = world.there(DEPLOYMENT, "q4")["spec"]["template"]
    arguments = template["spec"]["containers"][0]["args"]
    return str(arguments[arguments.index("--parallel") + 1])


def observed(world: World) -> int:
    return int(world.there(TIER, "q4")["status"]["observedGeneration"])


def generation(world: World) -> int:
    return int(world.there(TIER, "q4")["metadata"]["generation"])


def resolved(world: World) -> str:
    return str(world.conditions("auto", ROUTE)["ResolvedRefs"]["reason"])


def test_children_of_a_tier_that_was_there_before_are_made_anew(
    world: World, operator: Run
) -> None:
    world.models()
    old = world.tier("q4")
    with operator():
        world.wait_for_child("Service/q4")
        world.wait_for_reason("q4", "Accepted", "Valid")
    world.delete(TIER, "q4")  # and no garbage collector runs
    new = world.tier("q4")
    assert new["metadata"]["uid"] != old["metadata"]["uid"]

    with operator():
        for kind in (SERVICE, DEPLOYMENT):

            def owned(kind: Any = kind) -> bool:
                (owner,) = world.there(kind, "q4")["metadata"]["ownerReferences"]
                return bool(owner["uid"] == new["metadata"]["uid"])

            world.wait(f"the new {kind.name}", owned)


def test_a_quota_is_named(world: World, operator: Run) -> None:
    path = f"/api/v1/namespaces/{world.namespace}/resourcequotas"
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"services": "0"}}}
    world.server.post(path, json=quota).raise_for_status()
    status = {"status": {"hard": {"services": "0"}, "used": {"services": "0"}}}
    headers = {"Content-Type": "application/merge-patch+json"}
    world.server.patch(f"{path}/few/status", json=status, headers=headers).raise_for_status()
    world.models()
    world.tier("q4")

    with operator():
        world.wait_for_reason("q4", "Accepted", "QuotaExceeded")


def test_what_a_former_tier_fetched_does_not_count_for_one_of_its_name(
    world: World, operator: Run
) -> None:
    world.tier("q4", HUB_TIER)
    with operator():
        world.wait("the Job", lambda: world.all(JOB))
        (old,) = world.all(JOB)
        world.finish_job(old["metadata"]["name"], FETCHED)
        world.wait_for_child("Deployment/q4")
    world.delete(TIER, "q4")  # and no garbage collector runs
    world.tier("q4", HUB_TIER)

    with operator():
        world.wait_for_reason("q4", "ModelAvailable", "Fetching")
        world.wait("a new Job", lambda: {uid(it) for it in world.all(JOB)} - {uid(old)})


def uid(live: dict[str, Any]) -> str:
    return str(live["metadata"]["uid"])
