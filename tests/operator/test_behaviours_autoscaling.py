"""A tier that follows its load: the autoscaler decides, and the operator lets it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import adapter
from adapter import Adapter
from kit.cluster import Cluster
from operating import World
from tiergarten_operator.facts import AUTOSCALER, DEPLOYMENT, POD, TIER

pytestmark = [pytest.mark.level(2), pytest.mark.timeout(240)]
Run = Callable[..., Any]
SCALING = {"minReplicas": 1, "maxReplicas": 4, "metric": "BusySlots", "target": 50}
SLOTS = {"parallel": 4}  # so that two busy ones a pod are the target


def test_busy_slots_add_replicas_that_stay_over_ten_edits_until_scaling_is_off(
    cluster: Cluster, world: World, operator: Run
) -> None:
    world.seconds = 90  # the autoscaler looks every 15 s, and learns late that there are metrics
    world.models()
    with adapter.running(cluster) as metrics, operator():
        world.tier("q4", runtime=SLOTS, autoscaling=SCALING, replicas=2)
        busy = partial(every_pod_has, world, metrics, 6)
        world.wait("three times the replicas", lambda: busy() and replicas(world) == 4)

        for context in range(4096, 4096 + 10 * 1024, 1024):
            world.change(TIER, "q4", {"spec": {"runtime": {"contextLength": context}}})
            world.wait("its apply", partial(has_context, world, context))
            assert replicas(world) == 4

        assert metrics.asked == {"llamacpp:requests_processing"}
        world.change(TIER, "q4", {"spec": {"autoscaling": None}})
        world.wait("spec.replicas again", lambda: replicas(world) == 2)
        world.wait("it to go", lambda: world.get(AUTOSCALER, "q4") is None)


def test_without_a_metrics_api_the_tier_says_that_nothing_scales_it(
    world: World, operator: Run
) -> None:
    world.models()
    with operator():
        world.tier("q4", autoscaling=SCALING)
        world.wait(
            "the autoscaler's words",
            lambda: "autoscaler does nothing" in world.conditions("q4")["Progressing"]["message"],
        )

    assert replicas(world) == 1
    assert "metric" in world.conditions("q4")["Progressing"]["message"]


def every_pod_has(world: World, metrics: Adapter, busy: int) -> bool:
    """Let all pods run, and so many slots of each be busy; nobody else does, without a node."""
    for pod in world.all(POD):
        name = pod["metadata"]["name"]
        if pod["status"].get("phase") != "Running":
            ready = [{"type": "Ready", "status": "True"}]
            world.set_status(POD, name, {"phase": "Running", "conditions": ready})
        metrics.values[name] = busy
    return bool(metrics.values)


def replicas(world: World) -> int:
    return int(world.there(DEPLOYMENT, "q4")["spec"]["replicas"])


def has_context(world: World, tokens: int) -> bool:
    template = world.there(DEPLOYMENT, "q4")["spec"]["template"]
    return str(tokens) in template["spec"]["containers"][0]["args"]
