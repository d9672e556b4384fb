"""One tier's trouble is its own, on a real API server."""

from collections.abc import Callable
from typing import Any

import structlog

from operating import World
from tiergarten_operator.facts import ROUTE, TIER, Key

Run = Callable[..., Any]


def test_what_makes_a_reconcile_fail_is_logged_counted_backed_off_and_delays_no_other(
    world: World, operator: Run
) -> None:
    world.models()
    broken = {"name": "broken", "namespace": world.namespace, "uid": "u", "resourceVersion": "1"}
    key = Key(world.namespace, "broken", ROUTE.name)
    with structlog.testing.capture_logs() as logged, operator() as running:
        # No API server lets such a route in; a definition newer than this operator might.
        running.call(running.operator.store.put, ROUTE, {"metadata": broken})
        running.call(running.operator.queue.add, key)
        world.tier("q4")
        world.wait_for_reason("q4", "Accepted", "Valid")
        world.wait("a second try", lambda: len(failures(logged)) >= 2)

    first, second = failures(logged)[:2]
    assert (first["name"], first["namespace"]) == ("broken", world.namespace)
    assert (first["failures"], second["failures"]) == (1, 2)
    assert second["again_seconds"] > first["again_seconds"]
    assert first["log_level"] == "error"
    assert running.operator.metrics.reconciles.labels("error")._value.get() >= 2


def test_a_tier_that_cannot_be_read_is_named_and_left_as_it_is(world: World, operator: Run) -> None:
    odd = {"name": "odd", "namespace": world.namespace, "uid": "u", "resourceVersion": "1"}
    spec = {"spec": {"model": {"name": 7}}}
    with structlog.testing.capture_logs() as logged, operator() as running:
        running.call(running.operator.store.put, TIER, {"metadata": odd} | spec)
        running.call(running.operator.queue.add, Key(world.namespace, "odd"))

        def told() -> list[Any]:
            return [it for it in logged if it["event"] == "tier_unreadable"]

        world.wait("a line", told)

    assert told()[0]["tier"] == "odd"


def failures(logged: list[Any]) -> list[Any]:
    return [it for it in logged if it["event"] == "reconcile_failed"]
