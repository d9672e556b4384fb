"""What the demo expects, and what it calls otherwise than expected."""

import dataclasses

import pytest

from tiergarten_router.cli import tour
from tiergarten_router.cli.tour import STEPS, Kind, Seen, Step
from tiergarten_router.core import context, score

STEP = Step(
    "a step", "text", "q3", "why", says="Paris", fallbacks=("q2",), cache=frozenset({"hit", "off"})
)
GOOD = Seen(200, "In Paris.", tier="q3", endpoint="q3-0", fallbacks=("q2",), cache="off")


def test_what_is_as_expected_has_no_failures() -> None:
    assert tour.judge(STEP, [GOOD]).failures == ()


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        ({"tier": "q4"}, "tier q4, not q3"),
        ({"answer": "In Rome."}, "no 'Paris' in the answer"),
        ({"fallbacks": ()}, "given up: (), not ('q2',)"),
        ({"status": 503, "answer": "Paris is gone"}, "status 503, not 200: Paris is gone"),
        ({"cache": "miss"}, "cache miss"),
        ({"code": "odd"}, "code odd, not "),
    ],
    ids=["tier", "answer", "fallback", "status", "cache", "code"],
)
def test_each_deviation_is_named(change: dict[str, object], failure: str) -> None:
    seen = dataclasses.replace(GOOD, **change)  # type: ignore[arg-type]  # fields of many types

    assert tour.judge(STEP, [seen]).failures == (failure,)


def test_a_step_that_expects_an_error_fails_when_it_is_answered() -> None:
    step = Step("unknown", "text", "", "why", status=404, code="model_not_found")

    assert tour.judge(step, [Seen(404, "no", "model_not_found")]).failures == ()
    assert tour.judge(step, [Seen(404, "no", "not_found")]).failures
    assert tour.judge(step, [Seen(200, "hi")]).failures == ("status 200, not 404: hi",)


def test_a_burst_needs_its_replicas_shows_the_slowest_and_names_each_failure_once() -> None:
    step = dataclasses.replace(STEP, replicas=2)
    fast = dataclasses.replace(GOOD, endpoint="q3-1", total_ms=1)
    slow = dataclasses.replace(GOOD, endpoint="q3-0", total_ms=2)
    wrong = dataclasses.replace(GOOD, answer="Rome")

    assert tour.judge(step, [fast, slow]).failures == ()
    assert tour.judge(step, [fast, slow]).replicas == ("q3-0", "q3-1")
    assert tour.judge(step, [fast, slow]).seen is slow
    assert tour.judge(step, [slow]).failures == ("1 replicas answered, not 2",)
    assert tour.judge(STEP, [wrong, wrong]).failures == ("no 'Paris' in the answer",)


def test_an_answer_with_another_status_is_shown_before_a_slower_one() -> None:
    lost = Seen(0, "ConnectError: gone")
    slow = dataclasses.replace(GOOD, total_ms=1000)

    assert tour.judge(STEP, [slow, lost]).seen is lost


def test_what_was_found_beside_the_answer_is_a_failure_too() -> None:
    assert tour.judge(STEP, [GOOD], ("q2 was not back",)).failures == ("q2 was not back",)


def test_what_is_expected_is_said_with_the_tier_the_tiers_given_up_or_the_status() -> None:
    assert STEP.expected == "q3 after q2: why"
    assert Step("unknown", "text", "", "why", status=404).expected == "404: why"


def test_the_tour_has_every_kind_of_step_and_no_title_twice() -> None:
    titles = [step.title for step in STEPS]

    assert len(STEPS) >= 8
    assert len(set(titles)) == len(titles)
    assert {step.kind for step in STEPS} == set(Kind)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_scores_lead_to_the_tiers_that_the_tour_expects(step: Step) -> None:
    limits = {"q2": 33, "q3": 66, "q4": 100}
    start = (*step.fallbacks, step.tier)[0]
    scored = next(tier for tier, most in limits.items() if score.rate(step.text).score <= most)

    assert scored == start or step.context or not step.tier


def test_the_long_context_is_too_long_for_q2_and_fits_q3() -> None:
    (step,) = (step for step in STEPS if step.context)
    tokens = context.estimate_tokens(len(step.context) + len(step.text))

    assert tokens + context.room(0, 4096) > 4096
    assert tokens + context.room(0, 8192) < 8192
