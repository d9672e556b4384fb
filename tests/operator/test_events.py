"""Events are made of flips, each once, with a name that makes a second posting a conflict."""

import tiers
from tiergarten_api.v1alpha1 import Condition, ModelTierStatus
from tiergarten_operator import events

NOW = "2026-01-02T00:00:00Z"


def condition(kind: str, reason: str) -> Condition:
    return Condition(
        type=kind, status="False", reason=reason, message="m" * 2000, last_transition_time=NOW
    )


def test_a_flip_is_told_once_although_two_conditions_say_it() -> None:
    flipped = [condition("Accepted", "SecretMissing"), condition("Ready", "SecretMissing")]

    (event,) = events.of_tier(tiers.tier(), flipped, NOW)

    assert (event["reason"], event["type"]) == ("SecretMissing", "Warning")
    assert event["regarding"]["uid"] == tiers.UID
    assert len(event["note"]) == 1024
    assert (event,) == tuple(events.of_tier(tiers.tier(), flipped, NOW))


def test_how_things_go_is_told_as_normal_or_not_at_all() -> None:
    (event,) = events.of_tier(tiers.tier(), [condition("Ready", "Serving")], NOW)

    assert event["type"] == "Normal"
    assert list(events.of_tier(tiers.tier(), [condition("Progressing", "RollingOut")], NOW)) == []


def test_that_a_new_tier_is_as_expected_is_no_news() -> None:
    flipped = [condition("Accepted", "Valid"), condition("ModelAvailable", "Verified")]
    healed = tiers.tier().model_copy(
        update={"status": ModelTierStatus(conditions=(condition("Accepted", "SecretMissing"),))}
    )

    assert list(events.of_tier(tiers.tier(), flipped, NOW)) == []
    assert [it["reason"] for it in events.of_tier(healed, flipped, NOW)] == ["Valid", "Verified"]
