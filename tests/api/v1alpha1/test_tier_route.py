import pytest

from tiergarten_api.v1alpha1 import TierRoute

TIERS = "spec/tiers"


def test_a_route_has_the_defaults_of_the_crd(route):
    spec = TierRoute.model_validate(route({"spec/strategy": ...})).spec

    assert spec.strategy == "Ordered"
    causes = ("NoEndpoints", "ConnectFailure", "ServerError", "Saturated", "ContextOverflow")
    assert spec.fallback.on == causes
    assert (spec.fallback.max_attempts, spec.tiers[0].weight) == (3, 1)
    assert (spec.timeouts.first_token_seconds, spec.timeouts.total_seconds) == (60, 600)


def test_a_threshold_is_on_every_tier(route, refusals):
    assert refusals(route({f"{TIERS}/0/maxDifficulty": ...})) == [
        "spec: strategy Threshold needs maxDifficulty on every tier"
    ]


def test_one_tier_takes_the_hardest_query(route, refusals):
    assert refusals(route({f"{TIERS}/1/maxDifficulty": 90})) == [
        "spec: with strategy Threshold one tier must take difficulty 100"
    ]


@pytest.mark.parametrize("strategy", ["Ordered", "Weighted", "Cascade"])
def test_other_strategies_need_no_threshold(route, refusals, strategy):
    changes = {"spec/strategy": strategy, f"{TIERS}/0/maxDifficulty": ...}

    assert refusals(route(changes)) == []


def test_a_tier_is_named_once(route, refusals):
    assert refusals(route({f"{TIERS}/1/name": "q2"})) == ["spec.tiers: Duplicate value: q2"]


@pytest.mark.parametrize("number", [0, 17])
def test_there_are_1_to_16_tiers(route, refusals, number):
    tiers = [{"name": f"t{index}", "maxDifficulty": 100} for index in range(number)]

    assert len(refusals(route({TIERS: tiers}))) == 1


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        (f"{TIERS}/0/maxDifficulty", [0, 100], [-1, 101, "5"]),
        (f"{TIERS}/0/weight", [0, 1000], [-1, 1001]),
        (f"{TIERS}/0/maxPromptTokens", [1, 2**31 - 1], [0, 2**31]),
        (f"{TIERS}/0/requireCapabilities", [["vision"]], [["a", "a"], ["x" * 64]]),
        (f"{TIERS}/0/name", ["x" * 52], ["x" * 53]),
        ("spec/fallback/on", [[], ["Timeout", "LowConfidence"]], [["Timeout"] * 2, ["Boredom"]]),
        ("spec/fallback/maxAttempts", [1, 8], [0, 9]),
        ("spec/timeouts/firstTokenSeconds", [1, 3600], [0, 3601]),
        ("spec/timeouts/totalSeconds", [1, 86_400], [0, 86_401]),
        ("spec/model", ["auto", "org/m:1"], ["", "Auto"]),
    ],
)
def test_a_field_is_bounded(route, refusals, path, good, bad):
    for value in good:
        assert refusals(route({path: value})) == []
    for value in bad:
        assert len(refusals(route({path: value}))) == 1, value


def test_a_bare_on_is_an_unknown_field(route, refusals):
    assert refusals(route({"spec/fallback": {"true": ["Timeout"]}})) == [
        "spec.fallback.true: Extra inputs are not permitted"
    ]
