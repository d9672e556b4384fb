"""What is known of one endpoint, and lists of such."""

import pytest

from tiergarten_router.core.snapshot import Endpoint, ReplicaState
from tiergarten_router.replica import Average, Replica, Roster


def replica(number: int = 0, state: ReplicaState = ReplicaState.READY) -> Replica:
    return Replica(Endpoint(f"q2-{number}", f"http://q2-{number}", state))


def test_an_average_begins_with_the_first_observation_and_follows_the_newest() -> None:
    average = Average()
    average.add(10)
    average.add(20)

    assert average.value == 12


@pytest.mark.parametrize(
    ("state", "failed", "serves"),
    [
        (ReplicaState.READY, 1, True),
        (ReplicaState.READY, 2, False),
        (ReplicaState.DRAINING, 0, False),
    ],
)
def test_a_replica_serves_while_its_source_and_its_checks_say_so(
    state: ReplicaState, failed: int, *, serves: bool
) -> None:
    one = replica(state=state)
    one.failed_checks = failed

    assert one.serves is serves


def test_a_replica_does_well_once_it_has_answered_and_while_it_does_not_rest() -> None:
    one = replica()
    assert not one.does_well(100.0)
    one.breaker = one.breaker.succeeded(100.0, 99.0)
    assert one.does_well(100.0)
    one.rests_until = 105.0
    assert not one.does_well(100.0)


def test_a_roster_holds_each_member_once_in_any_order_of_comings_and_goings() -> None:
    roster, all_ = Roster(), [replica(number) for number in range(5)]
    for one in (*all_, *all_):
        roster.keep(one, member=True)
    for one in (all_[0], all_[4], all_[2], all_[2]):
        roster.keep(one, member=False)

    assert len(roster) == 2
    assert {one.id for one in roster.members} == {"q2-1", "q2-3"}
    assert all_[1] in roster
    assert all_[0] not in roster
