from typing import Any

import pytest

from tiergarten_api import references
from tiergarten_api.v1alpha1 import ModelTier, TierRoute


def tier(name: str, model: str = "demo", rank: int = 10) -> ModelTier:
    source = {"volume": {"claimName": "models"}}
    spec = {"model": {"name": model, "source": source}, "routing": {"rank": rank}}
    return ModelTier.model_validate({"metadata": {"name": name}, "spec": spec})


def route(*tiers: dict[str, Any], name: str = "auto", **spec: object) -> TierRoute:
    fields = {"model": "auto", "tiers": list(tiers)} | spec
    return TierRoute.model_validate({"metadata": {"name": name}, "spec": fields})


def threshold(*difficulties: int, **first: object) -> TierRoute:
    tiers = [{"name": f"t{i}", "maxDifficulty": it} for i, it in enumerate(difficulties)]
    return route(tiers[0] | first, *tiers[1:], strategy="Threshold")


def test_a_model_name_and_rank_are_taken_once():
    others = [tier("q2"), tier("x", model="other", rank=20)]

    assert references.name_taken(tier("q3", rank=20), others) is None
    assert references.name_taken(tier("y", model="other"), others) is None
    finding = references.name_taken(tier("q3"), others)
    assert finding is not None
    assert finding.path == ("spec", "routing", "rank")
    assert "is 10, as that of tier q2 with the same model name demo" in finding.message


def test_a_model_name_is_answered_by_one_route():
    first = route({"name": "q2"}, name="first")

    assert references.model_taken(route({"name": "q2"}, model="other"), [first]) is None
    finding = references.model_taken(route({"name": "q2"}), [first])
    assert finding is not None
    assert "which route first answers for already" in finding.message


def test_a_tier_that_is_not_there_is_named_beside_those_that_are():
    (finding,) = references.missing_tiers(route({"name": "q2"}, {"name": "q9"}), {"q3", "q2"})

    assert finding.path == ("spec", "tiers", 1, "name")
    assert finding.message == "names the tier q9, which is not there (there are: q2, q3)"
    assert finding.severity == "warning"


def test_where_there_are_no_tiers_at_all_it_says_none():
    (finding,) = references.missing_tiers(route({"name": "q2"}), set())

    assert "(there are: none)" in finding.message


@pytest.mark.parametrize(
    ("difficulties", "unreached"),
    [
        ((33, 66, 100), []),
        ((100, 30), [1]),
        ((50, 50, 100), [1]),
        ((40, 30, 100, 90), [1, 3]),
        ((100,), []),
    ],
)
def test_a_tier_behind_one_that_takes_all_is_never_reached(
    difficulties: tuple[int, ...], unreached: list[int]
):
    findings = list(references.unreached_tiers(threshold(*difficulties)))

    assert [finding.path[2] for finding in findings] == unreached
    assert all(finding.severity == "warning" for finding in findings)


@pytest.mark.parametrize(
    "limit", [{"maxPromptTokens": 4096}, {"requireCapabilities": ["vision"]}], ids=str
)
def test_a_tier_that_takes_only_some_queries_leaves_the_others(limit: dict[str, object]):
    assert list(references.unreached_tiers(threshold(100, 100, **limit))) == []


def test_without_thresholds_every_tier_is_in_order():
    tiers = ({"name": "a", "maxDifficulty": 100}, {"name": "b", "maxDifficulty": 1})

    assert list(references.unreached_tiers(route(*tiers))) == []
