"""What the operator makes of a tier, and that it leaves alone what is right."""

import base64
from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from operating import HUB_TIER, SETTINGS, World
from tiergarten_fetch.outcomes import Fetched, Outcome
from tiergarten_operator.facts import DEPLOYMENT, JOB, TIER, Key

OUTCOME = Outcome(
    "Verified",
    size=7_000_000,
    file_count=1,
    files=(Fetched("small.gguf", "Model", 7_000_000, "a" * 64),),
    digest="a" * 64,
)
Run = Callable[..., Any]


def test_a_minimal_tier_gets_exactly_its_children_each_owned_by_it(
    world: World, operator: Run
) -> None:
    world.models()
    made = world.tier("q4")

    with operator():
        world.wait_for_reason("q4", "Accepted", "Valid")
        world.wait_for_child("Service/q4")

    children = world.children("q4")
    assert set(children) == {"ServiceAccount/q4", "Deployment/q4", "Service/q4"}
    for child in children.values():
        (owner,) = child["metadata"]["ownerReferences"]
        assert owner["uid"] == made["metadata"]["uid"]
        assert owner["controller"] is True
    conditions = world.reasons("q4")
    assert conditions["ModelAvailable"] == "Verified"
    assert conditions["Ready"] == conditions["Available"] == "NoReplicas"


def test_a_tier_that_fetches_gets_a_claim_and_a_job_and_then_its_deployment(
    world: World, operator: Run
) -> None:
    world.tier("q4", HUB_TIER)

    with operator():
        world.wait_for_reason("q4", "ModelAvailable", "Fetching")
        (job,) = world.all(JOB)
        assert world.get(DEPLOYMENT, "q4") is None
        world.finish_job(job["metadata"]["name"], OUTCOME)
        world.wait_for_reason("q4", "ModelAvailable", "Verified")
        world.wait_for_child("Deployment/q4")

    expected = {"ServiceAccount/q4", "Deployment/q4", "Service/q4"}
    expected |= {"PersistentVolumeClaim/q4-model", f"Job/{job['metadata']['name']}"}
    assert set(world.children("q4")) == expected
    status = world.there(TIER, "q4")["status"]
    assert status["model"]["files"][0]["sha256"] == OUTCOME.digest
    assert status["cache"]["claimName"] == "q4-model"


def test_a_fetch_that_failed_says_why_and_is_never_served(world: World, operator: Run) -> None:
    world.tier("q4", HUB_TIER)

    with operator():
        world.wait_for_reason("q4", "ModelAvailable", "Fetching")
        (job,) = world.all(JOB)
        wrong = Outcome("ChecksumMismatch", 41, "small.gguf: sha256 is b, expected a")
        world.finish_job(job["metadata"]["name"], wrong, well=False)
        world.wait_for_reason("q4", "ModelAvailable", "ChecksumMismatch")
        world.wait_for_reason("q4", "Ready", "ChecksumMismatch")

    assert world.get(DEPLOYMENT, "q4") is None


def test_all_optional_children_come_and_go_with_what_asks_for_them(
    world: World, operator: Run
) -> None:
    world.models()
    scaling = {"minReplicas": 2, "maxReplicas": 4}
    world.tier("q4", autoscaling=scaling)
    settings = SETTINGS.model_copy(
        update={"network_policies": True, "llama_api_key": SecretStr("k" * 16)}
    )

    with operator(settings=settings):
        for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"):
            world.wait_for_child(f"{kind}/q4")
        secret = world.wait_for_child("Secret/q4-api-key")
        assert base64.b64decode(secret["data"]["key"]).decode() == "k" * 16
        world.change(TIER, "q4", {"spec": {"autoscaling": None}})
        world.wait(
            "autoscaler and budget to go",
            lambda: {"HorizontalPodAutoscaler/q4", "PodDisruptionBudget/q4"}.isdisjoint(
                world.children("q4")
            ),
        )
    assert world.there(DEPLOYMENT, "q4")["spec"]["replicas"] == 1


def test_a_second_pass_writes_nothing_nor_does_a_new_operator(world: World, operator: Run) -> None:
    world.models()
    for name in ("q2", "q4"):
        world.tier(name, routing={"rank": int(name[1])})
    world.tier("q8", HUB_TIER, routing={"rank": 8})
    names = ("q2", "q4", "q8")
    with operator() as running:
        for name in names:
            world.wait_for_reason(name, "Accepted", "Valid")
        again(running, world)
    before = {name: world.versions(name) for name in names}

    with operator() as running:
        again(running, world)

    assert running.writes == []
    assert {name: world.versions(name) for name in names} == before


def test_routing_restarts_no_pod(world: World, operator: Run) -> None:
    world.models()
    world.tier("q4")
    with operator():
        world.wait_for_child("Deployment/q4")
        world.wait_for_reason("q4", "Accepted", "Valid")
        before = world.there(DEPLOYMENT, "q4")["metadata"]
        world.change(TIER, "q4", {"spec": {"routing": {"rank": 7}}})
        world.wait("the new generation", lambda: generation(world) == 2)

    after = world.there(DEPLOYMENT, "q4")["metadata"]
    assert after["resourceVersion"] == before["resourceVersion"]


def test_a_dry_run_changes_nothing(world: World, operator: Run) -> None:
    world.models()
    world.tier("q4")

    with operator(dry_run=True) as running:
        world.wait("a write that was only tried", lambda: len(running.writes) > 3)

    assert world.children("q4") == {}
    assert "status" not in world.there(TIER, "q4")


def again(running: Any, world: World) -> None:
    """Let every tier of the namespace be looked at once more."""
    operator = running.operator
    done = operator.metrics.reconciles.labels("ok")._value
    wanted = done.get() + len(world.all(TIER))
    for tier in world.all(TIER):
        key = Key(world.namespace, tier["metadata"]["name"])
        running.call(operator.queue.add, key)
    world.wait("all tiers to be looked at again", lambda: done.get() >= wanted)


def generation(world: World) -> int:
    return int(world.there(TIER, "q4")["status"]["observedGeneration"])
