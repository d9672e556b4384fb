"""What the operator makes of a tier, and that it leaves alone what is right."""

from collections.abc import Callable
from typing import Any

from operating import World
from tiergarten_fetch.outcomes import Fetched, Outcome

OUTCOME = Outcome(
    "Verified",
    size=7_000_000,
    file_count=1,
    files=(Fetched("small.gguf", "Model", 7_000_000, "a" * 64),),
    digest="a" * 64,
)
Run = Callable[..., Any]


def test_a_minimal_tier_gets_exactly_its_children_each_owned_by_it(
    world: World, operator: Run
) -> None:
    world.models()
    made = world.tier("q4")

    with operator():
        world.wait_for_reason("q4", "Accepted", "Valid")
        world.wait_for_child("Service/q4")

    children = world.children("q4")
    assert set(children) == {"ServiceAccount/q4", "Deployment/q4", "Service/q4"}
    for child in children.values():
        (owner,) = child["metadata"]["ownerReferences"]
        assert owner["uid"] == made["metadata"]["uid"]
        assert owner["controller"] is True
    conditions = world.reasons("q4")
    assert conditions["ModelAvailable"] == "Verified"
    assert conditions["Ready"] == conditions["Available"] == "NoReplicas"
