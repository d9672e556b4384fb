"""Which of a tier's replicas that are about to end gets a query."""

from dataclasses import replace

from tiergarten_router.core.affinity import ANYBODY, Claim
from tiergarten_router.core.snapshot import Endpoint, ReplicaState, Tier
from tiergarten_router.group import Group
from tiergarten_router.replica import Replica

NOW = 100.0
BEGUN = Claim(7, sticky=True, begun=True)


def group(size: int, slots: int = 4) -> Group:
    tier = Tier("q2", "tiny", 2, slots, 4096)
    made = Group(tier)
    made.replace(tier, [Endpoint(f"q2-{n}", f"http://q2-{n}") for n in range(size)])
    return made


def choose(of: Group, *tried: str, claim: Claim = ANYBODY) -> Replica | None:
    return of.choose(claim, tried, None, NOW, 0.0)


def ending(of: Group, *names: str) -> None:
    """Let replicas be about to end, and all others be ready."""
    state = dict.fromkeys(names, ReplicaState.DRAINING)
    endpoints = [
        replace(it.endpoint, state=state.get(name, ReplicaState.READY))
        for name, it in of.replicas.items()
    ]
    of.replace(of.tier, endpoints)


def test_one_that_is_about_to_end_is_asked_only_if_none_is_ready_and_by_no_new_conversation() -> (
    None
):
    two = group(2)
    ending(two, "q2-0")
    assert {found.id for _ in range(9) if (found := choose(two, claim=BEGUN))} == {"q2-1"}

    ending(two, "q2-0", "q2-1")

    assert choose(two) is None
    assert choose(two, claim=Claim(7, sticky=True)) is None
    assert not two.may_wait((), NOW)
    found = choose(two, claim=BEGUN)
    assert found is not None
    two.count(found, 1)
    other = choose(two, claim=BEGUN)
    assert other is not None
    assert {found.id, other.id} == {"q2-0", "q2-1"}


def test_one_that_is_about_to_end_is_not_asked_beyond_its_slots_nor_twice_nor_when_broken() -> None:
    one = group(1, slots=1)
    ending(one, "q2-0")
    assert choose(one, "q2-0", claim=BEGUN) is None
    found = choose(one, claim=BEGUN)
    assert found is not None

    one.count(found, 1)
    assert choose(one, claim=BEGUN) is None
    one.count(found, -1)
    found.failed_checks = 2
    one.refresh(found)
    assert choose(one, claim=BEGUN) is None
