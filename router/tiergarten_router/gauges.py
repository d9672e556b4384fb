"""Gauges over the fleet: asked for when Prometheus asks, and gone with what they are of."""

from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Final

from tiergarten_router.cache.memory import Memory
from tiergarten_router.core.breaker import Phase
from tiergarten_router.core.routes import Origin
from tiergarten_router.core.snapshot import Standing
from tiergarten_router.events.hub import Hub
from tiergarten_router.fleet import Fleet, Replica
from tiergarten_router.metrics import Metrics, Sample
from tiergarten_router.store.client import Store

REFUSED: Final = 100  # most objects that are named
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

    def panics() -> Iterable[Sample]:
        return [((group.tier.name,), float(group.panics())) for group in fleet.groups()]

    add = metrics.show
    add("queue_depth", "Queries that wait for a slot.", ("tier",), queues)
    add("requests_in_flight", "Queries that hold a slot.", ("tier",), in_flight)
    add("tier_ready_replicas", "Replicas that may be asked.", ("tier",), ready)
    add("breaker_state", "0 closed, 1 half-open, 2 open.", ("tier", "replica"), breakers)
    add("panic_mode", "1 while most replicas fail and breakers are ignored.", ("tier",), panics)
    add("build_info", "Always 1.", ("version",), lambda: [((version("tiergarten"),), 1)])


def show_source(metrics: Metrics, fleet: Fleet, standing: Callable[[], Standing]) -> None:
    """Add the gauges of a source: how current it is, and what it could not read."""

    def refused() -> Iterable[Sample]:
        return [(labels, 1) for labels in standing().refused[:REFUSED]]

    def generations() -> Iterable[Sample]:
        routes = fleet.routes.by_model.values()
        return [((r.name,), r.generation) for r in routes if r.origin is Origin.ROUTE]

    add = metrics.show
    add("api_up", "1 while tiers are followed.", (), lambda: [((), standing().reachable)])
    add("config_age_seconds", "Time since a watch was heard.", (),
        lambda: [((), standing().age_seconds)])  # fmt: skip
    names = ("kind", "namespace", "name")
    add("config_refused", "Objects that cannot be read.", names, refused)
    add("route_generation", "Generation of a TierRoute in force.", ("route",), generations)


def show_cache(metrics: Metrics, memory: Memory, store: Store | None) -> None:
    """Add the gauges of the answer cache, and those of Redis if there is one."""
    add = metrics.show
    add("cache_bytes", "Bytes of cached answers in memory.", (), lambda: [((), memory.held_bytes)])
    add("cache_entries", "Cached answers in memory.", (), lambda: [((), len(memory))])
    if store is not None:
        add("redis_up", "Whether Redis is connected.", (), lambda: [((), int(store.up))])
        add(
            "redis_breaker_state",
            "0 closed, 1 half-open, 2 open.",
            (),
            lambda: [((), store.state.value)],
        )


def show_events(metrics: Metrics, hub: Hub) -> None:
    """Add the gauges of those who listen to events."""
    metrics.show("ws_connections", "Subscribers to events.", (), lambda: [((), len(hub))])
    metrics.show(
        "ws_queue_bytes",
        "Bytes that wait for subscribers to read.",
        (),
        lambda: [((), hub.queued_bytes)],
    )
