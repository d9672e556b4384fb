"""Gauges over the fleet: asked for when Prometheus asks, and gone with what they are of."""

from collections.abc import Iterable
from importlib.metadata import version
from typing import Final

from tiergarten_router.core.breaker import Phase
from tiergarten_router.events.hub import Hub
from tiergarten_router.fleet import Fleet, Replica
from tiergarten_router.metrics import Metrics, Sample

PHASES: Final = {Phase.CLOSED: 0, Phase.HALF_OPEN: 1, Phase.OPEN: 2}


def show(metrics: Metrics, fleet: Fleet) -> None:
    """Add the gauges of a fleet to the metrics."""

    def groups() -> Iterable[tuple[str, list[Replica]]]:
        return [(group.tier.name, list(group.replicas.values())) for group in fleet.groups()]

    def queues() -> Iterable[Sample]:
        return [((group.tier.name,), len(group.waiting)) for group in fleet.groups()]

    def in_flight() -> Iterable[Sample]:
        return [((name,), sum(r.in_flight for r in replicas)) for name, replicas in groups()]

    def ready() -> Iterable[Sample]:
        return [((name,), sum(r.serves for r in replicas)) for name, replicas in groups()]

    def breakers() -> Iterable[Sample]:
        return [
            ((name, r.id), PHASES[r.breaker.phase]) for name, replicas in groups() for r in replicas
        ]

    add = metrics.show
    add("queue_depth", "Queries that wait for a slot.", ("tier",), queues)
    add("requests_in_flight", "Queries that hold a slot.", ("tier",), in_flight)
    add("tier_ready_replicas", "Replicas that may be asked.", ("tier",), ready)
    add("breaker_state", "0 closed, 1 half-open, 2 open.", ("tier", "replica"), breakers)
    add("build_info", "Always 1.", ("version",), lambda: [((version("tiergarten"),), 1)])


def show_events(metrics: Metrics, hub: Hub) -> None:
    """Add the gauges of those who listen to events."""
    metrics.show("ws_connections", "Subscribers to events.", (), lambda: [((), len(hub))])
    metrics.show(
        "ws_queue_bytes",
        "Bytes that wait for subscribers to read.",
        (),
        lambda: [((), hub.queued_bytes)],
    )
