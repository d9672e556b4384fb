"""What the demo expects, and how it says what it saw."""

import dataclasses
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tiergarten_api import manifests
from tiergarten_router.cli import tour
from tiergarten_router.cli.tour import Seen, Step

STEP = Step("a step", "text", frozenset({"q3"}), says="Paris", falls_back=True, replicas=2)
GOOD = Seen(STEP, 200, "q3", "q3-0", answer="In Paris.", fallbacks=("q2",), replicas=2)


def test_what_is_as_expected_has_no_failures() -> None:
    assert tour.judged(GOOD).failures == ()


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        ({"tier": "q4"}, "tier q4, not q3"),
        ({"answer": "In Rome."}, "no 'Paris' in the answer"),
        ({"fallbacks": ()}, "no fallback"),
        ({"replicas": 1}, "replicas 1, not 2"),
        ({"status": 503, "answer": "Paris is gone"}, "status 503: Paris is gone"),
    ],
    ids=["tier", "answer", "fallback", "replicas", "status"],
)
def test_each_deviation_is_named(change: dict[str, object], failure: str) -> None:
    seen = dataclasses.replace(GOOD, **change)  # type: ignore[arg-type]  # fields of many types

    assert tour.judged(seen).failures == (failure,)


def test_a_step_that_expects_an_error_fails_when_it_is_answered() -> None:
    step = Step("unknown", "text", frozenset())

    assert tour.judged(Seen(step, 404)).failures == ()
    assert tour.judged(Seen(step, 200)).failures == ("status 200, not 404",)


def test_a_burst_counts_the_replicas_of_all_its_answers_and_keeps_their_failures() -> None:
    first = dataclasses.replace(GOOD, endpoint="q3-0", replicas=1, total_ms=1)
    second = dataclasses.replace(GOOD, endpoint="q3-1", replicas=1, total_ms=2, answer="Rome")

    merged = tour.merged(STEP, [tour.judged(first), tour.judged(second)])

    assert merged.replicas == 2
    assert set(merged.failures) == {"no 'Paris' in the answer"}


@given(st.text())
def test_a_short_answer_is_one_line_that_fits(answer: str) -> None:
    assert len(tour.short(answer)) <= tour.ANSWER_SHOWN
    assert "\n" not in tour.short(answer)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('data: {"choices": [{"delta": {"content": "hi"}}]}', "hi"),
        ('data: {"choices": [{"delta": {"role": "assistant", "content": null}}]}', ""),
        ('data: {"choices": []}', ""),
        ("data: [DONE]", ""),
        ("", ""),
    ],
)
def test_the_content_of_a_stream_s_line_is_found(line: str, text: str) -> None:
    assert tour.said(line) == text


def test_the_table_shows_who_was_given_up_and_the_status_of_errors() -> None:
    unknown = Seen(Step("unknown", "text", frozenset()), 404, answer="no such model")
    console = Console(width=150, record=True, file=io.StringIO())

    console.print(tour.table([GOOD, unknown]))

    text = console.export_text()
    assert "q3 after q2" in text
    assert "404" in text


def test_the_demo_s_yaml_has_no_problem_and_the_models_that_are_written() -> None:
    found = manifests.parse(tour.example(), "demo.yaml")

    files = [file.name for tier in found.tiers for file in tier.spec.model.files or ()]
    assert found.problems == ()
    assert files == [f"{name}.gguf" for name in tour.MODELS]
