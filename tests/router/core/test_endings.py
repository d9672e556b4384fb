"""What a client is told when no tier has answered, and whether the next one is asked."""

import pytest

from routing import route, tier
from tiergarten_router.core import endings, plan
from tiergarten_router.core.plan import Demand
from tiergarten_router.core.routes import compile_routes
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.errors import (
    AttemptFailed,
    ConnectFailed,
    ContextExceeded,
    ContextOverflow,
    NoReadyTier,
    NotReadyYet,
    Refused,
    Saturated,
    Unsupported,
)


def routed(*tiers, **spec):
    found = compile_routes(Snapshot(tiers, (route(*(t.name for t in tiers), **spec),))).find("auto")
    assert found is not None
    return found


TWO = routed(tier("q2"), tier("q4", slot_tokens=8192))


@pytest.mark.parametrize(
    ("failure", "cause", "goes_on"),
    [
        (ConnectFailed("x"), "ConnectFailure", True),
        (AttemptFailed("x"), "ServerError", True),
        (NotReadyYet("x"), "Saturated", True),
        (Saturated("x"), "Saturated", True),
        (NoReadyTier("x"), "NoEndpoints", True),
        (Refused("x"), "ServerError", False),
        (ContextOverflow("x", 5000, 4096), "ContextOverflow", True),
    ],
)
def test_each_failure_has_the_route_s_word_for_it(failure, cause, goes_on):
    assert endings.cause(failure) == cause
    assert endings.goes_on(failure, TWO, 1) is goes_on


def test_nothing_follows_the_last_attempt_but_a_tier_that_was_not_asked_is_none():
    assert not endings.goes_on(AttemptFailed("x"), TWO, 3)
    assert endings.goes_on(NoReadyTier("x"), TWO, 3)


def test_a_prompt_that_is_too_long_is_told_with_the_largest_window():
    passed = endings.final(ContextOverflow("x", 9000, 4096), TWO)
    held = endings.final(ContextOverflow("x", 5000, 4096), TWO)

    assert isinstance(passed, ContextExceeded)
    assert "9000 tokens" in passed.message
    assert "8192" in passed.message
    assert "does not go on" in held.message


def test_no_endpoint_anywhere_is_told_with_a_time_to_come_back():
    told = endings.final(NoReadyTier(""), TWO)

    assert told.retry_after_seconds
    assert "auto" in told.message


def test_what_no_tier_can_do_is_told_with_the_reasons():
    unable = plan.candidates(TWO, Demand(0, 10, needs=frozenset({"vision"})))
    long = plan.candidates(TWO, Demand(0, 100_000))

    assert isinstance(endings.unplanned(TWO, unable), Unsupported)
    assert "lacks vision" in endings.unplanned(TWO, unable).message
    assert isinstance(endings.unplanned(TWO, long), ContextExceeded)
    assert isinstance(endings.unplanned(TWO, plan.Plan(())), NoReadyTier)


def test_an_unknown_model_is_told_with_the_names_there_are():
    assert "there are: a, b." in endings.unknown("x", ("a", "b")).message
    assert "none yet" in endings.unknown("x", ()).message
