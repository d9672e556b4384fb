"""What is said of a tier and of a route; a condition's time moves only when its status flips."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiers
from tiergarten_api.v1alpha1 import Condition, ModelTierStatus, TierRoute
from tiergarten_operator import status
from tiergarten_operator.facts import Fetch, Finding, Serving
from tiergarten_operator.status.conditions import Verdict, timed

NOW, LATER = "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"
UP = Serving(exists=True, replicas=1, ready=1, updated=1, minimum=True, settled=True, pods=1)
GOOD = status.Seen(tiers.tier(), None, tiers.FETCHED, UP, memory_request="829Mi")
OOM = Serving(trouble=Finding("OOMKilled", "m"))


def reasons(seen: status.Seen) -> dict[str, str]:
    conditions = status.of_tier(seen, NOW).conditions or ()
    return {it.type: f"{it.status}/{it.reason}" for it in conditions}


def test_a_tier_that_serves_is_ready() -> None:
    assert reasons(GOOD) == {
        "Accepted": "True/Valid",
        "ModelAvailable": "True/Verified",
        "Available": "True/MinimumReplicas",
        "Progressing": "True/Settled",
        "Ready": "True/Serving",
    }


@pytest.mark.parametrize(
    ("change", "kind", "reason", "ready"),
    [
        ({"refusal": Finding("SecretMissing", "m")}, "Accepted", "False/SecretMissing", None),
        ({"serving": replace(UP, quota="q")}, "Accepted", "False/QuotaExceeded", None),
        ({"fetch": Fetch("NoSpace", "m")}, "ModelAvailable", "False/NoSpace", None),
        ({"serving": Serving()}, "Available", "False/NoReplicas", None),
        ({"serving": Serving(exists=True)}, "Available", "False/NoReplicas", None),
        ({"serving": Serving(exists=True, pods=1)}, "Available", "False/Loading", None),
        ({"serving": OOM}, "Available", "False/OOMKilled", None),
        ({"wanted": 0}, "Available", "False/NoReplicas", None),
        ({"tier": tiers.tier(suspend=True), "wanted": 0}, "Available", "False/Suspended", None),
        ({"serving": replace(UP, deadline="d")}, "Progressing", "False/DeadlineExceeded", None),
        ({"serving": replace(UP, settled=False)}, "Progressing", "True/RollingOut", "True/Serving"),
        ({"paused": True}, "Progressing", "False/Paused", "True/Serving"),
    ],
)
def test_ready_is_the_first_that_fails(
    change: dict[str, Any], kind: str, reason: str, ready: str | None
) -> None:
    found = reasons(replace(GOOD, **change))

    assert found[kind] == reason
    assert found["Ready"] == (ready or reason)


def test_a_suspended_tier_says_so_whatever_else_fails() -> None:
    seen = replace(GOOD, tier=tiers.tier(suspend=True), wanted=0, fetch=tiers.FETCHING)

    assert reasons(seen)["Ready"] == "False/Suspended"


def test_the_facts_of_the_model_are_told() -> None:
    found = status.of_tier(replace(GOOD, serving=replace(UP, scaling="no metrics")), NOW)

    assert found.model is not None
    assert (found.model.quantization, found.model.resolved_revision) == ("Q4_K_M", "c" * 40)
    assert found.memory is not None
    assert found.memory.request == "829Mi"
    assert found.endpoint is not None
    assert found.endpoint.url == "http://q4.models.svc:8080/v1"
    assert found.cache is not None
    assert found.cache.claim_name == "q4-model"
    assert any("no metrics" in it.message for it in found.conditions or ())


def test_what_is_not_known_is_left_out() -> None:
    bare = status.of_tier(replace(GOOD, fetch=tiers.FETCHING, memory_request=""), NOW)
    asked = replace(GOOD, fetch=tiers.FETCHING, tier=tiers.tier(source=tiers.VOLUME))
    headless = replace(tiers.FETCHED, outcome=replace(tiers.OUTCOME, header=None))

    assert (bare.model, bare.memory) == (None, None)
    found = status.of_tier(asked, NOW)
    assert found.cache is None
    assert found.memory is not None
    model = status.of_tier(replace(GOOD, fetch=headless), NOW).model
    assert model is not None
    assert model.quantization is None


verdicts = st.builds(
    Verdict,
    st.sampled_from(["A", "B"]),
    st.sampled_from([True, False, None]),
    st.sampled_from(["R", "S"]),
    st.text(max_size=2000),
)


@given(verdicts, verdicts)
def test_a_time_moves_only_when_a_status_flips(before: Verdict, after: Verdict) -> None:
    (first,) = timed([before], (), 1, NOW)

    (second,) = timed([after], (first,), 2, LATER)

    same = first.type == second.type and first.status == second.status
    assert second.last_transition_time == (NOW if same else LATER)
    assert second.observed_generation == 2
    assert len(second.message) <= 1024
    both = ((it.type, it.status, it.reason) for it in (first, second))
    assert bool(status.flipped([second], [first])) == (len(set(both)) == 2)


def test_a_status_that_was_written_is_computed_again() -> None:
    first = status.of_tier(GOOD, NOW)
    body = first.model_dump(mode="json", exclude_none=True)

    again = status.of_tier(replace(GOOD, tier=tiers.tier(status=body)), LATER)

    assert again == first
    assert ModelTierStatus.model_validate(body) == first


def route(name: str = "auto", *names: str, **spec: Any) -> TierRoute:
    body = {"model": "auto", "tiers": [{"name": it} for it in names or ("q4",)]} | spec
    metadata = {"name": name, "namespace": "models", "generation": 1}
    return TierRoute.model_validate({"metadata": metadata, "spec": body})


def said(found: TierRoute, older: tuple[TierRoute, ...] = ()) -> dict[str, Condition]:
    seen = status.of_route(found, older, {"q2", "q4"}, NOW)
    return {it.type: it for it in seen.conditions or ()}


def test_a_route_is_accepted_with_all_its_tiers() -> None:
    assert {it.reason for it in said(route()).values()} == {"Valid", "Resolved"}


def test_a_route_that_makes_no_sense_says_so() -> None:
    steps = [{"name": "q4", "maxDifficulty": 100}, {"name": "q2", "maxDifficulty": 30}]

    assert said(route(), (route("first"),))["Accepted"].reason == "NameTaken"
    assert said(route("auto", "q4", "q9"))["ResolvedRefs"].reason == "TierNotFound"
    unreached = said(route(strategy="Threshold", tiers=steps))["Accepted"]
    assert (unreached.status, unreached.reason) == ("True", "TierUnreachable")
