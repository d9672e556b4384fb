"""A claim that tiers share: what a deleted one leaves in it, and that it goes in any case."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from operating import CLAIM, HUB_TIER, SETTINGS, World
from tiergarten_operator.facts import JOB, TIER

Run = Callable[..., Any]
SHARED = {"cache": {"mode": "Shared", "claimName": "shared"}}


@pytest.fixture
def shared(world: World) -> World:
    claim = copy.deepcopy(CLAIM)
    claim["metadata"]["name"] = "shared"
    world.make(claim)
    return world


def test_a_deleted_tier_waits_until_its_folder_is_gone(shared: World, operator: Run) -> None:
    with operator():
        ready(shared, "q4")
        shared.delete(TIER, "q4")
        job = cleaner(shared, "q4")
        container = job["spec"]["template"]["spec"]["containers"][0]
        assert container["args"][0] == "--remove"
        assert "ownerReferences" not in job["metadata"]

        end(shared, job, "Complete")
        shared.wait("the tier to go", lambda: shared.get(TIER, "q4") is None)


def test_a_folder_that_another_tier_serves_from_stays(shared: World, operator: Run) -> None:
    with operator():
        for name in ("q4", "q8"):
            ready(shared, name)
        shared.delete(TIER, "q4")
        shared.wait("the first to go", lambda: shared.get(TIER, "q4") is None)

    assert not [it for it in shared.all(JOB) if "-clean-" in it["metadata"]["name"]]


def test_a_folder_that_cannot_be_removed_is_told_and_left(shared: World, operator: Run) -> None:
    with operator():
        ready(shared, "q4")
        shared.delete(TIER, "q4")
        end(shared, cleaner(shared, "q4"), "Failed")
        shared.wait("the tier to go", lambda: shared.get(TIER, "q4") is None)
        shared.wait("an event", lambda: "CacheLeft" in told(shared))


def test_a_tier_does_not_wait_for_its_folder_for_ever(shared: World, operator: Run) -> None:
    with operator() as running:
        later = datetime.now(UTC) + timedelta(minutes=11)
        running.operator.reconciler.now = lambda: later
        ready(shared, "q4")
        shared.delete(TIER, "q4")
        shared.wait("the tier to go", lambda: shared.get(TIER, "q4") is None)

    assert "CacheLeft" in told(shared)


def test_a_claim_that_is_gone_needs_no_cleaning(world: World, operator: Run) -> None:
    tier = copy.deepcopy(HUB_TIER)
    tier["metadata"] |= {"name": "q4", "finalizers": ["tiergarten.dev/cache"]}
    tier["spec"] |= SHARED
    world.make(tier)
    with operator(settings=SETTINGS):
        world.wait_for_reason("q4", "Accepted", "ClaimMissing")
        world.delete(TIER, "q4")
        world.wait("the tier to go", lambda: world.get(TIER, "q4") is None)


def ready(world: World, name: str) -> None:
    """Make a tier and wait until the operator has seen to its end."""
    rank = {"routing": {"rank": int(name[1])}}
    world.tier(name, HUB_TIER, **SHARED, **rank)
    world.wait("its finalizer", lambda: "finalizers" in world.there(TIER, name)["metadata"])


def cleaner(world: World, tier: str) -> dict[str, Any]:
    """Wait for the Job that cleans up after a tier, and return it."""

    def found() -> list[dict[str, Any]]:
        return [it for it in world.all(JOB) if f"{tier}-clean-" in it["metadata"]["name"]]

    world.wait("the Job that cleans", found)
    return found()[0]


def end(world: World, job: dict[str, Any], kind: str) -> None:
    """Let a Job end as the controller manager would."""
    now = job["metadata"]["creationTimestamp"]
    before = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[kind]
    conditions = [{"type": it, "status": "True", "reason": "Ended"} for it in (before, kind)]
    status: dict[str, Any] = {"startTime": now, "conditions": conditions}
    status |= {"succeeded": 1, "completionTime": now} if kind == "Complete" else {"failed": 1}
    world.set_status(JOB, job["metadata"]["name"], status)


def told(world: World) -> set[str]:
    path = f"/apis/events.k8s.io/v1/namespaces/{world.namespace}/events"
    return {it["reason"] for it in world.server.get(path).raise_for_status().json()["items"]}
