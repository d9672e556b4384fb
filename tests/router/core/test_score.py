"""How difficult a query is, and the words that say why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router.core import score
from tiergarten_router.core.score import Rated

KNOWN_REASONS = {
    *score.POINTS,
    *("background", "clauses", "figures", "length", "non-latin", "short-question"),
}

anything = st.one_of(
    st.text(),
    st.text(st.characters(codec=None, categories=None), max_size=200),
    st.lists(st.sampled_from(["Compare", "prove", "$x^2$", "3.5", "?", "\n2.", "的", ","])).map(
        " ".join
    ),
)


@given(anything, st.booleans())
def test_a_score_is_between_0_and_100_and_its_reasons_are_known_words(text, background):
    rated = score.rate(text, background=background)

    assert 0 <= rated.score <= 100
    assert set(rated.reasons) <= KNOWN_REASONS
    assert len(set(rated.reasons)) == len(rated.reasons)


@given(anything)
def test_equal_texts_get_equal_scores(text):
    assert score.rate(text) == score.rate(str(text))


@given(anything)
def test_the_difficulty_is_the_score_before_rounding(text):
    assert score.rate(text).score == min(100, max(0, round(score.difficulty(text))))


@given(anything)
def test_a_call_of_the_chat_ui_itself_is_easy_whatever_it_says(text):
    easy = Rated(0, ("background",))

    assert score.rate(text, background=True) == easy
    assert score.rate("### Task:\nAnalyze and compare " + text) == easy
    assert score.difficulty("### Task:\nAnalyze and compare " + text) == 0


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "Hello!",
        "What's 2+2?",
        "Who wrote Hamlet?",
        "Translate 'good morning' to German",
        "Tell me a joke",
        "Why is the sky blue?",
        "",
        "   \n",
    ],
)
def test_small_talk_and_plain_questions_are_easy(text):
    assert score.rate(text).score < 20


@pytest.mark.parametrize(
    "text",
    [
        "Explain how a hash map works and give an example",
        "Write a Python function that reverses a linked list",
        "What are the differences between TCP and UDP?",
        "A train travels 60 km at 40 km/h and then 80 km at 60 km/h. Calculate its average speed.",
        "Prove that the square root of 2 is irrational.",
    ],
)
def test_work_of_one_kind_is_in_the_middle(text):
    assert 34 <= score.rate(text).score <= 66


@pytest.mark.parametrize(
    "text",
    [
        "Analyze and compare the trade-offs between microservices and monolithic architectures",
        "Explain the difference between TCP and UDP in detail, with drawbacks of each",
        "Design a rate limiter for a distributed API, compare token bucket and leaky bucket, and "
        "justify your choice step by step",
    ],
)
def test_work_of_several_kinds_is_hard(text):
    assert score.rate(text).score > 67


def test_reasons_name_what_was_found():
    rated = score.rate(
        "Analyze and compare the trade-offs between microservices and monolithic architectures"
    )

    assert rated.reasons == ("analysis", "comparison")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("word " * 60, "length", id="long"),
        pytest.param("```\nx\n```", "code", id="fence"),
        pytest.param("1. a\n2. b", "multi-step", id="list"),
        pytest.param("Who? When? And where?", "multi-step", id="questions"),
        pytest.param("between 5, 1,000.5 and -3", "figures", id="figures"),
        pytest.param("red, green, blue, white, black", "clauses", id="clauses"),
        pytest.param("用中文解释一下量子纠缠。", "non-latin", id="chinese"),
        pytest.param("Объясни, почему небо голубое", "non-latin", id="russian"),
        pytest.param("Who wrote it?", "short-question", id="short-question"),
        pytest.param("“Compare” them", "comparison", id="curly-quotes"),
        pytest.param("PROVE IT", "math", id="capitals"),
    ],
)
def test_each_sign_is_a_reason(text, reason):
    assert reason in score.rate(text).reasons


@pytest.mark.parametrize(
    "text",
    [
        "Improve this sentence: I recode movies",
        "The architect's explanations were unproven",
        "A comparer of incomparable designers",
        "Wie funktioniert eine Wärmepumpe?",
    ],
)
def test_a_word_inside_another_word_is_no_sign(text):
    assert not {*score.POINTS, "non-latin"} & {*score.rate(text).reasons}


def test_a_second_sign_of_a_kind_adds_a_little_and_a_third_nothing():
    one, two, three = (
        score.difficulty(" ".join(words).ljust(40))
        for words in (["analyze"], ["analyze", "assess"], ["analyze", "assess", "critique"])
    )

    assert one < two < one + score.POINTS["analysis"] / 2
    assert two == pytest.approx(three)


def test_a_longer_text_is_not_easier():
    scores = [score.difficulty("word " * count) for count in (5, 20, 100, 400)]

    assert scores == sorted(scores)


def test_the_options_of_a_question_are_not_what_is_asked():
    asked = "Which planet is the largest of all?"

    assert score.rate(asked + "\nA. Analyze Mars\nB. Compare Venus") == score.rate(asked)
    assert score.rate(asked + " (A) Mars, 1, 2, 3 (B) Venus").score <= score.rate(asked).score + 5


def test_formal_notation_counts_less_than_as_many_words():
    formula = r"Find $\frac{\sqrt{x}}{y^{2}}$ where $\alpha$ is $\beta$"

    assert score.difficulty(formula) < score.difficulty("Find it. " * 6)


def test_the_middle_of_a_long_text_is_not_looked_at():
    begin, end = "Read this. " * 300, " Now say what it is about." * 50

    assert score.rate(begin + "Analyze, compare, prove. " + end) == score.rate(begin + end)


def test_what_is_asked_after_a_long_text_is_seen():
    assert "analysis" in score.rate("blah " * 100_000 + "Analyze this.").reasons
