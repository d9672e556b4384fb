"""What changes in a fleet is counted and told."""

from typing import Any

from prometheus_client import CollectorRegistry

from routing import series, tier
from tiergarten_router.core.health import Health
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.events import kinds
from tiergarten_router.events.kinds import Event
from tiergarten_router.fleet import Fleet
from tiergarten_router.metrics import Metrics
from tiergarten_router.reports import Reports
from tiergarten_router.settings import Settings

SICK = Health(healthy=False, latency_seconds=0, message="ConnectError")
SNAPSHOT = Snapshot((tier("q2", "http://127.0.0.1:9", "http://127.0.0.1:10"),))
NOW = 7.0


def reporting() -> tuple[Fleet, Reports, Metrics, list[Event]]:
    """Return a fleet and what listens to it."""
    told: list[Event] = []
    metrics = Metrics(CollectorRegistry())
    fleet = Fleet(Settings(), lambda: 100.0, lambda: 0.5)
    return fleet, Reports(fleet, metrics, told.append, lambda: NOW), metrics, told


def taken_over(fleet: Fleet, reports: Reports, told: list[Event]) -> Any:
    """Return the group of a fleet that has taken a snapshot over, with nothing told of it."""
    fleet.replace(SNAPSHOT)
    reports.published(SNAPSHOT)
    told.clear()
    return next(iter(fleet.groups()))


def test_a_snapshot_is_told_with_what_can_be_done_with_it() -> None:
    fleet, reports, _, told = reporting()
    fleet.replace(SNAPSHOT)

    reports.published(SNAPSHOT)

    assert told[0] == kinds.TierAdded(NOW, "q2", "tiny")
    assert told[-1] == kinds.TierReady(NOW, "q2", 2, 2)


def test_checks_that_begin_to_fail_are_told_with_what_is_left() -> None:
    fleet, reports, _, told = reporting()
    group = taken_over(fleet, reports, told)

    for replica in group.replicas.values():
        fleet.checked("q2", replica, SICK)
        fleet.checked("q2", replica, SICK)

    assert told == [
        kinds.EndpointHealth(NOW, "q2", "q2-0", healthy=False),
        kinds.TierDegraded(NOW, "q2", 1, 2),
        kinds.EndpointHealth(NOW, "q2", "q2-1", healthy=False),
        kinds.TierUnavailable(NOW, "q2", 0, 2),
    ]


async def test_a_breaker_that_opens_is_counted_and_told_with_its_endpoint() -> None:
    fleet, reports, metrics, told = reporting()
    taken_over(fleet, reports, told)

    for _ in range(5):
        lease = await fleet.lease("q2", {"q2-1"}, float("inf"))
        fleet.failed(lease)
        lease.release()

    assert told == [kinds.BreakerOpened(NOW, "q2", "q2-0")]
    counted = series(metrics.render().decode(), "breaker_transitions_total")
    assert counted == {'tier="q2",to="open"': 1.0}
