"""What changed between two looks at the fleet."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from routing import route, tier
from tiergarten_router.core.snapshot import ReplicaState, Snapshot, TierStatus
from tiergarten_router.events.changes import Changes
from tiergarten_router.events.kinds import Event

Told = list[Event]
FAILED = ReplicaState.FAILED


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
def changes(told: Told) -> Changes:
    return Changes(told.append, lambda: 7.0)


def kinds(told: Told) -> list[str]:
    """Return the kinds that were told, and forget them."""
    found = [str(event.__struct_config__.tag) for event in told]
    told.clear()
    return found


def fetching(fetched: int | None, total: int | None = 1000) -> Snapshot:
    """Return a snapshot of a tier whose model is being fetched."""
    status = TierStatus("Fetching", fetched_bytes=fetched, total_bytes=total)
    return Snapshot((tier("q2", status=status),))


def test_a_first_snapshot_is_all_new_and_the_same_again_is_nothing(
    changes: Changes, told: Told
) -> None:
    snapshot = Snapshot((tier("q2", "http://127.0.0.1:9"),))

    changes.published(snapshot, ["auto", "q2"])
    assert kinds(told) == ["tier.added", "endpoint.added", "config.changed"]
    changes.published(snapshot, ["auto", "q2"])
    assert kinds(told) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda _: (), ["tier.removed", "config.changed"]),
        (lambda t: (replace(t, rank=9),), ["tier.changed", "config.changed"]),
        (lambda t: (replace(t, status=TierStatus("Loading")),), ["tier.changed"]),
        (lambda t: (replace(t, endpoints=()),), ["endpoint.removed"]),
        (
            lambda t: (
                replace(t, endpoints=(replace(t.endpoints[0], state=ReplicaState.FAILED),)),
            ),
            ["endpoint.state"],
        ),
        (
            lambda t: (replace(t, endpoints=(replace(t.endpoints[0], restarts=1),)),),
            ["endpoint.state"],
        ),
        (lambda t: (replace(t, endpoints=(replace(t.endpoints[0], message="x"),)),), []),
    ],
)
def test_each_change_has_its_kind(
    changes: Changes, told: Told, change: Callable[[Any], Any], expected: list[str]
) -> None:
    before = tier("q2", "http://127.0.0.1:9")
    changes.published(Snapshot((before,)), [])
    told.clear()

    changes.published(Snapshot(change(before)), [])

    assert kinds(told) == expected


def test_a_route_that_changes_is_a_change_of_the_configuration(
    changes: Changes, told: Told
) -> None:
    changes.published(Snapshot((tier("q2"),)), [])
    told.clear()

    changes.published(Snapshot((tier("q2"),), (route("q2"),)), ["auto"])

    assert kinds(told) == ["config.changed"]


def test_readiness_is_told_when_it_changes(changes: Changes, told: Told) -> None:
    for ready in (0, 0, 1, 2, 2, 1, 0):
        changes.readiness("q2", ready, 2)

    assert kinds(told) == [
        "tier.unavailable", "tier.degraded", "tier.ready", "tier.degraded", "tier.unavailable",
    ]  # fmt: skip


def test_a_tier_that_comes_back_is_told_anew(changes: Changes, told: Told) -> None:
    changes.published(Snapshot((tier("q2"),)), [])
    changes.readiness("q2", 1, 1)
    changes.published(Snapshot(), [])
    changes.published(Snapshot((tier("q2"),)), [])
    told.clear()

    changes.readiness("q2", 1, 1)

    assert kinds(told) == ["tier.ready"]


def test_fetching_is_told_in_steps_of_a_hundredth(changes: Changes, told: Told) -> None:
    steps = [None, 0, 3, 9, 10, 12, 25, 999, 1000, 1000, 5]
    for fetched in steps:
        changes.published(fetching(fetched), [])

    progress = [event for event in told if event.__struct_config__.tag == "fetch.progress"]
    assert [event.fetched_bytes for event in progress] == [0, 10, 25, 999, 1000, 5]  # type: ignore[attr-defined]  # of this kind


def test_fetching_without_a_known_size_is_told_each_time(changes: Changes, told: Told) -> None:
    for fetched in (1, 2):
        changes.published(fetching(fetched, None), [])

    assert kinds(told).count("fetch.progress") == 2


def test_breakers_and_health_are_told(changes: Changes, told: Told) -> None:
    for phase in ("open", "half-open", "closed"):
        changes.breaker("q2", "q2-0", phase)
    changes.health("q2", "q2-0", healthy=False)

    assert kinds(told) == [
        "breaker.opened", "breaker.half_open", "breaker.closed", "endpoint.health",
    ]  # fmt: skip
