"""Which tiers answer to which model name."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_api.v1alpha1 import TierRoute
from tiergarten_router.core import routes
from tiergarten_router.core.routes import Origin, Strategy
from tiergarten_router.core.snapshot import Snapshot, Tier

Q2 = Tier("q2", "small", 2, 2, 2048)
Q3 = Tier("q3", "small", 3, 2, 4096)
Q4 = Tier("q4", "large", 4, 1, 8192, capabilities=frozenset({"vision"}))
VECTORS = Tier("vectors", "bge", 1, 4, 512, embeddings=True)


def route(name, **spec):
    return TierRoute.model_validate(
        {"metadata": {"name": name, "generation": 7}, "spec": {"model": "auto", **spec}}
    )


def names(found):
    return [routed.tier.name for routed in found.tiers]


def limits(found):
    return [routed.max_difficulty for routed in found.tiers]


def test_without_a_route_auto_spreads_over_the_tiers_that_answer_in_text_by_rank():
    found = routes.compile_routes(Snapshot((Q4, VECTORS, Q2, Q3))).by_model["auto"]

    assert (names(found), limits(found)) == (["q2", "q3", "q4"], [33, 67, 100])
    assert (found.origin, found.strategy) == (Origin.BUILT_IN, Strategy.THRESHOLD)


def test_a_built_in_route_falls_back_on_everything_that_another_tier_may_mend():
    found = routes.compile_routes(Snapshot((Q2, Q3))).by_model["auto"]

    assert {"NoEndpoints", "Timeout", "ContextOverflow"} < found.fallback_on
    assert (found.max_attempts, found.first_token_seconds, found.total_seconds) == (3, 60, 600)


def test_a_route_takes_the_place_of_auto():
    only = route("r", model="chat", tiers=[{"name": "q2"}])

    found = routes.compile_routes(Snapshot((Q2, Q3), (only,)))

    assert found.names == ("chat", "q2", "q3", "small")
    assert found.find("chat") is found.by_model["chat"]
    assert found.find("auto") is None


def test_there_is_no_auto_where_nothing_answers_in_text():
    assert routes.compile_routes(Snapshot((VECTORS,))).names == ("bge", "vectors")


def test_a_model_name_that_tiers_share_spreads_over_them_by_rank():
    found = routes.compile_routes(Snapshot((Q3, Q4, Q2))).by_model["small"]

    assert (names(found), limits(found)) == (["q2", "q3"], [50, 100])
    assert found.origin is Origin.MODEL


def test_the_name_of_a_tier_pins_it():
    found = routes.compile_routes(Snapshot((Q2, Q3, Q4))).by_model["q3"]

    assert (names(found), limits(found)) == (["q3"], [100])
    assert found.origin is Origin.TIER


def test_a_routes_model_goes_before_a_tiers_model_and_that_before_a_tiers_name():
    confusing = Tier("large", "q2", 5, 1, 4096)
    claim = route("r", model="small", tiers=[{"name": "q4"}])

    found = routes.compile_routes(Snapshot((Q2, Q4, confusing), (claim,)))

    assert names(found.by_model["small"]) == ["q4"]
    assert names(found.by_model["large"]) == ["q4"]
    assert names(found.by_model["q2"]) == ["large"]


def test_a_route_carries_its_policy():
    resource = route(
        "by-score",
        strategy="Threshold",
        tiers=[
            {"name": "q2", "maxDifficulty": 20, "maxPromptTokens": 500},
            {"name": "q4", "maxDifficulty": 100, "weight": 3, "requireCapabilities": ["vision"]},
        ],
        fallback={"on": ["Timeout"], "maxAttempts": 2},
        timeouts={"firstTokenSeconds": 5, "totalSeconds": 50},
    )

    found = routes.compile_routes(Snapshot((Q2, Q4), (resource,))).by_model["auto"]

    assert (found.name, found.origin, found.generation) == ("by-score", Origin.ROUTE, 7)
    assert found.strategy is Strategy.THRESHOLD
    assert (found.fallback_on, found.max_attempts) == (frozenset({"Timeout"}), 2)
    assert (found.first_token_seconds, found.total_seconds) == (5, 50)
    assert found.problems == ()
    small, large = found.tiers
    assert (small.max_difficulty, small.max_prompt_tokens) == (20, 500)
    assert (large.weight, large.reserved_for) == (3, frozenset({"vision"}))


def test_a_tier_that_does_not_exist_is_left_out_and_named():
    resource = route("r", tiers=[{"name": "q9"}, {"name": "q2"}])

    found = routes.compile_routes(Snapshot((Q2,), (resource,))).by_model["auto"]

    assert names(found) == ["q2"]
    assert "spec.tiers[0].name q9 is no ModelTier" in found.problems[0]


def test_a_model_is_known_even_when_none_of_its_tiers_exists():
    resource = route("r", tiers=[{"name": "q9"}])

    found = routes.compile_routes(Snapshot((), (resource,))).by_model["auto"]

    assert found.tiers == ()


def test_a_tier_kept_for_what_it_cannot_do_is_named():
    resource = route("r", tiers=[{"name": "q2", "requireCapabilities": ["vision", "tools"]}])

    (problem,) = routes.compile_routes(Snapshot((Q2,), (resource,))).by_model["auto"].problems

    assert "q2 is kept for tools, vision" in problem


def test_a_tier_that_no_score_reaches_is_named():
    resource = route(
        "r",
        strategy="Threshold",
        tiers=[{"name": "q4", "maxDifficulty": 100}, {"name": "q2", "maxDifficulty": 30}],
    )

    (problem,) = routes.compile_routes(Snapshot((Q2, Q4), (resource,))).by_model["auto"].problems

    assert "spec.tiers[1].name q2 is never tried first" in problem


def test_of_two_routes_with_one_model_the_first_by_name_has_it():
    late = route("zebra", tiers=[{"name": "q2"}])
    early = route("ape", tiers=[{"name": "q3"}])

    found = routes.compile_routes(Snapshot((Q2, Q3), (late, early)))

    assert names(found.by_model["auto"]) == ["q3"]
    assert found.problems == (
        "TierRoute zebra: spec.model auto belongs to TierRoute ape;"
        " give one of them another model.",
    )


def test_nothing_answers_in_an_empty_snapshot():
    assert routes.compile_routes(Snapshot()) == routes.NO_ROUTES


@pytest.mark.parametrize(("count", "expected"), [(1, [100]), (4, [25, 50, 75, 100])])
def test_built_in_difficulties_are_shared_out_evenly(count, expected):
    tiers = tuple(Tier(f"t{index}", "m", index, 1, 4096) for index in range(count))

    assert limits(routes.compile_routes(Snapshot(tiers)).by_model["auto"]) == expected


@given(st.permutations([Q2, Q3, Q4, VECTORS]))
def test_the_order_in_which_a_source_lists_tiers_does_not_matter(tiers):
    found = routes.compile_routes(Snapshot(tuple(tiers)))

    assert found == routes.compile_routes(Snapshot((Q2, Q3, Q4, VECTORS)))


def theirs(tier, namespace="team"):
    prefix = f"{namespace}/"
    return replace(tier, name=prefix + tier.name, model=prefix + tier.model, prefix=prefix)


def of(found, namespace):
    metadata = found.metadata.model_copy(update={"namespace": namespace})
    return found.model_copy(update={"metadata": metadata})


def test_names_at_home_stand_bare_and_those_of_others_after_their_namespace():
    tiers = (Q2, theirs(Q2), theirs(Q3))
    own = of(route("r", model="chat", tiers=[{"name": "q2"}]), "home")
    their = of(route("r", model="chat", tiers=[{"name": "q3"}]), "team")

    found = routes.compile_routes(Snapshot(tiers, (own, their), home="home"))

    expected = ("chat", "q2", "small", "team/chat", "team/q2", "team/q3", "team/small")
    assert found.names == expected
    assert names(found.by_model["chat"]) == ["q2"]
    assert names(found.by_model["team/chat"]) == ["team/q3"]
    assert found.by_model["team/chat"].name == "team/r"
    assert names(found.by_model["team/small"]) == ["team/q2", "team/q3"]


def test_each_namespace_without_a_route_has_its_own_auto():
    own = of(route("r", model="chat", tiers=[{"name": "q2"}]), "home")

    found = routes.compile_routes(Snapshot((Q2, theirs(Q2)), (own,), home="home"))

    assert "auto" not in found.names
    assert names(found.by_model["team/auto"]) == ["team/q2"]


def test_a_route_never_leads_to_a_tier_of_another_namespace():
    own = of(route("r", model="chat", tiers=[{"name": "q2"}, {"name": "q3"}]), "home")

    found = routes.compile_routes(Snapshot((theirs(Q2), Q3), (own,), home="home"))

    assert names(found.by_model["chat"]) == ["q3"]
    assert "q2 is no ModelTier" in found.by_model["chat"].problems[0]


def test_a_name_at_home_goes_before_the_same_one_of_another_namespace():
    clash = replace(Q3, model="team/q2")

    found = routes.compile_routes(Snapshot((clash, theirs(Q2)), home="home"))

    assert names(found.by_model["team/q2"]) == ["q3"]
    assert found.problems == (
        "Namespace team: team/q2 is a name of the router's own namespace;"
        " give one of them another name.",
    )


def test_what_could_not_be_read_is_among_the_problems():
    found = routes.compile_routes(Snapshot(problems=("ModelTier ns/q2: is bad",)))

    assert found.problems == ("ModelTier ns/q2: is bad",)


spaces = st.sampled_from(["home", "a", "b"])


@given(st.lists(st.tuples(spaces, st.sampled_from(["q2", "q3", "q4"])), unique=True))
def test_no_name_leads_to_a_tier_of_two_namespaces(placed):
    known = {"q2": Q2, "q3": Q3, "q4": Q4}
    tiers = [known[n] if at == "home" else theirs(known[n], at) for at, n in placed]

    found = routes.compile_routes(Snapshot(tuple(tiers), home="home"))

    for name, one in found.by_model.items():
        (prefix,) = {routed.tier.prefix for routed in one.tiers}
        assert name.startswith(prefix)
    assert {tier.name for tier in tiers} <= set(found.names)
