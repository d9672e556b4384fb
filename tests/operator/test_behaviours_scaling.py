"""How many replicas there are, and who says so."""

from collections.abc import Callable
from functools import partial
from typing import Any

from operating import World
from tiergarten_operator.facts import AUTOSCALER, DEPLOYMENT, TIER

Run = Callable[..., Any]


def test_scaling_the_tier_scales_its_deployment_and_leaves_its_pods(
    world: World, operator: Run
) -> None:
    world.models()
    world.tier("q4")
    with operator():
        world.wait_for_child("Deployment/q4")
        before = world.there(DEPLOYMENT, "q4")["spec"]["template"]

        scale(world, 3)

        world.wait("three replicas", lambda: replicas(world) == 3)
        world.wait_for_child("PodDisruptionBudget/q4")
    assert world.there(DEPLOYMENT, "q4")["spec"]["template"] == before
    selector = world.there(TIER, "q4")["status"]["selector"]
    assert selector == "tiergarten.dev/tier=q4,app.kubernetes.io/component=server"


def test_a_deployment_scaled_by_hand_goes_back(world: World, operator: Run) -> None:
    world.models()
    world.tier("q4", replicas=2)
    with operator():
        world.wait_for_child("Deployment/q4")
        world.wait_for_reason("q4", "Accepted", "Valid")
        world.change(DEPLOYMENT, "q4", {"spec": {"replicas": 5}})
        world.wait("two replicas", lambda: replicas(world) == 2)


def test_an_autoscalers_number_stays_and_there_is_no_drop_when_it_takes_over(
    world: World, operator: Run
) -> None:
    world.models()
    world.tier("q4", replicas=3)
    with operator():
        world.wait_for_child("Deployment/q4")
        world.wait("three replicas", lambda: replicas(world) == 3)
        scaling = {"minReplicas": 2, "maxReplicas": 8}
        world.change(TIER, "q4", {"spec": {"autoscaling": scaling}})
        world.wait_for_child("HorizontalPodAutoscaler/q4")
        assert replicas(world) == 3

        path = f"{world.path(DEPLOYMENT, 'q4')}/scale"
        headers = {"Content-Type": "application/merge-patch+json"}
        world.server.patch(
            path,
            params={"fieldManager": "kube-controller-manager"},
            json={"spec": {"replicas": 6}},
            headers=headers,
        ).raise_for_status()
        for context in range(4096, 4096 + 10 * 1024, 1024):  # ten main applies
            world.change(TIER, "q4", {"spec": {"runtime": {"contextLength": context}}})
            world.wait("the new template", partial(has_context, world, context))
            assert replicas(world) == 6

        world.change(TIER, "q4", {"spec": {"autoscaling": None}})
        world.wait("spec.replicas again", lambda: replicas(world) == 3)
        assert world.get(AUTOSCALER, "q4") is None


def test_suspending_keeps_the_cache_and_resuming_brings_the_replicas_back(
    world: World, operator: Run
) -> None:
    world.models()
    world.tier("q4", replicas=2)
    with operator():
        world.wait("two replicas", lambda: replicas(world) == 2)
        world.change(TIER, "q4", {"spec": {"suspend": True}})
        world.wait("no replicas", lambda: replicas(world) == 0)
        world.wait_for_reason("q4", "Ready", "Suspended")
        world.change(TIER, "q4", {"spec": {"suspend": False}})
        world.wait("two replicas", lambda: replicas(world) == 2)


def scale(world: World, count: int) -> None:
    """Scale as `kubectl scale mt` does."""
    headers = {"Content-Type": "application/merge-patch+json"}
    path = f"{world.path(TIER, 'q4')}/scale"
    body = {"spec": {"replicas": count}}
    world.server.patch(path, json=body, headers=headers).raise_for_status()


def replicas(world: World) -> int:
    return int(world.there(DEPLOYMENT, "q4")["spec"]["replicas"])


def has_context(world: World, tokens: int) -> bool:
    template = world.there(DEPLOYMENT, "q4")["spec"]["template"]
    return str(tokens) in template["spec"]["containers"][0]["args"]
