"""How the demo says what it saw."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tiergarten_router.cli import results, tour
from tiergarten_router.cli.tour import Result, Seen, Step

STEP = Step("q2 killed", "Is Paris nice?", "q3", "falls back", says="Paris", fallbacks=("q2",))
GOOD = tour.judge(
    STEP, [Seen(200, "In Paris.", tier="q3", score="3", first_ms=1234.4, fallbacks=("q2",))]
)
BAD = tour.judge(STEP, [Seen(200, "[bold]", tier="q4", speed=12.6)])
CACHED = tour.judge(STEP, [Seen(200, "In Paris.", tier="q3", fallbacks=("q2",), cache="hit")])
UNKNOWN = tour.judge(Step("unknown", "Hi", "", "none", status=404), [Seen(404, "no such model")])
SHARED = Result(
    Step("burst", "text", "q2", "both", context="x" * 2000),
    Seen(200, "yes", tier="q2"),
    ("q2-0", "q2-1"),
    (),
)


def shown(*found: Result, width: int = 160) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(results.table(found))
    return console.export_text()


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (GOOD, ("q2 killed", "Is Paris nice?", "q3 after q2", "1,234", "q3 after q2:", "ok")),
        (BAD, ("q4", "13", "[bold]", "NO")),
        (UNKNOWN, ("404", "no such model", "404: none", "ok")),
        (CACHED, ("q3 by cache",)),
        (SHARED, ("q2-0 + q2-1", "(2,000 characters) text")),
    ],
    ids=["good", "bad", "unknown", "cached", "burst"],
)
def test_a_line_says_what_was_asked_seen_and_expected(
    result: Result, words: tuple[str, ...]
) -> None:
    text = shown(result)

    assert [word for word in words if word not in text] == []


def test_a_narrow_terminal_gets_a_table_that_fits() -> None:
    assert max(map(len, shown(GOOD, BAD, width=80).splitlines())) <= 80


def test_the_verdict_of_a_good_tour_is_one_line() -> None:
    assert results.verdict([GOOD, UNKNOWN], 3.14).plain == (
        "PASSED: all 2 steps went as expected, in 3.1 s."
    )


def test_the_verdict_of_another_tour_names_each_step_and_what_is_wrong() -> None:
    head, line = results.verdict([GOOD, BAD], 3.14).plain.splitlines()

    assert head == "FAILED: 1 of 2 steps went otherwise than expected:"
    assert line.startswith("  q2 killed: tier q4, not q3; given up: ")


@given(st.text())
def test_a_short_text_is_one_line_that_fits(text: str) -> None:
    assert len(results.short(text)) <= results.SHOWN
    assert "\n" not in results.short(text)


def test_what_to_try_next_is_at_the_router_s_address() -> None:
    text = results.next_steps("http://127.0.0.1:8081")

    for path in ("/api/query", "/v1/chat/completions", "/v1/tiers", "/docs"):
        assert f"http://127.0.0.1:8081{path}" in text
