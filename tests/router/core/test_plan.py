"""Which tiers are tried for a query, and in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tiergarten_router.core import plan
from tiergarten_router.core.plan import Demand, Obstacle
from tiergarten_router.core.routes import Origin, Route, RoutedTier, Strategy
from tiergarten_router.core.snapshot import Tier

VISION = frozenset({"vision"})
Q2 = Tier("q2", "m", 2, 2, 2048)
Q3 = Tier("q3", "m", 3, 2, 4096)
Q4 = Tier("q4", "m", 4, 1, 8192, capabilities=VISION)
TIERS = (Q2, Q3, Q4)
VECTORS = Tier("vectors", "bge", 1, 4, 512, embeddings=True)
THIRDS = (RoutedTier(Q2, 33), RoutedTier(Q3, 67), RoutedTier(Q4, 100))

abilities = st.frozensets(st.sampled_from(["vision", "tools"]))
routed_tiers = st.builds(
    RoutedTier,
    tier=st.builds(
        Tier,
        name=st.text("abc", min_size=1, max_size=3),
        model=st.just("m"),
        rank=st.integers(0, 5),
        slots=st.just(1),
        slot_tokens=st.integers(1, 9000),
        capabilities=abilities,
        embeddings=st.booleans(),
    ),
    max_difficulty=st.integers(0, 100),
    weight=st.integers(0, 5),
    max_prompt_tokens=st.none() | st.integers(1, 9000),
    reserved_for=abilities,
)
demands = st.builds(
    Demand,
    score=st.integers(0, 100),
    prompt_tokens=st.integers(1, 20_000),
    answer_tokens=st.integers(0, 5000),
    background=st.booleans(),
    embeddings=st.booleans(),
    needs=abilities,
)
draws = st.floats(0, 1, exclude_max=True)


def route(*tiers, strategy=Strategy.THRESHOLD):
    return Route("auto", "auto", Origin.BUILT_IN, strategy, tiers)


routes = st.builds(
    lambda tiers, strategy: route(*tiers, strategy=strategy),
    st.lists(routed_tiers, max_size=5, unique_by=lambda routed: routed.tier.name),
    st.sampled_from(Strategy),
)


def names(planned):
    return [candidate.tier.name for candidate in planned.candidates]


def why(planned):
    return {refusal.tier.name: refusal.reason for refusal in planned.refused}


@given(routes, demands, draws)
def test_every_tier_of_the_route_is_a_candidate_or_refused_with_a_reason(found, demand, draw):
    planned = plan.candidates(found, demand, draw)

    assert sorted([*names(planned), *why(planned)]) == sorted(r.tier.name for r in found.tiers)
    assert all(candidate.reason for candidate in planned.candidates)
    assert all(why(planned).values())


@given(routes, demands, draws)
def test_only_tiers_that_can_answer_are_candidates(found, demand, draw):
    planned = plan.candidates(found, demand, draw)

    routed = {entry.tier.name: entry for entry in found.tiers}
    for candidate in planned.candidates:
        tier, entry = candidate.tier, routed[candidate.tier.name]
        assert tier.embeddings == demand.embeddings
        assert entry.reserved_for <= demand.needs <= tier.capabilities
        assert demand.prompt_tokens <= (entry.max_prompt_tokens or demand.prompt_tokens)
        assert demand.prompt_tokens <= 2 * tier.slot_tokens


@given(routes, demands, st.integers(0, 100), draws)
def test_a_higher_score_never_starts_at_a_lower_tier(found, demand, score, draw):
    easier, harder = sorted([demand.score, score])

    first = names(plan.candidates(found, replace(demand, score=easier), draw))[:1]
    second = names(plan.candidates(found, replace(demand, score=harder), draw))[:1]

    order = [routed.tier.name for routed in found.tiers]
    assert [order.index(name) for name in first] <= [order.index(name) for name in second]


@given(routes, demands, draws)
def test_equal_questions_get_equal_plans(found, demand, draw):
    assert plan.candidates(found, demand, draw) == plan.candidates(found, demand, draw)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        pytest.param(0, ["q2", "q3", "q4"], id="easy"),
        pytest.param(33, ["q2", "q3", "q4"], id="at-the-threshold"),
        pytest.param(34, ["q3", "q4", "q2"], id="above-it"),
        pytest.param(100, ["q4", "q3", "q2"], id="hard"),
    ],
)
def test_threshold_starts_at_the_first_tier_that_takes_the_score_and_goes_up_then_down(
    score, expected
):
    assert names(plan.candidates(route(*THIRDS), Demand(score, 10))) == expected


def test_candidates_say_why_they_stand_where_they_stand():
    planned = plan.candidates(route(*THIRDS), Demand(50, 10))

    assert [candidate.reason for candidate in planned.candidates] == [
        "score 50 <= 67",
        "stronger",
        "weaker",
    ]


def test_threshold_starts_at_the_strongest_tier_that_is_left_when_none_takes_the_score():
    planned = plan.candidates(route(RoutedTier(Q2, 20), RoutedTier(Q3, 40)), Demand(90, 10))

    assert names(planned) == ["q3", "q2"]
    assert planned.candidates[0].reason == "score 90 > 40, none above"


@pytest.mark.parametrize("strategy", [Strategy.ORDERED, Strategy.CASCADE])
def test_ordered_and_cascade_keep_the_order_of_the_route_whatever_the_score(strategy):
    found = route(RoutedTier(Q4), RoutedTier(Q2), strategy=strategy)

    assert names(plan.candidates(found, Demand(5, 10))) == ["q4", "q2"]


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        pytest.param(0.0, ["q2", "q3", "q4"], id="first"),
        pytest.param(0.24, ["q2", "q3", "q4"], id="end-of-the-first"),
        pytest.param(0.25, ["q4", "q2", "q3"], id="past-the-tier-without-weight"),
        pytest.param(0.999, ["q4", "q2", "q3"], id="last"),
    ],
)
def test_weighted_starts_where_the_draw_falls_and_goes_on_in_order(draw, expected):
    found = route(
        RoutedTier(Q2, weight=1),
        RoutedTier(Q3, weight=0),
        RoutedTier(Q4, weight=3),
        strategy=Strategy.WEIGHTED,
    )

    assert names(plan.candidates(found, Demand(50, 10), draw)) == expected


@given(draws)
def test_weighted_without_any_weight_starts_at_the_first(draw):
    found = route(RoutedTier(Q2, weight=0), RoutedTier(Q3, weight=0), strategy=Strategy.WEIGHTED)

    assert names(plan.candidates(found, Demand(50, 10), draw)) == ["q2", "q3"]


@given(draws, st.lists(st.integers(0, 4), min_size=3, max_size=3))
def test_weighted_never_starts_at_a_tier_without_weight_while_another_has_some(draw, weights):
    tiers = [RoutedTier(tier, weight=weight) for tier, weight in zip(TIERS, weights, strict=True)]

    first = names(plan.candidates(route(*tiers, strategy=Strategy.WEIGHTED), Demand(0, 1), draw))[0]

    started = next(routed for routed in tiers if routed.tier.name == first)
    assert started.weight or not any(weights)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_call_of_the_chat_ui_itself_goes_to_the_smallest_tier_that_holds_it(strategy):
    found = route(RoutedTier(Q4, 100), RoutedTier(Q2, 30), RoutedTier(Q3, 60), strategy=strategy)

    assert names(plan.candidates(found, Demand(0, 10, background=True))) == ["q2", "q3", "q4"]
    assert names(plan.candidates(found, Demand(0, 3000, background=True))) == ["q3", "q4"]


def test_a_prompt_goes_to_a_tier_whose_slot_holds_it_with_room_for_the_answer():
    planned = plan.candidates(route(*THIRDS), Demand(5, 3000, answer_tokens=2000))

    assert names(planned) == ["q4"]
    assert why(planned) == {"q2": "context 3000 + 1024 > 2048", "q3": "context 3000 + 2000 > 4096"}


def test_a_prompt_that_may_just_fit_is_left_to_the_tokenizer_of_the_largest_tier():
    planned = plan.candidates(route(*THIRDS), Demand(5, 16_000))

    assert names(planned) == ["q4"]
    assert planned.candidates[0].reason == "largest context 8192"
    assert set(why(planned)) == {"q2", "q3"}


def test_a_prompt_that_no_slot_can_hold_is_refused_and_the_longest_that_fits_is_known():
    planned = plan.candidates(route(*THIRDS), Demand(5, 16_385))

    assert planned.candidates == ()
    assert (planned.too_long, planned.largest_prompt_tokens) == (True, 8192)


def test_the_routes_own_limit_is_never_overruled():
    planned = plan.candidates(route(RoutedTier(Q4, max_prompt_tokens=100)), Demand(5, 101))

    assert planned.candidates == ()
    assert why(planned) == {"q4": "prompt 101 > 100"}
    assert planned.too_long


def test_only_a_tier_that_can_see_is_shown_an_image():
    planned = plan.candidates(route(*THIRDS), Demand(5, 10, needs=VISION))

    assert names(planned) == ["q4"]
    assert why(planned) == {"q2": "lacks vision", "q3": "lacks vision"}


def test_a_tier_kept_for_images_is_not_spent_on_text():
    found = route(RoutedTier(Q4, 100, reserved_for=VISION), RoutedTier(Q3, 100))

    assert names(plan.candidates(found, Demand(5, 10))) == ["q3"]
    assert why(plan.candidates(found, Demand(5, 10))) == {"q4": "kept for vision"}
    assert names(plan.candidates(found, Demand(5, 10, needs=VISION))) == ["q4"]


def test_vectors_and_text_come_from_different_tiers():
    found = route(RoutedTier(VECTORS), RoutedTier(Q2))

    assert why(plan.candidates(found, Demand(0, 10))) == {"vectors": "serves embeddings only"}
    assert why(plan.candidates(found, Demand(0, 10, embeddings=True))) == {"q2": "serves text only"}


def test_vectors_need_no_room_for_an_answer():
    found = route(RoutedTier(VECTORS))

    assert names(plan.candidates(found, Demand(0, 512, embeddings=True))) == ["vectors"]


def test_a_refusal_for_another_reason_than_length_is_not_taken_for_one():
    planned = plan.candidates(route(RoutedTier(Q2)), Demand(5, 10_000, needs=VISION))

    assert planned.refused[0].obstacle is Obstacle.CAPABILITY
    assert not planned.too_long


def test_a_route_without_tiers_has_no_candidates():
    planned = plan.candidates(route(), Demand(5, 10))

    assert planned == plan.Plan(())
    assert not planned.too_long
