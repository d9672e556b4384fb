"""Watches that are cut, and an API server that is ill or away: no change is missed.

`OUTAGE_SECONDS_TEST` makes an outage longer by so much, and `SILENCE_SECONDS_TEST` is how long a
watch may show nothing, instead of 2 s.
"""

import itertools
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from api_proxy import ApiProxy
from kit.cluster import Cluster
from kit.processes import wait_for
from operating import SETTINGS, World
from tiergarten_operator.facts import DEPLOYMENT, SERVICE, TIER

Run = Callable[..., Any]
CATCH_UP_SECONDS = 30
ABSENT_SECONDS = 8
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS_TEST", "0"))
SILENCE_SECONDS = float(os.environ.get("SILENCE_SECONDS_TEST", "2"))
HASTY = SETTINGS.model_copy(update={"request_seconds": 2})


def test_a_watch_cut_by_a_tcp_reset_misses_no_change(
    world: World, operator: Run, proxy: ApiProxy
) -> None:
    with_a_deployment(world)
    with operator(kubeconfig=proxy.kubeconfig):
        settled(world)
        for replicas in (2, 3, 4):
            proxy.reset_watches()
            change(world, replicas)


@pytest.mark.timeout(60 + SILENCE_SECONDS)
def test_a_watch_that_falls_silent_is_begun_anew_and_misses_no_change(
    world: World, operator: Run, proxy: ApiProxy
) -> None:
    with_a_deployment(world)
    settings = SETTINGS.model_copy(update={"silence_seconds": SILENCE_SECONDS})
    with operator(kubeconfig=proxy.kubeconfig, settings=settings):
        settled(world)
        proxy.silence_watches()
        change(world, 3, CATCH_UP_SECONDS + SILENCE_SECONDS)


@pytest.mark.level(1, alone=True)
@pytest.mark.timeout(120)
def test_what_went_while_a_watch_was_cut_and_its_past_compacted_is_found(
    world: World, operator: Run, proxy: ApiProxy, cluster: Cluster
) -> None:
    with_a_deployment(world)
    with operator(kubeconfig=proxy.kubeconfig):
        settled(world)
        with proxy.closed():
            world.change(TIER, "q4", {"spec": {"replicas": 3}})
            world.delete(SERVICE, "q4")
            cluster.etcd.compact()
            cluster.restart("kube-apiserver")
        caught_up(world, 3)
        wait_for("the Service", lambda: world.get(SERVICE, "q4") is not None, CATCH_UP_SECONDS)

    assert proxy.gone > 0


@pytest.mark.level(1, alone=True)
@pytest.mark.timeout(120 + OUTAGE_SECONDS)
@pytest.mark.parametrize("outage", ["frozen", "killed"])
def test_an_operator_outlives_an_api_server_that_is_away_and_catches_up(
    world: World, operator: Run, cluster: Cluster, outage: str
) -> None:
    with_a_deployment(world)
    with operator(settings=HASTY) as running:
        settled(world)
        begin, end = {
            "frozen": (cluster.freeze, cluster.thaw),
            "killed": (cluster.kill, cluster.start),
        }[outage]
        begin("kube-apiserver")
        wake(running, world)
        wait_for("some tries", lambda: failures(running) >= 3, ABSENT_SECONDS * 3)
        threading.Event().wait(OUTAGE_SECONDS)  # the fault itself: there is no state to wait for
        end("kube-apiserver")
        wait_for("the API server", lambda: answers(world), CATCH_UP_SECONDS)
        change(world, 3)
        assert running.operator._ill() == ""

    assert failures(running) < 20  # it waited longer and longer


@pytest.mark.parametrize(("status", "asked"), [(429, 2), (500, 0), (503, 2)])
def test_writes_that_are_refused_for_now_come_back_not_before_they_may(
    world: World, operator: Run, proxy: ApiProxy, status: int, asked: int
) -> None:
    world.models()
    proxy.refuse_writes(3, status, **({"Retry_After": str(asked)} if asked else {}))
    world.tier("q4")
    with operator(kubeconfig=proxy.kubeconfig) as running:
        settled(world)
        assert failures(running) >= 3

    pairs = [pair for times in proxy.writes.values() for pair in itertools.pairwise(times)]
    waits = [after - before for (before, was), (after, _) in pairs if was == status]
    assert len(waits) == 3
    assert min(waits) >= max(asked, 0.8)


def test_a_status_that_is_refused_for_now_is_right_in_the_end(
    world: World, operator: Run, proxy: ApiProxy
) -> None:
    with_a_deployment(world)
    with operator(kubeconfig=proxy.kubeconfig):
        settled(world)
        proxy.refuse_writes(2, 500)
        world.set_status(DEPLOYMENT, "q4", {"replicas": 1, "readyReplicas": 1})
        world.wait("the status", lambda: world.there(TIER, "q4")["status"]["readyReplicas"] == 1)


def with_a_deployment(world: World) -> None:
    world.models()
    world.tier("q4")


def settled(world: World) -> None:
    world.wait_for_child("Service/q4")
    world.wait_for_reason("q4", "Accepted", "Valid")


def change(world: World, replicas: int, seconds: float = CATCH_UP_SECONDS) -> None:
    world.change(TIER, "q4", {"spec": {"replicas": replicas}})
    caught_up(world, replicas, seconds)


def caught_up(world: World, replicas: int, seconds: float = CATCH_UP_SECONDS) -> None:
    def scaled() -> bool:
        return bool(world.there(DEPLOYMENT, "q4")["spec"]["replicas"] == replicas)

    wait_for(f"{replicas} replicas", scaled, seconds)


def wake(running: Any, world: World) -> None:
    """Let the tier be looked at, which finds that its Deployment is not as it must be."""
    operator = running.operator

    def forget() -> None:
        operator.store.remove(DEPLOYMENT, world.namespace, "q4")
        for key in operator.store.keys_of(TIER, operator.store.get(TIER, world.namespace, "q4")):
            operator.queue.add(key)

    running.call(forget)


def failures(running: Any) -> float:
    return float(running.operator.metrics.reconciles.labels("error")._value.get())


def answers(world: World) -> bool:
    return world.server.get("/readyz").is_success
