"""What goes with a tier, and that nobody needs the operator for it (behaviour 10)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from operating import HUB_TIER, World
from tiergarten_api import labels
from tiergarten_operator.facts import ACCOUNT, CLAIM, DEPLOYMENT, JOB, SERVICE, TIER, Kind

Run = Callable[..., Any]
# For its garbage collector, which learns of new kinds every half a minute.
pytestmark = [pytest.mark.level(2), pytest.mark.timeout(180)]
LEARNT_SECONDS = 90


def test_a_tier_that_is_deleted_while_the_operator_is_down_goes_with_all_that_it_owns(
    world: World, operator: Run
) -> None:
    world.models()
    world.tier("q4")
    world.tier("q3", HUB_TIER, routing={"rank": 2})
    with operator():
        world.wait_for_child("Deployment/q4")
        world.wait("the Job", lambda: world.all(JOB))

    world.seconds = LEARNT_SECONDS
    for name in ("q4", "q3"):
        world.delete(TIER, name)

    world.wait("the tiers to go", lambda: not world.all(TIER))
    for kind in (DEPLOYMENT, SERVICE, JOB, ACCOUNT, CLAIM):
        world.wait(f"each {kind.name} to go", partial(none_left, world, kind))


def none_left(world: World, kind: Kind) -> bool:
    """Return whether there is no child of this kind any more."""
    found = (it["metadata"].get("labels", {}) for it in world.all(kind))
    return not any(it.get(labels.MANAGED_BY) == labels.OPERATOR for it in found)
