"""Gauges tell of what is there when they are asked, and of nothing that is gone."""

from prometheus_client import CollectorRegistry

from routing import route, series, tier
from tiergarten_router import gauges
from tiergarten_router.cache.entry import Entry
from tiergarten_router.cache.memory import Kept, Memory
from tiergarten_router.core.health import Health
from tiergarten_router.core.snapshot import Snapshot, Standing
from tiergarten_router.fleet import Fleet, Lease
from tiergarten_router.metrics import Metrics
from tiergarten_router.settings import Settings
from tiergarten_router.store.address import parse
from tiergarten_router.store.client import Store


async def test_gauges_follow_the_fleet() -> None:
    now = 100.0
    fleet = Fleet(Settings(), lambda: now, lambda: 0.5)
    metrics = Metrics(CollectorRegistry())
    gauges.show(metrics, fleet)
    two = tier("q2", "http://a", "http://b", slots=9)
    fleet.replace(Snapshot((two, tier("q3", "http://c"))))

    async def claim() -> Lease:
        return await fleet.lease("q2", {"q2-1"}, float("inf"))

    for _ in range(5):
        failing = await claim()
        fleet.failed(failing)
        failing.release()
    for _ in range(2):
        ill = next(iter(fleet.groups())).replicas["q2-1"]
        fleet.checked("q2", ill, Health(healthy=False, latency_seconds=0.0))
    await claim()
    text = metrics.render().decode()

    assert series(text, "tier_ready_replicas") == {'tier="q2"': 1, 'tier="q3"': 1}
    assert series(text, "requests_in_flight") == {'tier="q2"': 1, 'tier="q3"': 0}
    assert series(text, "queue_depth") == {'tier="q2"': 0, 'tier="q3"': 0}
    states = series(text, "breaker_state")
    assert states['replica="q2-0",tier="q2"'] == 2
    assert states['replica="q2-1",tier="q2"'] == 0

    assert series(text, "panic_mode") == {'tier="q2"': 1, 'tier="q3"': 0}

    now += 10
    await claim()
    states = series(metrics.render().decode(), "breaker_state")
    assert states['replica="q2-0",tier="q2"'] == 1

    fleet.replace(Snapshot())
    text = metrics.render().decode()
    assert series(text, "breaker_state") == series(text, "queue_depth") == {}
    assert list(series(text, "build_info").values()) == [1]


async def test_gauges_of_a_source_say_how_current_it_is_and_what_it_could_not_read() -> None:
    fleet, metrics = Fleet(Settings(), lambda: 0.0, lambda: 0.5), Metrics(CollectorRegistry())
    refused = tuple(("ModelTier", "ns", f"q{n}") for n in range(gauges.REFUSED + 5))
    told = Standing(reachable=False, age_seconds=7.5, refused=refused)
    gauges.show_source(metrics, fleet, lambda: told)
    own = route("q2")
    generation = own.metadata.model_copy(update={"generation": 4})
    fleet.replace(Snapshot((tier("q2"),), (own.model_copy(update={"metadata": generation}),)))

    text = metrics.render().decode()

    assert "tiergarten_router_api_up 0.0" in text
    assert "tiergarten_router_config_age_seconds 7.5" in text
    assert len(series(text, "config_refused")) == gauges.REFUSED
    assert series(text, "config_refused")['kind="ModelTier",name="q0",namespace="ns"'] == 1
    assert series(text, "route_generation") == {'route="auto"': 4}


def test_gauges_show_the_cache_and_a_redis_that_is_not_there() -> None:
    metrics, memory = Metrics(CollectorRegistry()), Memory(1 << 20)
    gauges.show_cache(metrics, memory, Store(parse("redis://nowhere")))
    memory.put(b"key", Kept(Entry([b"event"], "q2", "tiny", 0, (), 60.0), 0.0, 60.0))

    text = metrics.render().decode()

    assert f"tiergarten_router_cache_bytes {float(memory.held_bytes)}" in text
    assert "tiergarten_router_cache_entries 1.0" in text
    assert "tiergarten_router_redis_up 0.0" in text
    assert "tiergarten_router_redis_breaker_state 2.0" in text
